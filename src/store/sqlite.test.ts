import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { entryOf, secretsOf } from '../../test/ledger/writer.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId } from '../model/ids.ts';
import { type Resource, resourceKinds } from '../model/resources.ts';
import { SqliteStore } from './sqlite.ts';
import { type StoredEntry, StoreVersionError } from './store.ts';

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'store-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}
const sorted = (resources: Iterable<Resource>): readonly Resource[] =>
  [...resources].sort((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));
const contents = (store: SqliteStore) => ({
  revision: store.revision,
  resources: sorted(store.load()),
  secrets: [...store.secrets()],
  journal: store.entriesAfter(0, 1_000_000),
});
/** What a store must hold after the writer's first `revision` entries. */
function expected(revision: number) {
  const state = new Map<string, Resource>();
  const journal: StoredEntry[] = [];
  for (let n = 1; n <= revision; n++) {
    const entry = entryOf(n);
    journal.push(entry);
    for (const change of entry.changes) {
      if (change.op === 'put') state.set(change.resource.id, change.resource);
      else state.delete(change.id);
    }
  }
  const secrets = revision === 0 ? [] : secretsOf(revision).map(({ keyId, secret }) => [keyId, secret]);
  return { revision, resources: sorted(state.values()), secrets, journal };
}
function write(store: SqliteStore, upTo: number): void {
  while (store.revision < upTo) store.commit(entryOf(store.revision + 1), secretsOf(store.revision + 1));
}

test('what was committed is there: resources, journal, secrets and revision, also after it is opened again', (t) => {
  const path = join(folder(t), 'region.db');
  const store = new SqliteStore(path);
  assert.deepEqual(contents(store), expected(0));
  write(store, 12);
  assert.deepEqual(contents(store), expected(12));
  const { installationId } = store;
  assert.match(installationId, /^[0-9a-f]{10}$/);
  store.close();
  const again = new SqliteStore(path);
  assert.deepEqual(contents(again), expected(12));
  assert.equal(again.installationId, installationId);
  write(again, 13);
  again.close();
  const other = new SqliteStore(join(folder(t), 'region.db'));
  assert.notEqual(other.installationId, installationId, 'another store is another installation');
  other.close();
});

test('any history of commands, stored entry by entry, folds to the same state when it is loaded', () => {
  fc.assert(
    fc.property(fc.array(draw, { minLength: 20, maxLength: 100 }), (draws) => {
      const ledger = new Ledger();
      const store = new SqliteStore(':memory:');
      const apply = ledger.state.apply.bind(ledger.state);
      ledger.state.apply = (changes, revision) => {
        store.commit({ ...entryOf(revision), changes }, []);
        apply(changes, revision);
      };
      populate(ledger);
      for (const one of draws) {
        const command = commandOf(ledger.state, one);
        const before = ledger.state.revision;
        const decision = ledger.submit(command, giverOf(ledger, command, one));
        assert.equal(store.revision, isRefusal(decision) ? before : ledger.state.revision);
      }
      assert.deepEqual(
        sorted(store.load()),
        sorted(resourceKinds.flatMap((kind): Resource[] => [...ledger.state.all(kind)])),
      );
      store.close();
    }),
    { numRuns: 20 },
  );
});

test('a transaction is all or nothing: when any part of it fails nothing of it is there', (t) => {
  const path = join(folder(t), 'region.db');
  const store = new SqliteStore(path);
  write(store, 3);
  const entry = entryOf(4);
  const broken = { ...entry, principal: { not: 'text' } as never }; // the journal's row, after the resources'
  assert.throws(() => store.commit(broken, secretsOf(4)));
  assert.throws(() => store.commit(entry, [...secretsOf(4), { keyId: {} as never, secret: 'x' }])); // the very last row
  assert.deepEqual(contents(store), expected(3));
  store.close();
  const again = new SqliteStore(path);
  assert.deepEqual(contents(again), expected(3));
  write(again, 4);
  assert.deepEqual(contents(again), expected(4), 'the control: the same entry, whole');
  again.close();
});

test('the journal has no gaps: an entry that is not the next one is refused, and stores nothing', () => {
  const store = new SqliteStore(':memory:');
  write(store, 3);
  for (const wrong of [0, 1, 3, 5, 4.5]) {
    assert.throws(() => store.commit(entryOf(wrong), []), /does not follow 3/);
  }
  assert.deepEqual(contents(store), expected(3));
  write(store, 5);
  assert.deepEqual(
    store.entriesAfter(0, 10).map(({ revision }) => revision),
    [1, 2, 3, 4, 5],
  );
  store.close();
});

test('a journal is read from any revision, in pieces, and one account’s alone', () => {
  const store = new SqliteStore(':memory:');
  const mine = 'acct-mine000000' as AccountId;
  for (let n = 1; n <= 9; n++) store.commit({ ...entryOf(n), account: n % 3 === 0 ? mine : null }, []);
  const revisions = (...query: Parameters<SqliteStore['entriesAfter']>) =>
    store.entriesAfter(...query).map(({ revision }) => revision);
  assert.deepEqual(revisions(4, 3), [5, 6, 7]);
  assert.deepEqual(revisions(9, 3), []);
  assert.deepEqual(revisions(0, 10, mine), [3, 6, 9]);
  assert.deepEqual(revisions(3, 1, mine), [6]);
  assert.deepEqual(revisions(0, 10, 'acct-theirs0000' as AccountId), []);
  store.close();
});

test('a secret is kept with its commit, forgotten with another, and stands nowhere else', (t) => {
  const path = join(folder(t), 'region.db');
  const store = new SqliteStore(path);
  const secret = 'k9Wq-a-secret-that-is-found-when-it-is-there';
  store.commit(entryOf(1), [{ keyId: 'JDC_A', secret }]);
  assert.equal(store.secrets().get('JDC_A'), secret);
  assert.ok(!JSON.stringify([...store.load(), ...store.entriesAfter(0, 9)]).includes(secret));
  assert.ok(
    [path, `${path}-wal`].some((file) => existsSync(file) && readFileSync(file).includes(secret)),
    'the control',
  );
  store.commit(entryOf(2), [{ keyId: 'JDC_A', secret: null }]);
  assert.deepEqual([...store.secrets()], []);
  store.close();
});

test('the files are the owner’s alone, the log beside the database included, whatever the umask', (t) => {
  const outer = folder(t);
  const path = join(outer, 'data', 'region.db');
  const mask = process.umask(0);
  t.after(() => void process.umask(mask));
  const store = new SqliteStore(path);
  write(store, 1);
  const mode = (file: string) => (statSync(file).mode & 0o777).toString(8);
  assert.equal(mode(join(outer, 'data')), '700');
  assert.deepEqual([path, `${path}-wal`, `${path}-shm`].map(mode), ['600', '600', '600']);
  assert.equal(process.umask(), 0, 'the mask of the process is as it was');
  store.close();
});

test('a store of another version is refused with a sentence that names both, and is not touched', (t) => {
  const path = join(folder(t), 'region.db');
  const store = new SqliteStore(path);
  write(store, 2);
  store.close();
  const stamp = (version: number) => {
    const db = new DatabaseSync(path);
    db.exec(`pragma user_version = ${version}`);
    db.close();
  };
  stamp(7);
  const before = readFileSync(path);
  assert.throws(
    () => new SqliteStore(path),
    (error) =>
      error instanceof StoreVersionError &&
      /region\.db has schema 7; this version reads schemas up to 2/.test(error.message),
  );
  assert.ok(readFileSync(path).equals(before), 'not a byte of it');
  stamp(2);
  const again = new SqliteStore(path);
  assert.deepEqual(contents(again), expected(2), 'the control: the same file with its own version');
  again.close();
});

test('a database of another program, and a file that is none, are refused and not touched', (t) => {
  const path = join(folder(t), 'region.db');
  const db = new DatabaseSync(path);
  db.exec('create table theirs (x)');
  db.close();
  const before = readFileSync(path);
  assert.throws(
    () => new SqliteStore(path),
    (error) => error instanceof StoreVersionError && error.message.includes('is a database of another program'),
  );
  assert.ok(readFileSync(path).equals(before), 'not a byte of it');
  const text = join(folder(t), 'region.db');
  writeFileSync(text, 'not a database, but long enough to have a header of a hundred bytes. '.repeat(20));
  assert.throws(() => new SqliteStore(text), /not a database/);
  assert.ok(readFileSync(text, 'utf8').startsWith('not a database'));
  const empty = join(folder(t), 'region.db');
  writeFileSync(empty, '');
  new SqliteStore(empty).close(); // the control: an empty file is a store to be
});

/** Writes in a process of its own, kills it after so many milliseconds from its first word. @returns what it said */
function killedWriter(path: string, milliseconds: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, '../../test/ledger/writer.ts'), path],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: 20_000,
      },
    );
    let said = '';
    child.stdout.on('data', (data: Buffer) => {
      if (said === '') setTimeout(() => child.kill('SIGKILL'), milliseconds);
      said += data.toString('latin1');
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the writer ended by itself: ${code} ${signal}`));
      else resolve(Number(said.slice(0, said.lastIndexOf('\n')).split('\n').at(-1)));
    });
  });
}

test('42. ten times killed while it writes: every acknowledged revision is there, none is half there', async (t) => {
  const path = join(folder(t), 'region.db');
  let before = 0;
  for (let round = 0; round < 10; round++) {
    const acknowledged = await killedWriter(path, Math.random() * 60);
    assert.ok(acknowledged > before, `round ${round}: ${acknowledged} after ${before}`);
    const store = new SqliteStore(path);
    // One commit may have been durable and not yet said so.
    assert.ok(store.revision === acknowledged || store.revision === acknowledged + 1, `${store.revision} is there`);
    assert.deepEqual(contents(store), expected(store.revision));
    before = store.revision;
    store.close();
  }
});

test('an account that fills its part of the journal loses its own oldest entries, and nobody else any', (t) => {
  const path = join(folder(t), 'region.db');
  const room = 20_000;
  const open = (): SqliteStore => new SqliteStore(path, room);
  let store = open();
  const [loud, quiet] = ['acct-loud000000', 'acct-quiet00000'] as AccountId[];
  const commit = (account: AccountId | undefined, size: number): void => {
    const id = `token-${store.revision}`;
    const resource = { kind: 'client-token', id, accountId: account ?? loud, commandHash: 'x'.repeat(size) };
    store.commit(
      {
        revision: store.revision + 1,
        time: '2026-05-04T00:00:00Z',
        account: account ?? null,
        principal: 'p',
        operation: 'o',
        requestId: 'r',
        changes: [{ op: 'put', resource: { ...resource, result: {}, time: '' } as Resource }],
      },
      [],
    );
  };
  commit(quiet, 100);
  for (let n = 0; n < 100; n++) commit(loud, 1000);
  const of = (account?: AccountId): readonly StoredEntry[] => store.entriesAfter(0, 1000, account);
  const size = JSON.stringify(of(loud).map(({ changes }) => changes)).length;
  assert.ok(size <= room && size > room / 2, `${size}`);
  assert.equal(of(quiet).length, 1);
  assert.equal(of(loud).at(-1)?.revision, store.revision, 'the newest is there');
  const { revision } = store;
  store.close();
  store = open();
  assert.equal(store.revision, revision);
  commit(loud, 30_000); // one that alone is more than all the room
  commit(quiet, 100);
  assert.deepEqual([store.revision, of(quiet).length], [revision + 2, 2]);
  store.close();
});

test('an answer from the journal ends after a megabyte, however many entries were asked for', () => {
  const store = new SqliteStore(':memory:');
  for (let n = 1; n <= 60; n++) {
    const entry = entryOf(n);
    store.commit({ ...entry, changes: [...entry.changes, ...Array(50).fill(entry.changes[0])], requestId: 'r' }, []);
  }
  const all = store.entriesAfter(0, 1000);
  assert.equal(all.length, 60, 'control: small ones all fit');
  const fat = { op: 'put', resource: { kind: 'account', id: 'a', name: 'x'.repeat(400_000) } } as never;
  for (let n = 61; n <= 70; n++) store.commit({ ...entryOf(n), revision: n, changes: [fat] }, []);
  const first = store.entriesAfter(60, 1000);
  assert.deepEqual(
    first.map(({ revision }) => revision),
    [61, 62, 63],
  );
  assert.deepEqual(
    store.entriesAfter(null, 1000).map(({ revision }) => revision),
    [68, 69, 70],
  );
  store.close();
});
