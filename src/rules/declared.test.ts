/** Declared networks: one change leads there, a second finds nothing to do, and nothing without the label is touched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import type { DeclaredNetwork, DeclaredVpc } from '../model/declared.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';
import type { NetworkCommand } from './commands.ts';

const port = (name: string) => ({ name, description: '', addresses: [], secondary: [], sourceCheck: true });
const subnet = (name: string, cidr: string, ...ports: readonly string[]) => ({
  name,
  description: '',
  cidrs: [prefix(cidr)],
  routeTable: null,
  interfaces: ports.map(port),
});
const vpc = (name: string, n: number, more: Partial<DeclaredVpc> = {}): DeclaredVpc => ({
  name,
  description: '',
  cidrs: [prefix(`10.${n}.0.0/16`)],
  routes: [],
  routeTables: [],
  subnets: [subnet('web', `10.${n}.1.0/24`, 'web-1')],
  ...more,
});
const peering = (name: string, from: string, remote: string) => ({ name, description: '', vpc: from, remote });
const via = (to: string, name: string) =>
  ({ to: prefix(to), via: { kind: 'peering', peering: name }, description: '' }) as const;

/** Two VPCs of one owner, joined, with routes both ways. */
const pair: DeclaredNetwork = {
  name: 'shop',
  vpcs: [
    vpc('front', 1, { routes: [via('10.2.0.0/16', 'to-back')] }),
    vpc('back', 2, { routes: [via('10.1.0.0/16', 'to-front')] }),
  ],
  peerings: [peering('to-back', 'front', 'back'), peering('to-front', 'back', 'front')],
};
const apply = (network: DeclaredNetwork, most = 500): NetworkCommand => ({ kind: 'apply-network', network, most });

function ground() {
  const ledger = new Ledger();
  const owner = ledger.account('red');
  const give = (network: DeclaredNetwork, most?: number) => {
    const decision = ledger.submit(apply(network, most), owner);
    assert.ok(!isRefusal(decision), JSON.stringify(decision));
    return decision;
  };
  return { ledger, owner, give };
}
const all = (ledger: Ledger): readonly Resource[] =>
  (['vpc', 'subnet', 'route-table', 'peering', 'interface'] as const).flatMap((kind) => [...ledger.state.all(kind)]);

test('one change makes all of it, and a second finds nothing to do', () => {
  const { ledger, owner, give } = ground();
  const { result } = give(pair);
  assert.equal(result.steps, 10, '2 VPCs, 2 subnets, 2 interfaces, 2 halves, 2 tables with rules');
  const [front, back] = ['front', 'back'].map((name) =>
    ledger.state.children('vpc', owner).find((one) => one.name === name),
  );
  assert.ok(front !== undefined && back !== undefined);
  assert.equal(ledger.stateOf(front.id, back.id), 'Connected');
  assert.deepEqual(
    all(ledger).filter((one) => one.kind !== 'route-table' && (one as { labels?: object }).labels === undefined),
    [],
  );
  assert.deepEqual(give(pair).changes, []);
});

test('what is declared no more goes, with nothing that others made; an empty file takes all of it', () => {
  const { ledger, owner, give } = ground();
  give(pair);
  const front = ledger.state.children('vpc', owner).find(({ name }) => name === 'front');
  assert.ok(front !== undefined);
  const byHand = ledger.subnet(front.id, '10.1.9.0/24');
  const table = ledger.get('route-table', front.defaultRouteTableId);
  ledger.done(
    {
      kind: 'add-routes',
      routeTableId: table.id,
      routes: [{ destination: prefix('192.168.0.0/16'), nextHop: { kind: 'internet' } }],
    },
    owner,
  );
  give({ ...pair, vpcs: [vpc('front', 1, { subnets: [] })], peerings: [] });
  assert.deepEqual(
    [...ledger.state.all('vpc')].map(({ name }) => name),
    ['front'],
  );
  assert.deepEqual(
    [...ledger.state.all('subnet')].map(({ id }) => id),
    [byHand],
  );
  assert.deepEqual(
    ledger.get('route-table', table.id).rules.map(({ destination }) => destination),
    ['0.0.0.0/0', '192.168.0.0/16'],
  );
  const blocked = ledger.submit(apply({ name: 'shop', vpcs: [], peerings: [] }), owner);
  assert.ok(isRefusal(blocked) && blocked.code === 'vpc-has-subnets', 'a subnet by hand keeps its VPC');
  ledger.done({ kind: 'delete-subnet', subnetId: byHand }, owner);
  give({ name: 'shop', vpcs: [], peerings: [] });
  assert.deepEqual(all(ledger), []);
});

test('another network of the same account is not touched, though its names are the same', () => {
  const { ledger, give } = ground();
  give({ name: 'one', vpcs: [vpc('front', 1)], peerings: [] });
  give({ name: 'two', vpcs: [vpc('front', 1)], peerings: [] });
  assert.equal(all(ledger).filter(({ kind }) => kind === 'vpc').length, 2);
  give({ name: 'one', vpcs: [], peerings: [] });
  assert.deepEqual(
    [...ledger.state.all('vpc')].map(({ labels }) => labels?.network),
    ['two'],
  );
});

test('a rule by hand for a declared destination is taken over', () => {
  const { ledger, owner, give } = ground();
  give({ ...pair, vpcs: [vpc('front', 1, { routes: [via('0.0.0.0/0', 'to-back')] }), vpc('back', 2)] });
  const front = ledger.state.children('vpc', owner).find(({ name }) => name === 'front');
  const [rule, ...more] = ledger.get('route-table', front?.defaultRouteTableId ?? '').rules;
  assert.deepEqual([rule?.nextHop.kind, rule?.labels?.network, more.length], ['peering', 'shop', 0]);
});

test('what cannot be changed is refused, with its name and what to do', () => {
  const { ledger, owner, give } = ground();
  give(pair);
  const moved = { ...pair, vpcs: [vpc('front', 1, { subnets: [subnet('web', '10.1.2.0/24')] }), vpc('back', 2)] };
  const refusal = ledger.submit(apply(moved), owner);
  assert.ok(isRefusal(refusal) && refusal.code === 'declared-fixed');
  assert.match(
    refusal.text,
    /cidrs of subnet front\/web: subnet-\w+ has 10\.1\.1\.0\/24, the file says 10\.1\.2\.0\/24/,
  );
});

test('a plan too long for one change is carried out in parts, and each part is valid by itself', () => {
  const { ledger, give } = ground();
  for (const [done, left] of [
    [4, 6],
    [4, 2],
    [2, 0],
    [0, 0],
  ]) {
    const { result } = give(pair, 4);
    assert.deepEqual([result.steps, result.left], [done, left]);
  }
  assert.equal(
    [...ledger.state.all('peering')].every(({ state }) => state === 'Connected'),
    true,
  );
});

test('after any history an application is refused whole, or leads to where nothing is left to do', () => {
  let done = 0;
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 80 }), draw, (before, one) => {
      const ledger = new Ledger();
      populate(ledger);
      for (const earlier of before) {
        const command = commandOf(ledger.view, earlier);
        ledger.submit(command, giverOf(ledger, command, earlier));
      }
      const owner = [...ledger.state.all('account')][0]?.id as AccountId;
      const drawn = commandOf(ledger.view, { ...one, kind: 'apply-network' });
      assert.ok(drawn.kind === 'apply-network');
      const command = { ...drawn, most: 500 };
      const own = (change: Change): boolean => {
        const old =
          change.op === 'put'
            ? ledger.state.get(change.resource.kind, change.resource.id)
            : ledger.state.get(change.kind, change.id);
        return old === undefined || (old as { accountId?: string }).accountId === owner || !('accountId' in old);
      };
      const decision = ledger.ask(command, owner);
      if (isRefusal(decision)) return;
      const foreign = decision.changes.filter((change) => !own(change));
      assert.ok(
        foreign.every((change) => change.op === 'put' && change.resource.kind === 'peering'),
        'only a mirror’s state',
      );
      ledger.done(command, owner);
      const again = ledger.ask(command, owner);
      assert.ok(!isRefusal(again) && again.changes.length === 0, JSON.stringify(again));
      if (decision.changes.length > 0) done++;
    }),
    { numRuns: 200 },
  );
  assert.ok(done > 0);
});
