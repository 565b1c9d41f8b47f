import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { entryOf } from '../../test/ledger/writer.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Change, PeeringHalf } from '../model/resources.ts';
import { SqliteStore } from './sqlite.ts';
import type { Booking } from './store.ts';

const [red, blue] = ['acct-red', 'acct-blue'] as unknown as readonly [AccountId, AccountId];
const halfOf = (id: string, accountId: AccountId, local: string, remote: string): PeeringHalf => ({
  kind: 'peering',
  id: id as HalfId,
  accountId,
  localVpcId: local as VpcId,
  remoteVpcId: remote as VpcId,
  name: id,
  description: '',
  state: 'Connected',
  createdTime: '2030-01-01T00:00:00Z',
});
const rb = halfOf('vpcpr-rb', red, 'vpc-r', 'vpc-b');
const br = halfOf('vpcpr-br', blue, 'vpc-b', 'vpc-r');
const commit = (store: SqliteStore, ...changes: readonly Change[]): unknown =>
  store.commit({ ...entryOf(store.revision + 1), changes }, []);
const put = (resource: PeeringHalf): Change => ({ op: 'put', resource });
const gone = ({ id }: PeeringHalf): Change => ({ op: 'delete', kind: 'peering', id });

function booking(half: PeeringHalf, life: string, upTo: number, sent: number): Booking {
  const traffic = (packets: number) => ({ packets: BigInt(packets), bytes: BigInt(packets * 100) });
  return { halfId: half.id, life, upTo: traffic(upTo), sent: traffic(sent) };
}
const all = { from: 0, to: 1_000_000, limit: 1000 };
const mostKept = 2n ** 63n - 1n;
const shown = (store: SqliteStore, account?: AccountId) =>
  store.usage
    .hours(account === undefined ? all : { ...all, account })
    .map(({ halfId, hour, sent, received }) => [halfId, hour, Number(sent.packets), Number(received.packets)]);
const totals = (store: SqliteStore) =>
  Object.fromEntries(
    store.usage
      .totals(100)
      .map(({ halfId, sent, received }) => [halfId, [Number(sent.packets), Number(received.packets)]]),
  );

function file(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'books-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'region.db');
}

test('what one half sent the other received, in the same hour; totals and lives are there after a restart', (t) => {
  const path = file(t);
  let store = new SqliteStore(path);
  commit(store, put(rb), put(br));
  store.usage.book(10, [booking(rb, 'a', 5, 5), booking(br, 'b', 2, 2)]);
  store.usage.book(10, [booking(rb, 'a', 7, 2)]);
  store.usage.book(11, [booking(rb, 'a', 8, 1)]);
  store.close();
  store = new SqliteStore(path);
  t.after(() => store.close());
  assert.deepEqual(shown(store), [
    [rb.id, 10, 7, 2],
    [br.id, 10, 2, 7],
    [rb.id, 11, 1, 0],
    [br.id, 11, 0, 1],
  ]);
  assert.deepEqual(shown(store, blue), [
    [br.id, 10, 2, 7],
    [br.id, 11, 0, 1],
  ]);
  assert.deepEqual(totals(store), { [rb.id]: [8, 2], [br.id]: [2, 8] });
  assert.deepEqual(store.usage.lives().get('a'), { halfId: rb.id, packets: 8n, bytes: 800n });
  const [sum] = store.usage.sums({ ...all, from: 10, to: 11, account: red });
  assert.deepEqual([sum?.sent.packets, sum?.received.bytes], [7n, 200n]);
});

test('a booking that fails is not there at all', () => {
  const store = new SqliteStore(':memory:');
  commit(store, put(rb), put(br));
  const broken = { ...booking(br, 'b', 1, 1), life: {} as never };
  assert.throws(() => store.usage.book(1, [booking(rb, 'a', 5, 5), broken]));
  assert.deepEqual([shown(store), store.usage.lives().size], [[], 0]);
  store.usage.book(1, [booking(rb, 'a', 5, 5)]);
  assert.equal(shown(store).length, 2, 'the control');
  store.close();
});

test('bytes beyond 2^53 are exact', () => {
  const store = new SqliteStore(':memory:');
  commit(store, put(rb));
  const bytes = 2n ** 60n + 1n;
  for (const [life, hour] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    const traffic = { packets: 1n, bytes };
    store.usage.book(hour, [{ halfId: rb.id, life, upTo: traffic, sent: traffic }]);
  }
  assert.equal(store.usage.half(rb.id)?.sent.bytes, 2n * bytes);
  assert.equal(store.usage.lives().get('a')?.bytes, bytes);
  store.close();
});

test('a half that was made and deleted before anything was booked still has its owner', () => {
  const store = new SqliteStore(':memory:');
  commit(store, put(rb), put(br));
  commit(store, gone(rb));
  store.usage.book(3, [booking(rb, 'a', 4, 4)]);
  assert.deepEqual(shown(store, red), [[rb.id, 3, 4, 0]]);
  store.usage.book(3, [booking(halfOf('vpcpr-unknown', red, 'x', 'y'), 'u', 1, 1)]);
  assert.equal(store.usage.half('vpcpr-unknown' as HalfId)?.accountId, '', 'one that was never here is nobody’s');
  store.close();
});

test('hours that are folded away stay in the total; a half that is gone goes with its last hour', () => {
  const store = new SqliteStore(':memory:');
  commit(store, put(rb), put(br));
  store.usage.book(1, [booking(rb, 'a', 5, 5)]);
  store.usage.book(9, [booking(rb, 'a', 6, 1)]);
  store.usage.fold(5);
  assert.deepEqual(shown(store), [
    [rb.id, 9, 1, 0],
    [br.id, 9, 0, 1],
  ]);
  assert.deepEqual(totals(store), { [rb.id]: [6, 0], [br.id]: [0, 6] });
  commit(store, gone(rb), gone(br));
  store.usage.fold(5);
  assert.deepEqual(totals(store), { [rb.id]: [6, 0], [br.id]: [0, 6] }, 'its hours are not over');
  store.usage.fold(10);
  assert.deepEqual(totals(store), { [rb.id]: [6, 0] }, 'the plane still counts for it: its total goes on');
  store.usage.forget(['a']);
  store.usage.fold(10);
  assert.deepEqual(totals(store), {});
  store.close();
});

test('of one account’s halves that are gone the 10,000 youngest are kept', () => {
  const store = new SqliteStore(':memory:');
  const many = Array.from({ length: 10_010 }, (_, n) => halfOf(`vpcpr-${n}`, red, `vpc-l${n}`, `vpc-r${n}`));
  commit(store, ...many.map(put), put(br));
  store.usage.book(
    1,
    many.map((half) => booking(half, `life-${half.id}`, 1, 1)),
  );
  store.usage.fold(0);
  assert.equal(store.usage.totals(20_000, red).length, 10_010, 'none is gone yet');
  commit(store, ...many.map(gone));
  store.usage.forget(many.map(({ id }) => `life-${id}`));
  store.usage.fold(0);
  const left = store.usage.totals(20_000, red).map(({ halfId }) => halfId);
  assert.equal(left.length, 10_000);
  assert.ok(!left.includes('vpcpr-9' as HalfId) && left.includes('vpcpr-10' as HalfId), 'the oldest went');
  assert.ok(store.usage.half(br.id) !== undefined, 'and nobody else’s');
  store.close();
});

test('a file of schema 1 opens, keeps everything, and knows the halves that are there or remembered', (t) => {
  const path = file(t);
  const old = new DatabaseSync(path);
  // As version 1 made it; not to be changed when the schema is.
  old.exec(`
create table meta (name text primary key, value text not null) strict;
create table resource (
  kind text not null, id text not null, account text, revision integer not null, doc text not null,
  primary key (kind, id)
) strict, without rowid;
create table journal (
  revision integer primary key, time text not null, account text, principal text not null, operation text not null,
  request_id text not null, changes text not null
) strict;
create index journal_account on journal (account, revision);
create table secret (key_id text primary key, secret text not null) strict, without rowid;
insert into meta values ('installation', '0123456789');
insert into secret values ('JDC_A', 'the secret');
insert into journal values (1, '2030-01-01T00:00:00Z', null, 'operator', 'write', 'r1', '[]');
pragma user_version = 1;
`);
  const identity = {
    kind: 'half-identity',
    id: 'vpc-b>vpc-r',
    halfId: br.id,
    localVpcId: 'vpc-b',
    remoteVpcId: 'vpc-r',
    deletedTime: '2030-01-02T00:00:00Z',
  };
  const vpc = { kind: 'vpc', id: 'vpc-b', accountId: blue };
  const resources = [rb, identity, vpc];
  for (const resource of resources) {
    const account = 'accountId' in resource ? resource.accountId : null;
    old
      .prepare('insert into resource values (?, ?, ?, 1, ?)')
      .run(resource.kind, resource.id, account, JSON.stringify(resource));
  }
  old.close();
  for (const round of ['the first time', 'and again']) {
    const store = new SqliteStore(path);
    assert.equal(store.installationId, '0123456789', round);
    assert.equal(store.revision, 1);
    assert.deepEqual([...store.secrets()], [['JDC_A', 'the secret']]);
    assert.equal(store.entriesAfter(0, 10).length, 1);
    assert.deepEqual(new Set(store.load()), new Set<unknown>(resources));
    assert.equal(store.usage.half(rb.id)?.accountId, red);
    assert.equal(store.usage.half(br.id)?.accountId, blue, 'deleted, and remembered');
    store.close();
  }
});

test('a sum that would be greater than can be kept stays there, and stops no other half', (t) => {
  const store = new SqliteStore(':memory:');
  t.after(() => store.close());
  const other = halfOf('vpcpr-rc', red, 'vpc-r', 'vpc-c');
  commit(store, put(rb), put(br), put(other));
  const much = { packets: mostKept - 5n, bytes: mostKept };
  const lie = (life: string): Booking => ({ halfId: rb.id, life, upTo: much, sent: much });
  store.usage.book(10, [lie('a'), booking(other, 'c', 1, 1)]);
  store.usage.book(10, [lie('b'), booking(other, 'c', 3, 2)]);
  store.usage.book(11, [booking(rb, 'd', 4, 4), booking(br, 'e', 2, 2)]);
  assert.deepEqual(store.usage.half(rb.id)?.sent, { packets: mostKept, bytes: mostKept });
  assert.deepEqual(store.usage.half(br.id)?.received, { packets: mostKept, bytes: mostKept });
  assert.deepEqual(store.usage.half(other.id)?.sent, { packets: 3n, bytes: 300n });
  const sums = store.usage.sums(all);
  const sent = new Map(sums.map((one) => [one.halfId, one.sent]));
  assert.deepEqual(sent.get(rb.id), { packets: mostKept + 4n, bytes: mostKept + 400n }, 'over several hours');
  assert.deepEqual(sent.get(br.id), { packets: 2n, bytes: 200n });
  assert.equal(store.usage.totals(9).length, 3);
});
