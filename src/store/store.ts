/**
 * What a region needs of its store. One `commit` is one transaction: resources, journal entry and secrets together or
 * not at all, durable when it returns. No rule lives here. A store on a file answers at once, one behind a network later;
 * only the latter can have other writers, see `Others`.
 */
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';

/** An answer that may be there already. */
export type Soon<T> = T | Promise<T>;

/** Raised when the store cannot be reached. */
export class StoreUnavailableError extends Error {
  /** Whether what was asked may have been done nevertheless. */
  readonly uncertain: boolean;
  constructor(message: string, options: ErrorOptions & { readonly uncertain: boolean }) {
    super(message, options);
    this.name = 'StoreUnavailableError';
    this.uncertain = options.uncertain;
  }
}
/** Raised when a store was written by a newer or foreign version; nothing is touched then. */
export class StoreVersionError extends Error {}

export interface StoredEntry {
  readonly revision: number;
  readonly time: string;
  readonly account: AccountId | null;
  readonly principal: string;
  readonly operation: string;
  readonly requestId: string;
  readonly changes: readonly Change[];
}

/** A secret to keep or to forget with a commit; it never enters a document or the journal. */
export interface SecretChange {
  readonly keyId: string;
  /** null forgets it. */
  readonly secret: string | null;
}

export interface Traffic {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** What a half carried, in both directions; of a half that is gone too. */
export interface BookedHalf {
  readonly halfId: HalfId;
  /** Its owner; '' of a half that the store never knew. */
  readonly accountId: AccountId;
  readonly localVpcId: VpcId;
  readonly remoteVpcId: VpcId;
  readonly sent: Traffic;
  /** What the half of the other side sent. */
  readonly received: Traffic;
}
export interface BookedHour extends BookedHalf {
  /** UTC hours since 1970. */
  readonly hour: number;
}

/** How much of one count of the plane is in the books. */
export interface BookedCount extends Traffic {
  readonly halfId: HalfId;
}
/** What is new of one count of the plane. */
export interface Booking {
  readonly halfId: HalfId;
  readonly life: string;
  /** The count, of which from now on all is booked. */
  readonly upTo: Traffic;
  /** What of it was not. */
  readonly sent: Traffic;
}

/** Hours `from` up to, and without, `to`, since 1970. @param account only this one's halves @param limit of rows */
export interface UsageQuery {
  readonly from: number;
  readonly to: number;
  readonly account?: AccountId;
  readonly limit: number;
}

/** What was carried, for good. Sums of hours and totals are equal but for the hours that were folded away. */
export interface UsageBooks {
  /** What is booked of each count that the plane may still tell of, by life. */
  lives(): Soon<ReadonlyMap<string, BookedCount>>;
  /** One transaction, durable when it returns. @param hour in which it was carried */
  book(hour: number, bookings: readonly Booking[]): Soon<void>;
  /** Lives that the plane will not tell of again. */
  forget(lives: readonly string[]): Soon<void>;
  half(halfId: HalfId): Soon<BookedHalf | undefined>;
  /** All that each half ever carried, largest first. */
  totals(limit: number, account?: AccountId): Soon<readonly BookedHalf[]>;
  /** What each half carried in those hours. */
  sums(query: UsageQuery): Soon<readonly BookedHalf[]>;
  /** What each half carried in each of those hours, oldest first. */
  hours(query: UsageQuery): Soon<readonly BookedHour[]>;
  /** Forgets hours before that one; totals keep them. Halves that are gone go with their last hour. */
  fold(before: number): Soon<void>;
}

/** Everything that is, as of one revision. */
export interface Snapshot {
  readonly revision: number;
  /** In no particular order. */
  readonly resources: Iterable<Resource>;
  readonly secrets: ReadonlyMap<string, string>;
}

/** Of several servers on one store one keeps the data plane; the others wait for what it says of it. */
export interface Leadership {
  /** Whether this server is the one, as of now. */
  readonly leads: boolean;
  /** Called with each change of `leads`. */
  onChange(listener: (leads: boolean) => void): void;
  /** Tells the others what the plane holds. */
  publish(report: PlaneReport): Promise<void>;
  /** What was published last; null: nothing yet. */
  published(): Promise<PlaneReport | null>;
  /** Called when something was published, by whomever. */
  onPublished(listener: () => void): void;
}
export interface PlaneReport {
  readonly revision: number;
  readonly failed: readonly { readonly vpcId: VpcId; readonly problem: string }[];
  /** What hosts have not proven of it. */
  readonly owed: readonly {
    readonly vpcId: VpcId;
    readonly notFencedOn: readonly string[];
    readonly notInstalledOn: readonly string[];
  }[];
}

/** What a store with several writers has besides. */
export interface Others {
  /** Called when there may be entries that this server did not write. */
  onNews(listener: () => void): void;
  /** Those of the keys that still exist. */
  secretsOf(keyIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /**
   * Remembers that a request was seen, for all servers.
   * @param until milliseconds since the epoch after which it need not be known
   * @returns false: one of them has seen it before
   */
  admit(keyId: string, nonce: string, until: number): Promise<boolean>;
}

export interface Store {
  /** Made once, when the store is created: marks every data-plane object of this installation. */
  readonly installationId: string;
  snapshot(): Soon<Snapshot>;
  /**
   * @returns 'overtaken': another server has written this revision; nothing was stored
   * @throws StoreUnavailableError, and whatever the disk throws; nothing is then stored, unless it says that it is uncertain
   */
  commit(entry: StoredEntry, secrets: readonly SecretChange[]): Soon<'committed' | 'overtaken'>;
  /** Oldest first. @param revision only what came after it; null: the newest `limit` there are */
  entriesAfter(revision: number | null, limit: number, account?: AccountId): Soon<readonly StoredEntry[]>;
  readonly usage: UsageBooks;
  /** Entries that the journal holds, and bytes of the whole store. */
  size(): Soon<StoreSize>;
  readonly leadership: Leadership;
  /** null: this process is the only one that writes. */
  readonly others: Others | null;
  /** Why the store cannot be reached just now; null while it can. */
  readonly problem: string | null;
  close(): Soon<void>;
}

export interface StoreSize {
  readonly entries: number;
  readonly bytes: number;
}
