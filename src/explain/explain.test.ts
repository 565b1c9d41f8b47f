import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { address, Sketch } from '../../test/wire/sketch.ts';
import { type DropReason, dropReasons, exits } from '../model/drop-reason.ts';
import type { HalfId, PortId } from '../model/ids.ts';
import { gatewayMac } from '../model/network-spec.ts';
import { explain, type Packet, type Verdict } from './explain.ts';
import { PlaneView } from './plane-view.ts';

/**
 * Red, joined with blue, and with a dead half towards green; everything can be reached that the reasons are about.
 * `alone` and `b2` have no workload.
 */
function lab() {
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16', 'fd00:1::/64');
  const blue = sketch.vpc('blue', '10.2.0.0/16', 'fd00:2::/64');
  const green = sketch.vpc('green', '10.3.0.0/16');
  const r1 = sketch.port(red, 'r1', ['10.1.0.4', 'fd00:1::4']);
  const r2 = sketch.port(red, 'r2', ['10.1.0.5', 'fd00:1::5']);
  const open = sketch.port(red, 'open', ['10.1.0.6'], { sanityCheck: false });
  const alone = sketch.port(red, 'alone', ['10.1.0.7']);
  const b1 = sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4']);
  const b2 = sketch.port(blue, 'b2', ['10.2.0.5']);
  const g1 = sketch.port(green, 'g1', ['10.3.0.4']);
  const [live] = sketch.join(red, blue);
  const [dead] = sketch.peer(red, green, false);
  sketch.route(red, '10.3.0.0/16', { kind: 'peering', halfId: dead });
  sketch.route(red, '10.4.0.0/16', { kind: 'black-hole' });
  sketch.route(red, '10.5.0.0/16', { kind: 'interface', portId: r2 });
  sketch.route(red, '10.6.0.0/16', { kind: 'interface', portId: b1 }); // of another VPC: compile makes none such
  sketch.route(red, '10.7.0.0/16', { kind: 'peering', halfId: 'vpcpr-gone000000' as HalfId });
  const view = new PlaneView(sketch.network());
  const mtuOf = (id: PortId): number | null => (id === alone || id === b2 ? null : 1500);
  const table = sketch.site(red).table;
  const { mac } = sketch.spec(red, r1);
  const send = (to: string, more: Partial<Packet> = {}): Verdict =>
    explain(view, mtuOf, {
      from: r1,
      sourceMac: mac,
      destinationMac: gatewayMac,
      source: address(to.includes(':') ? 'fd00:1::4' : '10.1.0.4'),
      destination: address(to),
      ttl: 64,
      length: 1500,
      protocol: 'udp',
      ...more,
    });
  return { sketch, red, blue, green, r1, r2, open, alone, b1, b2, g1, live, dead, table, send, view, mtuOf };
}
type Lab = ReturnType<typeof lab>;
const foreignMac = '02:00:00:00:00:99' as Packet['sourceMac'];

/** Reasons that only frames have, or a plane in the middle of a change: see the suites of the BPF program. */
const onlyOnTheWire: readonly DropReason[] = ['Short', 'BadEtherType', 'StaleEntry', 'FromHost', 'Internal'];
/** Every other reason: what brings it about, and the one object to blame. */
const blames: readonly (readonly [DropReason, string, (of: Lab) => Verdict, (of: Lab) => string])[] = [
  ['NoPort', 'an interface without workload', (l) => l.send('10.2.0.4', { from: l.alone }), (l) => l.alone],
  ['NoPort', 'no interface', (l) => l.send('10.2.0.4', { from: 'port-none' as PortId }), () => 'port-none'],
  ['WrongSourceMac', 'a foreign MAC', (l) => l.send('10.2.0.4', { sourceMac: foreignMac }), (l) => l.r1],
  ['BadHeader', 'two families', (l) => l.send('10.2.0.4', { source: address('fd00:1::4') }), (l) => l.r1],
  ['SpoofedAddress', "a neighbour's", (l) => l.send('10.2.0.4', { source: address('10.1.0.5') }), (l) => l.r1],
  ['SpoofedAddress', "the peer's", (l) => l.send('10.1.0.5', { source: address('10.2.0.4') }), (l) => l.r1],
  ['SpoofedAddress', "a stranger's", (l) => l.send('10.1.0.5', { source: address('10.3.0.4') }), (l) => l.r1],
  ['NotToGateway', 'to another station', (l) => l.send('10.1.0.5', { destinationMac: foreignMac }), (l) => l.r1],
  ['NoRoute', 'no rule', (l) => l.send('192.0.2.1'), (l) => l.table],
  ['NoRoute', 'no rule of the family', (l) => l.send('fd00:9::1'), (l) => l.table],
  ['BlackHole', 'a black hole', (l) => l.send('10.4.0.1'), (l) => l.table],
  ['BlackHole', "another VPC's interface", (l) => l.send('10.6.0.1'), (l) => l.table],
  ['NoPeering', 'a dead half', (l) => l.send('10.3.0.4'), (l) => l.dead],
  ['NoPeering', 'a half that is gone', (l) => l.send('10.7.0.1'), () => 'vpcpr-gone000000'],
  ['NoSuchAddress', 'nobody here', (l) => l.send('10.1.0.99'), (l) => l.red],
  ['NoSuchAddress', 'nobody there', (l) => l.send('10.2.0.99'), (l) => l.blue],
  ['NoSuchAddress', "the peer's gateway", (l) => l.send('10.2.0.1', { protocol: 'icmp-echo' }), (l) => l.blue],
  ['TargetGone', 'no workload there', (l) => l.send('10.2.0.5'), (l) => l.b2],
  ['TargetGone', 'no workload here', (l) => l.send('10.1.0.7'), (l) => l.alone],
  ['TtlExpired', 'the last hop', (l) => l.send('10.2.0.4', { ttl: 1 }), (l) => l.r1],
  ['TooBig', 'over the MTU', (l) => l.send('10.2.0.4', { length: 1501 }), (l) => l.b1],
  ['TooBig', 'over the MTU, inside', (l) => l.send('10.1.0.5', { length: 1501 }), (l) => l.r2],
];

for (const [reason, why, send, object] of blames) {
  test(`61. ${reason} for ${why}, and the one id to blame`, () => {
    const of = lab();
    const { path, ...verdict } = send(of);
    assert.deepEqual(verdict, { kind: 'dropped', reason, object: object(of) });
    assert.equal(
      path.some((hop) => hop.hop === 'interface' && hop.object !== of.r1),
      false,
      'it went nowhere',
    );
  });
}

test('61. the list of reasons is closed: each is brought about above, or is one that only a frame can have', () => {
  assert.deepEqual(new Set([...blames.map(([reason]) => reason), ...onlyOnTheWire]), new Set(dropReasons));
});

test('the control: from the same place, without the fault, packets arrive, inside the VPC and over the peering', () => {
  const of = lab();
  for (const [to, port, over, ttl] of [
    ['10.1.0.5', of.r2, null, 64],
    ['fd00:1::5', of.r2, null, 64],
    ['10.2.0.4', of.b1, of.live, 63],
    ['fd00:2::4', of.b1, of.live, 63],
    ['10.5.0.9', of.r2, null, 64], // through the interface that a rule names
  ] as const) {
    const { path: _, ...verdict } = of.send(to);
    assert.deepEqual(verdict, { kind: 'delivered', to: port, over, ttl });
  }
  assert.equal(of.send('10.1.0.5', { ttl: 1 }).kind, 'delivered', 'inside a VPC the TTL is not touched');
  assert.equal(of.send('10.2.0.4', { ttl: 2 }).kind, 'delivered');
});

test('the path names what decided, hop by hop', () => {
  const of = lab();
  assert.deepEqual(of.send('10.2.0.4').path, [
    { hop: 'interface', object: of.r1, vpcId: of.red },
    { hop: 'route', object: of.table, destination: '10.2.0.0/16', target: of.live },
    { hop: 'peering', object: of.live, remoteVpcId: of.blue },
    { hop: 'interface', object: of.b1, vpcId: of.blue },
  ]);
  assert.deepEqual(of.send('10.3.0.4').path.slice(1), [
    { hop: 'route', object: of.table, destination: '10.3.0.0/16', target: of.dead },
  ]);
});

test('the gateway of the own subnet answers an echo and nothing else; no other gateway does', () => {
  const of = lab();
  assert.equal(of.send('10.1.0.1', { protocol: 'icmp-echo' }).kind, 'answered');
  assert.equal(of.send('fd00:1::1', { protocol: 'icmp-echo' }).kind, 'answered');
  assert.equal(of.send('10.1.0.1').kind, 'dropped');
});

test('36. without the check of sources a foreign one passes inside its VPC, never into a peer’s', () => {
  const of = lab();
  const { mac } = of.sketch.spec(of.red, of.open);
  const as = { from: of.open, sourceMac: mac, source: address('198.51.100.7') };
  assert.equal(of.send('10.1.0.5', as).kind, 'delivered', 'the control: the guard is what stops it');
  const { path: _, ...verdict } = of.send('10.2.0.4', as);
  assert.deepEqual(verdict, { kind: 'dropped', reason: 'SpoofedAddress', object: of.open });
  assert.equal(of.send('10.2.0.4', { ...as, source: address('10.1.0.6') }).kind, 'delivered');
});

test('25. a rule to a dead half wins by its length and drops: it never falls through to a shorter one', () => {
  const of = lab();
  of.sketch.route(of.red, '0.0.0.0/0', { kind: 'peering', halfId: of.live });
  of.sketch.port(of.blue, 'trap', ['10.3.0.4']);
  const view = new PlaneView(of.sketch.network());
  const { mac } = of.sketch.spec(of.red, of.r1);
  const packet = { from: of.r1, sourceMac: mac, destinationMac: gatewayMac, source: address('10.1.0.4') } as const;
  const to = (text: string) =>
    explain(view, () => 1500, { ...packet, destination: address(text), ttl: 64, length: 100, protocol: 'udp' });
  assert.deepEqual(
    { ...to('10.3.0.4'), path: [] },
    { kind: 'dropped', reason: 'NoPeering', object: of.dead, path: [] },
  );
  assert.equal(to('203.0.113.1').kind, 'dropped', 'the shorter rule is used for the rest');
  assert.equal((to('203.0.113.1') as { reason?: string }).reason, 'NoSuchAddress');
});

test('of several faults the first in the order of the list is the reason', () => {
  const sender = fc.subarray(['NoPort', 'WrongSourceMac', 'BadHeader', 'SpoofedAddress', 'NotToGateway'] as const);
  const route = fc.constantFrom(null, 'NoRoute', 'BlackHole', 'NoPeering', 'NoSuchAddress', 'TargetGone');
  const size = fc.subarray(['TtlExpired', 'TooBig'] as const);
  const places = {
    NoRoute: '192.0.2.1',
    BlackHole: '10.4.0.1',
    NoPeering: '10.3.0.4',
    NoSuchAddress: '10.2.0.99',
    TargetGone: '10.2.0.5',
  } as const;
  const of = lab();
  fc.assert(
    fc.property(sender, route, size, (first, second, third) => {
      const faults: readonly DropReason[] = [...first, ...(second === null ? [] : [second as DropReason]), ...third];
      const has = (fault: DropReason): boolean => faults.includes(fault);
      const { path: _, ...verdict } = of.send(second === null ? '10.2.0.4' : places[second as keyof typeof places], {
        from: has('NoPort') ? of.alone : of.r1,
        ...(has('WrongSourceMac') ? { sourceMac: foreignMac } : {}),
        source: address(
          has('BadHeader')
            ? has('SpoofedAddress')
              ? 'fd00:1::5'
              : 'fd00:1::4'
            : has('SpoofedAddress')
              ? '10.1.0.5'
              : '10.1.0.4',
        ),
        ...(has('NotToGateway') ? { destinationMac: foreignMac } : {}),
        ttl: has('TtlExpired') ? 1 : 64,
        length: has('TooBig') ? 1501 : 1500,
      });
      const expected = [...faults].sort((a, b) => exits[a].code - exits[b].code)[0];
      assert.equal(verdict.kind === 'dropped' ? verdict.reason : undefined, expected);
    }),
    { numRuns: 500 },
  );
});
