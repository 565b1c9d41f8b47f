/**
 * P3 on OVN: a packet that comes over a peering ends in that VPC, whatever routes anybody has laid and whatever an
 * appliance sends. Two things see to it, the empty table of the peering's ports and the guard at the receiver; each is
 * shown to be enough by itself, and without both the packets leak.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Operation, Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import { peerPortOf, peerTable, uuidOf } from '../../src/dataplane/ovn/rows.ts';
import type { PortId, VpcId } from '../../src/model/ids.ts';
import { type Address, linkLocalOf } from '../../src/model/ip.ts';
import { address, Sketch } from '../wire/sketch.ts';
import { cannotRun, Ground, type Shot } from './ground.ts';

/** A, B and C in a row; two interfaces each. */
function chain() {
  const sketch = new Sketch();
  const [a, b, c] = (['a', 'b', 'c'] as const).map((name, at) =>
    sketch.vpc(name, `10.${at + 1}.0.0/16`, `fd00:${at + 1}::/64`),
  ) as [VpcId, VpcId, VpcId];
  const port = (vpc: VpcId, name: string, n: number, host: number, sanityCheck = true) => {
    const texts = [`10.${n}.0.${host + 3}`, `fd00:${n}::${host + 3}`];
    return { id: sketch.port(vpc, name, texts, { sanityCheck }), own: texts.map(address), host };
  };
  const ports = {
    a1: port(a, 'a1', 1, 1),
    a2: port(a, 'a2', 1, 2),
    b1: port(b, 'b1', 2, 2),
    b2: port(b, 'b2', 2, 3),
    c1: port(c, 'c1', 3, 3),
    c2: port(c, 'c2', 3, 1),
  };
  return { sketch, a, b, c, port, ports, ab: sketch.join(a, b), bc: sketch.join(b, c) };
}
type Ends = ReturnType<typeof chain>['ports'];
type End = Ends[keyof Ends];

const fives = 5;
/** Five packets of each family. */
const burst = (from: End, to: End, awaited: boolean): readonly Shot[] =>
  to.own.flatMap((own) => Array.from({ length: fives }, () => ({ from: from.id, to: own, awaited })));
const count = async (ground: Ground, pairs: readonly (readonly [End, End])[], awaited: boolean): Promise<number> => {
  const received = await ground.sendAll(pairs.flatMap(([from, to]) => burst(from, to, awaited)));
  return received.filter((receiver) => receiver !== null).length;
};

test('what comes over a peering ends there, on three hosts', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const ground = await Ground.start(t, { alone: true });
  await t.test('hostile routes', (t) => hostileRoutes(ground, t));
  await ground.clear();
  await t.test('an appliance', () => appliance(ground));
  await ground.clear();
  await t.test('link-local sources', () => linkLocal(ground));
  await ground.clear();
  await t.test('keys in the tunnels', () => tunnelKeys(ground));
});

async function hostileRoutes(ground: Ground, t: TestContext): Promise<void> {
  const { sketch, a, b, c, ports, ab, bc } = chain();
  for (const [vpc, halfId, n] of [
    [a, ab[0], 3],
    [c, bc[1], 1],
  ] as const) {
    sketch.route(vpc, `10.${n}.0.0/16`, { kind: 'peering', halfId });
    sketch.route(vpc, `fd00:${n}::/64`, { kind: 'peering', halfId });
  }
  await ground.become(sketch.network());
  for (const { id, host } of Object.values(ports)) await ground.attach(id, { host, soon: true });
  const { a1, a2, b1, b2, c1, c2 } = ports;
  const hostile = [
    [a1, c1],
    [a2, c2],
    [c1, a1],
    [c2, a2],
  ] as const;
  const all = hostile.length * 2 * fives;
  const neighbours = [
    [a1, b2],
    [b1, a1],
    [b1, c1],
    [c2, b1],
  ] as const;
  assert.equal(await count(ground, neighbours, true), all, 'control: neighbours reach each other');
  assert.equal(await count(ground, hostile, false), 0);

  const { installationId: installation } = ground;
  const peerIn = (table: string): readonly Operation[] =>
    [ab[1], bc[0]].map((half) => ({
      op: 'update',
      table: 'Logical_Router_Port',
      where: [['name', '==', peerPortOf(b, half)]],
      row: { options: ['map', [['route_table', table]]] },
    }));
  const guards = (mutator: 'insert' | 'delete'): readonly Operation[] =>
    [a, c].flatMap((vpc) =>
      (['4', '6'] as const).map((family) => ({
        op: 'mutate',
        table: 'Address_Set',
        where: [['_uuid', '==', ['uuid', uuidOf(installation, 'Address_Set', `${vpc}|reach|${family}`)]]],
        mutations: [['addresses', mutator, ['set', family === '4' ? ['10.0.0.0/8'] : ['fd00::/16']]]],
      })),
    );
  await ground.edit(peerIn('rtb-b000000000'));
  assert.equal(await count(ground, hostile, false), 0, 'the guard alone');
  await ground.edit(guards('insert'));
  assert.equal(await count(ground, hostile, true), all, 'control: without both, all of it leaks');
  await ground.edit(peerIn(peerTable));
  assert.equal(await count(ground, hostile, false), 0, 'the empty table alone');
  await ground.edit(peerIn('rtb-b000000000'));
  assert.equal(await count(ground, hostile, true), all, 'control: and leaks again');

  const { damage, network } = await ground.driver.observe();
  assert.deepEqual(network, sketch.network(), 'nobody asked for that');
  assert.equal(damage.length, 2 + 4, damage.join('; '));
  assert.equal((await ground.driver.repair()).length, 1);
  assert.deepEqual((await ground.driver.observe()).damage, []);
  assert.equal(await count(ground, hostile, false), 0, 'healed');
  assert.equal(await count(ground, neighbours, true), all, 'control: neighbours still reach each other');
  t.diagnostic(`${ground.strays.length} strays`);
}

/** B's appliance may send with any address, inside B. */
async function appliance(ground: Ground): Promise<void> {
  const { sketch, b, port, ports } = chain();
  const { a1, b1, b2, c1 } = ports;
  const x = port(b, 'x', 2, 6, false);
  await ground.become(sketch.network());
  for (const { id, host } of [a1, b1, b2, c1]) await ground.attach(id, { host, soon: true });
  await ground.attach(x.id, { host: 1 });
  /** Who received a packet of the appliance's to each end with this source, both families. */
  const sent = async (source: End | 'elsewhere', ends: readonly End[], awaited: boolean) => {
    const sources = source === 'elsewhere' ? ['198.51.100.7', '2001:db8::7'].map(address) : source.own;
    const shots = ends.flatMap(({ own }) =>
      own.map((to, family): Shot => ({ from: x.id, to, awaited, source: sources[family] as Address })),
    );
    const received = await ground.sendAll(shots);
    return received.map((receiver) => receiver ?? 'nobody');
  };
  const both = (...ids: readonly (PortId | 'nobody')[]) => ids.flatMap((id) => [id, id]);
  assert.deepEqual(await sent(x, [a1, c1, b1], true), both(a1.id, c1.id, b1.id), 'its own addresses go everywhere');
  assert.deepEqual(await sent('elsewhere', [b1, b2], true), both(b1.id, b2.id), 'others inside the VPC');
  assert.deepEqual(await sent(a1, [b1], true), both(b1.id));
  for (const source of ['elsewhere', a1, c1, b1] as const) {
    assert.deepEqual(await sent(source, [a1, c1], false), both('nobody', 'nobody'));
  }
  // Nobody's guard but its own VPC's opens for it; and what stops it is the rule at its port.
  const group = { op: 'mutate', table: 'Port_Group', where: [['name', '==', `pg_${b.replaceAll('-', '_')}`]] };
  const rule = uuidOf(ground.installationId, 'ACL', `${b}|from-lport|1000|${x.id}`);
  await ground.edit([{ ...group, mutations: [['acls', 'delete', ['set', [['uuid', rule]]]]] }]);
  assert.deepEqual(await sent(b1, [a1, c1], true), both(a1.id, c1.id), 'control: without it, as another of its VPC');
  for (const source of ['elsewhere', a1, c1] as const) {
    const others = [a1, c1].filter((end) => end !== source);
    assert.deepEqual(await sent(source, others, false), both(...others.map(() => 'nobody' as const)), 'the guard');
  }
  await ground.driver.observe();
  await ground.driver.repair();
  assert.deepEqual(await sent(b1, [a1, c1], false), both('nobody', 'nobody'), 'healed');
}

/** A link-local source is one of a link: it crosses no router, whatever the guard thinks of it. */
async function linkLocal(ground: Ground): Promise<void> {
  const { sketch, a, b, ports } = chain();
  const { a1, b1, b2 } = ports;
  await ground.become(sketch.network());
  for (const { id, host } of [a1, b1]) await ground.attach(id, { host, soon: true });
  await ground.attach(b2.id, { host: b2.host });
  const sent = (from: End, to: End, source: Address, awaited: boolean) =>
    ground.sendProbe(from.id, to.own[1] as Address, { source, awaited });
  assert.equal(await sent(a1, b1, a1.own[1] as Address, true), b1.id, 'control: its own address');
  assert.equal(await sent(a1, b1, linkLocalOf(sketch.spec(a, a1.id).mac), false), null);
  assert.equal(await sent(b2, b1, linkLocalOf(sketch.spec(b, b2.id).mac), false), null, 'nor by way of the gateway');
}

/** A host that missed the deletion of a VPC sends to a key that nobody else gets. */
async function tunnelKeys(ground: Ground): Promise<void> {
  const south = new Ovsdb({
    remotes: ground.bed.southbound,
    database: 'OVN_Southbound',
    tables: { Datapath_Binding: ['tunnel_key'] },
  });
  try {
    await south.whenConnected(5_000);
    const keys = async (name: string): Promise<readonly number[]> => {
      const sketch = new Sketch();
      sketch.port(sketch.vpc(name, '10.1.0.0/16'), name, ['10.1.0.4']);
      await ground.become(sketch.network());
      await ground.until('it has keys', () => south.rows('Datapath_Binding').size === 2);
      return [...south.rows('Datapath_Binding').values()].map((row) => Number(row['tunnel_key']));
    };
    const before = await keys('gone');
    await ground.become(new Sketch().network());
    await ground.until('its keys are free', () => south.rows('Datapath_Binding').size === 0);
    const after = await keys('next');
    assert.equal(new Set([...before, ...after]).size, 4, `${before} ${after}`);
  } finally {
    south.close();
  }
}
