import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address, Sketch } from '../../../test/wire/sketch.ts';
import type { PortId, VpcId } from '../../model/ids.ts';
import { linkLocalOf } from '../../model/ip.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import { children, peerLinkLocal, peerMac, references, rowsOf, type WantedRow } from './rows.ts';
import { segmentsOf, UnsuitableSpecError } from './segments.ts';

/** Two joined VPCs and a third; as rows. */
function world(live = true) {
  const sketch = new Sketch();
  const [red, blue, green] = [
    sketch.vpc('red', '10.1.0.0/16', 'fd01::/56'),
    sketch.vpc('blue', '10.2.0.0/16', 'fd02::/56'),
    sketch.vpc('green', '10.3.0.0/16'),
  ];
  sketch.port(red, 'r1', ['10.1.0.4', 'fd01::4']);
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd02::4']);
  sketch.port(green, 'g1', ['10.3.0.4']);
  sketch.peer(red, blue, live);
  const halfOf = (vpc: VpcId) => sketch.network().vpcs.find(({ vpcId }) => vpcId === vpc)?.halves[0]?.id;
  for (const [vpc, there] of [
    [red, '10.2.0.0/16'],
    [blue, '10.1.0.0/16'],
    [red, 'fd02::/56'],
    [blue, 'fd01::/56'],
  ] as const) {
    const halfId = halfOf(vpc);
    assert.ok(halfId !== undefined);
    sketch.route(vpc, there, { kind: 'peering', halfId });
  }
  sketch.route(red, '0.0.0.0/0', { kind: 'black-hole' });
  return { sketch, red, blue, green };
}
function rows(sketch: Sketch): readonly WantedRow[] {
  const { vpcs } = sketch.network();
  const byId = new Map(vpcs.map((vpc) => [vpc.vpcId, vpc]));
  const numberOf = (vpcId: VpcId) => vpcs.findIndex((vpc) => vpc.vpcId === vpcId) + 1;
  return vpcs.flatMap((spec) => rowsOf({ installationId: 'inst', spec, numberOf, remote: (id) => byId.get(id) }));
}
const named = (all: readonly WantedRow[], table: WantedRow['table'], name: RegExp) =>
  all.filter((row) => row.table === table && name.test(String(row.columns['name'])));

test('every row has a uuid of its own, and every child is named by exactly one parent', () => {
  const all = rows(world().sketch);
  const known = new Map(all.map((row) => [row.uuid, row]));
  assert.equal(known.size, all.length);
  const parents = new Map<string, number>();
  for (const row of all) {
    for (const column of references[row.table]) {
      for (const uuid of row.columns[column] as readonly string[]) {
        assert.ok(known.has(uuid), `${row.table} names a row that is not there`);
        if (row.table !== 'Port_Group' || column === 'acls') parents.set(uuid, (parents.get(uuid) ?? 0) + 1);
      }
    }
  }
  for (const row of all) assert.equal(parents.get(row.uuid) ?? 0, children.has(row.table) ? 1 : 0, row.table);
});

test('a peering is two ports that name each other, on the table in which no route lives', () => {
  const all = rows(world().sketch);
  const ports = named(all, 'Logical_Router_Port', /^pcx-/);
  assert.equal(ports.length, 2);
  const [one, other] = ports;
  assert.deepEqual([one?.columns['peer'], other?.columns['peer']], [[other?.columns['name']], [one?.columns['name']]]);
  for (const port of ports) assert.deepEqual(port.columns['options'], { route_table: 'peer-in' });
  const routes = all.filter(({ table }) => table === 'Logical_Router_Static_Route');
  assert.ok(routes.length > 0 && routes.every(({ columns }) => columns['route_table'] !== 'peer-in'));
});

test('a route over a half that is not live on both sides is a black hole, and there are no ports', () => {
  const { sketch, red } = world(false);
  const all = rows(sketch);
  assert.deepEqual(named(all, 'Logical_Router_Port', /^pcx-/), []);
  const routes = all.filter(({ table }) => table === 'Logical_Router_Static_Route');
  assert.ok(routes.every(({ columns }) => columns['nexthop'] === 'discard'));
  const again = world();
  const live = rows(again.sketch).filter(({ table }) => table === 'Logical_Router_Static_Route');
  assert.equal(live.filter(({ columns }) => columns['nexthop'] !== 'discard').length, 4, 'the control');
  assert.ok(red.length > 0);
});

test('what is in a VPC’s range and in no subnet does not leave by a wider route', () => {
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16');
  sketch.route(red, '0.0.0.0/0', { kind: 'black-hole' });
  const routes = rows(sketch).filter(({ table }) => table === 'Logical_Router_Static_Route');
  assert.deepEqual(routes.map(({ columns }) => [columns['ip_prefix'], columns['nexthop']]).sort(), [
    ['0.0.0.0/0', 'discard'],
    ['10.1.0.0/16', 'discard'],
  ]);
});

test('the guard lets in the VPC and those that it is joined with, and nobody else', () => {
  const { sketch } = world();
  const reach = (all: readonly WantedRow[], name: RegExp) =>
    named(all, 'Address_Set', name).map(({ columns }) => columns['addresses']);
  assert.deepEqual(reach(rows(sketch), /^reach_vpc_red.*_4$/), [['10.1.0.0/16', '10.2.0.0/16']]);
  assert.deepEqual(reach(rows(sketch), /^reach_vpc_green.*_4$/), [['10.3.0.0/16']]);
  assert.deepEqual(reach(rows(world(false).sketch), /^reach_vpc_red.*_4$/), [['10.1.0.0/16']]);
  for (const { columns } of named(rows(sketch), 'Address_Set', /./)) {
    assert.match(String(columns['name']), /^[a-zA-Z_.][a-zA-Z_.0-9]*$/);
  }
});

test('a router lets through to addresses that somebody has, and to no others of its subnets', () => {
  const { sketch, red } = world();
  const all = rows(sketch).filter(({ columns }) => JSON.stringify(columns['external_ids']).includes(red));
  const policies = all.filter(({ table }) => table === 'Logical_Router_Policy').map(({ columns }) => columns);
  assert.deepEqual(
    policies.map(({ priority, match, action }) => [priority, match, action]).sort(),
    [
      [10, 'ip4.dst == {10.1.0.0/16} || ip6.dst == {fd01::/56}', 'drop'],
      [20, 'ip4.dst == $known_vpc_red0000000_4 || ip6.dst == $known_vpc_red0000000_6', 'allow'],
    ].sort(),
  );
  assert.deepEqual(
    named(all, 'Address_Set', /^known_/).map(({ columns }) => columns['addresses']),
    [['10.1.0.4'], ['fd01::4']],
  );
});

const security = (sketch: Sketch, name: RegExp) =>
  named(rows(sketch), 'Logical_Switch_Port', name)[0]?.columns['port_security'];

test('who has no source check opens the guard of its own VPC, and keeps its own addresses towards peers', () => {
  const { sketch, red, blue } = world();
  const acls = (vpc: VpcId) =>
    rows(sketch)
      .filter(({ table, columns }) => table === 'ACL' && JSON.stringify(columns['external_ids']).includes(vpc))
      .map(({ columns }) => `${columns['direction']} ${columns['priority']} ${columns['action']}`)
      .sort();
  const closed = ['to-lport 1000 drop', 'to-lport 1001 allow-stateless'];
  assert.deepEqual(acls(red), closed);
  sketch.port(red, 'x', ['10.1.0.9', 'fd01::9'], { sanityCheck: false });
  assert.deepEqual(acls(red), [
    'from-lport 1000 drop',
    'from-lport 1001 allow-stateless',
    'from-lport 1002 drop',
    'from-lport 1003 allow-stateless',
    'to-lport 1000 allow-stateless',
    'to-lport 1001 allow-stateless',
  ]);
  assert.deepEqual(acls(blue), closed, 'a peer stays closed');
  const { mac } = sketch.spec(red, 'port-x000000000' as PortId);
  assert.deepEqual(security(sketch, /^port-x0/), [mac, `${mac} 0.0.0.0/0 ::/0`]);
});

test('the next hop of a route is sent what is for others; its own sources its access lists check', () => {
  const { sketch, red } = world();
  const portId = sketch.port(red, 'x', ['10.1.0.9', 'fd01::9']);
  const { mac } = sketch.spec(red, portId);
  assert.deepEqual(security(sketch, /^port-x0/), [`${mac} 10.1.0.9 fd01::9`]);
  sketch.route(red, '192.0.2.0/24', { kind: 'interface', portId });
  assert.deepEqual(security(sketch, /^port-x0/), [mac, `${mac} 0.0.0.0/0 ::/0`]);
  const own = `inport == "${portId}" && (ip4.src == {10.1.0.9} || ip6.src == {fd01::9, ${linkLocalOf(mac)}} || (`;
  const lists = rows(sketch)
    .filter(({ table, columns }) => table === 'ACL' && String(columns['match']).includes(portId))
    .map(({ columns }) => `${columns['priority']} ${columns['action']} ${columns['match']}`)
    .sort();
  assert.equal(lists.length, 4);
  assert.equal(lists[0], `1000 drop inport == "${portId}" && ip`);
  assert.ok(lists[1]?.startsWith(`1001 allow-stateless ${own}`) === true, String(lists[1]));
  assert.equal(lists[2], `1002 drop inport == "${portId}" && arp`);
  assert.equal(lists[3], `1003 allow-stateless inport == "${portId}" && arp.spa == {10.1.0.9}`);
});

test('interfaces that share a gateway are in one subnet; two route tables in one are refused', () => {
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16', 'fd01::/56');
  sketch.port(red, 'a', ['10.1.0.4']);
  sketch.port(red, 'b', ['10.1.0.5', 'fd01::5']);
  sketch.port(red, 'c', ['fd01::6']);
  const spec = (): VpcSpec => sketch.network().vpcs[0] as VpcSpec;
  assert.deepEqual(
    segmentsOf(spec()).map(({ interfaces }) => interfaces.length),
    [3],
  );
  const table = sketch.table(red, 'second');
  sketch.port(red, 'd', ['10.1.0.9'], { table });
  assert.throws(() => segmentsOf(spec()), UnsuitableSpecError);
});

test('the link-local of a peering port is the EUI-64 of its MAC', () => {
  assert.equal(peerMac(1, 2), '0a:fe:00:01:00:02');
  assert.equal(peerLinkLocal(1, 2), 'fe80::8fe:ff:fe01:2');
  assert.equal(peerMac(0x1234, 0xabcd), '0a:fe:12:34:ab:cd');
  assert.equal(peerLinkLocal(0x1234, 0xabcd), 'fe80::8fe:12ff:fe34:abcd');
  assert.ok(address(peerLinkLocal(0x0a00, 1)) !== undefined, 'canonical');
});
