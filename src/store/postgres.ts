/**
 * The store on PostgreSQL: several servers write to it, each with a fold of its own. A commit is one statement and names
 * the revision that it follows: whoever is overtaken stores nothing and decides anew. Others hear of a commit by NOTIFY,
 * and find what they missed by its revision.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { AccountId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';
import { PostgresLeadership } from './postgres-leadership.ts';
import { type Ask, migratePostgres, type Row, schemaName } from './postgres-schema.ts';
import { PostgresUsageBooks } from './postgres-usage-books.ts';
import { Watcher } from './postgres-watcher.ts';
import {
  type Others,
  type SecretChange,
  type Snapshot,
  type Store,
  type StoredEntry,
  type StoreSize,
  StoreUnavailableError,
  StoreVersionError,
} from './store.ts';

/** Characters of changes after which an answer ends, however many entries were asked for. */
const answerSize = 1024 * 1024;
/** Milliseconds: to connect, and for one statement. */
const connectPatience = 2_000;
const statementPatience = 5_000;
/** How long the outcome of a commit that was cut off is looked for, in milliseconds. */
const outcomePatience = 3_000;
/** Milliseconds between two times that nonces which ran out are thrown away. */
const sweepPeriod = 60_000;

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * Whether the database itself answered, with an error of ours to mend. What is left is that it cannot be reached, is
 * starting or stopping, or takes no writes now.
 */
function isAnswer(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  if (!(error instanceof pg.DatabaseError) || typeof code !== 'string') return false;
  return !/^(08|25006|53|57|58)/.test(code);
}

/** Where the store is, without what must stay secret. */
export const shownUrl = (url: string): string =>
  url.replace(/^([a-z]+:\/\/[^:/@?]*):[^@/]*@/, '$1:***@').replace(/([?&]password=)[^&]*/, '$1***');

/**
 * One statement. `head` gives a row only to whoever follows the newest revision, so that without it nothing is stored;
 * the journal's primary key would refuse it in any case.
 */
const commitStatement = `
with head as (
  update head set revision = $1 where revision = $1 - 1 and generation = $2 returning revision
), puts as (
  insert into resource (kind, id, account, revision, doc)
  select kind, id, account, head.revision, doc
  from head, jsonb_to_recordset($3) as put (kind text, id text, account text, doc text)
  on conflict (kind, id) do update set account = excluded.account, revision = excluded.revision, doc = excluded.doc
), drops as (
  delete from resource using head, jsonb_to_recordset($4) as gone (kind text, id text)
  where resource.kind = gone.kind and resource.id = gone.id
), known as (
  insert into usage_half (half, account, local_vpc, remote_vpc)
  select half, account, local_vpc, remote_vpc
  from head, jsonb_to_recordset($5) as half (half text, account text, local_vpc text, remote_vpc text)
  on conflict do nothing
), entry as (
  insert into journal (revision, time, account, principal, operation, request_id, changes, writer)
  select head.revision, $6, $7, $8, $9, $10, $11, $12 from head
), kept as (
  insert into secret (key_id, secret)
  select key_id, secret from head, jsonb_to_recordset($13) as kept (key_id text, secret text)
  on conflict (key_id) do update set secret = excluded.secret
), forgotten as (
  delete from secret using head where key_id = any ($14)
)
select revision, pg_notify('isthmus_journal', revision::text) from head`;

export interface PostgresOptions {
  /** Bytes of changes that the journal keeps for one account. */
  readonly journalRoom?: number;
  /** Whether this server may become the one that keeps the plane; default: it may. */
  readonly mayLead?: boolean;
}

export class PostgresStore implements Store {
  readonly installationId: string;
  readonly usage: PostgresUsageBooks;
  readonly others: Others;
  readonly #pool: pg.Pool;
  readonly #watcher: Watcher;
  readonly leadership: PostgresLeadership;
  readonly #room: number;
  readonly #sizes = new Map<AccountId, number>();
  #generation: string;
  #sweeper: NodeJS.Timeout;

  /**
   * Opens a store, or makes it in a database that has none.
   * @param url `postgres://user@host/database`, with what libpq's URLs can say of TLS; a password is better in the
   *   environment or in a pgpass file
   * @throws StoreVersionError when another version wrote it; StoreUnavailableError when there is no database to ask
   */
  static async open(url: string, options: PostgresOptions = {}): Promise<PostgresStore> {
    const settings: pg.ClientConfig = {
      connectionString: url,
      connectionTimeoutMillis: connectPatience,
      statement_timeout: statementPatience,
      // A little longer, so that it is the server that ends a statement where it can.
      query_timeout: statementPatience + 1000,
      keepAlive: true,
      application_name: 'isthmus',
      options: `-c search_path=${schemaName}`,
    };
    const pool = new pg.Pool({ ...settings, max: 4, idleTimeoutMillis: 30_000, allowExitOnIdle: true });
    // Of an idle connection, and of one in use: the next question finds out, and the one under way does.
    pool.on('error', () => {});
    pool.on('connect', (client) => client.on('error', () => {}));
    try {
      const client = await pool.connect();
      try {
        await migratePostgres(client);
        const { rows } = await client.query<{ installation: string; generation: string }>(
          "select value as installation, generation from meta, head where name = 'installation'",
        );
        const { installation = '', generation = '0' } = rows[0] ?? {};
        return new PostgresStore({ pool, settings, installation, generation, options });
      } finally {
        client.release();
      }
    } catch (error) {
      await pool.end();
      if (error instanceof StoreVersionError || isAnswer(error)) throw error;
      throw new StoreUnavailableError(`the store at ${shownUrl(url)} cannot be reached: ${said(error)}`, {
        uncertain: false,
        cause: error,
      });
    }
  }

  private constructor(of: {
    readonly pool: pg.Pool;
    readonly settings: pg.ClientConfig;
    readonly installation: string;
    readonly generation: string;
    readonly options: PostgresOptions;
  }) {
    this.installationId = of.installation;
    this.#pool = of.pool;
    this.#generation = of.generation;
    this.#room = of.options.journalRoom ?? 64 * 1024 * 1024;
    const ask: Ask = (text, values) => this.#ask(text, values);
    this.#watcher = new Watcher(of.settings, ['isthmus_journal', 'isthmus_plane']);
    this.leadership = new PostgresLeadership({
      settings: of.settings,
      ask,
      watcher: this.#watcher,
      mayLead: of.options.mayLead ?? true,
    });
    this.usage = new PostgresUsageBooks({
      ask,
      transaction: (work) => this.#transaction(work),
      leader: () => this.leadership.name,
    });
    this.others = {
      onNews: (listener) => this.#watcher.on('isthmus_journal', listener),
      secretsOf: async (keyIds) => {
        const { rows } = await ask('select key_id, secret from secret where key_id = any ($1)', [keyIds]);
        return new Map(rows.map((row) => [String(row['key_id']), String(row['secret'])]));
      },
      admit: async (keyId, nonce, until) => {
        const insert = 'insert into nonce (key_id, nonce, until) values ($1, $2, $3) on conflict do nothing';
        return (await ask(insert, [keyId, nonce, Math.round(until)])).rowCount === 1;
      },
    };
    this.#sweeper = setInterval(() => {
      // Out of reach: the next time.
      ask('delete from nonce where until < $1', [Date.now()]).catch(() => {});
    }, sweepPeriod).unref();
  }

  get problem(): string | null {
    return this.#watcher.problem;
  }

  async #ask(text: string, values: readonly unknown[] = []): Promise<pg.QueryResult<Row>> {
    try {
      return await this.#pool.query<Row>(text, [...values]);
    } catch (error) {
      throw asUnavailable(error, false);
    }
  }

  async #transaction<T>(work: (client: pg.ClientBase) => Promise<T>, begin = 'begin'): Promise<T> {
    let client: pg.PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw asUnavailable(error, false);
    }
    let broken: Error | undefined;
    try {
      await client.query(begin);
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch((problem: Error) => {
        broken = problem;
      });
      throw asUnavailable(error, true);
    } finally {
      client.release(broken);
    }
  }

  snapshot(): Promise<Snapshot> {
    return this.#transaction(async (client) => {
      // The region's process can hold what the region is; a cursor would not make it smaller.
      const head = await client.query<{ revision: string }>('select revision from head');
      const { rows } = await client.query<{ doc: string }>('select doc from resource');
      const secrets = await client.query<{ key_id: string; secret: string }>('select key_id, secret from secret');
      return {
        revision: Number(head.rows[0]?.revision ?? 0),
        resources: rows.map(({ doc }) => JSON.parse(doc) as Resource),
        secrets: new Map(secrets.rows.map(({ key_id, secret }) => [key_id, secret])),
      };
    }, 'begin isolation level repeatable read read only');
  }

  async commit(entry: StoredEntry, secrets: readonly SecretChange[]): Promise<'committed' | 'overtaken'> {
    const writer = randomUUID();
    const { puts, drops, halves } = sorted(entry.changes);
    const changes = JSON.stringify(entry.changes);
    const values = [
      ...[entry.revision, this.#generation, JSON.stringify(puts), JSON.stringify(drops), JSON.stringify(halves)],
      ...[entry.time, entry.account, entry.principal, entry.operation, entry.requestId, changes, writer],
      JSON.stringify(
        secrets.filter(({ secret }) => secret !== null).map(({ keyId, secret }) => ({ key_id: keyId, secret })),
      ),
      secrets.filter(({ secret }) => secret === null).map(({ keyId }) => keyId),
    ];
    let client: pg.PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (error) {
      throw asUnavailable(error, false); // nothing was sent
    }
    let stored: boolean;
    let broken = false;
    try {
      const { rows } = await client.query({ name: 'commit', text: commitStatement, values });
      stored = rows.length > 0;
    } catch (error) {
      broken = !isAnswer(error);
      if ((error as { code?: unknown }).code === '23505') stored = false;
      else if (isAnswer(error)) throw error;
      else return await this.#outcome(entry.revision, writer, error);
    } finally {
      client.release(broken);
    }
    if (!stored) {
      await this.#learnGeneration();
      return 'overtaken';
    }
    await this.#trim(entry, Buffer.byteLength(changes)).catch(() => {}); // it was committed; the next commit trims too
    return 'committed';
  }

  async #learnGeneration(): Promise<void> {
    const { rows } = await this.#ask('select generation from head');
    this.#generation = String(rows[0]?.['generation'] ?? this.#generation);
  }

  /**
   * What became of a commit whose answer did not come. A new generation makes it void, should it still be under way;
   * after that the journal tells for good.
   */
  async #outcome(revision: number, writer: string, cause: unknown): Promise<'committed' | 'overtaken'> {
    const until = Date.now() + outcomePatience;
    for (;;) {
      try {
        const { rows: head } = await this.#ask('update head set generation = generation + 1 returning generation');
        this.#generation = String(head[0]?.['generation'] ?? this.#generation);
        const { rows } = await this.#ask('select writer from journal where revision = $1', [revision]);
        if (rows[0]?.['writer'] === writer) return 'committed';
        // Not there, and never will be: decided anew, on what is there.
        return 'overtaken';
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        if (Date.now() > until) throw asUnavailable(cause, true);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Keeps an account's part of the journal within its room: its oldest entries go, and nobody else's. */
  async #trim({ account, revision }: StoredEntry, length: number): Promise<void> {
    if (account === null) return;
    const known = this.#sizes.get(account);
    const sum = 'select coalesce(sum(octet_length(changes)), 0) as size from journal where account = $1';
    const size = known === undefined ? Number((await this.#ask(sum, [account])).rows[0]?.['size']) : known + length;
    this.#sizes.set(account, size);
    if (size <= this.#room) return;
    // Never the newest of all: it is the revision of the store.
    await this.#ask(
      `delete from journal where account = $1 and revision < $2 and revision in (
        select revision from (
          select revision, sum(octet_length(changes)) over (order by revision) - octet_length(changes) as older
          from journal where account = $1
        ) as oldest where older < $3)`,
      [account, revision, Math.ceil(size - this.#room * 0.9)],
    );
    this.#sizes.delete(account);
  }

  async entriesAfter(revision: number | null, limit: number, account?: AccountId): Promise<readonly StoredEntry[]> {
    const columns = 'revision, time, account, principal, operation, request_id, changes';
    const order = revision === null ? 'desc' : '';
    // The rows whose lengths sum up to the answer's size, and always one.
    const { rows } = await this.#ask(
      `select ${columns} from (
        select ${columns}, sum(length(changes)) over (order by revision ${order}) - length(changes) as before from (
          select ${columns} from journal where revision > $1 and ($3::text is null or account = $3)
          order by revision ${order} limit $2
        ) as asked
      ) as summed where before <= $4 order by revision`,
      [revision ?? 0, limit, account ?? null, answerSize],
    );
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

  async size(): Promise<StoreSize> {
    const { rows } = await this.#ask(
      `select (select count(*) from journal) as entries, coalesce(sum(pg_total_relation_size(oid)), 0) as bytes
       from pg_class where relnamespace = to_regnamespace($1) and relkind = 'r'`,
      [schemaName],
    );
    return { entries: Number(rows[0]?.['entries'] ?? 0), bytes: Number(rows[0]?.['bytes'] ?? 0) };
  }

  async close(): Promise<void> {
    if (this.#pool.ending) return;
    clearInterval(this.#sweeper);
    await this.leadership.close();
    await this.#watcher.close();
    await this.#pool.end();
  }
}

function asUnavailable(error: unknown, uncertain: boolean): unknown {
  if (error instanceof StoreUnavailableError || error instanceof StoreVersionError || isAnswer(error)) return error;
  return new StoreUnavailableError(`the store cannot be reached: ${said(error)}`, { uncertain, cause: error });
}

/** The changes as rows: one for each object, what the last change to it says. */
function sorted(changes: readonly Change[]) {
  const last = new Map<string, Change>();
  const halves: { half: string; account: string; local_vpc: string; remote_vpc: string }[] = [];
  for (const change of changes) {
    const { kind, id } = change.op === 'put' ? change.resource : change;
    last.set(`${kind}|${id}`, change);
    if (change.op !== 'put' || change.resource.kind !== 'peering') continue;
    // Whoever it is, and however soon it goes again, what it carries has an owner.
    const { accountId: account, localVpcId: local_vpc, remoteVpcId: remote_vpc } = change.resource;
    halves.push({ half: change.resource.id, account, local_vpc, remote_vpc });
  }
  const puts = [...last.values()].flatMap((change) =>
    change.op === 'put'
      ? [
          {
            kind: change.resource.kind,
            id: change.resource.id,
            account: 'accountId' in change.resource ? change.resource.accountId : null,
            doc: JSON.stringify(change.resource),
          },
        ]
      : [],
  );
  const drops = [...last.values()].flatMap((change) =>
    change.op === 'delete' ? [{ kind: change.kind, id: change.id }] : [],
  );
  return { puts, drops, halves };
}
