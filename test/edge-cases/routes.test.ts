/** Routes decide: what is not routed is not carried, the longest prefix wins, and changing one loses no packet. */
import assert from 'node:assert/strict';
import type { HalfId, PortId, RouteTableId } from '../../src/model/ids.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import type { World } from '../matrix/world.ts';
import { address } from '../wire/sketch.ts';
import { addressesOf, onBoth, oneFamily, pair, reaches, type Site } from './ground.ts';

const everywhere = ['0.0.0.0/0', '::/0'] as const;
const families = [4, 6] as const;

/** Both halves, and no route. */
async function peered(w: World, a: Site, b: Site): Promise<readonly [HalfId, HalfId]> {
  return [await w.half(a.vpcId, b.vpcId), await w.half(b.vpcId, a.vpcId)];
}
const table = async (w: World, { vpcId }: Pick<Site, 'vpcId'>, name = 'x'): Promise<RouteTableId> =>
  (await w.give(vpcId, { kind: 'create-route-table', vpcId, name, description: '' })) as RouteTableId;
/** What the plane says of a packet from one workload to the other. */
async function traced(w: World, from: Site, to: Site, family: 4 | 6) {
  const { id, mac } = w.interface(from.portId);
  const [source, destination] = [from, to].map((site) => oneFamily(addressesOf(w, site), family));
  const rest = { destinationMac: gatewayMac, ttl: 64, length: 60, protocol: 'udp' } as const;
  return w.region.trace({
    from: id,
    sourceMac: mac,
    source: source ?? assert.fail(),
    destination: destination ?? assert.fail(),
    ...rest,
  });
}

onBoth('23. Connected without routes carries nothing, either way', async (w) => {
  const [a, b] = await pair(w);
  for (const { tableId } of [a, b]) await w.unroute(tableId, everywhere[0]); // to the internet, from the start
  const [ab, ba] = await peered(w, a, b);
  assert.equal(await w.sends(a.portId, b.portId), 'NoRoute');
  assert.equal(await w.sends(b.portId, a.portId), 'NoRoute');
  await w.matrix();
  await w.route(a.tableId, ab, ...b.cidrs);
  await w.route(b.tableId, ba, ...a.cidrs);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
  assert.equal(await w.sends(b.portId, a.portId), 'delivered', 'control');
});

onBoth(
  '24. with a route on one side only requests arrive, replies do not, and the trace names the table',
  async (w) => {
    const [a, b] = await pair(w);
    await w.unroute(b.tableId, everywhere[0]);
    const [ab, ba] = await peered(w, a, b);
    await w.route(a.tableId, ab, ...b.cidrs);
    assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    assert.equal(await w.sends(b.portId, a.portId), 'NoRoute');
    for (const family of families) {
      assert.equal((await traced(w, a, b, family)).kind, 'delivered');
      const reply = await traced(w, b, a, family);
      assert.ok(reply.kind === 'dropped');
      assert.deepEqual([reply.reason, reply.object], ['NoRoute', b.tableId]);
    }
    await w.route(b.tableId, ba, ...a.cidrs);
    assert.equal(await w.sends(b.portId, a.portId), 'delivered', 'control');
    for (const family of families) assert.equal((await traced(w, b, a, family)).kind, 'delivered');
  },
);

onBoth('25. a route to a half that is not Connected drops and counts, and takes no shorter route', async (w) => {
  const a = await w.site('red', 'a', 1);
  const b = await w.site('blue', 'b', 2);
  const [ab, ba] = await peered(w, a, b);
  await w.route(a.tableId, ab, ...b.cidrs);
  // C stands where B stands and is reached by default: were the dead route passed over, C would hear it.
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  await w.give(a.vpcId, { kind: 'delete-peering', halfId: ab });
  const c = await w.site('green', 'c', 2);
  const [ac] = await peered(w, a, c);
  await w.unroute(a.tableId, everywhere[0]);
  await w.route(a.tableId, ac, ...everywhere);
  const targets = addressesOf(w, c);
  assert.deepEqual(targets, addressesOf(w, b), 'the same addresses in both');
  const refused = async (state: string): Promise<void> => {
    assert.equal(w.state.get('peering', ab)?.state ?? 'deleted', state);
    const before = (await w.region.counters()).exits.get(a.portId)?.get('NoPeering')?.packets ?? 0;
    for (const to of targets) assert.equal(await reaches(w, a.portId, to), 'NoPeering', state);
    const after = (await w.region.counters()).exits.get(a.portId)?.get('NoPeering')?.packets ?? 0;
    assert.equal(after - before, targets.length, 'each is counted once');
    await w.matrix();
  };
  await refused('deleted');
  assert.equal(await w.half(a.vpcId, b.vpcId, 'again'), ab);
  await refused('Initiated');
  await w.half(b.vpcId, a.vpcId, 'again-b');
  for (const to of targets) assert.equal(await reaches(w, a.portId, to, b.portId), 'delivered', 'control');
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  await refused('Disconnected');
  for (const cidr of b.cidrs) await w.unroute(a.tableId, cidr);
  for (const to of targets) assert.equal(await reaches(w, a.portId, to, c.portId), 'delivered', 'control');
});

onBoth('26. the longest prefix wins among nested ones, and Local over all of them', async (w) => {
  const a = await w.site('red', 'a', 200);
  const nested = [
    [
      '10.0.0.0/9',
      'fd00::/32',
      ['10.9.9.9', '10.2.9.9', '10.2.3.4'],
      ['fd00:0:9::9', 'fd00:0:2:9::9', 'fd00:0:2:3::4'],
    ],
    ['10.2.0.0/16', 'fd00:0:2::/48', ['10.2.9.9', '10.2.3.4'], ['fd00:0:2:9::9', 'fd00:0:2:3::4']],
    ['10.2.3.0/24', 'fd00:0:2:3::/64', ['10.2.3.4'], ['fd00:0:2:3::4']],
  ] as const;
  const ports: PortId[] = [];
  for (const [at, [v4, v6, own4, own6]] of nested.entries()) {
    const vpcId = await w.vpc(`t${at}`, `v${at}`, v4, v6);
    const subnetId = await w.subnet(vpcId, 's', v4, v6);
    const primary = [own4[0], own6[0]].map(address);
    const secondary = [...own4.slice(1), ...own6.slice(1)].map(address);
    ports.push(await w.port(subnetId, { primary, secondary }));
    await w.join(a.vpcId, vpcId);
  }
  const wins = async (to: string): Promise<number> => {
    const probe = await w.carrier.probe(a.portId, address(to), false);
    return 'delivered' in probe ? ports.indexOf(probe.delivered) : -1;
  };
  for (const [at, [, , own4, own6]] of nested.entries()) {
    for (const to of [own4[0], own6[0]]) assert.equal(await wins(to), at, to);
  }
  // Local: a wider route cannot take what is the VPC's own, whether somebody is there or not.
  const [half] = [...w.state.all('peering')].filter(({ localVpcId }) => localVpcId === a.vpcId);
  await w.route(a.tableId, half?.id ?? '', '10.192.0.0/10', 'fd00::/16');
  const neighbour = await w.port(a.subnetId);
  assert.equal(await w.sends(a.portId, neighbour), 'delivered');
  for (const to of ['10.200.99.99', 'fd00:200::9999']) {
    const path = await w.carrier.probe(a.portId, address(to), false);
    assert.deepEqual(path, { exit: 'NoSuchAddress' });
  }
  const { view } = await w.carrier.observed();
  assert.deepEqual(view.route(a.vpcId, a.tableId, address('10.200.99.99'))?.target, { kind: 'local' });
  await w.matrix();
});

onBoth('27. the subnet whose table has the route reaches the peer, the other one does not', async (w) => {
  const [a, b] = await pair(w);
  const [ab, ba] = await peered(w, a, b);
  await w.give(a.vpcId, { kind: 'add-cidr', vpcId: a.vpcId, cidr: '192.168.0.0/16' as never });
  const other = await w.port(await w.subnet(a.vpcId, 'other', '192.168.1.0/24'));
  await w.route(b.tableId, ba, ...w.rangesOf(a.vpcId));
  const routed = await table(w, a);
  await w.route(routed, ab, ...b.cidrs);
  assert.equal(await w.sends(a.portId, b.portId), 'BlackHole/NoRoute', 'the table is not in use yet');
  await w.give(a.vpcId, { kind: 'associate-route-table', routeTableId: routed, subnetIds: [a.subnetId] });
  assert.equal(await w.sends(a.portId, b.portId), 'delivered');
  assert.equal(await w.sends(other, b.portId), 'BlackHole');
  assert.equal(await w.sends(other, a.portId), 'delivered', 'control: inside the VPC it speaks');
  await w.matrix();
});

onBoth('30. VPCs with several subnets peer fully: every pair of subnets, both families', async (w) => {
  const [a, b] = [
    await w.vpc('red', 'a', '10.1.0.0/16', 'fd00:1::/56'),
    await w.vpc('blue', 'b', '10.2.0.0/16', 'fd00:2::/56'),
  ];
  const ports: PortId[][] = [[], []];
  const grow = async (side: 0 | 1, n: number): Promise<void> => {
    const cidrs = [`10.${side + 1}.${n}.0/24`, `fd00:${side + 1}:0:${n}::/64`];
    ports[side]?.push(await w.port(await w.subnet(side === 0 ? a : b, `s${n}`, ...cidrs)));
  };
  for (const n of [1, 2]) for (const side of [0, 1] as const) await grow(side, n);
  await w.join(a, b);
  for (const side of [0, 1] as const) await grow(side, 3); // a subnet made later is no different
  const crossed: string[] = [];
  for (const from of ports[0] ?? []) {
    for (const to of ports[1] ?? []) crossed.push(await w.sends(from, to), await w.sends(to, from));
  }
  assert.deepEqual(crossed, Array(18).fill('delivered'));
  const cells = await w.matrix();
  const between = cells.filter(({ from, words }) => {
    const to = words.startsWith('to ') ? (words.slice(3) as PortId) : undefined;
    return to !== undefined && w.interface(from).vpcId !== w.interface(to).vpcId;
  });
  assert.equal(between.length, 36, 'every pair of subnets, both ways, both families, is in the matrix');
});
