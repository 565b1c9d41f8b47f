/**
 * The versions of the schema on PostgreSQL and the way from each to the next: forward only, checked at every start, run
 * in one transaction by whichever server comes first. A step is never changed once it was released.
 */
import { randomBytes } from 'node:crypto';
import type { ClientBase, QueryResult } from 'pg';
import { StoreVersionError } from './store.ts';

export type Row = { readonly [column: string]: unknown };
/** One statement. @throws StoreUnavailableError */
export type Ask = (text: string, values?: readonly unknown[]) => Promise<QueryResult<Row>>;

/** Where everything is: a schema of its own, so that a database may serve others too. */
export const schemaName = 'isthmus';
/** Of the advisory locks of this program; the second number says what for. */
export const lockClass = 0x1574;
export const lockFor = { migration: 1, leadership: 2 } as const;

const steps: readonly string[] = [
  `
create table meta (name text primary key, value text not null);
-- One row: what the next commit must follow. A new generation makes every commit under way void.
create table head (
  only_one boolean primary key default true check (only_one),
  revision bigint not null default 0, generation bigint not null default 0,
  leader text, plane_revision bigint, plane_failed jsonb not null default '[]'
);
insert into head default values;
create table resource (
  kind text not null, id text not null, account text, revision bigint not null, doc text not null,
  primary key (kind, id)
);
create table journal (
  revision bigint primary key, time text not null, account text, principal text not null, operation text not null,
  request_id text not null, changes text not null, writer text not null
);
create index journal_account on journal (account, revision);
create table secret (key_id text primary key, secret text not null);
-- Its loss in a crash of the database costs no more than a restart of a server alone.
create unlogged table nonce (key_id text, nonce text, until bigint not null, primary key (key_id, nonce));
create index nonce_until on nonce (until);
create table usage_half (
  number bigint generated always as identity, half text primary key, account text not null, local_vpc text not null,
  remote_vpc text not null,
  sent_packets bigint not null default 0, sent_bytes bigint not null default 0,
  received_packets bigint not null default 0, received_bytes bigint not null default 0
);
create index usage_half_account on usage_half (account);
create index usage_half_pair on usage_half (local_vpc, remote_vpc);
create table usage_life (
  life text primary key, half text not null, packets bigint not null, bytes bigint not null
);
create index usage_life_half on usage_life (half);
create table usage_hour (
  half text not null, hour bigint not null,
  sent_packets bigint not null default 0, sent_bytes bigint not null default 0,
  received_packets bigint not null default 0, received_bytes bigint not null default 0,
  primary key (half, hour)
);
create index usage_hour_hour on usage_hour (hour);
`,
  // What hosts owe, beside what failed.
  `
alter table head add column plane_owed jsonb not null default '[]';
`,
];

/**
 * Makes the schema, or brings it to the newest version.
 * @throws StoreVersionError when another program or a newer version made it; nothing is touched then
 */
export async function migratePostgres(client: ClientBase): Promise<void> {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1, $2)', [lockClass, lockFor.migration]);
    const version = await versionOf(client);
    if (version === 0) {
      await client.query(`create schema ${schemaName}`);
      await client.query(`set local search_path = ${schemaName}`);
    }
    for (const step of steps.slice(version)) await client.query(step);
    if (version === 0) {
      const installation = randomBytes(5).toString('hex');
      await client.query('insert into meta (name, value) values ($1, $2)', ['installation', installation]);
    }
    if (version !== steps.length) {
      await client.query(
        'insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value',
        ['schema', String(steps.length)],
      );
    }
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

/** 0: there is nothing of ours yet. */
async function versionOf(client: ClientBase): Promise<number> {
  const { rows: found } = await client.query<{ there: boolean; ours: boolean }>(
    `select to_regnamespace($1) is not null as there, to_regclass($1 || '.meta') is not null as ours`,
    [schemaName],
  );
  if (found[0]?.there !== true) return 0;
  const { rows } = found[0].ours
    ? await client.query<{ value: string }>(`select value from ${schemaName}.meta where name = 'schema'`)
    : { rows: [] };
  const version = Number(rows[0]?.value ?? 0);
  if (version >= 1 && version <= steps.length) return version;
  const what = version === 0 ? 'is of another program' : `has version ${version}`;
  throw new StoreVersionError(
    `the schema ${schemaName} of the database ${what}; this version reads schemas up to ${steps.length}`,
  );
}
