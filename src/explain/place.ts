/**
 * An end of a path, from a single address of an interface up to a whole VPC, and what is known about it. Holds no
 * judgement: legs (leg.ts) are drawn between places.
 */
import type { AccountId, PortId, RouteTableId, SubnetId, VpcId } from '../model/ids.ts';
import { type Address, containsAddress, type Family, familyOf, type Prefix, prefixOf } from '../model/ip.ts';
import type { Subnet } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';
import type { View } from './plane-view.ts';

/** What is observed of the workload on an interface. */
export interface Workload {
  readonly state: 'attached' | 'vanished';
  readonly target: string;
  readonly device: string;
  /** Bytes of IP packet. */
  readonly mtu: number;
  readonly up: boolean | null;
}

/** What an explanation may be drawn from, and for whom. */
export interface Knowledge {
  readonly state: StateView;
  /** The compiled network of that very state. */
  readonly view: View;
  readonly workload: (portId: PortId) => Workload | undefined;
  /** Hosts that have not proven the newest changes to a VPC; absent where that is not known. */
  readonly behind?: (vpcId: VpcId) => {
    readonly notFencedOn: readonly string[];
    readonly notInstalledOn: readonly string[];
  };
  /** Who asks; null for the operator, who sees everything. */
  readonly caller: AccountId | null;
}

/** Whether the caller may see into the VPC. */
export const sees = (k: Knowledge, vpcId: VpcId): boolean =>
  k.caller === null || k.state.get('vpc', vpcId)?.accountId === k.caller;

/** Whether the two VPCs may know of each other: one owner, or both have created their half. */
export const acquainted = (k: Knowledge, a: VpcId, b: VpcId): boolean =>
  a === b || (sees(k, a) && sees(k, b)) || (k.state.half(a, b) !== undefined && k.state.half(b, a) !== undefined);

export interface Place {
  readonly vpcId: VpcId;
  /** The route tables that decide for packets from there, once each. */
  readonly tables: readonly RouteTableId[];
  /** Where it is reached, of one family. */
  readonly ranges: readonly Prefix[];
  readonly family: Family;
  /** Set for a subnet, and for an address that lies in one. */
  readonly subnetId: SubnetId | null;
  /** Set for a single address. */
  readonly address: Address | null;
  readonly portId: PortId | null;
}

const distinct = <T>(list: readonly T[]): readonly T[] => [...new Set(list)];

/** One address in a VPC, whether or not somebody has it. */
export function addressPlace(k: Knowledge, vpcId: VpcId, address: Address): Place {
  const subnet = k.state
    .children('subnet', vpcId)
    .find(({ cidrs }) => cidrs.some((cidr) => containsAddress(cidr, address)));
  const tables = subnet === undefined ? [] : [subnet.routeTableId];
  const base = { vpcId, tables, ranges: [prefixOf(address)], family: familyOf(address), address };
  return { ...base, subnetId: subnet?.id ?? null, portId: k.state.interfaceAt(vpcId, address) ?? null };
}

/** A subnet, or undefined when it has no range of the family. */
export function subnetPlace(subnet: Subnet, family: Family): Place | undefined {
  const ranges = subnet.cidrs.filter((cidr) => familyOf(cidr) === family);
  if (ranges.length === 0) return undefined;
  const { vpcId, id: subnetId, routeTableId } = subnet;
  return { vpcId, tables: [routeTableId], ranges, family, subnetId, address: null, portId: null };
}

/** All of a VPC as one place: what a peer sees of it. Undefined when it has no subnet of the family. */
export function vpcPlace(k: Knowledge, vpcId: VpcId, family: Family): Place | undefined {
  const subnets = k.state
    .children('subnet', vpcId)
    .filter(({ cidrs }) => cidrs.some((cidr) => familyOf(cidr) === family));
  if (subnets.length === 0) return undefined;
  const tables = distinct(subnets.map(({ routeTableId }) => routeTableId));
  const ranges = subnets.flatMap(({ cidrs }) => cidrs.filter((cidr) => familyOf(cidr) === family));
  return { vpcId, tables, ranges, family, subnetId: null, address: null, portId: null };
}
