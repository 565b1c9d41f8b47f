/**
 * A process that writes to a store as fast as it can and prints each revision once `commit` has acknowledged it, until
 * somebody kills it. Its changes touch resources, journal and secrets in every transaction.
 */
import { writeSync } from 'node:fs';
import type { AccountId } from '../../src/model/ids.ts';
import type { Change, Resource } from '../../src/model/resources.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { StoredEntry } from '../../src/store/store.ts';

/** What the writer writes at a revision: two accounts named after it, and the one of five revisions ago goes. */
export function entryOf(revision: number): StoredEntry {
  const account = (n: string): Resource => ({
    kind: 'account',
    id: `acct-${n}` as AccountId,
    name: `n${revision}`,
    quotas: {},
    requestsPerSecond: revision,
    createdTime: '2030-01-01T00:00:00Z',
  });
  const changes: Change[] = [
    { op: 'put', resource: account('counter') },
    { op: 'put', resource: account(String(revision)) },
  ];
  if (revision > 5) changes.push({ op: 'delete', kind: 'account', id: `acct-${revision - 5}` });
  const time = '2030-01-01T00:00:00Z';
  return {
    revision,
    time,
    account: null,
    principal: 'operator',
    operation: 'write',
    requestId: `r${revision}`,
    changes,
  };
}
export const secretsOf = (revision: number) => [{ keyId: 'key', secret: String(revision) }];

const path = process.argv[2];
if (import.meta.main && path !== undefined) {
  const store = new SqliteStore(path);
  for (;;) {
    const next = store.revision + 1;
    store.commit(entryOf(next), secretsOf(next));
    writeSync(1, `${next}\n`);
  }
}
