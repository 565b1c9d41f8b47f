import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import type { RouteTableId, VpcId } from '../model/ids.ts';
import { compareAddresses, comparePrefixes, contains } from '../model/ip.ts';
import type { NextHop, Resource } from '../model/resources.ts';
import { State } from '../model/state.ts';
import { compileAll, compileVpc } from './compile.ts';

/** A region after some history. */
const region = fc.array(draw, { minLength: 20, maxLength: 120 }).map((draws) => {
  const ledger = new Ledger();
  populate(ledger);
  for (const one of draws) {
    const command = commandOf(ledger.state, one);
    ledger.submit(command, giverOf(ledger, command, one));
  }
  return ledger;
});
const resourcesOf = (ledger: Ledger): readonly Resource[] =>
  (['account', 'key', 'vpc', 'subnet', 'route-table', 'peering', 'half-identity', 'interface'] as const).flatMap(
    (kind): Resource[] => [...ledger.state.all(kind)],
  );
/** The compiled table of a VPC as destination → target, in words. */
function table(ledger: Ledger, vpcId: VpcId, tableId: RouteTableId): Record<string, string> {
  const spec = compileVpc(ledger.state, vpcId)?.routeTables.find(({ id }) => id === tableId);
  assert.ok(spec !== undefined);
  return Object.fromEntries(
    spec.routes.map(({ destination, target }) => [
      destination,
      'halfId' in target ? target.halfId : 'portId' in target ? target.portId : target.kind,
    ]),
  );
}
const add = (ledger: Ledger, vpcId: VpcId, destination: string, nextHop: NextHop): void => {
  const { defaultRouteTableId: routeTableId, accountId } = ledger.get('vpc', vpcId);
  ledger.done({ kind: 'add-routes', routeTableId, routes: [{ destination: prefix(destination), nextHop }] }, accountId);
};

test('equal states compile to the same bytes, in whatever order their resources were folded', () => {
  fc.assert(
    fc.property(region, fc.infiniteStream(fc.nat()), (ledger, numbers) => {
      const shuffled = resourcesOf(ledger)
        .map((resource) => ({ resource, at: numbers.next().value }))
        .sort((a, b) => a.at - b.at)
        .map(({ resource }) => ({ op: 'put', resource }) as const);
      const other = new State();
      other.apply(structuredClone(shuffled), 1);
      assert.equal(JSON.stringify(compileAll(other)), JSON.stringify(compileAll(ledger.state)));
    }),
    { numRuns: 30 },
  );
});

test('a spec is sorted and complete: VPCs, interfaces, tables and halves by id, addresses and routes by number', () => {
  let routes = 0;
  const rising = <T>(list: readonly T[], compare: (a: T, b: T) => number): void => {
    for (const [at, one] of list.entries()) {
      const next = list[at + 1];
      if (next !== undefined)
        assert.ok(compare(one, next) < 0, `${JSON.stringify(one)} before ${JSON.stringify(next)}`);
    }
  };
  const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  fc.assert(
    fc.property(region, ({ state }) => {
      const { vpcs } = compileAll(state);
      assert.deepEqual(
        vpcs.map(({ vpcId }) => vpcId),
        [...state.all('vpc')].map(({ id }) => id).sort(),
      );
      for (const vpc of vpcs) {
        for (const list of [vpc.interfaces, vpc.routeTables, vpc.halves])
          rising(
            list.map(({ id }) => id),
            text,
          );
        assert.equal(vpc.interfaces.length, state.count('interface', vpc.vpcId));
        assert.equal(vpc.routeTables.length, state.count('route-table', vpc.vpcId));
        for (const port of vpc.interfaces) {
          const stored = state.get('interface', port.id);
          assert.ok(stored !== undefined);
          const { primary, secondary } = stored;
          rising(
            port.addresses.map(({ address }) => address),
            compareAddresses,
          );
          assert.deepEqual(new Set(port.addresses.map(({ address }) => address)), new Set([...primary, ...secondary]));
          for (const one of port.addresses) assert.equal(one.primary, primary.includes(one.address));
        }
        for (const { routes: list } of vpc.routeTables) {
          rising(
            list.map(({ destination }) => destination),
            comparePrefixes,
          );
          routes += list.length;
        }
      }
    }),
    { numRuns: 40 },
  );
  assert.ok(routes > 200, `${routes} routes were looked at`);
});

test('26. no rule is left inside an own range of the VPC, and every own range is Local', () => {
  fc.assert(
    fc.property(region, ({ state }) => {
      for (const { vpcId, routeTables } of compileAll(state).vpcs) {
        const cidrs = state.get('vpc', vpcId)?.cidrs ?? [];
        const own = cidrs.length > 0 ? cidrs : state.children('subnet', vpcId).flatMap((subnet) => subnet.cidrs);
        for (const { routes } of routeTables) {
          const local = routes.filter(({ target }) => target.kind === 'local').map(({ destination }) => destination);
          assert.deepEqual(new Set(local), new Set(own));
          for (const { destination, target } of routes) {
            if (target.kind !== 'local') assert.ok(!own.some((range) => contains(range, destination)), destination);
          }
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('26. a rule that a VPC has grown over is beaten by Local, and is back when the range is gone', () => {
  const ledger = new Ledger();
  const red = ledger.account('red');
  const vpcId = ledger.vpc(red, '10.0.0.0/16');
  const { defaultRouteTableId } = ledger.get('vpc', vpcId);
  add(ledger, vpcId, '10.1.5.0/24', { kind: 'internet' });
  const before = { '0.0.0.0/0': 'black-hole', '10.0.0.0/16': 'local', '10.1.5.0/24': 'black-hole' };
  assert.deepEqual(table(ledger, vpcId, defaultRouteTableId), before);
  ledger.done({ kind: 'add-cidr', vpcId, cidr: prefix('10.1.0.0/16') }, red);
  const grown = { '0.0.0.0/0': 'black-hole', '10.0.0.0/16': 'local', '10.1.0.0/16': 'local' };
  assert.deepEqual(table(ledger, vpcId, defaultRouteTableId), grown);
  ledger.done({ kind: 'remove-cidr', vpcId, cidr: prefix('10.1.0.0/16') }, red);
  assert.deepEqual(table(ledger, vpcId, defaultRouteTableId), before);
});

test('25. a rule names its half in any state and while it is gone; only a Connected half is live', () => {
  const ledger = new Ledger();
  const red = ledger.site('red', '10.1.0.0/16');
  const blue = ledger.site('blue', '10.2.0.0/16');
  const half = ledger.half(red.vpcId, blue.vpcId);
  add(ledger, red.vpcId, '10.2.0.0/16', { kind: 'peering', halfId: half });
  const check = (live: boolean): void => {
    assert.equal(table(ledger, red.vpcId, red.tableId)['10.2.0.0/16'], half);
    const spec = compileVpc(ledger.state, red.vpcId)?.halves;
    assert.deepEqual(spec, [{ id: half, remoteVpcId: blue.vpcId, live }]);
  };
  check(false);
  const back = ledger.half(blue.vpcId, red.vpcId);
  check(true);
  ledger.done({ kind: 'delete-peering', halfId: back }, blue.account);
  check(false);
  ledger.half(blue.vpcId, red.vpcId);
  ledger.done({ kind: 'delete-peering', halfId: half }, red.account);
  check(false);
  assert.equal(ledger.half(red.vpcId, blue.vpcId), half);
  check(true);
  // Its remote VPC goes: the half stays, dead. It goes too: nothing is left to name.
  ledger.done({ kind: 'delete-vpc', vpcId: blue.vpcId, cascade: true }, blue.account);
  check(false);
  ledger.done({ kind: 'delete-peering', halfId: half }, red.account);
  ledger.done({ kind: 'delete-vpc', vpcId: red.vpcId, cascade: true }, red.account);
  assert.deepEqual(compileAll(ledger.state), { vpcs: [] });
});

test('the internet and an interface that is gone are black holes; a live interface is a target', () => {
  const ledger = new Ledger();
  const red = ledger.site('red', '10.1.0.0/16');
  const second = ledger.port(red.subnetId);
  add(ledger, red.vpcId, '10.9.0.0/16', { kind: 'interface', portId: second });
  const target = () => table(ledger, red.vpcId, red.tableId);
  assert.equal(target()['10.9.0.0/16'], second);
  assert.equal(target()['0.0.0.0/0'], 'black-hole');
  ledger.done({ kind: 'delete-interface', portId: second }, red.account);
  assert.equal(target()['10.9.0.0/16'], 'black-hole');
});

test('27. an interface has the table, gateway and length of its subnet, and no other subnet’s', () => {
  const ledger = new Ledger();
  const red = ledger.account('red');
  const vpcId = ledger.vpc(red, '10.0.0.0/16', 'fd00::/56');
  const one = ledger.port(ledger.subnet(vpcId, '10.0.1.0/24'));
  const both = ledger.subnet(vpcId, '10.0.2.0/25', 'fd00:0:0:2::/64');
  const two = ledger.port(both, { secondaryCount: 1 });
  const create = { kind: 'create-route-table', vpcId, name: 't', description: '' } as const;
  const routeTableId = ledger.done(create, red) as RouteTableId;
  ledger.done({ kind: 'associate-route-table', routeTableId, subnetIds: [both] }, red);
  const spec = (id: string) => compileVpc(ledger.state, vpcId)?.interfaces.find((port) => port.id === id);
  assert.equal(spec(one)?.routeTableId, ledger.get('vpc', vpcId).defaultRouteTableId);
  assert.equal(spec(two)?.routeTableId, routeTableId);
  assert.deepEqual(spec(one)?.addresses, [
    { address: '10.0.1.3', primary: true, gateway: '10.0.1.1', prefixLength: 24 },
  ]);
  assert.deepEqual(spec(two)?.addresses, [
    { address: '10.0.2.3', primary: true, gateway: '10.0.2.1', prefixLength: 25 },
    { address: '10.0.2.4', primary: false, gateway: '10.0.2.1', prefixLength: 25 },
    { address: 'fd00:0:0:2::3', primary: true, gateway: 'fd00:0:0:2::1', prefixLength: 64 },
  ]);
});
