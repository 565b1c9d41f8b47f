/**
 * The state of a region in memory: the fold of all changes, indexed so that a question costs what it touches and not
 * the size of the region. `apply` is the only writer and the region its only caller; everything else holds `StateView`.
 * The indexes are derived: folding the stored resources in any order gives the same state.
 */
import type { HalfId, IdKind, PortId, RouteTableId, VpcId } from './ids.ts';
import type { Address } from './ip.ts';
import {
  type Change,
  type PeeringHalf,
  pairKey,
  type Resource,
  type ResourceKind,
  type ResourceOf,
} from './resources.ts';

export interface StateView {
  get<K extends ResourceKind>(kind: K, id: string): ResourceOf<K> | undefined;
  all<K extends ResourceKind>(kind: K): IterableIterator<ResourceOf<K>>;
  /** Resources of that kind that belong to the parent: an account, VPC, subnet or route table, by id. */
  children<K extends ResourceKind>(kind: K, parent: string): readonly ResourceOf<K>[];
  count(kind: ResourceKind, parent: string): number;
  half(local: VpcId, remote: VpcId): PeeringHalf | undefined;
  /** The interface that holds this address inside the VPC. */
  interfaceAt(vpcId: VpcId, address: Address): PortId | undefined;
  /** Interfaces of any VPC that hold this address. */
  interfacesWith(address: Address): readonly PortId[];
  /** Route tables with a rule whose next hop has this id. */
  tablesTowards(nextHopId: string): readonly RouteTableId[];
  named<K extends 'account' | 'peering'>(kind: K, accountId: string, name: string): ResourceOf<K> | undefined;
}

/** The ids under which a resource is listed as a child. */
function parentsOf(resource: Resource): readonly string[] {
  switch (resource.kind) {
    case 'account':
    case 'host':
    case 'host-authority':
      return [];
    case 'key':
    case 'vpc':
    case 'client-token':
      return [resource.accountId];
    case 'subnet':
      return [resource.accountId, resource.vpcId, resource.routeTableId];
    case 'route-table':
      return [resource.accountId, resource.vpcId];
    case 'peering':
      return [resource.accountId, resource.localVpcId, resource.remoteVpcId];
    case 'half-identity':
      return [resource.localVpcId, resource.remoteVpcId];
    case 'interface':
      return [resource.accountId, resource.vpcId, resource.subnetId];
  }
}

function nextHopsOf(resource: Resource): readonly string[] {
  if (resource.kind !== 'route-table') return [];
  return resource.rules.flatMap(({ nextHop }): string[] =>
    nextHop.kind === 'peering' ? [nextHop.halfId] : nextHop.kind === 'interface' ? [nextHop.portId] : [],
  );
}

const nameKey = (resource: Resource): string | undefined =>
  resource.kind === 'account'
    ? `account||${resource.name}`
    : resource.kind === 'peering'
      ? `peering|${resource.accountId}|${resource.name}`
      : undefined;

class MultiMap {
  readonly #sets = new Map<string, Set<string>>();
  add(key: string, value: string): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }
  delete(key: string, value: string): void {
    const set = this.#sets.get(key);
    if (set?.delete(value) === true && set.size === 0) this.#sets.delete(key);
  }
  get(key: string): ReadonlySet<string> {
    return this.#sets.get(key) ?? MultiMap.#none;
  }
  static readonly #none: ReadonlySet<string> = new Set();
}

export class State implements StateView {
  readonly #byKind = new Map<ResourceKind, Map<string, Resource>>();
  readonly #children = new MultiMap();
  readonly #towards = new MultiMap();
  readonly #names = new Map<string, string>();
  readonly #pairs = new Map<string, HalfId>();
  readonly #addresses = new Map<string, PortId>();
  readonly #holders = new MultiMap();
  /** Number of the last change folded in; 0 for an empty state. */
  revision = 0;

  get<K extends ResourceKind>(kind: K, id: string): ResourceOf<K> | undefined {
    return this.#byKind.get(kind)?.get(id) as ResourceOf<K> | undefined;
  }

  all<K extends ResourceKind>(kind: K): IterableIterator<ResourceOf<K>> {
    return (this.#byKind.get(kind) ?? new Map<string, Resource>()).values() as IterableIterator<ResourceOf<K>>;
  }

  children<K extends ResourceKind>(kind: K, parent: string): readonly ResourceOf<K>[] {
    const found: ResourceOf<K>[] = [];
    for (const id of this.#children.get(`${kind}|${parent}`)) {
      const resource = this.get(kind, id);
      if (resource !== undefined) found.push(resource);
    }
    return found;
  }

  count(kind: ResourceKind, parent: string): number {
    return this.#children.get(`${kind}|${parent}`).size;
  }

  half(local: VpcId, remote: VpcId): PeeringHalf | undefined {
    const id = this.#pairs.get(pairKey(local, remote));
    return id === undefined ? undefined : this.get('peering', id);
  }

  interfaceAt(vpcId: VpcId, address: Address): PortId | undefined {
    return this.#addresses.get(`${vpcId}|${address}`);
  }

  interfacesWith(address: Address): readonly PortId[] {
    return [...this.#holders.get(address)] as PortId[];
  }

  tablesTowards(nextHopId: string): readonly RouteTableId[] {
    return [...this.#towards.get(nextHopId)] as RouteTableId[];
  }

  named<K extends 'account' | 'peering'>(kind: K, accountId: string, name: string): ResourceOf<K> | undefined {
    const id = this.#names.get(kind === 'account' ? `account||${name}` : `peering|${accountId}|${name}`);
    return id === undefined ? undefined : this.get(kind, id);
  }

  /** Folds changes in. The revision is the journal's number of the entry they came from. */
  apply(changes: readonly Change[], revision: number): void {
    for (const change of changes) {
      const kind = change.op === 'put' ? change.resource.kind : change.kind;
      const id = change.op === 'put' ? change.resource.id : change.id;
      const before = this.#byKind.get(kind)?.get(id);
      if (before !== undefined) this.#unlink(before);
      if (change.op === 'put') this.#link(change.resource);
      else this.#byKind.get(kind)?.delete(id);
    }
    this.revision = revision;
  }

  #link(resource: Resource): void {
    let ofKind = this.#byKind.get(resource.kind);
    if (ofKind === undefined) {
      ofKind = new Map();
      this.#byKind.set(resource.kind, ofKind);
    }
    ofKind.set(resource.id, resource);
    for (const parent of parentsOf(resource)) this.#children.add(`${resource.kind}|${parent}`, resource.id);
    for (const hop of nextHopsOf(resource)) this.#towards.add(hop, resource.id);
    const name = nameKey(resource);
    if (name !== undefined) this.#names.set(name, resource.id);
    if (resource.kind === 'peering') this.#pairs.set(pairKey(resource.localVpcId, resource.remoteVpcId), resource.id);
    if (resource.kind === 'interface') {
      for (const address of [...resource.primary, ...resource.secondary]) {
        this.#addresses.set(`${resource.vpcId}|${address}`, resource.id);
        this.#holders.add(address, resource.id);
      }
    }
  }

  #unlink(resource: Resource): void {
    for (const parent of parentsOf(resource)) this.#children.delete(`${resource.kind}|${parent}`, resource.id);
    for (const hop of nextHopsOf(resource)) this.#towards.delete(hop, resource.id);
    const name = nameKey(resource);
    if (name !== undefined && this.#names.get(name) === resource.id) this.#names.delete(name);
    if (resource.kind === 'peering') this.#pairs.delete(pairKey(resource.localVpcId, resource.remoteVpcId));
    if (resource.kind === 'interface') {
      for (const address of [...resource.primary, ...resource.secondary]) {
        const key = `${resource.vpcId}|${address}`;
        if (this.#addresses.get(key) === resource.id) this.#addresses.delete(key);
        this.#holders.delete(address, resource.id);
      }
    }
  }
}

/** Kinds whose resources a tenant owns and addresses by id. */
export type OwnedKind = Extract<IdKind, 'vpc' | 'subnet' | 'route-table' | 'peering' | 'interface'>;
