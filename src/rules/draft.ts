/**
 * The changes a command is about to make, readable as if they had been made: a decision of several steps (a cascade)
 * sees its own earlier steps. Never writes to the state.
 */
import { type Refusal, refuse } from '../model/errors.ts';
import type { AccountId, Ids, VpcId } from '../model/ids.ts';
import type { Change, CommandResult, PeeringHalf, Resource, ResourceKind, ResourceOf } from '../model/resources.ts';
import type { OwnedKind, StateView } from '../model/state.ts';

/** Everything a rule may know besides the command. */
export interface RuleContext {
  readonly state: StateView;
  /** The tenant that asks; null for the operator. */
  readonly accountId: AccountId | null;
  /** The time as the vendor writes it: 2021-08-09T05:16:00Z. */
  readonly now: string;
  readonly ids: Ids;
}

/** What a command changes, or why not. */
export type Decision = { readonly changes: readonly Change[]; readonly result: CommandResult } | Refusal;

export class Draft {
  readonly #state: StateView;
  readonly #changes = new Map<string, Change>();

  constructor(state: StateView) {
    this.#state = state;
  }

  get<K extends ResourceKind>(kind: K, id: string): ResourceOf<K> | undefined {
    const change = this.#changes.get(`${kind}|${id}`);
    if (change === undefined) return this.#state.get(kind, id);
    return change.op === 'put' ? (change.resource as ResourceOf<K>) : undefined;
  }

  /** Children as the state has them, less what the draft deleted; children that the draft made are not listed. */
  children<K extends ResourceKind>(kind: K, parent: string): readonly ResourceOf<K>[] {
    return this.#state
      .children(kind, parent)
      .map(({ id }) => this.get(kind, id))
      .filter((resource) => resource !== undefined);
  }

  half(local: VpcId, remote: VpcId): PeeringHalf | undefined {
    const half = this.#state.half(local, remote);
    return half === undefined ? undefined : this.get('peering', half.id);
  }

  put(resource: Resource): void {
    this.#changes.set(`${resource.kind}|${resource.id}`, { op: 'put', resource });
  }

  delete(kind: ResourceKind, id: string): void {
    const key = `${kind}|${id}`;
    // Made and unmade within one decision: nothing remains of it.
    if (this.#state.get(kind, id) === undefined) this.#changes.delete(key);
    else this.#changes.set(key, { op: 'delete', kind, id });
  }

  done(result: CommandResult = {}): Decision {
    return { changes: [...this.#changes.values()], result };
  }
}

/**
 * The resource, if it is the caller's own. What belongs to somebody else is refused exactly like what does not exist
 * (P8 in docs/architecture.md).
 */
export function owned<K extends OwnedKind>(context: RuleContext, kind: K, id: string): ResourceOf<K> | Refusal {
  const resource = context.state.get<OwnedKind>(kind, id);
  const mine = resource !== undefined && (context.accountId === null || resource.accountId === context.accountId);
  return mine ? (resource as ResourceOf<K>) : refuse('not-found', { id });
}

/** The account a tenant's command works for. */
export function accountOf(context: RuleContext): ResourceOf<'account'> | Refusal {
  const account = context.accountId === null ? undefined : context.state.get('account', context.accountId);
  return account ?? refuse('forbidden', {});
}
