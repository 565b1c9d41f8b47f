/** What other hands break is seen, mended, and what is not ours is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeInterface, encodeHalf, idKey, sizes, u32 } from '../../src/dataplane/ebpf/layout.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { byHand } from '../wire/workload.ts';

const blue4 = address('10.2.0.4');

test('44. every kind of hand-made damage is described, mended, and packets flow again', {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1, halves } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  await lab.attach(b1);
  const { registry, tables } = lab.driver.kernelObjects;
  const r1Slot = registry.must('interface', r1).slot;
  const b1Slot = registry.must('interface', b1).slot;
  const half = registry.must('half', halves[0]);
  const host = lab.options.namespaceName;
  const r1Device = 'ir100000000';
  const ifindexOf = (slot: number): number =>
    decodeInterface(bpf.lookup(tables.fd('interfaces'), u32(slot), sizes.interface) ?? Buffer.alloc(0)).ifindex;

  const damages: readonly { readonly name: string; readonly damage: RegExp | null; readonly strike: () => void }[] = [
    {
      name: 'programs taken off a device',
      damage: /gress program of port-r1/,
      strike: () => byHand('tc', host, 'qdisc', 'del', 'dev', r1Device, 'clsact'),
    },
    {
      name: 'a device set down',
      damage: /device of port-r1.* was down/,
      strike: () => byHand('ip', host, 'link', 'set', r1Device, 'down'),
    },
    {
      name: 'a port entry cleared',
      damage: /do not lead to the device of port-r1/,
      strike: () => bpf.update(tables.fd('ports'), u32(ifindexOf(r1Slot)), u32(0)),
    },
    {
      name: 'a port entry that leads to another interface',
      damage: /do not lead to the device of port-r1/,
      strike: () => bpf.update(tables.fd('ports'), u32(ifindexOf(r1Slot)), u32(b1Slot)),
    },
    {
      name: 'a device entry removed',
      damage: /do not lead to the device of port-b1/,
      strike: () => void bpf.remove(tables.fd('devs'), u32(b1Slot)),
    },
    {
      name: 'a registration removed',
      damage: /registration of port-b1.* is gone/,
      strike: () => void bpf.remove(tables.fd('ids'), idKey(b1)),
    },
    {
      name: 'a stranger registered',
      damage: /'port-rogue' is registered, but not by us/,
      strike: () => bpf.update(tables.fd('ids'), idKey('port-rogue'), Buffer.alloc(sizes.registration, 1)),
    },
    {
      name: 'a half led to a VPC that is not its peer',
      damage: /which is not its peer/,
      strike: () => bpf.update(tables.fd('halves'), u32(half.slot), encodeHalf(4711, half.generation)),
    },
    {
      name: 'a live word in a slot of no half',
      damage: /live, but stands for no half/,
      strike: () => bpf.update(tables.fd('halves'), u32(40), encodeHalf(1, 1)),
    },
    {
      name: 'an address of nobody',
      damage: /leads to no interface of that VPC/,
      strike: () => bpf.update(tables.fd('addrs'), Buffer.alloc(sizes.addressKey, 9), Buffer.alloc(sizes.target, 9)),
    },
    {
      name: 'an address led to another MAC',
      damage: /another MAC or MTU/,
      strike: () => {
        for (const [key, value] of bpf.entries(tables.fd('addrs'), sizes.addressKey, sizes.target)) {
          value.writeUInt8(0x06, 17);
          bpf.update(tables.fd('addrs'), key, value);
        }
      },
    },
    {
      name: 'a route table taken away',
      damage: /rtb-red.* has no trie/,
      strike: () => void bpf.remove(tables.fd('tables'), u32(registry.must('table', 'rtb-red0000000').slot)),
    },
    {
      name: 'an interface entry overwritten',
      damage: /port-r1.* is not what slot/,
      strike: () => bpf.update(tables.fd('interfaces'), u32(r1Slot), Buffer.alloc(sizes.interface)),
    },
    // Only different from what is wanted: no contradiction, the diff heals it.
    {
      name: 'a half killed',
      damage: null,
      strike: () => bpf.update(tables.fd('halves'), u32(half.slot), Buffer.alloc(8)),
    },
  ];
  assert.deepEqual((await lab.driver.observe()).damage, []);
  for (const { name, damage, strike } of damages) {
    await t.test(name, async () => {
      strike();
      const { damage: seen } = await lab.driver.observe();
      if (damage === null) assert.deepEqual(seen, []);
      else assert.match(seen.join('\n'), damage);
      await lab.driver.repair(); // what follows from other damage shows once that is mended
      await lab.become(sketch.network());
      await lab.driver.repair();
      const after = await lab.driver.observe();
      assert.deepEqual(after.damage, []);
      assert.deepEqual(after.network, sketch.network());
      assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
      assert.deepEqual(await lab.sendProbe(b1, address('fd00:1::4')), { delivered: r1 });
    });
  }
});

test('45. what is not ours is reported and never touched', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  const host = lab.options.namespaceName;
  byHand('ip', host, 'link', 'add', 'foreign0', 'type', 'veth', 'peer', 'name', 'foreign1');
  byHand('ip', host, 'link', 'set', 'foreign0', 'alias', 'isthmus:other-installation:port-r100000000');
  const shown = byHand('ip', host, '-d', 'link', 'show', 'foreign0');
  const { foreign } = await lab.driver.observe();
  assert.deepEqual([...foreign].sort(), ['device foreign0', 'device foreign1']);
  await lab.driver.repair();
  await lab.become({ vpcs: [] });
  const ours = lab.hostDevices().filter((name) => name.startsWith('i'));
  assert.deepEqual(ours, [], 'ours went with its interface');
  assert.equal(byHand('ip', host, '-d', 'link', 'show', 'foreign0'), shown);
});
