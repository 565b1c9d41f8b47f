import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { network } from '../../test/ledger/networks.ts';
import { address } from '../../test/wire/sketch.ts';
import type { RouteTableId, VpcId } from '../model/ids.ts';
import { addressOf, containsAddress, familyOf, type Prefix, rangeOf } from '../model/ip.ts';
import { gatewayMac, type InterfaceSpec, type NetworkSpec, type RouteSpec } from '../model/network-spec.ts';
import { explain, type Verdict } from './explain.ts';
import { PlaneView } from './plane-view.ts';

/** What consent gives: a half is live only while its mirror is. */
const consented = network.map((of): NetworkSpec => {
  const live = new Set(
    of.vpcs.flatMap(({ vpcId, halves }) =>
      halves.flatMap((half) => (half.live ? [`${vpcId}>${half.remoteVpcId}`] : [])),
    ),
  );
  return {
    vpcs: of.vpcs.map((vpc) => ({
      ...vpc,
      halves: vpc.halves.map((half) => ({ ...half, live: half.live && live.has(`${half.remoteVpcId}>${vpc.vpcId}`) })),
    })),
  };
});

/** Every packet that can be sent in a network: from each own address of each interface to each address, and elsewhere. */
function* packets(of: NetworkSpec, only?: VpcId) {
  const everywhere = [
    ...of.vpcs.flatMap((vpc) => vpc.interfaces.flatMap((port) => port.addresses.map((one) => one.address))),
    ...['10.1.0.1', '10.2.0.99', '192.0.2.1', 'fd00:1::99', 'fd00:9::1'].map(address),
  ];
  for (const { vpcId, interfaces } of of.vpcs) {
    if (only !== undefined && vpcId !== only) continue;
    for (const port of interfaces) {
      for (const { address: source } of port.addresses) {
        for (const destination of new Set(everywhere)) {
          if (familyOf(source) === familyOf(destination)) yield { vpcId, port, source, destination };
        }
      }
    }
  }
}
type Sent = { readonly port: InterfaceSpec; readonly source: string; readonly destination: string };
const send = (view: PlaneView, { port, source, destination }: Sent): Verdict =>
  explain(view, () => 1500, {
    from: port.id,
    sourceMac: port.mac,
    destinationMac: gatewayMac,
    source: address(source),
    destination: address(destination),
    ttl: 64,
    length: 100,
    protocol: 'udp',
  });

test('31. a packet is delivered in the sender’s own VPC or in one with a live pair of halves with it, nowhere else', () => {
  let inside = 0;
  let across = 0;
  fc.assert(
    fc.property(consented, (of) => {
      const view = new PlaneView(of);
      const vpc = (id: VpcId) => of.vpcs.find(({ vpcId }) => vpcId === id);
      for (const packet of packets(of)) {
        const verdict = send(view, packet);
        if (verdict.kind !== 'delivered') continue;
        const target = view.interface(verdict.to);
        assert.ok(target !== undefined);
        if (target.vpcId === packet.vpcId) {
          inside++;
          assert.equal(verdict.over, null);
          continue;
        }
        across++;
        const half = vpc(packet.vpcId)?.halves.find(({ id }) => id === verdict.over);
        const mirror = vpc(target.vpcId)?.halves.find(({ remoteVpcId }) => remoteVpcId === packet.vpcId);
        assert.ok(half?.live === true && half.remoteVpcId === target.vpcId, 'over a live half towards that very VPC');
        assert.ok(mirror?.live === true, 'whose owner has consented');
        assert.ok(
          target.spec.addresses.some(({ address: own }) => own === packet.destination),
          'to the holder of the address, not to a forwarder',
        );
      }
    }),
    { numRuns: 150 },
  );
  assert.ok(inside > 100 && across > 50, `the control: ${inside} arrive inside, ${across} across`);
});

/** The network with all route tables of some VPCs taken from another one. */
const rerouted = (of: NetworkSpec, from: NetworkSpec, which: (vpcId: VpcId) => boolean): NetworkSpec => ({
  vpcs: of.vpcs.map((vpc) => {
    const other = from.vpcs.find(({ vpcId }) => vpcId === vpc.vpcId);
    return other !== undefined && which(vpc.vpcId) ? { ...vpc, routeTables: other.routeTables } : vpc;
  }),
});

test('31. 32. no route table but the sender’s decides: any routes anywhere else change no verdict', () => {
  let changed = 0;
  let across = 0;
  fc.assert(
    fc.property(consented, consented, (of, hostile) => {
      const view = new PlaneView(of);
      for (const { vpcId } of of.vpcs) {
        // Every other VPC's tables, the receiver's own included, are whatever their owners like.
        const attacked = new PlaneView(rerouted(of, hostile, (other) => other !== vpcId));
        const own = new PlaneView(rerouted(of, hostile, (other) => other === vpcId));
        for (const packet of packets(of, vpcId)) {
          const before = send(view, packet);
          assert.deepEqual(send(attacked, packet), before);
          if (before.kind === 'delivered' && before.over !== null) across++;
          if (JSON.stringify(send(own, packet)) !== JSON.stringify(before)) changed++;
        }
      }
    }),
    { numRuns: 80 },
  );
  assert.ok(across > 0, `packets across were among them: ${across}`);
  assert.ok(changed > 50, `the control: the sender's own table does decide: ${changed} verdicts changed`);
});

test('26. the longest prefix wins, as a search through all rules finds it', () => {
  const base = 0x0a000000n;
  const destination: fc.Arbitrary<Prefix> = fc.tuple(fc.nat(6), fc.nat(63)).map(([length, bits]) => {
    const first = base | BigInt((bits >> (6 - length)) << (6 - length));
    return `${addressOf(4, first)}/${26 + length}` as Prefix;
  });
  const routes = fc
    .uniqueArray(destination, { maxLength: 12 })
    .map((all) => [...all, ...(all.length % 2 === 0 ? ['0.0.0.0/0' as Prefix, '::/0' as Prefix] : [])])
    .map((all) => all.map((one): RouteSpec => ({ destination: one, target: { kind: 'black-hole' } })));
  const [vpcId, tableId] = ['vpc-a000000000' as VpcId, 'rtb-a000000000' as RouteTableId];
  fc.assert(
    fc.property(routes, fc.infiniteStream(fc.nat()), (table, numbers) => {
      // Not sorted: the answer must not depend on it.
      const shuffled = table
        .map((route) => ({ route, at: numbers.next().value }))
        .sort((a, b) => a.at - b.at)
        .map(({ route }) => route);
      const routeTables = [{ id: tableId, routes: shuffled }];
      const view = new PlaneView({ vpcs: [{ vpcId, interfaces: [], halves: [], routeTables }] });
      const targets = Array.from({ length: 64 }, (_, n) => addressOf(4, base | BigInt(n)));
      for (const target of [...targets, address('192.0.2.1'), address('fd00::1')]) {
        const holding = table.map((route) => route.destination).filter((one) => containsAddress(one, target));
        const longest = holding.sort((a, b) => rangeOf(b).length - rangeOf(a).length)[0];
        assert.equal(view.route(vpcId, tableId, target)?.destination, longest);
      }
    }),
    { numRuns: 100 },
  );
});

test('a view that is patched VPC by VPC is the view of the whole network', () => {
  fc.assert(
    fc.property(consented, consented, (before, after) => {
      const patched = new PlaneView(before);
      for (const { vpcId } of before.vpcs) {
        if (!after.vpcs.some((vpc) => vpc.vpcId === vpcId)) patched.remove(vpcId);
      }
      for (const vpc of after.vpcs) patched.set(vpc);
      const fresh = new PlaneView(after);
      assert.deepEqual([...patched.vpcIds()].sort(), [...fresh.vpcIds()].sort());
      for (const packet of [...packets(after), ...packets(before)]) {
        assert.deepEqual(send(patched, packet), send(fresh, packet));
      }
    }),
    { numRuns: 80 },
  );
});
