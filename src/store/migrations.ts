/**
 * The versions of the store's schema and the way from each to the next. A step is never changed once it was released; it
 * runs inside one transaction, and keeps everything that was there.
 */
import type { DatabaseSync } from 'node:sqlite';

/** Step n leads from schema n to n + 1. An empty file begins at 0. */
const steps: readonly string[] = [
  `
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
`,
  // The books of usage. Halves that were deleted, but are remembered, still have counters in the plane.
  `
create table usage_half (
  number integer primary key, half text not null unique, account text not null, local_vpc text not null,
  remote_vpc text not null,
  sent_packets integer not null default 0, sent_bytes integer not null default 0,
  received_packets integer not null default 0, received_bytes integer not null default 0
) strict;
create index usage_half_account on usage_half (account);
create index usage_half_pair on usage_half (local_vpc, remote_vpc);
create table usage_life (
  life text primary key, half text not null, packets integer not null, bytes integer not null
) strict, without rowid;
create index usage_life_half on usage_life (half);
create table usage_hour (
  half text not null, hour integer not null,
  sent_packets integer not null default 0, sent_bytes integer not null default 0,
  received_packets integer not null default 0, received_bytes integer not null default 0,
  primary key (half, hour)
) strict, without rowid;
create index usage_hour_hour on usage_hour (hour);
insert into usage_half (half, account, local_vpc, remote_vpc)
  select id, account, json_extract(doc, '$.localVpcId'), json_extract(doc, '$.remoteVpcId') from resource
  where kind = 'peering';
insert or ignore into usage_half (half, account, local_vpc, remote_vpc)
  select json_extract(identity.doc, '$.halfId'), vpc.account, vpc.id, json_extract(identity.doc, '$.remoteVpcId')
  from resource as identity join resource as vpc
    on vpc.kind = 'vpc' and vpc.id = json_extract(identity.doc, '$.localVpcId')
  where identity.kind = 'half-identity';
`,
];

/** The schema that this version reads and writes. */
export const schemaVersion = steps.length;

/** Brings the schema from one version to the newest. To be called inside a transaction, which also stores the version. */
export function migrate(db: DatabaseSync, from: number): void {
  for (const step of steps.slice(from)) db.exec(step);
  db.exec(`pragma user_version = ${schemaVersion}`);
}
