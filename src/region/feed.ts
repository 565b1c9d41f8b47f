/**
 * The event feed: what happened to each account's objects, in order, newest kept. Changes carry the journal's revision,
 * whatever else happens (health, attachments) a number behind it. Who follows with the last id he saw misses nothing, or
 * is told to read anew.
 */
import type { AccountId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';
import type { StoredEntry } from '../store/store.ts';

/** One object that a change made, changed or deleted. */
export interface EventObject {
  readonly op: 'put' | 'delete';
  readonly kind: string;
  readonly id: string;
  readonly name: string;
  /** Of a peering half. */
  readonly state?: string;
}
interface Common {
  /** `REVISION` or `REVISION.N`: greater than every earlier one. */
  readonly id: string;
  readonly time: string;
}
export type FeedEvent = Common &
  (
    | {
        readonly event: 'change';
        /** null for a peer's: what he did to his own is his. */
        readonly operation: string | null;
        /** Whose command it was. */
        readonly by: 'you' | 'peer' | 'operator';
        readonly requestId: string | null;
        readonly objects: readonly EventObject[];
      }
    | {
        readonly event: 'health';
        readonly vpcPeeringId: string;
        /** null: no longer Connected. */
        readonly health: string | null;
        readonly reasons: readonly string[];
      }
    | { readonly event: 'attachment'; readonly networkInterfaceId: string; readonly state: string }
    /** Hosts fall behind with a VPC, or with the end of a peering, or have caught up: then both lists are empty. */
    | {
        readonly event: 'fence';
        readonly vpcId: string;
        /** null: of the VPC as a whole. */
        readonly vpcPeeringId: string | null;
        readonly notFencedOn: readonly string[];
        readonly notInstalledOn: readonly string[];
      }
    /** The id that was asked for is too old or from another time: read the state anew. */
    | { readonly event: 'reset' }
  );
type Body = FeedEvent extends infer E ? (E extends Common ? Omit<E, 'id' | 'time'> : never) : never;

interface Kept {
  readonly account: AccountId;
  readonly revision: number;
  readonly n: number;
  readonly event: FeedEvent;
}
export interface Subscription {
  readonly backlog: readonly FeedEvent[];
  readonly close: () => void;
}

/** Events that are kept, of all accounts together. */
const mostKept = 20_000;

const bookkeeping: ReadonlySet<string> = new Set(['half-identity', 'client-token']);

/** A place in the feed. */
interface Place {
  readonly revision: number;
  readonly n: number;
}
export function placeOf(id: string): Place | null {
  const found = /^([0-9]{1,15})(?:\.([0-9]{1,9}))?$/.exec(id);
  return found === null ? null : { revision: Number(found[1]), n: Number(found[2] ?? 0) };
}
const after = (a: Place, b: Place): boolean => a.revision > b.revision || (a.revision === b.revision && a.n > b.n);

export class Feed {
  readonly #kept: Kept[] = [];
  /** Everything after this place is kept. */
  #since: Place;
  #revision: number;
  #n = 0;
  readonly #followers = new Set<{ readonly account: AccountId | null; readonly take: (event: FeedEvent) => void }>();

  /** @param revision the newest that has happened */
  constructor(revision: number) {
    this.#revision = revision;
    this.#since = { revision, n: 0 };
  }

  /** Takes in what the journal still knows, oldest first, before anything else happens. */
  remember(entries: readonly StoredEntry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    this.#since = { revision: first.revision - 1, n: 0 };
    for (const entry of entries) this.#take(entry, () => undefined);
  }

  /** What happened up to this revision is not known one by one: whoever follows is told to read the state anew. */
  begin(revision: number): void {
    this.#kept.length = 0;
    this.#revision = revision;
    this.#n = 0;
    this.#since = { revision, n: 0 };
    for (const { take } of this.#followers) take({ id: String(revision), time: '', event: 'reset' });
  }

  /**
   * A command was carried out.
   * @param before looks a resource up as it was before
   */
  changed(entry: StoredEntry, before: (kind: Resource['kind'], id: string) => Resource | undefined): void {
    this.#revision = entry.revision;
    this.#n = 0;
    this.#take(entry, before);
  }

  #take(entry: StoredEntry, before: (kind: Resource['kind'], id: string) => Resource | undefined): void {
    const byAccount = new Map<AccountId, EventObject[]>();
    for (const change of entry.changes) {
      const kind = change.op === 'put' ? change.resource.kind : change.kind;
      if (bookkeeping.has(kind)) continue;
      const id = change.op === 'put' ? change.resource.id : change.id;
      const resource = change.op === 'put' ? change.resource : before(kind, id);
      const owner = (resource as { accountId?: AccountId } | undefined)?.accountId ?? entry.account;
      if (owner === null) continue;
      const list = byAccount.get(owner) ?? [];
      list.push(objectOf(change, kind, id, resource));
      byAccount.set(owner, list);
    }
    for (const [account, objects] of byAccount) {
      const by = entry.account === account ? 'you' : entry.account === null ? 'operator' : 'peer';
      const event: FeedEvent = {
        id: String(entry.revision),
        time: entry.time,
        event: 'change',
        operation: by === 'peer' ? null : entry.operation,
        by,
        requestId: by === 'you' ? entry.requestId : null,
        objects,
      };
      this.#put({ account, revision: entry.revision, n: 0, event });
    }
  }

  /** Something happened that is no command. */
  happened(account: AccountId, time: string, body: Body): void {
    const n = ++this.#n;
    const event = { id: `${this.#revision}.${n}`, time, ...body } as FeedEvent;
    this.#put({ account, revision: this.#revision, n, event });
  }

  #put(kept: Kept): void {
    this.#kept.push(kept);
    if (this.#kept.length > mostKept) {
      // In lumps, because taking one off the front of a long list costs its length.
      const dropped = this.#kept.splice(0, mostKept / 10).at(-1);
      if (dropped !== undefined) this.#since = dropped;
    }
    for (const { account, take } of this.#followers) {
      if (account === null || account === kept.account) take(kept.event);
    }
  }

  /**
   * Follows an account's events; the operator (null) follows all.
   * @param from the last id that was seen; null for only what comes
   * @param take called with each event that comes; must not throw
   */
  follow(account: AccountId | null, from: Place | null, take: (event: FeedEvent) => void): Subscription {
    const follower = { account, take };
    this.#followers.add(follower);
    const backlog: FeedEvent[] = [];
    if (from !== null) {
      const future = after(from, { revision: this.#revision, n: this.#n });
      if (future || after(this.#since, from)) {
        backlog.push({ id: `${this.#revision}.${this.#n}`, time: '', event: 'reset' });
      } else {
        for (const kept of this.#kept) {
          if ((account === null || kept.account === account) && after(kept, from)) backlog.push(kept.event);
        }
      }
    }
    return { backlog, close: () => this.#followers.delete(follower) };
  }

  /** The newest events, oldest first. */
  newest(account: AccountId | null, most: number): readonly FeedEvent[] {
    const found: FeedEvent[] = [];
    for (let at = this.#kept.length - 1; at >= 0 && found.length < most; at--) {
      const kept = this.#kept[at];
      if (kept !== undefined && (account === null || kept.account === account)) found.push(kept.event);
    }
    return found.reverse();
  }
}

function objectOf(change: Change, kind: string, id: string, resource: Resource | undefined): EventObject {
  const name = resource !== undefined && 'name' in resource ? resource.name : '';
  const state = change.op === 'put' && change.resource.kind === 'peering' ? { state: change.resource.state } : {};
  return { op: change.op, kind, id, name, ...state };
}
