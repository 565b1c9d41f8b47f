/** What `src/dataplane/driver.ts` promises, held against every driver. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Driver, DriverError, type DriverErrorCode } from '../../src/dataplane/driver.ts';
import type { Exit } from '../../src/model/drop-reason.ts';
import type { HalfId, PortId } from '../../src/model/ids.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { cannotRun } from '../wire/lab.ts';
import { address, Sketch, twoSites } from '../wire/sketch.ts';
import { ebpf, fake, type MakeSubject, planFor, type Subject, tight } from './subjects.ts';

const blue4 = address('10.2.0.4');
const red4 = address('10.1.0.4');
const nothing = { make: [], break: [] };

const code = (wanted: DriverErrorCode) => (error: unknown) => error instanceof DriverError && error.code === wanted;
const exitOf = async (driver: Driver, portId: PortId, exit: Exit): Promise<number> =>
  (await driver.counters()).exits.get(portId)?.get(exit)?.packets ?? 0;
const packetsOf = async (driver: Driver, half: HalfId): Promise<number> =>
  (await driver.counters()).halves.get(half)?.packets ?? 0;

/** Two joined VPCs with a workload each. */
async function joined(subject: Subject) {
  const sites = twoSites();
  await subject.become(sites.sketch.network());
  for (const port of [sites.r1, sites.b1]) await subject.attach(port);
  assert.deepEqual(await subject.send(sites.r1, blue4), { delivered: sites.b1 });
  return sites;
}

const promises: { readonly [promise: string]: (subject: Subject) => Promise<void> } = {
  'a new plane is empty, and has all that it requires': async ({ driver }) => {
    const rows = await driver.probe();
    assert.deepEqual(
      rows.filter(({ required, state }) => required && state !== 'yes'),
      [],
    );
    assert.deepEqual(await driver.observe(), { network: { vpcs: [] }, attachments: [], foreign: [], damage: [] });
  },
  'what was applied is what is observed, byte for byte': async (subject) => {
    const { sketch, red, blue } = twoSites();
    const table = sketch.table(red, 'second');
    sketch.route(red, '0.0.0.0/0', { kind: 'black-hole' }, table);
    sketch.port(red, 'r2', ['10.1.0.9'], { table, secondary: ['10.1.0.10'], sanityCheck: false });
    sketch.route(blue, '192.0.2.0/24', { kind: 'interface', portId: sketch.port(blue, 'b2', ['10.2.0.9']) });
    sketch.half(blue, sketch.vpc('empty'), false);
    await subject.become(sketch.network());
    assert.equal(JSON.stringify((await subject.driver.observe()).network), JSON.stringify(sketch.network()));
    assert.deepEqual(await planFor(subject.driver, sketch.network()), nothing);
    await subject.become({ vpcs: [] });
    assert.deepEqual((await subject.driver.observe()).network, { vpcs: [] });
  },
  'the same plan may be carried out again': async (subject) => {
    const { sketch, red, blue } = twoSites();
    const grow = await subject.become(sketch.network());
    await subject.driver.apply(grow);
    assert.deepEqual((await subject.driver.observe()).network, sketch.network());
    sketch.peer(red, blue, false);
    const cut = await subject.become(sketch.network());
    assert.equal(cut.break.length, 2);
    await subject.driver.apply(cut);
    assert.deepEqual(await subject.driver.observe(), {
      network: sketch.network(),
      attachments: [],
      foreign: [],
      damage: [],
    });
  },
  'plans given at once are carried out one after the other': async (subject) => {
    const { sketch, red, blue, halves } = twoSites();
    await subject.become(sketch.network());
    const kill = { make: [], break: [{ step: 'kill-half', vpcId: red, halfId: halves[0] } as const] };
    const half = { id: halves[0], remoteVpcId: blue, live: true };
    const revive = { make: [{ step: 'put-half', vpcId: red, half } as const], break: [] };
    await Promise.all([kill, revive, kill, revive, kill].map((plan) => subject.driver.apply(plan)));
    const { network } = await subject.driver.observe();
    assert.equal(network.vpcs.find(({ vpcId }) => vpcId === red)?.halves[0]?.live, false);
  },
  'a killed half carries nothing once apply has returned, and lives again with its count': async (subject) => {
    const { sketch, red, blue, r1, b1, halves } = await joined(subject);
    const counted = await packetsOf(subject.driver, halves[0]);
    assert.equal(counted, 1);
    for (const round of [1, 2, 3]) {
      sketch.peer(red, blue, false);
      await subject.become(sketch.network());
      assert.deepEqual(await subject.send(r1, blue4), { exit: 'NoPeering' });
      assert.deepEqual(await subject.send(b1, red4), { exit: 'NoPeering' });
      sketch.peer(red, blue, true);
      await subject.become(sketch.network());
      assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
      assert.equal(await packetsOf(subject.driver, halves[0]), counted + round);
    }
  },
  'one half alone is enough to stop its direction': async (subject) => {
    const { sketch, red, blue, r1, b1 } = await joined(subject);
    sketch.half(red, blue, false);
    await subject.become(sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { exit: 'NoPeering' });
    assert.deepEqual(await subject.send(b1, red4), { delivered: r1 });
  },
  'an address that moves between interfaces in one plan ends at its new owner': async (subject) => {
    const { sketch, blue, r1 } = await joined(subject);
    const b2 = sketch.port(blue, 'b2', ['10.2.0.5', 'fd00:2::5']);
    await subject.become(sketch.network());
    await subject.attach(b2);
    sketch.port(blue, 'b1', ['10.2.0.6', 'fd00:2::6']);
    sketch.port(blue, 'b2', ['10.2.0.4', 'fd00:2::4']);
    await subject.become(sketch.network());
    assert.deepEqual((await subject.driver.observe()).network, sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b2 });
    assert.deepEqual(await subject.send(r1, address('fd00:2::4')), { delivered: b2 });
    assert.deepEqual(await subject.send(r1, address('10.2.0.5')), { exit: 'NoSuchAddress' });
  },
  'an interface that goes takes its workload along; another with its address is reached': async (subject) => {
    const { sketch, blue, r1, b1 } = await joined(subject);
    sketch.site(blue).ports.delete(b1);
    await subject.become(sketch.network());
    subject.forget(b1);
    assert.deepEqual(
      (await subject.driver.observe()).attachments.map(({ portId }) => portId),
      [r1],
    );
    assert.deepEqual(await subject.send(r1, blue4), { exit: 'NoSuchAddress' });
    const heir = sketch.port(blue, 'heir', ['10.2.0.4']);
    await subject.become(sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { exit: 'TargetGone' });
    await subject.attach(heir);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: heir });
  },
  'attach and detach refuse what cannot be, and say which': async (subject) => {
    const { sketch, blue, r1, b1 } = await joined(subject);
    const { driver } = subject;
    const target = { kind: 'netns', name: 'nowhere' } as const;
    await assert.rejects(driver.attach({ portId: 'port-0000000000' as PortId, target }), code('unknown-interface'));
    await assert.rejects(driver.attach({ portId: b1, target }), code('already-attached'));
    await driver.detach(b1);
    subject.forget(b1);
    await assert.rejects(driver.detach(b1), code('not-attached'));
    assert.deepEqual(await subject.send(r1, blue4), { exit: 'TargetGone' });
    await subject.attach(b1, { device: 'net1', mtu: 1400 });
    const fact = (await driver.observe()).attachments.find(({ portId }) => portId === b1);
    assert.deepEqual([fact?.state, fact?.device, fact?.mtu, fact?.up], ['attached', 'net1', 1400, true]);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
    assert.deepEqual((await driver.observe()).network, sketch.network(), `${blue} is as it was`);
  },
  'every packet is counted once, under the way it left': async (subject) => {
    const { sketch, red, r1, b1, halves } = await joined(subject);
    const { driver } = subject;
    sketch.route(red, '192.0.2.0/24', { kind: 'black-hole' });
    await subject.become(sketch.network());
    const cases = [
      ['10.2.0.4', 'Forwarded'],
      ['10.2.0.77', 'NoSuchAddress'],
      ['192.0.2.1', 'BlackHole'],
      ['198.51.100.1', 'NoRoute'],
    ] as const;
    for (const [to, exit] of cases) {
      const before = await exitOf(driver, r1, exit);
      await subject.send(r1, address(to));
      assert.equal((await exitOf(driver, r1, exit)) - before, 1, exit);
    }
    const { halves: both } = await driver.counters();
    assert.equal(both.get(halves[0])?.packets, 2);
    assert.equal(both.get(halves[1])?.packets ?? 0, 0);
    await subject.send(b1, red4);
    assert.equal(await packetsOf(driver, halves[1]), 1, 'each direction for itself');
  },
  'what it would do with a packet is what it does': async (subject) => {
    const { sketch, red, r1 } = await joined(subject);
    const { mac } = sketch.spec(red, r1);
    for (const to of ['10.2.0.4', '10.2.0.5', '10.9.0.1', 'fd00:2::4', 'fd00:2::5', 'fd00:9::1'].map(address)) {
      const source = to.includes(':') ? address('fd00:1::4') : red4;
      const packet = {
        from: r1,
        sourceMac: mac,
        destinationMac: gatewayMac,
        source,
        destination: to,
        ttl: 64,
      } as const;
      const verdict = await subject.driver.trace({ ...packet, length: 60, protocol: 'udp' });
      const sent = await subject.send(r1, to);
      if (verdict.kind === 'delivered') assert.deepEqual(sent, { delivered: verdict.to });
      else assert.deepEqual(sent, { exit: verdict.kind === 'dropped' ? verdict.reason : 'Answered' });
    }
  },
  'a driver that ends leaves the network, its workloads and its counts': async (subject) => {
    const { sketch, r1, b1, halves } = await joined(subject);
    const before = await subject.driver.observe();
    const driver = await subject.reopen();
    assert.deepEqual(await driver.observe(), before);
    assert.deepEqual(await planFor(driver, sketch.network()), nothing);
    assert.equal(await packetsOf(driver, halves[0]), 1);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
  },
  'a reading tells what each half carried, under a life that a restart does not end': async (subject) => {
    const { sketch, red, blue, r1, b1, halves } = await joined(subject);
    const [first] = (await subject.driver.meter([])).running;
    assert.deepEqual([first?.halfId, first?.packets], [halves[0], 1n]);
    assert.equal(first?.bytes, BigInt((await subject.driver.counters()).halves.get(halves[0])?.bytes ?? 0));
    const { epoch } = await subject.driver.counters();
    sketch.peer(red, blue, false);
    await subject.become(sketch.network());
    sketch.peer(red, blue, true);
    await subject.become(sketch.network());
    const driver = await subject.reopen();
    assert.equal((await driver.counters()).epoch, epoch);
    assert.deepEqual(await driver.meter([]), { running: [first], retired: [] });
    assert.deepEqual(await subject.send(b1, red4), { delivered: r1 });
    const { running } = await driver.meter([]);
    assert.deepEqual(
      running.map(({ halfId, packets }) => [halfId, packets]).sort(),
      [
        [halves[0], 1n],
        [halves[1], 1n],
      ].sort(),
    );
    assert.equal(new Set(running.map(({ life }) => life)).size, 2);
  },
  'a half that goes leaves its final count, also over a restart, until that is booked': async (subject) => {
    const { sketch, red, blue, r1, b1, halves } = await joined(subject);
    const [before] = (await subject.driver.meter([])).running;
    assert.ok(before !== undefined);
    for (const [vpc, half] of [
      [red, halves[0]],
      [blue, halves[1]],
    ] as const) {
      sketch.site(vpc).halves.delete(half);
      for (const table of sketch.site(vpc).tables.values()) table.clear();
    }
    await subject.become(sketch.network());
    assert.deepEqual(await subject.driver.meter([]), { running: [], retired: [before] });
    const driver = await subject.reopen();
    assert.deepEqual(await driver.meter(['another']), { running: [], retired: [before] });
    // The same id again: its count begins anew, and does not meet the old one.
    sketch.join(red, blue);
    await subject.become(sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
    const { running, retired } = await driver.meter([]);
    assert.deepEqual(retired, [before]);
    assert.deepEqual([running[0]?.halfId, running[0]?.packets], [halves[0], 1n]);
    assert.notEqual(running[0]?.life, before.life);
    assert.deepEqual(await driver.meter([before.life]), { running, retired: [] });
    assert.deepEqual(await driver.meter([running[0]?.life ?? '']), { running, retired: [] }, 'a running one stays');
  },
  'a plane that began anew has another epoch, and its halves another life': async (subject) => {
    const { sketch, r1, b1, halves } = await joined(subject);
    const { epoch } = await subject.driver.counters();
    const [before] = (await subject.driver.meter([])).running;
    await subject.driver.purge();
    for (const port of [r1, b1]) subject.forget(port);
    const driver = await subject.reopen({ purged: true });
    assert.notEqual((await driver.counters()).epoch, epoch);
    await subject.become(sketch.network());
    assert.deepEqual(await driver.meter([]), { running: [], retired: [] });
    for (const port of [r1, b1]) await subject.attach(port);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
    const [after] = (await driver.meter([])).running;
    assert.deepEqual([after?.halfId, after?.packets], [halves[0], 1n]);
    assert.notEqual(after?.life, before?.life);
  },
  'a purge leaves nothing': async (subject) => {
    const { sketch } = await joined(subject);
    await subject.driver.purge();
    for (const port of ['port-r100000000', 'port-b100000000'] as PortId[]) subject.forget(port);
    const driver = await subject.reopen({ purged: true });
    assert.deepEqual(await driver.observe(), { network: { vpcs: [] }, attachments: [], foreign: [], damage: [] });
    await subject.become(sketch.network());
    assert.deepEqual((await driver.observe()).network, sketch.network(), 'and can be used again');
  },
};

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
        (error) => code('does-not-fit')(error) && message.test(String(error)),
      );
      assert.deepEqual((await subject.driver.observe()).network, small.network());
    });
  }
}
