/**
 * The compiled network: what a data plane must hold, VPC by VPC. Plain, frozen, sorted, and complete: a driver needs
 * nothing else, and equal specs are equal byte for byte. It crosses the privilege line as JSON.
 */
import type { HalfId, PortId, RouteTableId, VpcId } from './ids.ts';
import type { Address, Mac, Prefix } from './ip.ts';

/** The MAC of every gateway and of every host-side device: fixed, locally administered. */
export const gatewayMac = '02:00:5e:00:00:01' as Mac;
/** The MTU of an interface unless its attachment says otherwise, in bytes of IP packet. */
export const defaultMtu = 1500;

export interface InterfaceSpec {
  readonly id: PortId;
  readonly mac: Mac;
  /** Every address that it may send from and is reached at, with the gateway and prefix length of its subnet. */
  readonly addresses: readonly InterfaceAddress[];
  readonly routeTableId: RouteTableId;
  readonly sanityCheck: boolean;
}
export interface InterfaceAddress {
  readonly address: Address;
  readonly primary: boolean;
  readonly gateway: Address;
  readonly prefixLength: number;
}

export type RouteTarget =
  | { readonly kind: 'local' }
  | { readonly kind: 'peering'; readonly halfId: HalfId }
  | { readonly kind: 'interface'; readonly portId: PortId }
  | { readonly kind: 'black-hole' };
export interface RouteSpec {
  readonly destination: Prefix;
  readonly target: RouteTarget;
}
export interface RouteTableSpec {
  readonly id: RouteTableId;
  /** Longest prefix wins; destinations are unique, and none lies inside a local one. */
  readonly routes: readonly RouteSpec[];
}

/** A half of this VPC that exists or is remembered. Only a live (Connected) one carries packets. */
export interface HalfSpec {
  readonly id: HalfId;
  readonly remoteVpcId: VpcId;
  readonly live: boolean;
}

export interface VpcSpec {
  readonly vpcId: VpcId;
  readonly interfaces: readonly InterfaceSpec[];
  readonly routeTables: readonly RouteTableSpec[];
  readonly halves: readonly HalfSpec[];
}

/** A whole network; the order of VPCs is by id. */
export interface NetworkSpec {
  readonly vpcs: readonly VpcSpec[];
}
