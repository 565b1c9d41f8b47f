/**
 * Trace against the forwarding code itself, on random networks; what a remedy promises; and what a stranger is not told.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import { CompiledView } from '../compile/compiled-view.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HalfId, PortId, RouteTableId, VpcId } from '../model/ids.ts';
import { type Address, familyOf } from '../model/ip.ts';
import { gatewayMac } from '../model/network-spec.ts';
import type { NextHop } from '../model/resources.ts';
import { explain } from './explain.ts';
import type { Knowledge, Workload } from './place.ts';
import { type Trace, type TracePair, trace } from './trace.ts';

const workload = (mtu = 1500): Workload => ({ state: 'attached', target: 'netns:x', device: 'eth0', mtu, up: true });

class Scene {
  readonly ledger = new Ledger();
  readonly detached = new Set<PortId>();
  mtu = 1500;
  knows(caller: AccountId | null): Knowledge {
    return {
      state: this.ledger.view,
      view: new CompiledView(this.ledger.view),
      workload: (portId) => (this.detached.has(portId) ? undefined : workload(this.mtu)),
      caller,
    };
  }
  trace(from: string, to: string, caller: AccountId | null = null, size: number | null = null): Trace {
    const found = trace(this.knows(caller), from, to, size);
    assert.ok(!isRefusal(found), JSON.stringify(found));
    return found;
  }
  one(from: string, to: string, caller: AccountId | null = null): TracePair {
    const [pair, ...more] = this.trace(from, to, caller).pairs;
    assert.ok(pair !== undefined && more.length === 0);
    return pair;
  }
  route(table: RouteTableId, destination: string, nextHop: NextHop): void {
    const routes = [{ destination: prefix(destination), nextHop }];
    const { accountId } = this.ledger.get('route-table', table);
    this.ledger.done({ kind: 'add-routes', routeTableId: table, routes }, accountId);
  }
  addressOf(portId: PortId): Address {
    const [first] = this.ledger.get('interface', portId).primary;
    assert.ok(first !== undefined);
    return first;
  }
}
const codes = (of: { readonly blockers: readonly { readonly code: string }[] }) => of.blockers.map(({ code }) => code);

/** Two tenants, a VPC each; nothing between them yet. */
function scene() {
  const of = new Scene();
  const red = of.ledger.site('red', '10.1.0.0/16');
  const blue = of.ledger.site('blue', '10.2.0.0/16');
  return { of, red, blue };
}
function joined() {
  const { of, red, blue } = scene();
  const there = of.ledger.half(red.vpcId, blue.vpcId);
  const back = of.ledger.half(blue.vpcId, red.vpcId);
  of.route(red.tableId, '10.2.0.0/16', { kind: 'peering', halfId: there });
  of.route(blue.tableId, '10.1.0.0/16', { kind: 'peering', halfId: back });
  return { of, red, blue, there, back };
}

test('a leg is open exactly when the forwarding code delivers, on random networks', () => {
  let open = 0;
  let blocked = 0;
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 120 }), fc.array(fc.nat(3), { maxLength: 20 }), (draws, off) => {
      const of = new Scene();
      populate(of.ledger);
      for (const one of draws) {
        const command = commandOf(of.ledger.view, one);
        of.ledger.submit(command, giverOf(of.ledger, command, one));
      }
      const k = of.knows(null);
      const ports = [...k.state.all('interface')];
      ports.forEach(({ id }, at) => {
        if (off[at] === 0) of.detached.add(id);
      });
      const mtuOf = (id: PortId): number | null => k.workload(id)?.mtu ?? null;
      for (const from of ports) {
        for (const to of ports) {
          const [destination] = to.primary;
          const source = from.primary.find(
            (own) => destination !== undefined && familyOf(own) === familyOf(destination),
          );
          if (destination === undefined || source === undefined || from.id === to.id) continue;
          const verdict = explain(k.view, mtuOf, {
            from: from.id,
            sourceMac: from.mac,
            destinationMac: gatewayMac,
            source,
            destination,
            ttl: 64,
            length: 84,
            protocol: 'udp',
          });
          const delivered = verdict.kind === 'delivered' && verdict.to === to.id;
          const found = trace(k, from.id, to.id, null);
          assert.ok(!isRefusal(found));
          const pair = found.pairs.find(({ family }) => family === familyOf(destination));
          assert.ok(pair !== undefined);
          const words = JSON.stringify({ verdict, pair });
          assert.equal(pair.forward.state === 'open', delivered, words);
          if (delivered) open++;
          else blocked++;
        }
      }
    }),
    { numRuns: 300 },
  );
  assert.ok(open > 0 && blocked > 0, `${open} open, ${blocked} blocked: the cases prove something`);
});

test('when all is in place both ways are open, and nothing is to be mended', () => {
  const { of, red, blue } = joined();
  for (const caller of [red.account, blue.account, null]) {
    const [from, to] = caller === blue.account ? [blue, red] : [red, blue];
    const found = of.trace(from.portId, of.addressOf(to.portId), caller);
    assert.equal(found.works, true);
    assert.deepEqual(
      found.pairs.flatMap(({ forward, back }) => [...codes(forward), ...codes(back)]),
      [],
    );
  }
});

test('24. with a route on one side only, the trace names the return route that lacks, and whose it is', () => {
  const { of, red, blue, back } = joined();
  const ruleIds = of.ledger
    .get('route-table', blue.tableId)
    .rules.filter((rule) => rule.nextHop.kind === 'peering')
    .map(({ id }) => id);
  of.ledger.done({ kind: 'remove-routes', routeTableId: blue.tableId, ruleIds }, blue.account);
  const seenByRed = of.one(red.portId, of.addressOf(blue.portId), red.account);
  assert.equal(seenByRed.forward.state, 'open');
  assert.deepEqual(seenByRed.back.blockers, [
    {
      code: 'no-route',
      object: blue.vpcId,
      text: 'The peer has no route to 10.1.0.0/16.',
      by: 'peer',
      commands: ['isthmus route add ROUTE-TABLE 10.1.0.0/16 --via THEIR-HALF'],
    },
  ]);
  const seenByBlue = of.one(blue.portId, of.addressOf(red.portId), blue.account);
  assert.deepEqual(
    seenByBlue.forward.blockers.map(({ by, commands: c }) => [by, c]),
    [['you', [`isthmus route add ${blue.tableId} 10.1.0.0/16 --via ${back}`]]],
  );
});

test('every blocker at once, in both directions', () => {
  const { of, red, blue } = scene();
  of.detached.add(red.portId);
  of.detached.add(blue.portId);
  const { forward, back } = of.one(red.portId, blue.portId);
  assert.deepEqual(codes(forward), ['no-half', 'no-half', 'no-route', 'detached', 'detached']);
  assert.deepEqual(codes(back), ['no-half', 'no-half', 'no-route', 'detached', 'detached']);
});

test('a stranger’s VPC answers alike, whatever is in it, whether or not it exists', () => {
  const { of, red, blue } = scene();
  const nobody = 'vpc-0000000000';
  const strip = (found: Trace, id: string): string => JSON.stringify(found).replaceAll(id, 'VPC');
  const about = (id: string): string => strip(of.trace(red.portId, id, red.account), id);
  const before = about(blue.vpcId);
  assert.equal(before, about(nobody));
  of.ledger.subnet(of.ledger.vpc(blue.account, 'fd00:7::/56'), 'fd00:7::/64');
  of.detached.add(blue.portId);
  assert.equal(about(blue.vpcId), before);
  // One-sided: the caller consents, the other has not.
  of.ledger.half(red.vpcId, blue.vpcId);
  const oneSided = of.one(red.portId, blue.vpcId, red.account);
  assert.deepEqual(codes(oneSided.forward), ['no-half']);
  assert.equal(oneSided.back.state, 'unknown');
  assert.equal(JSON.stringify(oneSided).includes('10.2.'), false, 'no range of his');
  assert.equal(JSON.stringify(oneSided).includes(blue.tableId), false);
  // The control: when both have consented, more is told.
  of.ledger.half(blue.vpcId, red.vpcId);
  assert.ok(codes(of.one(red.portId, blue.vpcId, red.account).back).includes('no-route'));
});

test('a stranger’s objects are not found as ends', () => {
  const { of, red, blue } = joined();
  for (const end of [blue.portId, blue.subnetId]) {
    const found = trace(of.knows(red.account), red.portId, end, null);
    assert.ok(isRefusal(found) && found.code === 'not-found');
    assert.ok(isRefusal(trace(of.knows(red.account), end, red.portId, null)));
  }
  assert.ok(isRefusal(trace(of.knows(red.account), blue.vpcId, red.portId, null)));
});

test('25. a more specific rule to a dead half shadows, and is named with the rule that it beats', () => {
  const { of, red, blue } = joined();
  const green = of.ledger.site('green', '10.3.0.0/16');
  const dead = of.ledger.half(red.vpcId, green.vpcId);
  of.route(red.tableId, '10.2.0.0/24', { kind: 'peering', halfId: dead });
  const { forward } = of.one(red.portId, blue.portId);
  assert.deepEqual(codes(forward), ['shadowed']);
  assert.deepEqual(forward.blockers[0]?.commands, [`isthmus route remove ${red.tableId} 10.2.0.0/24`]);
});

test('a rule for the right range to the wrong place, and a broad one to the internet', () => {
  const { of, red, blue } = joined();
  const [rule] = of.ledger.get('route-table', red.tableId).rules.filter(({ nextHop }) => nextHop.kind === 'peering');
  assert.ok(rule !== undefined);
  const change = { ruleId: rule.id, nextHop: { kind: 'internet' } } as const;
  of.ledger.done({ kind: 'modify-routes', routeTableId: red.tableId, routes: [change] }, red.account);
  assert.deepEqual(codes(of.one(red.portId, blue.portId).forward), ['wrong-next-hop']);
  of.ledger.done({ kind: 'remove-routes', routeTableId: red.tableId, ruleIds: [rule.id] }, red.account);
  const { forward } = of.one(red.portId, blue.portId);
  assert.deepEqual(codes(forward), ['no-route']);
  assert.match(forward.blockers[0]?.text ?? '', /no rule for 10\.2\.0\.0\/16: the one for 0\.0\.0\.0\/0 takes it to/);
});

test('not transitive: the VPC in the middle is named, and what helps', () => {
  const of = new Scene();
  const owner = of.ledger.account('all');
  const [a, b, c] = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'].map((cidr) => {
    const vpcId = of.ledger.vpc(owner, cidr);
    return { vpcId, portId: of.ledger.port(of.ledger.subnet(vpcId, cidr)) };
  });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  for (const [x, y] of [
    [a, b],
    [b, c],
  ] as const) {
    of.ledger.half(x.vpcId, y.vpcId);
    of.ledger.half(y.vpcId, x.vpcId);
  }
  const { forward } = of.one(a.portId, c.portId, owner);
  assert.ok(codes(forward).includes('not-transitive'));
  assert.match(forward.blockers[0]?.text ?? '', new RegExp(b.vpcId));
});

test('addresses: of nobody, reserved, outside all subnets, of no VPC', () => {
  const { of, red, blue } = joined();
  const said = (to: string) => codes(of.one(red.portId, to, red.account).forward);
  assert.deepEqual(said('10.2.9.9'), ['no-address']);
  assert.deepEqual(codes(of.one(red.portId, '10.2.0.1').forward), ['reserved-address']);
  assert.deepEqual(said('198.51.100.9'), ['unknown-destination']);
  const { vpcId } = blue;
  of.ledger.done({ kind: 'add-cidr', vpcId, cidr: prefix('10.9.0.0/16') }, blue.account);
  assert.deepEqual(codes(of.one(red.portId, '10.9.0.4').forward), ['no-route', 'no-subnet']);
});

test('sizes: what the target takes, and the MTU of the way', () => {
  const { of, red, blue } = joined();
  of.mtu = 1400;
  assert.equal(of.one(red.portId, blue.portId).mtu, 1400);
  assert.deepEqual(codes(of.trace(red.portId, blue.portId, null, 1500).pairs[0]?.forward ?? { blockers: [] }), [
    'too-big',
  ]);
  assert.equal(of.trace(red.portId, blue.portId, null, 1400).works, true);
});

test('subnets and VPCs: all pairs, a part of a range, and no more than an answer holds', () => {
  const { of, red, blue, there } = joined();
  assert.equal(of.trace(red.vpcId, blue.vpcId).works, true);
  of.route(red.tableId, '10.2.128.0/17', { kind: 'internet' });
  const { forward, back } = of.one(red.subnetId, blue.subnetId);
  assert.deepEqual([forward.state, codes(forward), back.state], ['partly', ['shadowed'], 'open']);
  assert.deepEqual(of.one(red.vpcId, blue.vpcId, red.account).forward.state, 'partly');
  assert.ok(there !== ('' as HalfId));
  const wide = of.ledger.vpc(red.account, '10.50.0.0/16');
  for (let n = 0; n < 9; n++) of.ledger.subnet(wide, `10.50.${n}.0/24`);
  const many = of.trace(wide as VpcId, wide, red.account);
  assert.equal(many.pairs.length, 64);
  assert.equal(many.omitted, 81 - 64);
  assert.equal(many.works, false, 'not said of what was not looked at');
});

test('an address of a family that the source has not, behind nobody: both are said', () => {
  const { of, red } = scene();
  const pair = of.one(red.portId, 'fd00::1', red.account);
  assert.equal(pair.family, 6);
  assert.deepEqual(codes(pair.forward), ['no-family', 'unknown-destination']);
  assert.equal(pair.forward.blockers[0]?.object, red.portId);
  assert.ok(pair.forward.blockers.every(({ text }) => !text.startsWith(' ')));
});

test('an address behind a half that the peer has not answered: that it may be there is said', () => {
  const { of, red, blue } = scene();
  of.ledger.half(red.vpcId, blue.vpcId);
  const [found] = of.one(red.portId, '10.2.0.9', red.account).forward.blockers;
  assert.equal(found?.code, 'unknown-destination');
  assert.ok(found?.text.includes(blue.vpcId));
});

test('of a peer’s addresses that nobody has a trace tells no more than packets: not which lie in a subnet', () => {
  const { of, red, blue } = joined();
  const subnet = [...of.ledger.view.children('subnet', blue.vpcId)][0];
  assert.ok(subnet !== undefined);
  const narrow = of.ledger.view.get('vpc', blue.vpcId)?.cidrs[0];
  assert.equal(narrow, '10.2.0.0/16');
  const told = (address: string): string =>
    JSON.stringify(of.one(red.portId, address, red.account)).replaceAll(address, 'ADDRESS');
  const [, second = 'x'] = subnet.cidrs.map((cidr) => cidr.split('/')[0] ?? '');
  assert.equal(second, 'x', 'one range');
  const inside = subnet.cidrs[0]?.replace(/\.0\/\d+$/, '') ?? '';
  const addresses = [`${inside}.1`, `${inside}.2`, `${inside}.77`, `10.2.255.255`, '10.2.250.9'];
  assert.deepEqual(new Set(addresses.map(told)).size, 1, addresses.map(told).join('\n'));
  const own = (address: string): string => JSON.stringify(of.one(red.portId, address, null)).replaceAll(address, 'A');
  assert.ok(new Set(addresses.map(own)).size > 1, 'the control: the operator sees the difference');
});
