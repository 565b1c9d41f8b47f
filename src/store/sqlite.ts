/**
 * The store on SQLite (`node:sqlite`), full sync: what `commit` acknowledged survives `kill -9` and a power cut. One
 * transaction holds resources, journal entry and secrets. Files are mode 600, in a directory of mode 700.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { AccountId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';
import { migrate, schemaVersion } from './migrations.ts';
import { SoleLeadership } from './sole-leadership.ts';
import { type SecretChange, type Snapshot, type Store, type StoredEntry, StoreVersionError } from './store.ts';
import { SqliteUsageBooks } from './usage-books.ts';

/** Characters of changes after which an answer ends, however many entries were asked for. */
const answerSize = 1024 * 1024;

interface Statements {
  readonly put: StatementSync;
  readonly drop: StatementSync;
  readonly journal: StatementSync;
  readonly keep: StatementSync;
  readonly forget: StatementSync;
}

export class SqliteStore implements Store {
  readonly installationId: string;
  readonly usage: SqliteUsageBooks;
  readonly leadership: SoleLeadership;
  readonly others = null;
  readonly problem = null;
  readonly #db: DatabaseSync;
  readonly #statements: Statements;
  #revision: number;
  readonly #room: number;
  /** Characters of each account's part of the journal, as far as known. */
  readonly #sizes = new Map<AccountId, number>();

  /**
   * Opens a store, or makes it when there is none.
   * @param path of the database file, or `:memory:`
   * @param journalRoom bytes of changes that the journal keeps for one account
   * @throws StoreVersionError when another version wrote it
   */
  constructor(path: string, journalRoom = 64 * 1024 * 1024) {
    this.#room = journalRoom;
    if (path !== ':memory:') {
      const folder = dirname(path);
      if (!existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
    }
    // The file is made with no access for others, not narrowed afterwards.
    const mask = process.umask(0o077);
    try {
      this.#db = new DatabaseSync(path);
      this.#check(path);
      this.#db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;');
      this.#migrate(path);
    } finally {
      process.umask(mask);
    }
    this.usage = new SqliteUsageBooks({ db: this.#db, transaction: (work) => this.#transaction(work) });
    this.installationId = this.#meta('installation') ?? '';
    this.leadership = new SoleLeadership({
      read: () => this.#meta('owed'),
      write: (owed) => this.#setMeta('owed', owed),
    });
    const last = this.#db.prepare('select coalesce(max(revision), 0) as revision from journal').get();
    this.#revision = Number(last?.['revision'] ?? 0);
    this.#statements = {
      put: this.#db.prepare(
        'insert into resource (kind, id, account, revision, doc) values (?, ?, ?, ?, ?) ' +
          'on conflict (kind, id) do update set account = excluded.account, revision = excluded.revision, doc = excluded.doc',
      ),
      drop: this.#db.prepare('delete from resource where kind = ? and id = ?'),
      journal: this.#db.prepare(
        'insert into journal (revision, time, account, principal, operation, request_id, changes) values (?, ?, ?, ?, ?, ?, ?)',
      ),
      keep: this.#db.prepare('insert or replace into secret (key_id, secret) values (?, ?)'),
      forget: this.#db.prepare('delete from secret where key_id = ?'),
    };
  }

  get #version(): number {
    return Number(this.#db.prepare('pragma user_version').get()?.['user_version'] ?? 0);
  }

  /** Before the first write: the file is ours, or empty. */
  #check(path: string): void {
    const version = this.#version;
    const tables = Number(this.#db.prepare('select count(*) as tables from sqlite_schema').get()?.['tables'] ?? 0);
    if (version === 0 ? tables === 0 : version > 0 && version <= schemaVersion) return;
    this.#db.close();
    const what = version === 0 ? 'is a database of another program' : `has schema ${version}`;
    throw new StoreVersionError(`${path} ${what}; this version reads schemas up to ${schemaVersion}`);
  }

  #migrate(path: string): void {
    const version = this.#version;
    if (version === schemaVersion) return;
    this.#transaction(() => {
      migrate(this.#db, version);
      if (version > 0) return;
      const installation = randomBytes(5).toString('hex');
      this.#setMeta('installation', installation);
    });
    if (version === 0 && path !== ':memory:') chmodSync(path, 0o600);
  }

  #meta(name: string): string | undefined {
    const row = this.#db.prepare('select value from meta where name = ?').get(name);
    return row === undefined ? undefined : String(row['value']);
  }
  #setMeta(name: string, value: string): void {
    this.#db.prepare('insert or replace into meta (name, value) values (?, ?)').run(name, value);
  }

  #transaction(work: () => void): void {
    this.#db.exec('begin immediate');
    try {
      work();
      this.#db.exec('commit');
    } catch (error) {
      this.#db.exec('rollback');
      throw error;
    }
  }

  get revision(): number {
    return this.#revision;
  }

  snapshot(): Snapshot {
    return { revision: this.#revision, resources: this.load(), secrets: this.secrets() };
  }

  /** Everything that is, in no particular order. */
  *load(): Iterable<Resource> {
    for (const row of this.#db.prepare('select doc from resource').iterate()) {
      yield JSON.parse(String(row['doc'])) as Resource;
    }
  }

  secrets(): ReadonlyMap<string, string> {
    const rows = this.#db.prepare('select key_id, secret from secret').all();
    return new Map(rows.map((row) => [String(row['key_id']), String(row['secret'])]));
  }

  /** @throws when the entry's revision is not the next one, or the disk fails; nothing is then stored. */
  commit(entry: StoredEntry, secrets: readonly SecretChange[]): 'committed' {
    if (entry.revision !== this.#revision + 1) {
      throw new Error(`entry ${entry.revision} does not follow ${this.#revision}`);
    }
    const { put, drop, journal, keep, forget } = this.#statements;
    this.#transaction(() => {
      for (const change of entry.changes) {
        if (change.op === 'delete') drop.run(change.kind, change.id);
        else {
          const { resource } = change;
          const account = 'accountId' in resource ? resource.accountId : null;
          put.run(resource.kind, resource.id, account, entry.revision, JSON.stringify(resource));
          // Whoever it is, and however soon it goes again, what it carries has an owner.
          if (resource.kind === 'peering') this.usage.know(resource);
        }
      }
      const { revision, time, account, principal, operation, requestId, changes } = entry;
      journal.run(revision, time, account, principal, operation, requestId, JSON.stringify(changes));
      for (const { keyId, secret } of secrets) {
        if (secret === null) forget.run(keyId);
        else keep.run(keyId, secret);
      }
    });
    this.#revision = entry.revision;
    this.#trim(entry);
    return 'committed';
  }

  /** Keeps an account's part of the journal within its room: its oldest entries go, and nobody else's. */
  #trim({ account, changes }: StoredEntry): void {
    if (account === null) return;
    const size = this.#journalSize(account) + Buffer.byteLength(JSON.stringify(changes));
    this.#sizes.set(account, size);
    if (size <= this.#room) return;
    let over = size - this.#room * 0.9;
    let last = 0;
    const oldest = 'select revision, octet_length(changes) as size from journal where account = ? order by revision';
    for (const row of this.#db.prepare(oldest).iterate(account)) {
      if (over <= 0) break;
      over -= Number(row['size']);
      last = Number(row['revision']);
    }
    // Never the newest of all: it is the revision of the store.
    const upTo = Math.min(last, this.#revision - 1);
    this.#db.prepare('delete from journal where account = ? and revision <= ?').run(account, upTo);
    this.#sizes.delete(account);
  }
  /** Of the entries before the newest. */
  #journalSize(account: AccountId): number {
    const known = this.#sizes.get(account);
    if (known !== undefined) return known;
    const sum =
      'select coalesce(sum(octet_length(changes)), 0) as size from journal where account = ? and revision < ?';
    return Number(this.#db.prepare(sum).get(account, this.#revision)?.['size'] ?? 0);
  }

  entriesAfter(revision: number | null, limit: number, account?: AccountId): readonly StoredEntry[] {
    const columns = 'revision, time, account, principal, operation, request_id, changes';
    const order = revision === null ? 'order by revision desc' : 'order by revision';
    const select = `select ${columns} from journal where`;
    const found =
      account === undefined
        ? this.#db.prepare(`${select} revision > ? ${order} limit ?`).iterate(revision ?? 0, limit)
        : this.#db
            .prepare(`${select} account = ? and revision > ? ${order} limit ?`)
            .iterate(account, revision ?? 0, limit);
    const rows: Record<string, unknown>[] = [];
    let size = 0;
    for (const row of found) {
      rows.push(row);
      size += String(row['changes']).length;
      if (size > answerSize) break;
    }
    if (revision === null) rows.reverse();
    return rows.map((row) => ({
      revision: Number(row['revision']),
      time: String(row['time']),
      account: row['account'] === null ? null : (String(row['account']) as AccountId),
      principal: String(row['principal']),
      operation: String(row['operation']),
      requestId: String(row['request_id']),
      changes: JSON.parse(String(row['changes'])) as readonly Change[],
    }));
  }

  size(): { readonly entries: number; readonly bytes: number } {
    const number = (select: string): number => Number(Object.values(this.#db.prepare(select).get() ?? {})[0] ?? 0);
    return {
      entries: number('select count(*) from journal'),
      bytes: number('pragma page_count') * number('pragma page_size'),
    };
  }

  close(): void {
    this.#db.close();
  }
}
