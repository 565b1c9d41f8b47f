/** The store on PostgreSQL: held to the one on SQLite, operation by operation; and what only it has, other writers. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { AccountId, HalfId, VpcId } from '../../src/model/ids.ts';
import type { Change, PeeringHalf, Resource } from '../../src/model/resources.ts';
import { PostgresStore } from '../../src/store/postgres.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import {
  type Booking,
  type Store,
  type StoredEntry,
  StoreUnavailableError,
  StoreVersionError,
} from '../../src/store/store.ts';
import { entryOf, secretsOf } from '../ledger/writer.ts';
import { startPostgres, until } from './postgres-server.ts';

async function open(t: TestContext, url: string, ...rest: [options?: Parameters<typeof PostgresStore.open>[1]]) {
  const store = await PostgresStore.open(url, ...rest);
  t.after(() => store.close());
  return store;
}
const sorted = (resources: Iterable<Resource>): readonly Resource[] =>
  [...resources].sort((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));
async function contents(store: Store) {
  const { revision, resources, secrets } = await store.snapshot();
  const journal = await store.entriesAfter(0, 1_000_000);
  return { revision, resources: sorted(resources), secrets: [...secrets], journal };
}

const accounts = ['acct-aaaaaaaaaa', 'acct-bbbbbbbbbb'] as AccountId[];
const half = (n: number): PeeringHalf => ({
  kind: 'peering',
  id: `vpcpr-${n}` as HalfId,
  accountId: accounts[n % 2] as AccountId,
  localVpcId: `vpc-${n % 4}` as VpcId,
  remoteVpcId: `vpc-${(n % 4) ^ 1}` as VpcId,
  name: `h${n}`,
  description: 'quotes \' " \\ and \u00e4\u{1f980}',
  state: 'Connected',
  createdTime: '2030-01-01T00:00:00Z',
});
const halves = fc.nat(11);
/** Entries whose oldest crosses the line to which the journal is trimmed: it goes, in both. */
const crossing = [4, 4, 4, 0].map((puts) => ({
  do: 'commit' as const,
  account: accounts[0] ?? null,
  puts: Array.from({ length: puts }, () => 0),
  drops: [0],
  secret: null,
}));
const some = fc.oneof(
  fc.record({
    do: fc.constant('commit' as const),
    account: fc.option(fc.constantFrom(...accounts)),
    puts: fc.array(halves, { maxLength: 4 }),
    drops: fc.array(halves, { maxLength: 2 }),
    secret: fc.option(fc.string({ unit: 'grapheme', maxLength: 8 }).filter((text) => !text.includes('\0'))),
  }),
  fc.record({ do: fc.constant('book' as const), hour: fc.nat(3), half: halves, packets: fc.bigInt(0n, 1n << 40n) }),
  fc.record({ do: fc.constant('fold' as const), before: fc.nat(4) }),
  fc.record({ do: fc.constant('forget' as const), half: halves }),
);

test('any history leaves the same in it as in the one on SQLite: resources, journal, secrets, books', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  let n = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(some, { minLength: 10, maxLength: 40 }), async (history) => {
      const one = new SqliteStore(':memory:', 3000);
      const other = await PostgresStore.open(await server.database(`same${n++}`), { journalRoom: 3000 });
      try {
        await until('it leads', () => other.leadership.leads);
        for (const [at, step] of history.entries()) {
          if (step.do === 'commit') {
            const changes: Change[] = [
              ...step.puts.map((id): Change => ({ op: 'put', resource: half(id) })),
              ...step.drops.map((id): Change => ({ op: 'delete', kind: 'peering', id: half(id).id })),
            ];
            const entry: StoredEntry = { ...entryOf(one.revision + 1), account: step.account, changes };
            const secrets = [{ keyId: `k${at % 3}`, secret: step.secret }];
            assert.equal(await other.commit(entry, secrets), one.commit(entry, secrets));
          } else if (step.do === 'book') {
            const { id: halfId } = half(step.half);
            const carried = { packets: step.packets, bytes: step.packets * 1500n };
            const booking: Booking = { halfId, life: `life-${halfId}`, upTo: carried, sent: carried };
            one.usage.book(step.hour, [booking]);
            await other.usage.book(step.hour, [booking]);
          } else if (step.do === 'fold') {
            one.usage.fold(step.before);
            await other.usage.fold(step.before);
          } else {
            one.usage.forget([`life-${half(step.half).id}`]);
            await other.usage.forget([`life-${half(step.half).id}`]);
          }
        }
        const there = await contents(other);
        assert.deepEqual(
          { ...there, secrets: there.secrets.sort() },
          { ...(await contents(one)), secrets: [...one.secrets()].sort() },
        );
        assert.deepEqual(await other.usage.lives(), one.usage.lives());
        for (const account of [undefined, ...accounts]) {
          const of = account === undefined ? {} : { account };
          assert.deepEqual(await other.usage.totals(100, account), one.usage.totals(100, account));
          for (const [from, to, limit] of [
            [0, 9, 100],
            [1, 3, 100],
            [0, 9, 2],
          ] as const) {
            const query = { from, to, limit, ...of };
            assert.deepEqual(await other.usage.hours(query), one.usage.hours(query));
            assert.deepEqual(await other.usage.sums(query), one.usage.sums(query));
          }
          for (const revision of [null, 0, 3]) {
            assert.deepEqual(await other.entriesAfter(revision, 4, account), one.entriesAfter(revision, 4, account));
          }
        }
      } finally {
        await other.close();
        one.close();
      }
    }),
    // Not made smaller on failure: each try is a database, and that took minutes. Seed and path are printed.
    { numRuns: 12, examples: [[crossing]], endOnFailure: true },
  );
});

test('of several writers one is first; who is overtaken has stored nothing, and may go on from there', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const url = await server.database('writers');
  const stores = await Promise.all([open(t, url), open(t, url), open(t, url)]);
  assert.equal(new Set(stores.map(({ installationId }) => installationId)).size, 1, 'one made the schema');
  for (let revision = 1; revision <= 40; revision++) {
    const answers = await Promise.all(
      stores.map((store, n) => store.commit({ ...entryOf(revision), requestId: `${n}` }, secretsOf(revision))),
    );
    assert.deepEqual(answers.toSorted(), ['committed', 'overtaken', 'overtaken']);
    const [entry] = await stores[0].entriesAfter(revision - 1, 9);
    assert.equal(entry?.requestId, String(answers.indexOf('committed')), 'the entry is that of whom was told so');
  }
  const { revision, journal } = await contents(stores[1]);
  assert.deepEqual(
    journal.map((entry) => entry.revision),
    Array.from({ length: revision }, (_, n) => n + 1),
  );
});

test('connections are cut at random under eight writers: what was acknowledged is there, and nothing twice', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const url = await server.database('cuts');
  const stores = await Promise.all(Array.from({ length: 4 }, () => open(t, url, { mayLead: false })));
  const acknowledged: string[] = [];
  let cuts = 0;
  let over = false;
  const cutting = (async () => {
    while (!over) {
      await new Promise((resolve) => setTimeout(resolve, 15));
      const cut =
        'select count(pg_terminate_backend(pid)) as n from pg_stat_activity ' +
        "where application_name = 'isthmus' and query like '%with head as%' and random() < 0.5";
      cuts += Number((await server.query(cut))[0]?.['n']);
    }
  })();
  await Promise.all(
    stores.map(async (store, writer) => {
      for (let n = 0; n < 100; n++) {
        for (;;) {
          const { revision } = await store.snapshot().catch(() => ({ revision: -1 }));
          assert.ok(!over, 'another writer failed');
          if (revision < 0) continue;
          const entry = { ...entryOf(revision + 1), requestId: `${writer}-${n}` };
          const answer = await store.commit(entry, []).catch((error: unknown) => {
            assert.ok(error instanceof StoreUnavailableError, String(error));
            assert.ok(!error.uncertain, 'the database is there: what became of it can be found out');
            return 'overtaken';
          });
          if (answer === 'committed') break;
        }
        acknowledged.push(`${writer}-${n}`);
      }
    }),
  ).finally(() => {
    over = true;
  });
  await cutting;
  const [store] = stores;
  const journal = await store?.entriesAfter(0, 10_000);
  assert.deepEqual(journal?.map(({ requestId }) => requestId).sort(), acknowledged.sort());
  t.diagnostic(`${cuts} connections were cut`);
  assert.ok(cuts > 10, 'the control: connections were cut');
});

test('a store that is away says so at once, nothing is half done, and it goes on when it is back', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const store = await open(t, await server.database('away'));
  let news = 0;
  store.others.onNews(() => news++);
  assert.equal(await store.commit(entryOf(1), secretsOf(1)), 'committed');
  await until('the announcement', () => news > 0);
  await server.kill();
  for (const work of [
    () => store.commit(entryOf(2), []),
    () => store.snapshot(),
    () => store.entriesAfter(0, 9),
    () => store.usage.totals(9),
    () => store.others.admit('k', 'n', 0),
  ]) {
    await assert.rejects(async () => work(), StoreUnavailableError);
  }
  await until('it is noticed', () => store.problem !== null);
  await until('it leads no more', () => !store.leadership.leads);
  const before = news;
  await server.up();
  await until('it is back', () => store.problem === null);
  assert.ok(news > before, 'what was missed is looked for');
  await until('it leads again', () => store.leadership.leads);
  assert.equal((await store.snapshot()).revision, 1);
  assert.equal(await store.commit(entryOf(2), secretsOf(2)), 'committed');
});

test('a sum that would be greater than can be kept stays there, as in the books on SQLite', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const other = await open(t, await server.database('most'));
  const one = new SqliteStore(':memory:');
  t.after(() => one.close());
  await until('it leads', () => other.leadership.leads);
  const most = 2n ** 63n - 1n;
  const booking = (n: number, life: string, count: bigint): Booking => {
    const sent = { packets: count, bytes: count };
    return { halfId: half(n).id, life, upTo: sent, sent };
  };
  const changes = [0, 1, 2].map((n): Change => ({ op: 'put', resource: half(n) }));
  for (const store of [one, other]) {
    await store.commit({ ...entryOf(1), changes }, []);
    await store.usage.book(10, [booking(0, 'a', most - 5n), booking(2, 'c', 1n)]);
    await store.usage.book(10, [booking(0, 'b', most), booking(1, 'd', 7n)]);
    await store.usage.book(11, [booking(0, 'e', 9n)]);
  }
  const query = { from: 0, to: 99, limit: 100 };
  const lied = (await other.usage.totals(9)).find(({ halfId }) => halfId === half(0).id);
  assert.deepEqual([lied?.sent.packets, lied?.received.packets], [most, 7n]);
  assert.equal((await other.usage.sums(query)).find(({ halfId }) => halfId === half(0).id)?.sent.bytes, most + 9n);
  const byId = (a: { halfId: string }, b: { halfId: string }): number => (a.halfId < b.halfId ? -1 : 1);
  assert.deepEqual([...(await other.usage.totals(9))].sort(byId), [...one.usage.totals(9)].sort(byId));
  assert.deepEqual(await other.usage.hours(query), one.usage.hours(query));
  assert.deepEqual(await other.usage.sums(query), one.usage.sums(query));
});

test('one leads; when its connection is cut or it is closed another does, and the books are the leader’s alone', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const url = await server.database('lead');
  const stores = [await PostgresStore.open(url), await PostgresStore.open(url)] as const;
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const leaders = () => stores.filter((store) => store.leadership.leads);
  const booking: Booking = {
    halfId: half(1).id,
    life: 'l',
    upTo: { packets: 1n, bytes: 1n },
    sent: { packets: 1n, bytes: 1n },
  };
  await until('one leads', () => leaders().length === 1);
  for (let round = 0; round < 3; round++) {
    const [leader] = leaders();
    const other = stores.find((store) => store !== leader);
    assert.ok(leader !== undefined && other !== undefined);
    await leader.usage.book(1, [booking]);
    await assert.rejects(async () => other.usage.book(1, [booking]), /another server keeps the books/);
    const owed = [{ vpcId: `vpc-${round}` as never, notFencedOn: ['h3'], notInstalledOn: [] }];
    await leader.leadership.publish({ revision: round + 1, failed: [], owed });
    await other.leadership.publish({ revision: 99, failed: [], owed: [] });
    assert.deepEqual(
      await other.leadership.published(),
      { revision: round + 1, failed: [], owed },
      'who does not lead publishes nothing',
    );
    await server.query(
      "select pg_terminate_backend(pid) from pg_stat_activity join pg_locks using (pid) where locktype = 'advisory' and granted",
    );
    await until('it is noticed', () => !leader.leadership.leads);
    await until('one leads again', () => leaders().length === 1);
  }
  const [leader] = leaders();
  const other = stores.find((store) => store !== leader);
  await leader?.close();
  await until('the other leads', () => other?.leadership.leads === true);
});

test('a nonce is new once, whichever server is asked', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const url = await server.database('nonces');
  const [a, b] = [await open(t, url), await open(t, url)];
  assert.equal(await a.others.admit('k', 'n', 1), true);
  assert.equal(await b.others.admit('k', 'n', 1), false);
  assert.equal(await b.others.admit('other', 'n', 1), true);
});

test('a schema of another program or a newer version is refused with a sentence, and not touched', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const theirs = await server.database('theirs');
  await server.query('create schema unrelated');
  const client = await PostgresStore.open(theirs);
  await client.close();
  const again = await PostgresStore.open(theirs); // the control: our own is opened again
  const { installationId } = again;
  assert.match(installationId, /^[0-9a-f]{10}$/);
  await again.close();
  const pg = await import('pg');
  const direct = new pg.default.Client({ connectionString: theirs });
  await direct.connect();
  await direct.query("update isthmus.meta set value = '9' where name = 'schema'");
  await assert.rejects(PostgresStore.open(theirs), (error) => {
    return (
      error instanceof StoreVersionError && /has version 9; this version reads schemas up to 2/.test(error.message)
    );
  });
  await direct.query('drop schema isthmus cascade; create schema isthmus; create table isthmus.theirs (x int)');
  await assert.rejects(PostgresStore.open(theirs), /schema isthmus of the database is of another program/);
  const { rows } = await direct.query("select count(*) as n from pg_tables where schemaname = 'isthmus'");
  assert.equal(Number(rows[0].n), 1, 'not touched');
  await direct.end();
  await assert.rejects(PostgresStore.open('postgres://u:secret@127.0.0.1:1/x'), (error) => {
    return error instanceof StoreUnavailableError && !error.message.includes('secret');
  });
});

test('a schema of the first version becomes the newest, and keeps what was there', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const url = await server.database('older');
  const store = await PostgresStore.open(url);
  const { installationId } = store;
  await store.close();
  const direct = new (await import('pg')).default.Client({ connectionString: url });
  await direct.connect();
  // As it was: without what hosts owe.
  await direct.query("update isthmus.meta set value = '1' where name = 'schema'");
  await direct.query('alter table isthmus.head drop column plane_owed');
  await direct.query('update isthmus.head set plane_revision = 7');
  const newer = await PostgresStore.open(url);
  assert.equal(newer.installationId, installationId);
  assert.deepEqual(await newer.leadership.published(), { revision: 7, failed: [], owed: [] });
  await newer.close();
  const { rows } = await direct.query("select value from isthmus.meta where name = 'schema'");
  assert.equal(rows[0].value, '2');
  await direct.end();
});
