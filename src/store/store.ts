/**
 * What a region needs of its store. One `commit` is one transaction: resources, journal entry and secrets together or
 * not at all, durable when it returns. No rule lives here.
 */
import type { AccountId } from '../model/ids.ts';
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
  close(): void;
}
