/** What `src/dataplane/driver.ts` promises, sentence by sentence; `contract.test.ts` and `test/cluster` hold drivers to it. */
import assert from 'node:assert/strict';
import { type Driver, DriverError, type DriverErrorCode } from '../../src/dataplane/driver.ts';
import type { Exit } from '../../src/model/drop-reason.ts';
import type { HalfId, PortId } from '../../src/model/ids.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { planFor } from '../wire/plan-for.ts';
import { address, twoSites } from '../wire/sketch.ts';
import type { Subject } from './subjects.ts';

const blue4 = address('10.2.0.4');
const red4 = address('10.1.0.4');
const nothing = { make: [], break: [] };

const code = (wanted: DriverErrorCode) => (error: unknown) => error instanceof DriverError && error.code === wanted;
const exitOf = async (driver: Driver, portId: PortId, exit: Exit): Promise<number> =>
  (await driver.counters()).exits.get(portId)?.get(exit)?.packets ?? 0;
const packetsOf = async (subject: Subject, half: HalfId): Promise<number> => {
  await subject.counted();
  return (await subject.driver.counters()).halves.get(half)?.packets ?? 0;
};

/** Two joined VPCs with a workload each. */
/** A reading without what is said of those who told it. */
async function toldBy(driver: Driver, ...booked: readonly string[]) {
  const reading = await driver.meter(booked);
  const plain = ({ doubtful: _, ...rest }: (typeof reading.running)[number]) => rest;
  return { running: reading.running.map(plain), retired: reading.retired.map(plain) };
}
async function joined(subject: Subject) {
  const sites = twoSites();
  await subject.become(sites.sketch.network());
  for (const port of [sites.r1, sites.b1]) await subject.attach(port);
  assert.deepEqual(await subject.send(sites.r1, blue4), { delivered: sites.b1 });
  return sites;
}

export const promises: { readonly [promise: string]: (subject: Subject) => Promise<void> } = {
  'a new plane is empty, and has all that it requires': async ({ driver }) => {
    const rows = await driver.probe();
    assert.deepEqual(
      rows.filter(({ required, state }) => required && state !== 'yes'),
      [],
    );
    assert.deepEqual(await driver.observe(), { network: { vpcs: [] }, attachments: [], foreign: [], damage: [] });
  },
  'what was applied is what is observed, byte for byte': async (subject) => {
    const { sketch, blue } = twoSites();
    const wide = sketch.vpc('wide', '10.3.0.0/24', 'fd00:3::/64', '10.3.1.0/24');
    sketch.port(wide, 'w1', ['10.3.0.4', 'fd00:3::4']);
    const table = sketch.table(wide, 'second');
    sketch.route(wide, '0.0.0.0/0', { kind: 'black-hole' }, table);
    sketch.port(wide, 'w2', ['10.3.1.9'], { table, secondary: ['10.3.1.10'], sanityCheck: false });
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
    const counted = await packetsOf(subject, halves[0]);
    assert.equal(counted, 1);
    for (const round of [1, 2, 3]) {
      sketch.peer(red, blue, false);
      await subject.become(sketch.network());
      assert.deepEqual(await subject.send(r1, blue4), { exit: 'NoPeering' });
      assert.deepEqual(await subject.send(b1, red4), { exit: 'NoPeering' });
      sketch.peer(red, blue, true);
      await subject.become(sketch.network());
      assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
      assert.equal(await packetsOf(subject, halves[0]), counted + round);
    }
  },
  'one half alone is enough to stop its direction': async (subject) => {
    const { sketch, red, blue, r1, b1 } = await joined(subject);
    sketch.half(red, blue, false);
    await subject.become(sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { exit: 'NoPeering' });
    // Where a peering is one object to the plane, the other direction goes with it.
    assert.deepEqual(await subject.send(b1, red4), subject.joinsPairs ? { exit: 'NoPeering' } : { delivered: r1 });
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
    await assert.rejects(subject.request({ portId: 'port-0000000000' as PortId, target }), code('unknown-interface'));
    await assert.rejects(subject.request({ portId: b1, target }), code('already-attached'));
    await subject.detach(b1);
    await assert.rejects(subject.detach(b1), code('not-attached'));
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
      if (subject.countsExits) assert.equal((await exitOf(driver, r1, exit)) - before, 1, exit);
    }
    // Handed to the peer's router, where nobody has the second one's address, is carried to where that is the peer's word.
    assert.equal(await packetsOf(subject, halves[0]), subject.joinsPairs ? 3 : 2);
    assert.equal(await packetsOf(subject, halves[1]), 0);
    await subject.send(b1, red4);
    assert.equal(await packetsOf(subject, halves[1]), 1, 'each direction for itself');
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
    assert.equal(await packetsOf(subject, halves[0]), 1);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
  },
  'a reading tells what each half carried, under a life that a restart does not end': async (subject) => {
    const { sketch, red, blue, r1, b1, halves } = await joined(subject);
    await subject.counted();
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
    assert.deepEqual(await toldBy(driver), { running: [first], retired: [] });
    assert.deepEqual(await subject.send(b1, red4), { delivered: r1 });
    await subject.counted();
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
    await subject.counted();
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
    assert.deepEqual(await toldBy(subject.driver), { running: [], retired: [before] });
    const driver = await subject.reopen();
    assert.deepEqual(await toldBy(driver, 'another'), { running: [], retired: [before] });
    // The same id again: its count begins anew, and does not meet the old one.
    sketch.join(red, blue);
    await subject.become(sketch.network());
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
    await subject.counted();
    const { running, retired } = await toldBy(driver);
    assert.deepEqual(retired, [before]);
    assert.deepEqual([running[0]?.halfId, running[0]?.packets], [halves[0], 1n]);
    assert.notEqual(running[0]?.life, before.life);
    assert.deepEqual(await toldBy(driver, before.life), { running, retired: [] });
    assert.deepEqual(await toldBy(driver, running[0]?.life ?? ''), { running, retired: [] }, 'a running one stays');
  },
  'a plane that began anew has another epoch, and its halves another life': async (subject) => {
    const { sketch, r1, b1, halves } = await joined(subject);
    const { epoch } = await subject.driver.counters();
    await subject.counted();
    const [before] = (await subject.driver.meter([])).running;
    await subject.driver.purge();
    for (const port of [r1, b1]) subject.forget(port);
    const driver = await subject.reopen({ purged: true });
    assert.notEqual((await driver.counters()).epoch, epoch);
    await subject.become(sketch.network());
    assert.deepEqual(await toldBy(driver), { running: [], retired: [] });
    for (const port of [r1, b1]) await subject.attach(port);
    assert.deepEqual(await subject.send(r1, blue4), { delivered: b1 });
    await subject.counted();
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
