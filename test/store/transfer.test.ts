/** A region moves from SQLite to PostgreSQL and back without a difference, and nothing is left of a move that failed. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import type { AccountId, HalfId, VpcId } from '../../src/model/ids.ts';
import { PostgresStore } from '../../src/store/postgres.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { TransferError, transfer } from '../../src/store/transfer.ts';
import { entryOf, secretsOf } from '../ledger/writer.ts';
import { startPostgres, until } from './postgres-server.ts';

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'move-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}
/** A store with some of everything: more rows than are moved at a time, numbers beyond 2^53, text in all scripts. */
function filled(path: string): void {
  const store = new SqliteStore(path);
  for (let n = 1; n <= 700; n++) store.commit(entryOf(n), secretsOf(n));
  const half = (id: string, local: string, remote: string) =>
    ({
      op: 'put',
      resource: {
        kind: 'peering',
        id: id as HalfId,
        accountId: 'acct-ä' as AccountId,
        localVpcId: local as VpcId,
        remoteVpcId: remote as VpcId,
        name: 'Zweigstelle "Nord" \u{1f980}',
        description: "it's\n",
        state: 'Connected',
        createdTime: '2030-01-01T00:00:00Z',
      },
    }) as const;
  const changes = [half('vpcpr-b', 'vpc-1', 'vpc-2'), half('vpcpr-a', 'vpc-2', 'vpc-1')];
  store.commit({ ...entryOf(701), account: 'acct-ä' as AccountId, changes }, []);
  for (const [n, halfId] of ['vpcpr-b', 'vpcpr-a', 'vpcpr-b'].entries()) {
    const carried = { packets: 2n ** 60n + BigInt(n), bytes: 2n ** 61n };
    store.usage.book(n, [
      { halfId: halfId as HalfId, life: `l${n}`, upTo: carried, sent: { packets: 1n, bytes: carried.bytes } },
    ]);
  }
  store.close();
}
function everything(path: string): unknown {
  const db = new DatabaseSync(path);
  const tables = ['meta', 'resource', 'journal', 'secret', 'usage_half', 'usage_life', 'usage_hour'];
  const all = tables.map((table) => {
    const rows = db.prepare(`select * from ${table}`);
    rows.setReadBigInts(true);
    return rows
      .all()
      .map((row) => JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
      .sort();
  });
  db.close();
  return all;
}

test('there and back again there is no difference; a server goes on from there', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const [before, after] = [join(folder(t), 'region.db'), join(folder(t), 'region.db')];
  filled(before);
  const url = await server.database('moved');
  const there = await transfer(before, url);
  assert.deepEqual([there.revision, there.rows.journal, there.rows.usage_half], [701, 701, 2]);
  await transfer(url, after);
  assert.deepEqual(everything(after), everything(before));

  const store = await PostgresStore.open(url);
  assert.equal((await store.snapshot()).revision, 701);
  assert.equal(await store.commit(entryOf(702), secretsOf(702)), 'committed');
  await until('it leads', () => store.leadership.leads);
  const [sent] = [{ packets: 1n, bytes: 1n }];
  await store.usage.book(9, [{ halfId: 'vpcpr-new' as HalfId, life: 'new', upTo: sent, sent }]); // a number of its own
  const back = new SqliteStore(after);
  assert.equal(back.commit(entryOf(702), secretsOf(702)), 'committed');
  back.close();

  await assert.rejects(transfer(url, join(folder(t), 'x.db')), /a region runs on that database/);
  await store.close();
});

test('a target that holds something is left alone, and a move that fails leaves no target', async (t) => {
  const server = await startPostgres(t);
  if (server === null) return;
  const [one, other] = [join(folder(t), 'region.db'), join(folder(t), 'region.db')];
  filled(one);
  copyFileSync(one, other);
  const was = everything(other);
  await assert.rejects(
    transfer(one, other),
    (error) => error instanceof TransferError && /exists already/.test(error.message),
  );
  assert.deepEqual(everything(other), was);
  const url = await server.database('taken');
  await (await PostgresStore.open(url)).close();
  await assert.rejects(transfer(one, url), /has a schema isthmus already/);
  const empty = await server.database('empty');
  await assert.rejects(transfer(empty, join(folder(t), 'region.db')), /has no schema isthmus/);

  const broken = new DatabaseSync(one); // what only a bug could store: found while it is copied
  broken.exec("update secret set secret = 'nul' || char(0)");
  broken.close();
  await assert.rejects(transfer(one, empty));
  await assert.rejects(transfer(empty, join(folder(t), 'y.db')), /has no schema isthmus/, 'nothing is left');
  const target = join(folder(t), 'region.db');
  await assert.rejects(transfer(join(folder(t), 'none.db'), target), /does not exist/);
  assert.ok(!existsSync(target));
});
