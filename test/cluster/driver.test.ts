/** What else the OVN driver owes, on three hosts and a cluster of databases: other hands, other writers, lost leaders. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriverError } from '../../src/dataplane/driver.ts';
import type { OvnDriver } from '../../src/dataplane/ovn/driver.ts';
import type { Operation } from '../../src/dataplane/ovn/ovsdb.ts';
import { peerPortOf, uuidOf } from '../../src/dataplane/ovn/rows.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { Packet } from '../../src/explain/explain.ts';
import type { VpcId } from '../../src/model/ids.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { planFor } from '../wire/plan-for.ts';
import { address, type Sketch, twoSites } from '../wire/sketch.ts';
import { byHand } from '../wire/workload.ts';
import { cannotRun, Ground } from './ground.ts';

const blue4 = address('10.2.0.4');
const strayPatience = 300;

/** Two joined VPCs with a workload each, on two hosts. */
async function joined(ground: Ground) {
  const sites = twoSites();
  await ground.become(sites.sketch.network());
  await ground.attach(sites.r1, { host: 1, soon: true });
  await ground.attach(sites.b1, { host: 2 });
  assert.equal(await ground.sendProbe(sites.r1, blue4), sites.b1);
  return sites;
}
const addressesOf = (ground: Ground, portId: Parameters<Ground['workload']>[0]): string =>
  byHand('ip', ground.workload(portId).name, '-o', 'addr', 'show', 'dev', 'eth0');

const cases: { readonly [what: string]: (ground: Ground) => Promise<void> } = {
  'nothing is written when nothing differs': async (ground) => {
    const { sketch } = await joined(ground);
    const plan = await planFor(ground.driver, { vpcs: [] });
    const before = ground.configuration;
    assert.deepEqual(await ground.become(sketch.network()), { make: [], break: [] });
    const reconciler = new Reconciler(ground.driver, { driftInterval: 0 });
    const wanted = { revision: 1, full: true, vpcs: sketch.network().vpcs, removed: [] } as const;
    await reconciler.sync(wanted);
    assert.deepEqual(await reconciler.checkDrift(), []);
    assert.deepEqual(await ground.driver.repair(), []);
    await ground.reopen();
    assert.deepEqual(await ground.become(sketch.network()), { make: [], break: [] });
    assert.equal(ground.configuration, before);
    await ground.driver.apply(plan);
    const after = ground.configuration;
    assert.ok(after > before, 'control: a change is a new configuration');
    await ground.driver.apply(plan);
    assert.equal(ground.configuration, after, 'the same plan again is none');
  },

  'what trace says is what ovn-trace says, to the TTL': async (ground) => {
    const { sketch, red, blue, r1, b1 } = await joined(ground);
    sketch.port(blue, 'idle', ['10.2.0.9']);
    const near = sketch.port(red, 'near', ['10.1.0.9']);
    sketch.route(red, '192.0.2.0/24', { kind: 'black-hole' });
    const dead = sketch.half(red, sketch.vpc('empty'), false);
    sketch.route(red, '10.7.0.0/16', { kind: 'peering', halfId: dead });
    await ground.become(sketch.network());
    await ground.attach(near, { host: 3 });
    const base: Packet = {
      from: r1,
      sourceMac: sketch.spec(red, r1).mac,
      destinationMac: gatewayMac,
      source: address('10.1.0.4'),
      destination: blue4,
      ttl: 64,
      length: 60,
      protocol: 'udp',
    };
    const six = { source: address('fd00:1::4'), destination: address('fd00:2::4') } as const;
    const to = (text: string): Packet => ({ ...base, destination: address(text) });
    const samples: readonly (readonly [Packet, string])[] = [
      [base, `${b1} 62`],
      [{ ...base, ...six }, `${b1} 62`],
      [{ ...base, ttl: 3 }, `${b1} 1`],
      [{ ...base, ttl: 2 }, 'TtlExpired'],
      [{ ...base, ...six, ttl: 1 }, 'TtlExpired'],
      [to('10.1.0.9'), `${near} 63`],
      [{ ...to('10.1.0.9'), ttl: 1 }, 'TtlExpired'],
      [to('10.2.0.9'), 'TargetGone'],
      [to('10.2.0.77'), 'NoSuchAddress'],
      [{ ...base, ...six, destination: address('fd00:2::77') }, 'NoSuchAddress'],
      [to('192.0.2.1'), 'BlackHole'],
      [to('198.51.100.1'), 'NoRoute'],
      [to('10.7.0.1'), 'NoPeering'],
      [{ ...base, source: address('10.1.0.5') }, 'SpoofedAddress'],
      [{ ...base, ...six, source: address('fd00:1::5') }, 'SpoofedAddress'],
    ];
    const verdicts = await (await ground.ovnTrace()).verdicts(samples.map(([packet]) => packet));
    for (const [at, [packet, words]] of samples.entries()) {
      const verdict = await ground.driver.trace(packet);
      const theirs = verdicts[at];
      assert.ok(theirs !== undefined && verdict.kind !== 'answered');
      for (const one of [verdict, theirs]) {
        assert.equal(one.kind === 'delivered' ? `${one.to} ${one.ttl}` : one.reason, words, `to ${packet.destination}`);
      }
    }
  },

  'what other hands did to any of its rows is found and healed': async (ground) => {
    const { sketch, red, halves, r1, b1 } = await joined(ground);
    const { installationId } = ground;
    const reconciler = new Reconciler(ground.driver, { driftInterval: 0 });
    await reconciler.sync({ revision: 1, full: true, vpcs: sketch.network().vpcs, removed: [] });
    assert.deepEqual(await reconciler.checkDrift(), []);
    const row = (table: Parameters<typeof uuidOf>[1], id: string) => ({
      table,
      where: [['_uuid', '==', ['uuid', uuidOf(installationId, table, id)]]],
    });
    const update = (of: ReturnType<typeof row>, values: object): Operation => ({ op: 'update', ...of, row: values });
    const ids = (key: string, value: string): Operation => ({
      op: 'mutate',
      ...row('Logical_Router', red),
      mutations: [
        ['external_ids', 'delete', ['set', [key]]],
        ['external_ids', 'insert', ['map', [[key, value]]]],
      ],
    });
    const port = row('Logical_Switch_Port', r1);
    const damages: { readonly [what: string]: readonly Operation[] } = {
      'a port may send with any address': [update(port, { port_security: ['set', []] })],
      'a port is known by another address': [update(port, { addresses: '02:aa:00:00:00:01 10.1.0.99' })],
      'a route leads nowhere': [
        update(row('Logical_Router_Static_Route', `${red}|rtb-red0000000|10.2.0.0/16`), {
          nexthop: 'discard',
          output_port: ['set', []],
        }),
      ],
      'one port of a peering is gone': [
        {
          op: 'mutate',
          ...row('Logical_Router', red),
          mutations: [
            ['ports', 'delete', ['set', [['uuid', uuidOf(installationId, 'Logical_Router_Port', halves[0])]]]],
          ],
        },
      ],
      'a peering leads to itself': [
        update(row('Logical_Router_Port', halves[0]), { peer: peerPortOf(red, halves[0]) }),
      ],
      'the guard is gone': [update(row('Port_Group', red), { acls: ['set', []] })],
      'the guard is open': [update(row('Address_Set', `${red}|reach|4`), { addresses: '0.0.0.0/0' })],
      'the policies are gone': [update(row('Logical_Router', red), { policies: ['set', []] })],
      'the router is gone': [{ op: 'delete', ...row('Logical_Router', red) }],
      'all switches are gone': [
        {
          op: 'delete',
          table: 'Logical_Switch',
          where: [['external_ids', 'includes', ['map', [['isthmus:vpc', red]]]]],
        },
      ],
      'what a router knows is no JSON': [ids('isthmus:spec', '{')],
      'two routers have one number': [ids('isthmus:number', '1')],
      'a router has no number': [ids('isthmus:number', '')],
      'a row of ours belongs to nothing': [
        {
          op: 'insert',
          table: 'Address_Set',
          row: { name: 'left_over', external_ids: ['map', [['isthmus:owner', installationId]]] },
        },
      ],
    };
    for (const [what, operations] of Object.entries(damages)) {
      await ground.edit(operations);
      const healed = await reconciler.checkDrift();
      assert.ok(healed.length > 0, what);
      const { network, damage } = await ground.driver.observe();
      assert.deepEqual([network, damage], [sketch.network(), []], what);
      const before = ground.configuration;
      assert.deepEqual(await reconciler.checkDrift(), [], what);
      assert.equal(ground.configuration, before, what);
      await ground.settled();
      assert.equal(await ground.sendProbe(r1, blue4), b1, what);
      assert.equal(await ground.sendProbe(b1, address('fd00:1::4')), r1, what);
    }
  },

  'rows of others are reported, and never touched': async (ground) => {
    const { sketch } = await joined(ground);
    const theirs: readonly Operation[] = [
      { op: 'insert', table: 'Logical_Router', row: { name: 'theirs' } },
      { op: 'insert', table: 'Address_Set', row: { name: 'their_set', addresses: '10.0.0.0/8' } },
      {
        op: 'insert',
        table: 'Logical_Switch',
        row: { name: 'neighbour', external_ids: ['map', [['isthmus:owner', 'another installation']]] },
      },
    ];
    await ground.edit(theirs);
    const named = ['Address_Set their_set', 'Logical_Router theirs', 'Logical_Switch neighbour'];
    try {
      assert.deepEqual((await ground.driver.observe()).foreign, named);
      await ground.become({ vpcs: [] });
      await ground.become(sketch.network());
      await ground.driver.purge();
      const { network, foreign, damage, attachments } = await ground.driver.observe();
      assert.deepEqual(
        { network, foreign, damage, attachments },
        { network: { vpcs: [] }, foreign: named, damage: [], attachments: [] },
      );
    } finally {
      const where = (name: string) => [['name', '==', name]];
      await ground.edit([
        { op: 'delete', table: 'Logical_Router', where: where('theirs') },
        { op: 'delete', table: 'Address_Set', where: where('their_set') },
        { op: 'delete', table: 'Logical_Switch', where: where('neighbour') },
      ]);
    }
  },

  'of two writers at once one is overtaken, and neither undoes what the other wrote': async (ground) => {
    const { sketch, red, blue } = await joined(ground);
    const other = ground.anotherDriver();
    try {
      let overtaken = 0;
      /** Applies its own change, anew when it was overtaken. */
      const carryOut = async (driver: OvnDriver, vpc: VpcId, destination: string): Promise<void> => {
        const wanted = (): Sketch => {
          sketch.route(vpc, destination, { kind: 'black-hole' });
          return sketch;
        };
        for (;;) {
          const whole = await planFor(driver, wanted().network());
          const own = <T extends { readonly vpcId: VpcId }>(steps: readonly T[]) =>
            steps.filter((step) => step.vpcId === vpc);
          try {
            return await driver.apply({ make: own(whole.make), break: own(whole.break) });
          } catch (error) {
            assert.ok(error instanceof DriverError && error.code === 'unavailable', String(error));
            assert.match(error.message, /somebody else has written/);
            overtaken++;
          }
        }
      };
      for (let round = 1; round <= 8; round++) {
        await Promise.all([
          carryOut(ground.driver, red, `192.0.2.${round}/32`),
          carryOut(other, blue, `198.51.100.${round}/32`),
        ]);
      }
      assert.ok(overtaken > 0, 'control: they met');
      for (const driver of [ground.driver, other]) {
        const { network, damage } = await driver.observe();
        assert.deepEqual([network, damage], [sketch.network(), []]);
      }
    } finally {
      await other.close();
    }
  },

  'a VPC that comes after another went has a number of its own': async (ground) => {
    const sketch = twoSites().sketch;
    for (let n = 3; n < 9; n++) sketch.port(sketch.vpc(`v${n}`, `10.${n}.0.0/16`), `p${n}`, [`10.${n}.0.4`]);
    await ground.become(sketch.network());
    sketch.removeVpc('vpc-v500000000' as VpcId);
    await ground.become(sketch.network());
    sketch.port(sketch.vpc('late', '10.44.0.0/16'), 'late', ['10.44.0.4']);
    await ground.become(sketch.network());
    const { network, damage } = await ground.driver.observe();
    assert.deepEqual([network, damage], [sketch.network(), []]);
  },

  'no change waits for a reading of the counters, however long that takes': async (ground) => {
    const { sketch, red, halves, r1, b1 } = await joined(ground);
    await ground.counted();
    const held = ground.hosts.hold('h2', 'meter');
    const readings = [ground.driver.counters(), ...Array.from({ length: 100 }, () => ground.driver.counters())];
    let over = false;
    const all = Promise.all(readings).finally(() => {
      over = true;
    });
    sketch.route(red, '192.0.2.0/24', { kind: 'black-hole' });
    await ground.become(sketch.network());
    assert.equal(over, false, 'control: they are under way');
    held.answer();
    for (const { halves: of } of await all) assert.equal(of.get(halves[0])?.packets, 1);
    assert.equal(await ground.sendProbe(r1, blue4), b1);
  },

  'no disconnect waits for a host that does not tell its counts, and the others lose none': async (ground) => {
    const { red, halves, r1 } = await joined(ground);
    await ground.counted();
    const [concerned, other] = [ground.hosts.hold('h2', 'meter'), ground.hosts.hold('h3', 'meter')];
    const kill = { make: [], break: [{ step: 'kill-half', vpcId: red, halfId: halves[0] }] } as const;
    await ground.driver.apply(kill);
    assert.deepEqual([concerned.asked, other.asked], [1, 0]);
    assert.equal(await ground.sendProbe(r1, blue4, { awaited: false }), null);
    for (const { answer } of [concerned, other]) answer();
    assert.equal((await ground.driver.counters()).halves.get(halves[0])?.packets, 1);
  },

  'an addition that shares the transaction of a disconnect is not owed as one': async (ground) => {
    const { sketch, red, blue, halves } = await joined(ground);
    const green = sketch.vpc('green', '10.3.0.0/16');
    const g1 = sketch.port(green, 'g1', ['10.3.0.4']);
    await ground.become(sketch.network());
    await ground.attach(g1, { host: 3 });
    for (const host of ['h2', 'h3']) ground.hosts.lose(host);
    sketch.route(green, '192.0.2.0/24', { kind: 'black-hole' });
    const { make } = await planFor(ground.driver, sketch.network());
    await ground.driver.apply({ make, break: [{ step: 'kill-half', vpcId: red, halfId: halves[0] }] });
    const owed = ground.driver.owed().filter(({ vpcId }) => vpcId !== blue);
    assert.deepEqual(owed, [
      { vpcId: green, notFencedOn: [], notInstalledOn: ['h3'] },
      { vpcId: red, notFencedOn: ['h2'], notInstalledOn: [] },
    ]);
    for (const host of ['h2', 'h3']) ground.hosts.regain(host);
    await ground.until('they have caught up', () => ground.driver.owed().length === 0);
  },

  'a workload is told of new addresses, also when its host was away meanwhile': async (ground) => {
    const { sketch, red, blue, r1, b1 } = await joined(ground);
    sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: ['10.2.7.7', 'fd00:2::77'] });
    await ground.become(sketch.network());
    assert.match(addressesOf(ground, b1), /10\.2\.7\.7/);
    for (const to of ['10.2.7.7', 'fd00:2::77']) assert.equal(await ground.sendProbe(r1, address(to)), b1);
    ground.hosts.lose('h2');
    sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: ['10.2.8.8'] });
    await ground.become(sketch.network());
    assert.match(addressesOf(ground, b1), /10\.2\.7\.7/, 'control: it could not be told');
    ground.hosts.regain('h2');
    await ground.until('the workload follows', () => /10\.2\.8\.8/.test(addressesOf(ground, b1)));
    assert.doesNotMatch(addressesOf(ground, b1), /10\.2\.7\.7/);
    await ground.settled();
    assert.equal(await ground.sendProbe(r1, address('10.2.8.8')), b1);
    assert.ok(red.length > 0);
  },

  'no change waits for a host that does not answer what it is told of its workloads': async (ground) => {
    const { sketch, red, blue, r1, b1 } = await joined(ground);
    const held = ground.hosts.hold('h2', 'follow');
    const first = ['10.2.0.4', '10.2.7.7'] as const;
    sketch.port(blue, 'b1', [first[0]], { secondary: [first[1]] });
    const changed = ground.become(sketch.network());
    await ground.until('its host is asked', () => held.asked > 0);
    sketch.port(blue, 'b1', [first[0]], { secondary: ['10.2.8.8'] });
    sketch.port(red, 'r1', ['10.1.0.4'], { secondary: ['10.1.8.8'] });
    await ground.become(sketch.network());
    assert.match(addressesOf(ground, r1), /10\.1\.8\.8/, 'another host is told at once');
    assert.doesNotMatch(addressesOf(ground, b1), /10\.2\.[78]/, 'control: it still hangs');
    await changed;
    held.answer();
    await ground.until('the newest is what it is told last', () => /10\.2\.8\.8/.test(addressesOf(ground, b1)));
    assert.doesNotMatch(addressesOf(ground, b1), /10\.2\.7\.7/);
  },

  'an interface that goes while its host is away loses its workload when the host is back': async (ground) => {
    const { sketch, blue, r1, b1 } = await joined(ground);
    ground.hosts.lose('h2');
    sketch.site(blue).ports.delete(b1);
    await ground.become(sketch.network());
    assert.equal(ground.agent(2).attachments().length, 1, 'control: nobody could tell its host');
    ground.hosts.regain('h2');
    await ground.until('it is taken off', async () => {
      await ground.driver.observe();
      return ground.agent(2).attachments().length === 0;
    });
    assert.equal(ground.agent(1).attachments()[0]?.portId, r1, 'the other keeps its own');
  },

  'commands go on when the leader of the northbound database dies': async (ground) => {
    const { sketch, red, r1, b1 } = await joined(ground);
    const leader = ground.bed.leader('nb') ?? assert.fail('no leader');
    await ground.bed.killDaemon('nb', leader);
    try {
      sketch.route(red, '192.0.2.0/24', { kind: 'black-hole' });
      await ground.until('another leads', async () => {
        try {
          await ground.become(sketch.network());
          return true;
        } catch (error) {
          assert.ok(error instanceof DriverError && error.code === 'unavailable', String(error));
          return false;
        }
      });
      const { network, damage } = await ground.driver.observe();
      assert.deepEqual([network, damage], [sketch.network(), []]);
      assert.equal(await ground.sendProbe(r1, blue4), b1);
    } finally {
      ground.bed.startDaemon('nb', leader);
      await ground.until('there are three again', () => ground.bed.leader('nb') !== null);
    }
  },
};

test('the OVN driver on three hosts', { skip: cannotRun, timeout: 240_000 }, async (t) => {
  const ground = await Ground.start(t, { strayPatience });
  for (const [what, play] of Object.entries(cases)) {
    await t.test(what, { timeout: 60_000 }, async () => {
      try {
        await play(ground);
      } finally {
        await ground.clear();
      }
    });
  }
});
