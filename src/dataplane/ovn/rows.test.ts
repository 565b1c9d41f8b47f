import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address, Sketch } from '../../../test/wire/sketch.ts';
import type { VpcId } from '../../model/ids.ts';
import { linkLocalOf } from '../../model/ip.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import { children, peerLinkLocal, peerMac, references, rowsOf, type WantedRow } from './rows.ts';
import { segmentsOf, UnsuitableSpecError } from './segments.ts';

/** Two VPCs with a half each, both live unless it says otherwise, and a third. */
function world(redLives = true, blueLives = redLives) {
  const sketch = new Sketch();
  const [red, blue, green] = [
    sketch.vpc('red', '10.1.0.0/16', 'fd01::/56'),
    sketch.vpc('blue', '10.2.0.0/16', 'fd02::/56'),
    sketch.vpc('green', '10.3.0.0/16'),
  ];
  sketch.port(red, 'r1', ['10.1.0.4', 'fd01::4']);
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd02::4']);
  sketch.port(green, 'g1', ['10.3.0.4']);
  sketch.half(red, blue, redLives);
  sketch.half(blue, red, blueLives);
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
/** Whom the guard of a VPC lets in. */
const reach = (all: readonly WantedRow[], name: string, family: 4 | 6): unknown =>
  all.find(
    ({ table, columns }) =>
      table === 'Address_Set' && columns['name'] === `reach_vpc_${name.padEnd(10, '0')}_${family}`,
  )?.columns['addresses'];
/** The access lists of a VPC, whole, in the order of their text. */
const accessLists = (sketch: Sketch, vpc: VpcId): readonly string[] =>
  rows(sketch)
    .filter(({ table, columns }) => table === 'ACL' && JSON.stringify(columns['external_ids']).includes(vpc))
    .map(({ columns: { direction, priority, action, match } }) => `${direction} ${priority} ${action} ${match}`)
    .sort();
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

/** What a network says of peerings: ports, routes that lead somewhere, and of whom the guard of red lets in. */
function crossings(sketch: Sketch) {
  const all = rows(sketch);
  const routes = all.filter(({ table }) => table === 'Logical_Router_Static_Route');
  return {
    ports: named(all, 'Logical_Router_Port', /^pcx-/).length,
    routes: routes.filter(({ columns }) => columns['nexthop'] !== 'discard').length,
    discarded: routes.filter(({ columns }) => columns['nexthop'] === 'discard').length,
    reach: reach(all, 'red', 4),
  };
}
const closed = { ports: 0, routes: 0, discarded: 5, reach: ['10.1.0.0/16'] };

test('a route over a half that is not live on both sides is a black hole, there are no ports, and the guard is shut', () => {
  assert.deepEqual(crossings(world(false, false).sketch), closed);
  assert.deepEqual(crossings(world(true, false).sketch), closed, 'the other owner has not consented');
  assert.deepEqual(crossings(world(false, true).sketch), closed, 'nor this one');
  const both = { ports: 2, routes: 4, discarded: 1, reach: ['10.1.0.0/16', '10.2.0.0/16'] };
  assert.deepEqual(crossings(world().sketch), both, 'the control');
});

test('consent to somebody else is none: the live half of the other VPC must name this one', () => {
  const { sketch, blue, green } = world(true, false);
  sketch.half(blue, green, true);
  assert.deepEqual(crossings(sketch), closed);
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

// Neighbours speak from link-local addresses.
const near = 'ip6.src == fe80::/10 && ip6.dst == {fe80::/10, ff02::/16}';

test('the guard lets in the VPC and those that it is joined with, and nobody else', () => {
  const { sketch, red } = world();
  const all = rows(sketch);
  assert.deepEqual(reach(all, 'red', 4), ['10.1.0.0/16', '10.2.0.0/16']);
  assert.deepEqual(reach(all, 'red', 6), ['fd01::/56', 'fd02::/56']);
  assert.deepEqual(reach(all, 'green', 4), ['10.3.0.0/16']);
  assert.deepEqual(reach(all, 'green', 6), []);
  assert.deepEqual(accessLists(sketch, red), [
    'to-lport 1000 drop outport == @pg_vpc_red0000000 && ip',
    'to-lport 1001 allow-stateless outport == @pg_vpc_red0000000 && ' +
      `(ip4.src == $reach_vpc_red0000000_4 || ip6.src == $reach_vpc_red0000000_6 || (${near}))`,
  ]);
  const group = all.find(({ table, columns }) => table === 'Port_Group' && columns['name'] === 'pg_vpc_red0000000');
  const port = named(all, 'Logical_Switch_Port', /^port-r1/)[0];
  assert.deepEqual(group?.columns['ports'], [port?.uuid], 'the guard stands at the interfaces');
  for (const { columns } of named(all, 'Address_Set', /./)) {
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
      [30, 'ip6.src == fe80::/10', 'drop'],
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
  const guard = (name: string, others: string): readonly string[] => [
    `to-lport 1000 ${others} outport == @pg_vpc_${name} && ip`,
    `to-lport 1001 allow-stateless outport == @pg_vpc_${name} && ` +
      `(ip4.src == $reach_vpc_${name}_4 || ip6.src == $reach_vpc_${name}_6 || (${near}))`,
  ];
  assert.deepEqual(accessLists(sketch, red), guard('red0000000', 'drop'));
  const x = sketch.port(red, 'x', ['10.1.0.9', 'fd01::9'], { sanityCheck: false });
  assert.deepEqual(accessLists(sketch, red), [
    `from-lport 1000 drop inport == "${x}" && ` +
      '(ip4.dst == $peers_vpc_red0000000_4 || ip6.dst == $peers_vpc_red0000000_6)',
    `from-lport 1001 allow-stateless inport == "${x}" && (ip4.src == {10.1.0.9} || ip6.src == {fd01::9})`,
    `from-lport 1002 drop inport == "${x}" && arp`,
    `from-lport 1003 allow-stateless inport == "${x}" && arp.spa == {10.1.0.9}`,
    `from-lport 998 drop inport == "${x}"`,
    `from-lport 999 allow-stateless inport == "${x}" && ip`,
    ...guard('red0000000', 'allow-stateless'),
  ]);
  assert.deepEqual(
    named(rows(sketch), 'Address_Set', /^peers_/).map(({ columns }) => [columns['name'], columns['addresses']]),
    [
      ['peers_vpc_red0000000_4', ['10.2.0.0/16']],
      ['peers_vpc_red0000000_6', ['fd02::/56']],
    ],
  );
  assert.deepEqual(accessLists(sketch, blue), guard('blue000000', 'drop'), 'a peer stays closed');
  const { mac } = sketch.spec(red, x);
  assert.deepEqual(security(sketch, /^port-x0/), [mac]);
});

test('the next hop of a route is sent what is for others; its own sources its access lists check', () => {
  const { sketch, red } = world();
  const portId = sketch.port(red, 'x', ['10.1.0.9', 'fd01::9']);
  const { mac } = sketch.spec(red, portId);
  assert.deepEqual(security(sketch, /^port-x0/), [`${mac} 10.1.0.9 fd01::9`]);
  sketch.route(red, '192.0.2.0/24', { kind: 'interface', portId });
  assert.deepEqual(security(sketch, /^port-x0/), [mac]);
  // Without an address only what joins groups is sent: multicast listener reports, of both versions.
  const joins = 'ip6.src == :: && ip6.dst == ff02::/16 && icmp6.type == {131, 143}';
  assert.deepEqual(
    accessLists(sketch, red).filter((line) => line.startsWith('from-lport')),
    [
      `from-lport 1000 drop inport == "${portId}" && ip`,
      `from-lport 1001 allow-stateless inport == "${portId}" && ` +
        `(ip4.src == {10.1.0.9} || ip6.src == {fd01::9, ${linkLocalOf(mac)}} || (${joins}))`,
      `from-lport 1002 drop inport == "${portId}" && arp`,
      `from-lport 1003 allow-stateless inport == "${portId}" && arp.spa == {10.1.0.9}`,
      `from-lport 998 drop inport == "${portId}"`,
    ],
  );
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

test('every switch and router has a key of its own in the tunnels, the same each time', () => {
  const keys = (sketch: Sketch) =>
    rows(sketch).flatMap(({ columns }) => {
      const { 'requested-tnl-key': key } = { ...Object(columns['options']), ...Object(columns['other_config']) };
      return key === undefined ? [] : [Number(key)];
    });
  const all = keys(world().sketch);
  assert.equal(all.length, 6);
  assert.equal(new Set(all).size, 6);
  assert.ok(all.every((key) => key >= 1 && key <= 2 ** 23));
  assert.deepEqual(keys(world().sketch), all);
});

test('the link-local of a peering port is the EUI-64 of its MAC', () => {
  assert.equal(peerMac(1, 2), '0a:fe:00:01:00:02');
  assert.equal(peerLinkLocal(1, 2), 'fe80::8fe:ff:fe01:2');
  assert.equal(peerMac(0x1234, 0xabcd), '0a:fe:12:34:ab:cd');
  assert.equal(peerLinkLocal(0x1234, 0xabcd), 'fe80::8fe:12ff:fe34:abcd');
  const text = peerLinkLocal(0x0a00, 1);
  assert.equal(text, 'fe80::8fe:aff:fe00:1');
  assert.equal(address(text), text, 'as a parsed address is written');
});
