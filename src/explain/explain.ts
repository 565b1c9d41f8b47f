/**
 * (network, packet) → what becomes of it and why. The fake driver forwards with this very function, and the tests hold
 * the kernel's program to it cell by cell, reason included. Order of checks: that of `model/drop-reason.ts`.
 *
 * A packet that came over a peering is delivered inside the peer VPC or dropped; no route of that VPC is consulted, so
 * peering is not transitive whatever its route tables say (P3 in docs/architecture.md).
 */
import type { DropReason } from '../model/drop-reason.ts';
import type { HalfId, PortId, RouteTableId, VpcId } from '../model/ids.ts';
import { type Address, familyOf, type Mac, type Prefix } from '../model/ip.ts';
import { gatewayMac, type RouteTarget } from '../model/network-spec.ts';
import type { View } from './plane-view.ts';

/** A frame as a workload sends it, reduced to what a decision needs. */
export interface Packet {
  readonly from: PortId;
  readonly sourceMac: Mac;
  readonly destinationMac: Mac;
  readonly source: Address;
  readonly destination: Address;
  /** TTL or hop limit as sent. */
  readonly ttl: number;
  /** Bytes of the IP packet; for segmentation offload, of its largest segment. */
  readonly length: number;
  readonly protocol: 'udp' | 'tcp' | 'icmp-echo' | 'other';
}

/** One hop of a path, in the order a packet takes it. `object` is the id that decided. */
export type Hop =
  | { readonly hop: 'interface'; readonly object: PortId; readonly vpcId: VpcId }
  | { readonly hop: 'route'; readonly object: RouteTableId; readonly destination: Prefix; readonly target: string }
  | { readonly hop: 'peering'; readonly object: HalfId; readonly remoteVpcId: VpcId };

export type Verdict =
  | {
      readonly kind: 'delivered';
      readonly to: PortId;
      readonly over: HalfId | null;
      /** As the target receives it. */
      readonly ttl: number;
      readonly path: readonly Hop[];
    }
  | { readonly kind: 'answered'; readonly path: readonly Hop[] }
  /** `object` is the one id to blame: interface, route table, half or VPC. */
  | { readonly kind: 'dropped'; readonly reason: DropReason; readonly object: string; readonly path: readonly Hop[] };

/** What is known of the workload behind an interface: its MTU in bytes, or null while none is attached. */
export type MtuOf = (portId: PortId) => number | null;

export function explain(view: View, mtuOf: MtuOf, packet: Packet): Verdict {
  const path: Hop[] = [];
  const drop = (reason: DropReason, object: string): Verdict => ({ kind: 'dropped', reason, object, path });
  const sender = view.interface(packet.from);
  if (sender === undefined || mtuOf(packet.from) === null) return drop('NoPort', packet.from);
  const { vpcId, spec } = sender;
  path.push({ hop: 'interface', object: spec.id, vpcId });
  if (packet.sourceMac !== spec.mac) return drop('WrongSourceMac', spec.id);
  if (familyOf(packet.source) !== familyOf(packet.destination)) return drop('BadHeader', spec.id);
  const own = spec.addresses.some(({ address }) => address === packet.source);
  if (!own && spec.sanityCheck) return drop('SpoofedAddress', spec.id);
  if (packet.destinationMac !== gatewayMac) return drop('NotToGateway', spec.id);
  const toGateway = spec.addresses.some(({ gateway, primary }) => primary && gateway === packet.destination);
  if (toGateway && packet.protocol === 'icmp-echo') return { kind: 'answered', path };

  const route = view.route(vpcId, spec.routeTableId, packet.destination);
  if (route === undefined) return drop('NoRoute', spec.routeTableId);
  path.push({
    hop: 'route',
    object: spec.routeTableId,
    destination: route.destination,
    target: nameOf(route.target),
  });
  let over: HalfId | null = null;
  let targetVpc = vpcId;
  let to: PortId | undefined;
  switch (route.target.kind) {
    case 'black-hole':
      return drop('BlackHole', spec.routeTableId);
    case 'interface':
      to = view.interface(route.target.portId)?.vpcId === vpcId ? route.target.portId : undefined;
      if (to === undefined) return drop('BlackHole', spec.routeTableId);
      break;
    case 'local':
      to = view.ownerOf(vpcId, packet.destination);
      break;
    case 'peering': {
      over = route.target.halfId;
      const half = view.half(vpcId, over);
      if (half === undefined || !half.live) return drop('NoPeering', over);
      // An appliance may forward foreign addresses inside its VPC, never into a peer's.
      if (!own) return drop('SpoofedAddress', spec.id);
      path.push({ hop: 'peering', object: over, remoteVpcId: half.remoteVpcId });
      targetVpc = half.remoteVpcId;
      to = view.ownerOf(targetVpc, packet.destination);
      break;
    }
  }
  if (to === undefined) return drop('NoSuchAddress', targetVpc);
  const mtu = mtuOf(to);
  if (mtu === null) return drop('TargetGone', to);
  if (over !== null && packet.ttl <= 1) return drop('TtlExpired', spec.id);
  if (packet.length > mtu) return drop('TooBig', to);
  path.push({ hop: 'interface', object: to, vpcId: targetVpc });
  return { kind: 'delivered', to, over, ttl: over === null ? packet.ttl : packet.ttl - 1, path };
}

const nameOf = (target: RouteTarget): string => {
  switch (target.kind) {
    case 'peering':
      return target.halfId;
    case 'interface':
      return target.portId;
    default:
      return target.kind;
  }
};
