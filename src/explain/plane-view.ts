/** A NetworkSpec indexed for questions, with what is known of attachments. Read-only; built anew or patched per VPC. */
import type { HalfId, PortId, RouteTableId, VpcId } from '../model/ids.ts';
import { type Address, bitsOf, familyOf, rangeOf } from '../model/ip.ts';
import type {
  HalfSpec,
  InterfaceSpec,
  NetworkSpec,
  RouteSpec,
  RouteTableSpec,
  VpcSpec,
} from '../model/network-spec.ts';

export interface PlacedInterface {
  readonly vpcId: VpcId;
  readonly spec: InterfaceSpec;
}

export class PlaneView {
  readonly #vpcs = new Map<VpcId, VpcSpec>();
  readonly #interfaces = new Map<PortId, PlacedInterface>();
  readonly #tables = new Map<string, RouteTableSpec>();
  readonly #halves = new Map<string, HalfSpec>();
  readonly #addresses = new Map<string, PortId>();

  constructor(network: NetworkSpec = { vpcs: [] }) {
    for (const vpc of network.vpcs) this.set(vpc);
  }

  /** Puts one VPC in place of what was known of it. */
  set(vpc: VpcSpec): void {
    this.remove(vpc.vpcId);
    this.#vpcs.set(vpc.vpcId, vpc);
    for (const spec of vpc.interfaces) {
      this.#interfaces.set(spec.id, { vpcId: vpc.vpcId, spec });
      for (const { address } of spec.addresses) this.#addresses.set(`${vpc.vpcId}|${address}`, spec.id);
    }
    for (const table of vpc.routeTables) this.#tables.set(`${vpc.vpcId}|${table.id}`, table);
    for (const half of vpc.halves) this.#halves.set(`${vpc.vpcId}|${half.id}`, half);
  }

  remove(vpcId: VpcId): void {
    const vpc = this.#vpcs.get(vpcId);
    if (vpc === undefined) return;
    this.#vpcs.delete(vpcId);
    for (const spec of vpc.interfaces) {
      this.#interfaces.delete(spec.id);
      for (const { address } of spec.addresses) this.#addresses.delete(`${vpcId}|${address}`);
    }
    for (const table of vpc.routeTables) this.#tables.delete(`${vpcId}|${table.id}`);
    for (const half of vpc.halves) this.#halves.delete(`${vpcId}|${half.id}`);
  }

  vpc(vpcId: VpcId): VpcSpec | undefined {
    return this.#vpcs.get(vpcId);
  }
  vpcIds(): IterableIterator<VpcId> {
    return this.#vpcs.keys();
  }
  interface(portId: PortId): PlacedInterface | undefined {
    return this.#interfaces.get(portId);
  }
  half(vpcId: VpcId, halfId: HalfId): HalfSpec | undefined {
    return this.#halves.get(`${vpcId}|${halfId}`);
  }
  ownerOf(vpcId: VpcId, address: Address): PortId | undefined {
    return this.#addresses.get(`${vpcId}|${address}`);
  }

  table(vpcId: VpcId, tableId: RouteTableId): RouteTableSpec | undefined {
    return this.#tables.get(`${vpcId}|${tableId}`);
  }

  /** Longest prefix match in one table of one VPC. */
  route(vpcId: VpcId, tableId: RouteTableId, destination: Address): RouteSpec | undefined {
    const { bits } = bitsOf(destination);
    const family = familyOf(destination);
    let best: RouteSpec | undefined;
    let bestLength = -1;
    for (const route of this.#tables.get(`${vpcId}|${tableId}`)?.routes ?? []) {
      const range = rangeOf(route.destination);
      if (range.family !== family || range.length <= bestLength || bits < range.first || bits > range.last) continue;
      best = route;
      bestLength = range.length;
    }
    return best;
  }
}

/** What `explain` and its like ask of a network, whoever answers. */
export type View = Pick<PlaneView, 'vpc' | 'interface' | 'half' | 'ownerOf' | 'table' | 'route'>;
