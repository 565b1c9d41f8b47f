/**
 * What a region needs of its store. One `commit` is one transaction: resources, journal entry and secrets together or
 * not at all, durable when it returns. No rule lives here.
 */
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';

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
  lives(): ReadonlyMap<string, BookedCount>;
  /** One transaction, durable when it returns. @param hour in which it was carried */
  book(hour: number, bookings: readonly Booking[]): void;
  /** Lives that the plane will not tell of again. */
  forget(lives: readonly string[]): void;
  half(halfId: HalfId): BookedHalf | undefined;
  /** All that each half ever carried, largest first. */
  totals(limit: number, account?: AccountId): readonly BookedHalf[];
  /** What each half carried in those hours. */
  sums(query: UsageQuery): readonly BookedHalf[];
  /** What each half carried in each of those hours, oldest first. */
  hours(query: UsageQuery): readonly BookedHour[];
  /** Forgets hours before that one; totals keep them. Halves that are gone go with their last hour. */
  fold(before: number): void;
}

export interface Store {
  /** Made once, when the store is created: marks every data-plane object of this installation. */
  readonly installationId: string;
  readonly revision: number;
  /** Everything that is, in no particular order. */
  load(): Iterable<Resource>;
  secrets(): ReadonlyMap<string, string>;
  /** @throws when the entry's revision is not the next one, or the disk fails; nothing is then stored. */
  commit(entry: StoredEntry, secrets: readonly SecretChange[]): void;
  /** Oldest first. @param revision only what came after it; null: the newest `limit` there are */
  entriesAfter(revision: number | null, limit: number, account?: AccountId): readonly StoredEntry[];
  readonly usage: UsageBooks;
  /** Entries that the journal holds, and bytes of the whole store. */
  size(): { readonly entries: number; readonly bytes: number };
  close(): void;
}
