/**
 * Packets between the hosts of a ground, for the contract and the matrix. OVN does not count how packets of an interface
 * end; of what nobody received, `ovn-trace` tells where it ended, and must agree about what was received too.
 */
import assert from 'node:assert/strict';
import { isOpen, nextHops } from '../../src/dataplane/ovn/acls.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { Packet } from '../../src/explain/explain.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, familyOf } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { type Carrier, observedOf, type Shot } from '../matrix/carriers.ts';
import type { Probe } from '../wire/lab.ts';
import type { Ground } from './ground.ts';
import type { OvnVerdict } from './ovn-trace.ts';

/** As a workload's own stack sends it. */
function packetOf(view: PlaneView, from: PortId, to: Address): Packet {
  const spec = view.interface(from)?.spec;
  const source = spec?.addresses.find(({ address, primary }) => primary && familyOf(address) === familyOf(to));
  assert.ok(spec !== undefined && source !== undefined, `${from} can send to ${to}`);
  const frame = { from, sourceMac: spec.mac, destinationMac: gatewayMac, ttl: 64, length: 60 } as const;
  return { ...frame, source: source.address, destination: to, protocol: 'udp' };
}

/** What became of each packet: who received it, or why OVN says that nobody did. */
export async function probeAll(ground: Ground, shots: readonly Shot[]): Promise<readonly Probe[]> {
  if (shots.length === 0) return [];
  const { network } = await ground.driver.observe();
  const view = new PlaneView(network);
  // OVN lets no next hop and no appliance announce its IPv6 addresses: neighbours find them in time.
  if (network.vpcs.some((vpc) => vpc.interfaces.some((spec) => isOpen(spec, nextHops(vpc))))) ground.forgetNeighbours();
  const packets = shots.map(({ from, to }) => packetOf(view, from, to));
  const received = await ground.sendAll(shots);
  const verdicts = await (await ground.ovnTrace()).verdicts(packets);
  return shots.map(({ from, to }, at): Probe => {
    const [receiver = null, verdict] = [received[at], verdicts[at]];
    assert.ok(verdict !== undefined);
    if (receiver !== null) {
      const told = verdict.kind === 'delivered' ? verdict.to : `dropped in ${verdict.stage}`;
      assert.equal(told, receiver, `${from} → ${to}: ovn-trace and the packet disagree`);
      return { delivered: receiver };
    }
    return probeOf(verdict, `${from} → ${to}`);
  });
}
/** Of what nobody received. */
function probeOf(verdict: OvnVerdict, what: string): Probe {
  if (verdict.kind === 'delivered') return { exit: 'Forwarded' };
  assert.ok(verdict.reason !== null, `${what}: dropped in ${verdict.stage}`);
  return { exit: verdict.reason };
}

/** One packet. */
export async function probe(ground: Ground, from: PortId, to: Address, handed = false): Promise<Probe> {
  const view = new PlaneView((await ground.driver.observe()).network);
  const packet = packetOf(view, from, to);
  const { kind } = await ground.driver.trace(packet);
  const received = await ground.sendProbe(from, to, { awaited: kind === 'delivered', handed });
  if (received !== null) return { delivered: received };
  const [verdict] = await (await ground.ovnTrace()).verdicts([packet]);
  assert.ok(verdict !== undefined);
  return probeOf(verdict, `${from} → ${to}`);
}

export function carrierOn(ground: Ground): Carrier {
  const plane = new Reconciler(ground.driver, { driftInterval: 0 });
  return {
    name: 'ovn',
    plane,
    attach: async (portId, mtu) => {
      await ground.attach(portId, { soon: true, ...(mtu === undefined ? {} : { mtu }) });
    },
    detach: (portId) => ground.detach(portId),
    forget: (portId) => ground.forget(portId),
    probe: (from, to, handed) => probe(ground, from, to, handed),
    probeAll: (shots) => probeAll(ground, shots),
    tamper: (plan) => ground.driver.apply(plan),
    observed: () => observedOf(ground.driver),
  };
}
