/**
 * Moves a whole region from one store to another: every row as it is, the installation's id too, so that the data plane
 * stays whose it was. Both sides are read again afterwards and must be equal. The source is never written.
 */
import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { PostgresStore, shownUrl } from './postgres.ts';
import { lockClass, lockFor, schemaName } from './postgres-schema.ts';
import { SqliteStore } from './sqlite.ts';

/** What is moved, in the order of its keys. What only one of the two has is made anew there. */
const tables = {
  resource: { columns: ['kind', 'id', 'account', 'revision', 'doc'], key: 'kind, id' },
  journal: {
    columns: ['revision', 'time', 'account', 'principal', 'operation', 'request_id', 'changes'],
    key: 'revision',
  },
  secret: { columns: ['key_id', 'secret'], key: 'key_id' },
  usage_half: {
    columns: [
      ...['number', 'half', 'account', 'local_vpc', 'remote_vpc'],
      ...['sent_packets', 'sent_bytes', 'received_packets', 'received_bytes'],
    ],
    key: 'number',
  },
  usage_life: { columns: ['life', 'half', 'packets', 'bytes'], key: 'life' },
  usage_hour: {
    columns: ['half', 'hour', 'sent_packets', 'sent_bytes', 'received_packets', 'received_bytes'],
    key: 'half, hour',
  },
} as const satisfies { readonly [table: string]: { readonly columns: readonly string[]; readonly key: string } };
type Table = keyof typeof tables;
const tableNames = Object.keys(tables) as readonly Table[];

/** Numbers as text: they may be beyond 2^53. */
type Cell = string | null;
type Cells = readonly Cell[];

/** Rows that are read or written at a time. */
const together = 500;

/** Why a region could not be moved; nothing was changed. */
export class TransferError extends Error {}

interface Side {
  readonly place: string;
  installation(): Promise<string>;
  rows(table: Table): AsyncIterable<readonly Cells[]>;
  insert(table: Table, rows: readonly Cells[]): Promise<void>;
  /** Called after the last row. */
  finish(installation: string, revision: string): Promise<void>;
  /** @param keep false: what was begun here goes */
  close(keep: boolean): Promise<void>;
}

class SqliteSide implements Side {
  readonly place: string;
  readonly #db: DatabaseSync;
  readonly #fresh: boolean;

  /** @param fresh makes an empty store there; otherwise there must be one */
  constructor(path: string, fresh: boolean) {
    this.place = path;
    this.#fresh = fresh;
    if (existsSync(path) === fresh)
      throw new TransferError(fresh ? `${path} exists already` : `${path} does not exist`);
    new SqliteStore(path).close(); // of the newest schema, or refused
    this.#db = new DatabaseSync(path);
    if (fresh) this.#db.exec('begin immediate');
  }
  async installation(): Promise<string> {
    return String(this.#db.prepare("select value from meta where name = 'installation'").get()?.['value']);
  }
  async *rows(table: Table): AsyncIterable<readonly Cells[]> {
    const { columns, key } = tables[table];
    const statement = this.#db.prepare(`select ${columns.join(', ')} from ${table} order by ${key}`);
    statement.setReadBigInts(true);
    let page: Cells[] = [];
    for (const row of statement.iterate()) {
      page.push(columns.map((column) => (row[column] === null ? null : String(row[column]))));
      if (page.length === together) {
        yield page;
        page = [];
      }
    }
    if (page.length > 0) yield page;
  }
  async insert(table: Table, rows: readonly Cells[]): Promise<void> {
    const { columns } = tables[table];
    const places = columns.map(() => '?').join(', ');
    // The columns' types make numbers of their texts.
    const statement = this.#db.prepare(`insert into ${table} (${columns.join(', ')}) values (${places})`);
    for (const row of rows) statement.run(...row);
  }
  async finish(installation: string): Promise<void> {
    this.#db.prepare("update meta set value = ? where name = 'installation'").run(installation);
    this.#db.exec('commit');
  }
  async close(keep: boolean): Promise<void> {
    this.#db.close();
    if (keep || !this.#fresh) return;
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${this.place}${suffix}`, { force: true });
  }
}

class PostgresSide implements Side {
  readonly place: string;
  readonly #client: pg.Client;
  readonly #fresh: boolean;

  private constructor(client: pg.Client, place: string, fresh: boolean) {
    this.#client = client;
    this.place = place;
    this.#fresh = fresh;
  }
  static async open(url: string, fresh: boolean): Promise<PostgresSide> {
    const client = new pg.Client({ connectionString: url, options: `-c search_path=${schemaName}` });
    client.on('error', () => {});
    try {
      const there = await hasStore(url, client);
      if (there === fresh) {
        throw new TransferError(
          fresh ? `the database has a schema ${schemaName} already` : `the database has no schema ${schemaName}`,
        );
      }
      // Made, or of the newest schema, or refused.
      await (await PostgresStore.open(url, { mayLead: false })).close();
      const locked = await client.query<{ held: boolean }>('select pg_try_advisory_lock($1, $2) as held', [
        lockClass,
        lockFor.leadership,
      ]);
      if (locked.rows[0]?.held !== true) throw new TransferError('a region runs on that database: stop it first');
      await client.query(fresh ? 'begin' : 'begin isolation level repeatable read read only');
      return new PostgresSide(client, 'the database', fresh);
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }
  async installation(): Promise<string> {
    const { rows } = await this.#client.query<{ value: string }>("select value from meta where name = 'installation'");
    return rows[0]?.value ?? '';
  }
  async *rows(table: Table): AsyncIterable<readonly Cells[]> {
    const { columns, key } = tables[table];
    // As SQLite sorts: by bytes.
    const order = key.replaceAll(/[a-z_]+/g, (column) => `${table}.${column}${isNumber(column) ? '' : ' collate "C"'}`);
    const list = columns.map((column) => `${column}::text`).join(', ');
    await this.#client.query(`declare page no scroll cursor for select ${list} from ${table} order by ${order}`);
    for (;;) {
      const { rows } = await this.#client.query<string[]>({ text: `fetch ${together} from page`, rowMode: 'array' });
      if (rows.length === 0) break;
      yield rows;
    }
    await this.#client.query('close page');
  }
  async insert(table: Table, rows: readonly Cells[]): Promise<void> {
    const { columns } = tables[table];
    const typed = columns.map((column) => `${column} ${isNumber(column) ? 'bigint' : 'text'}`).join(', ');
    const objects = rows.map((row) => Object.fromEntries(columns.map((column, n) => [column, row[n] ?? null])));
    const list = columns.join(', ');
    const more = table === 'journal' ? { column: ', writer', value: ", 'transfer'" } : { column: '', value: '' };
    const kept = table === 'usage_half' ? 'overriding system value' : '';
    await this.#client.query(
      `insert into ${table} (${list}${more.column}) ${kept}
       select ${list}${more.value} from jsonb_to_recordset($1) as row (${typed})`,
      [JSON.stringify(objects)],
    );
  }
  async finish(installation: string, revision: string): Promise<void> {
    const client = this.#client;
    await client.query("update meta set value = $1 where name = 'installation'", [installation]);
    await client.query('update head set revision = $1', [revision]);
    await client.query(
      `select setval(pg_get_serial_sequence('usage_half', 'number'), (select coalesce(max(number), 1) from usage_half))`,
    );
    await client.query('commit');
    await client.query('begin isolation level repeatable read read only'); // to be read again
  }
  async close(keep: boolean): Promise<void> {
    await this.#client.query('rollback').catch(() => {});
    if (!keep && this.#fresh) await this.#client.query(`drop schema ${schemaName} cascade`).catch(() => {});
    await this.#client.end();
  }
}

const isNumber = (column: string): boolean =>
  /^(revision|number|hour|packets|bytes|(sent|received)_(packets|bytes))$/.test(column);

async function hasStore(url: string, client: pg.Client): Promise<boolean> {
  try {
    await client.connect();
  } catch (error) {
    throw new TransferError(`the database at ${shownUrl(url)} cannot be reached: ${(error as Error).message}`);
  }
  const { rows } = await client.query<{ there: boolean }>('select to_regnamespace($1) is not null as there', [
    schemaName,
  ]);
  return rows[0]?.there === true;
}

const open = async (place: string, fresh: boolean): Promise<Side> =>
  /^postgres(ql)?:/.test(place) ? PostgresSide.open(place, fresh) : new SqliteSide(place, fresh);

async function digestOf(side: Side): Promise<string> {
  const hash = createHash('sha256').update(await side.installation());
  for (const table of tableNames) {
    hash.update(`\n${table}\n`);
    for await (const page of side.rows(table)) for (const row of page) hash.update(`${JSON.stringify(row)}\n`);
  }
  return hash.digest('hex');
}

export interface Transferred {
  readonly installation: string;
  readonly revision: number;
  readonly rows: { readonly [T in Table]: number };
}

/**
 * Copies a region's store to a place where there is none yet.
 * @param from a file of SQLite, or a postgres:// URL; no region may run on it
 * @throws TransferError, StoreVersionError; what was begun at the target is then not there
 */
export async function transfer(from: string, to: string): Promise<Transferred> {
  const source = await open(from, false);
  let target: Side | undefined;
  let keep = false;
  try {
    target = await open(to, true);
    const rows: { [T in Table]?: number } = {};
    let revision = '0';
    for (const table of tableNames) {
      rows[table] = 0;
      for await (const page of source.rows(table)) {
        await target.insert(table, page);
        rows[table] += page.length;
        if (table === 'journal') revision = page.at(-1)?.[0] ?? revision;
      }
    }
    const installation = await source.installation();
    await target.finish(installation, revision);
    if ((await digestOf(source)) !== (await digestOf(target))) {
      throw new TransferError(`${target.place} does not hold what was read`);
    }
    keep = true;
    return { installation, revision: Number(revision), rows: rows as Transferred['rows'] };
  } finally {
    await target?.close(keep);
    await source.close(true);
  }
}
