/** The contract on the planes of one host: every promise, and plans that do not fit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriverError } from '../../src/dataplane/driver.ts';
import { cannotRun } from '../wire/lab.ts';
import { Sketch } from '../wire/sketch.ts';
import { promises } from './promises.ts';
import { ebpf, fake, type MakeSubject, tight } from './subjects.ts';

const wants: readonly [string, RegExp, (sketch: Sketch) => void][] = [
  [
    'interfaces',
    /needs 6 entries of (table )?interfaces, which holds 4/,
    (of) => {
      const vpc = of.vpc('five', '10.5.0.0/16');
      for (let n = 4; n < 9; n++) of.port(vpc, `p${n}`, [`10.5.0.${n}`]);
    },
  ],
  [
    'addresses',
    /needs 10 entries of (table )?addr(esse)?s, which holds 8/,
    (of) => {
      const secondary = Array.from({ length: 8 }, (_, n) => `10.5.0.${n + 10}`);
      of.port(of.vpc('five', '10.5.0.0/16'), 'p', ['10.5.0.4'], { secondary });
    },
  ],
  [
    'route tables',
    /needs 6 entries of (table tables|routeTables), which holds 4/,
    (of) => {
      const vpc = of.vpc('five', '10.5.0.0/16');
      for (const name of ['a', 'b', 'c', 'd']) of.table(vpc, name);
    },
  ],
  [
    'halves',
    /needs 5 entries of (table )?halves, which holds 4/,
    (of) => {
      const hub = of.vpc('hub', '10.5.0.0/16');
      for (const name of ['a', 'b', 'c', 'd', 'e']) of.half(hub, `vpc-${name.padEnd(10, '0')}` as never, false);
    },
  ],
];

for (const [name, make, skip] of [
  ['fake', fake, false],
  ['ebpf', ebpf, cannotRun],
] as const satisfies readonly (readonly [string, MakeSubject, string | false])[]) {
  for (const [promise, keep] of Object.entries(promises)) {
    test(`${name}: ${promise}`, { skip, timeout: 30_000 }, async (t) => keep(await make(t)));
  }
  for (const [what, message, draw] of wants) {
    test(`${name}: more ${what} than fit are refused before the first write`, { skip, timeout: 30_000 }, async (t) => {
      const subject = await make(t, tight);
      const small = new Sketch();
      small.port(small.vpc('small', '10.7.0.0/16'), 'p', ['10.7.0.4']);
      await subject.become(small.network());
      const sketch = new Sketch();
      draw(sketch);
      await assert.rejects(
        subject.become({ vpcs: [...small.network().vpcs, ...sketch.network().vpcs] }),
        (error) => error instanceof DriverError && error.code === 'does-not-fit' && message.test(String(error)),
      );
      assert.deepEqual((await subject.driver.observe()).network, small.network());
    });
  }
}
