import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger, type Of } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import type { HalfId, PortId, RouteRuleId, RouteTableId } from '../model/ids.ts';
import type { NextHop } from '../model/resources.ts';

const internet: NextHop = { kind: 'internet' };
const add = (routeTableId: RouteTableId, ...of: readonly (readonly [string, NextHop?])[]): Of<'add-routes'> => ({
  kind: 'add-routes',
  routeTableId,
  routes: of.map(([text, nextHop = internet]) => ({ destination: prefix(text), nextHop })),
});
/** A tenant with a VPC of both families whose default table has no rule left. */
function site() {
  const ledger = new Ledger();
  const red = ledger.site('red', '10.1.0.0/16', 'fd00:1::/64');
  const ruleIds = ledger.get('route-table', red.tableId).rules.map(({ id }) => id);
  ledger.done({ kind: 'remove-routes', routeTableId: red.tableId, ruleIds }, red.account);
  const destinations = () => ledger.get('route-table', red.tableId).rules.map(({ destination }) => destination);
  const idOf = (destination: string): RouteRuleId => {
    const rule = ledger.get('route-table', red.tableId).rules.find((one) => one.destination === destination);
    assert.ok(rule !== undefined);
    return rule.id;
  };
  return { ledger, red, table: red.tableId, destinations, idOf };
}

const reserved = [
  ['169.254.0.0/16', 'link-local'],
  ['169.254.169.254/32', 'link-local'],
  ['fe80::/10', 'link-local'],
  ['fe80::/64', 'link-local'],
  ['127.0.0.0/8', 'loopback'],
  ['127.0.0.1/32', 'loopback'],
  ['::1/128', 'loopback'],
  ['::/128', 'unspecified'],
  ['0.0.0.0/8', 'unspecified'],
  ['0.0.0.0/32', 'unspecified'],
  ['224.0.0.0/4', 'multicast'],
  ['239.1.0.0/16', 'multicast'],
  ['ff00::/8', 'multicast'],
  ['ff02::1/128', 'multicast'],
  ['255.255.255.255/32', 'reserved'],
  ['240.0.0.0/4', 'reserved'],
] as const;
const local = [
  ['10.1.0.0/16', '10.1.0.0/16'],
  ['10.1.255.0/24', '10.1.0.0/16'],
  ['10.1.0.4/32', '10.1.0.0/16'],
  ['fd00:1::/64', 'fd00:1::/64'],
  ['fd00:1::4/128', 'fd00:1::/64'],
] as const;
/** Neighbours of what is refused, and what is wider than it. */
const allowed = [
  ...['0.0.0.0/0', '::/0', '10.0.0.0/8', '10.0.0.0/15', '10.2.0.0/16', '1.0.0.0/8', '126.0.0.0/8', '128.0.0.0/8'],
  ...[
    '169.252.0.0/15',
    '169.255.0.0/16',
    '223.0.0.0/8',
    '::2/128',
    'fd00::/16',
    'fd00:2::/64',
    'fec0::/10',
    'fe00::/9',
  ],
];

test('22. a destination that no route can lead to is refused by both add and modify, and says what it is', () => {
  const { ledger, red, table, destinations, idOf } = site();
  ledger.done(add(table, ['10.9.0.0/16']), red.account);
  for (const [text, what] of reserved) {
    const modify = { ruleId: idOf('10.9.0.0/16'), destination: prefix(text) };
    for (const refusal of [
      ledger.refused(add(table, [text]), red.account),
      ledger.refused({ kind: 'modify-routes', routeTableId: table, routes: [modify] }, red.account),
    ]) {
      assert.equal(refusal.code, 'destination-reserved', text);
      assert.ok(refusal.text.includes(what), refusal.text);
    }
  }
  assert.deepEqual(destinations(), ['10.9.0.0/16']);
});

test('22. 26. a destination inside an own range is refused by both add and modify: Local always wins', () => {
  const { ledger, red, table, idOf } = site();
  ledger.done(add(table, ['10.9.0.0/16']), red.account);
  for (const [text, range] of local) {
    const modify = { ruleId: idOf('10.9.0.0/16'), destination: prefix(text) };
    for (const refusal of [
      ledger.refused(add(table, [text]), red.account),
      ledger.refused({ kind: 'modify-routes', routeTableId: table, routes: [modify] }, red.account),
    ]) {
      assert.equal(refusal.code, 'destination-local', text);
      assert.equal(refusal.params['local'], range);
    }
  }
});

test('22. the control: what only touches those ranges, or contains them, is a destination like any other', () => {
  const { ledger, red, table, destinations } = site();
  ledger.done(add(table, ...allowed.map((text) => [text] as const)), red.account);
  assert.deepEqual(destinations(), allowed);
});

test('26. an equal prefix twice is refused: beside another rule, within one request, and by modification', () => {
  const { ledger, red, table, destinations, idOf } = site();
  ledger.done(add(table, ['10.9.0.0/16'], ['fd00:9::/64']), red.account);
  for (const command of [
    add(table, ['10.9.0.0/16']),
    add(table, ['fd00:9::/64']),
    add(table, ['10.8.0.0/16'], ['10.8.0.0/16']),
    {
      kind: 'modify-routes',
      routeTableId: table,
      routes: [{ ruleId: idOf('fd00:9::/64'), destination: prefix('10.9.0.0/16') }],
    },
  ] as const) {
    assert.equal(ledger.refused(command, red.account).code, 'destination-taken');
  }
  // Other lengths of the same network are other prefixes, and another table has its own.
  ledger.done(add(table, ['10.9.0.0/17'], ['10.8.0.0/15']), red.account);
  const other = { kind: 'create-route-table', vpcId: red.vpcId, name: 't', description: '' } as const;
  ledger.done(add(ledger.done(other, red.account) as RouteTableId, ['10.9.0.0/16']), red.account);
  assert.equal(destinations().length, 4);
});

test('26. two rules may swap their destinations in one request, and not in two', () => {
  const { ledger, red, table, destinations, idOf } = site();
  ledger.done(add(table, ['10.8.0.0/16'], ['10.9.0.0/16']), red.account);
  const [eight, nine] = [idOf('10.8.0.0/16'), idOf('10.9.0.0/16')];
  const to = (ruleId: RouteRuleId, text: string) => ({ ruleId, destination: prefix(text) });
  const modify = (...routes: readonly ReturnType<typeof to>[]): Of<'modify-routes'> => ({
    kind: 'modify-routes',
    routeTableId: table,
    routes,
  });
  assert.equal(ledger.refused(modify(to(eight, '10.9.0.0/16')), red.account).code, 'destination-taken');
  ledger.done(modify(to(eight, '10.9.0.0/16'), to(nine, '10.8.0.0/16')), red.account);
  assert.deepEqual(destinations(), ['10.9.0.0/16', '10.8.0.0/16']);
  assert.equal(idOf('10.9.0.0/16'), eight, 'a rule keeps its id');
});

test('a table holds 50 rules; Local does not count among them, and a request over it adds none', () => {
  const { ledger, red, table, destinations } = site();
  const rule = (n: number) => [`10.9.${n}.0/24`] as const;
  const fifty = Array.from({ length: 50 }, (_, n) => rule(n));
  assert.equal(ledger.refused(add(table, ...fifty, rule(50)), red.account).code, 'quota-exceeded');
  assert.deepEqual(destinations(), [], 'all of a request or nothing');
  ledger.done(add(table, ...fifty), red.account);
  assert.equal(destinations().length, 50);
  assert.equal(ledger.refused(add(table, rule(51)), red.account).code, 'quota-exceeded');
  ledger.done(
    {
      kind: 'remove-routes',
      routeTableId: table,
      ruleIds: [ledger.get('route-table', table).rules[7]?.id as RouteRuleId],
    },
    red.account,
  );
  ledger.done(add(table, rule(51)), red.account);
});

test('the Local rule cannot be changed or removed; another rule can', () => {
  const { ledger, red, table } = site();
  const { localRuleId } = ledger.get('route-table', table);
  const modify = { kind: 'modify-routes', routeTableId: table } as const;
  const routes = [{ ruleId: localRuleId, nextHop: internet }];
  assert.equal(ledger.refused({ ...modify, routes }, red.account).code, 'local-rule');
  const remove = { kind: 'remove-routes', routeTableId: table, ruleIds: [localRuleId] } as const;
  assert.equal(ledger.refused(remove, red.account).code, 'local-rule');
  ledger.done(add(table, ['10.9.0.0/16']), red.account);
  const ruleIds = ledger.get('route-table', table).rules.map(({ id }) => id);
  assert.equal(ledger.refused({ ...remove, ruleIds: [...ruleIds, localRuleId] }, red.account).code, 'local-rule');
  ledger.done({ ...remove, ruleIds }, red.account);
});

test('25. a rule may name an own half in any state, and stays when the half goes', () => {
  const { ledger, red, table, destinations } = site();
  const blue = ledger.site('blue', '10.2.0.0/16');
  const half = ledger.half(red.vpcId, blue.vpcId);
  const hop: NextHop = { kind: 'peering', halfId: half };
  ledger.done(add(table, ['10.2.0.0/24', hop]), red.account);
  const back = ledger.half(blue.vpcId, red.vpcId);
  ledger.done(add(table, ['10.2.1.0/24', hop]), red.account);
  ledger.done({ kind: 'delete-peering', halfId: back }, blue.account);
  assert.equal(ledger.stateOf(red.vpcId, blue.vpcId), 'Disconnected');
  ledger.done(add(table, ['10.2.2.0/24', hop]), red.account);
  ledger.done({ kind: 'delete-peering', halfId: half }, red.account);
  assert.deepEqual(destinations(), ['10.2.0.0/24', '10.2.1.0/24', '10.2.2.0/24']);
  assert.equal(ledger.refused(add(table, ['10.2.3.0/24', hop]), red.account).code, 'not-found', 'one that is gone');
});

test('a next hop is an object of the same VPC; a foreign one is refused like one that does not exist', () => {
  const { ledger, red, table } = site();
  const blue = ledger.site('blue', '10.2.0.0/16');
  const foreign = ledger.half(blue.vpcId, red.vpcId);
  const [noHalf, noPort] = ['vpcpr-0000000000' as HalfId, 'port-0000000000' as PortId];
  for (const [theirs, none] of [
    [
      { kind: 'peering', halfId: foreign },
      { kind: 'peering', halfId: noHalf },
    ],
    [
      { kind: 'interface', portId: blue.portId },
      { kind: 'interface', portId: noPort },
    ],
  ] as const) {
    const [id, unknown] = [theirs, none].map((hop) => ('halfId' in hop ? hop.halfId : hop.portId));
    const refusal = ledger.refused(add(table, ['10.9.0.0/16', theirs]), red.account);
    assert.equal(refusal.code, 'not-found');
    const other = ledger.refused(add(table, ['10.9.0.0/16', none]), red.account);
    assert.equal(JSON.stringify(refusal).replaceAll(id ?? '', unknown ?? ''), JSON.stringify(other));
  }
  const second = ledger.vpc(red.account, '10.3.0.0/16');
  const elsewhere = ledger.half(second, blue.vpcId);
  const port = ledger.port(ledger.subnet(second, '10.3.0.0/24'));
  for (const hop of [
    { kind: 'peering', halfId: elsewhere },
    { kind: 'interface', portId: port },
  ] as const) {
    assert.equal(ledger.refused(add(table, ['10.9.0.0/16', hop]), red.account).code, 'not-same-vpc');
  }
  ledger.done(add(table, ['10.9.0.0/16', { kind: 'interface', portId: red.portId }]), red.account);
});

test('one bad rule in a request leaves the table as it was', () => {
  const { ledger, red, table, destinations } = site();
  const before = ledger.state.revision;
  ledger.refused(add(table, ['10.8.0.0/16'], ['127.0.0.0/8']), red.account);
  assert.deepEqual(destinations(), []);
  assert.equal(ledger.state.revision, before);
  ledger.done(add(table, ['10.8.0.0/16'], ['128.0.0.0/8']), red.account);
});
