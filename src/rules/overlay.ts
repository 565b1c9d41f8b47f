/**
 * A state with changes laid over it, readable as if they had been folded in, while the state below stays as it is. What
 * a plan is computed on, and what the later commands of a batch are decided on.
 */
import type { HalfId, PortId, RouteTableId, VpcId } from '../model/ids.ts';
import type { Address } from '../model/ip.ts';
import type { Change, PeeringHalf, ResourceKind, ResourceOf } from '../model/resources.ts';
import { State, type StateView } from '../model/state.ts';

export class Overlay implements StateView {
  readonly #below: StateView;
  /** What was put. */
  readonly #top = new State();
  /** `kind|id` of everything that was put or deleted: the state below no longer speaks for it. */
  readonly #covered = new Set<string>();
  readonly #kinds = new Set<ResourceKind>();
  readonly #changes = new Map<string, Change>();

  constructor(below: StateView) {
    this.#below = below;
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      const kind = change.op === 'put' ? change.resource.kind : change.kind;
      const key = `${kind}|${change.op === 'put' ? change.resource.id : change.id}`;
      this.#covered.add(key);
      this.#kinds.add(kind);
      // Put last is what counts; made and deleted on top of nothing leaves nothing.
      this.#changes.delete(key);
      const known = this.#below.get(kind, key.slice(kind.length + 1)) !== undefined;
      if (change.op === 'put' || known) this.#changes.set(key, change);
    }
    this.#top.apply(changes, 0);
  }

  /** All changes as one list, each resource once. */
  get changes(): readonly Change[] {
    return [...this.#changes.values()];
  }

  #uncovered<K extends ResourceKind>(kind: K, resource: ResourceOf<K> | undefined): ResourceOf<K> | undefined {
    return resource === undefined || this.#covered.has(`${kind}|${resource.id}`) ? undefined : resource;
  }

  get<K extends ResourceKind>(kind: K, id: string): ResourceOf<K> | undefined {
    return this.#covered.has(`${kind}|${id}`) ? this.#top.get(kind, id) : this.#below.get(kind, id);
  }

  *all<K extends ResourceKind>(kind: K): IterableIterator<ResourceOf<K>> {
    for (const resource of this.#below.all(kind)) if (!this.#covered.has(`${kind}|${resource.id}`)) yield resource;
    yield* this.#top.all(kind);
  }

  children<K extends ResourceKind>(kind: K, parent: string): readonly ResourceOf<K>[] {
    const below = this.#below.children(kind, parent);
    if (!this.#kinds.has(kind)) return below;
    return [...below.filter(({ id }) => !this.#covered.has(`${kind}|${id}`)), ...this.#top.children(kind, parent)];
  }

  count(kind: ResourceKind, parent: string): number {
    return this.#kinds.has(kind) ? this.children(kind, parent).length : this.#below.count(kind, parent);
  }

  half(local: VpcId, remote: VpcId): PeeringHalf | undefined {
    return this.#top.half(local, remote) ?? this.#uncovered('peering', this.#below.half(local, remote));
  }

  interfaceAt(vpcId: VpcId, address: Address): PortId | undefined {
    const below = this.#below.interfaceAt(vpcId, address);
    const still = below === undefined || this.#covered.has(`interface|${below}`) ? undefined : below;
    return this.#top.interfaceAt(vpcId, address) ?? still;
  }

  interfacesWith(address: Address): readonly PortId[] {
    const below = this.#below.interfacesWith(address).filter((id) => !this.#covered.has(`interface|${id}`));
    return [...below, ...this.#top.interfacesWith(address)];
  }

  tablesTowards(nextHopId: HalfId | PortId | string): readonly RouteTableId[] {
    const below = this.#below.tablesTowards(nextHopId).filter((id) => !this.#covered.has(`route-table|${id}`));
    return [...below, ...this.#top.tablesTowards(nextHopId)];
  }

  named<K extends 'account' | 'peering'>(kind: K, accountId: string, name: string): ResourceOf<K> | undefined {
    return (
      this.#top.named(kind, accountId, name) ??
      (this.#uncovered<'account' | 'peering'>(kind, this.#below.named(kind, accountId, name)) as
        | ResourceOf<K>
        | undefined)
    );
  }
}
