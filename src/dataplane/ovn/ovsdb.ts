/**
 * A client of OVSDB: a copy in memory of chosen tables, and transactions. Finds the leader of a cluster and follows it;
 * connects again and again, and then reads only what it missed. What a transaction did is in the copy before its answer
 * is given.
 */
import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext, TLSSocket } from 'node:tls';
import { certificateProblem, contextOf, type OvsdbPki, pkiOptions } from './ovsdb-tls.ts';
import {
  type ColumnType,
  columnType,
  MessageSplitter,
  modified,
  type Row,
  type Value,
  valueFrom,
} from './ovsdb-wire.ts';

export type OvsdbErrorCode =
  /** There is no connection, or it was lost before the answer came. */
  | 'unavailable'
  /** A `wait` was not true: somebody else has written. */
  | 'overtaken'
  | 'refused';
export class OvsdbError extends Error {
  readonly code: OvsdbErrorCode;
  /** Whether it may have been done nevertheless. */
  readonly uncertain: boolean;
  constructor(code: OvsdbErrorCode, message: string, uncertain = false) {
    super(message);
    this.name = 'OvsdbError';
    this.code = code;
    this.uncertain = uncertain;
  }
}

export type Operation = { readonly op: string; readonly [member: string]: unknown };
export type { OvsdbPki } from './ovsdb-tls.ts';
export interface OvsdbOptions {
  /** `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT`, tried in turn. */
  readonly remotes: readonly string[];
  /** Without it `ssl:` is refused. */
  readonly pki?: OvsdbPki;
  readonly database: string;
  /** What of it is copied. */
  readonly tables: { readonly [table: string]: readonly string[] };
  /** Milliseconds without a word after which the server is asked, and as long again until it is given up; default 5000. */
  readonly probe?: number;
}

/** Pauses between two rounds of tries, in milliseconds. */
const firstPause = 100;
const longestPause = 2000;
const connectPatience = 2000;
const noTransaction = '00000000-0000-0000-0000-000000000000';

interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: OvsdbError) => void;
}
type Message = {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: unknown;
};
type WireRow = { readonly [column: string]: unknown };
type WireUpdates = {
  readonly [table: string]: {
    readonly [uuid: string]: {
      readonly initial?: WireRow;
      readonly insert?: WireRow;
      readonly modify?: WireRow;
      readonly delete?: unknown;
    };
  };
};

const isSecure = (remote: string): boolean => remote.startsWith('ssl:');
/** @throws OvsdbError for what no try can mend */
function contextFor({ remotes, pki }: OvsdbOptions): SecureContext | null {
  const secure = remotes.find(isSecure);
  if (secure === undefined) return null;
  if (pki === undefined) {
    throw new OvsdbError('refused', `${secure} needs certificates: give ${pkiOptions}`);
  }
  try {
    return contextOf(pki);
  } catch (error) {
    throw new OvsdbError('refused', `${secure}: ${(error as Error).message}`);
  }
}
const socketTo = (remote: string, context: SecureContext | null): Socket => {
  const [kind, ...rest] = remote.split(':');
  if (kind === 'unix') return connect(rest.join(':'));
  const port = Number(rest.pop());
  const host = rest.join(':').replace(/^\[|\]$/g, '');
  if (kind !== 'ssl') return connect(port, host);
  if (context === null) throw new Error(`${remote} needs certificates`);
  return connectTls({
    port,
    host,
    secureContext: context,
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined,
  });
};

export class Ovsdb extends EventEmitter<{ changed: []; connected: []; lost: [problem: string] }> {
  readonly #options: OvsdbOptions;
  readonly #context: SecureContext | null;
  readonly #rows = new Map<string, Map<string, Row>>();
  #types: ReadonlyMap<string, ReadonlyMap<string, ColumnType>> = new Map();
  #socket: Socket | null = null;
  #calls = new Map<number, Call>();
  #serial = 0;
  #lastTransaction = noTransaction;
  #next = 0;
  #pause = firstPause;
  #timer: NodeJS.Timeout | undefined;
  #probe: NodeJS.Timeout | undefined;
  #closed = false;
  #ready = false;
  #problem = 'it was not asked yet';

  /** @throws OvsdbError for `ssl:` without certificates, or with some that cannot be used */
  constructor(options: OvsdbOptions) {
    super();
    this.#options = options;
    this.#context = contextFor(options);
    for (const table of Object.keys(options.tables)) this.#rows.set(table, new Map());
    void this.#tryNext();
  }

  /** Whether the copy follows the database now. */
  get connected(): boolean {
    return this.#ready;
  }
  /** Why it does not. */
  get problem(): string {
    return this.#problem;
  }
  /** Resolves once it does. @param patience milliseconds @throws OvsdbError */
  async whenConnected(patience: number): Promise<void> {
    if (this.#ready) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.off('connected', done);
        reject(new OvsdbError('unavailable', `${this.#options.database} cannot be reached: ${this.#problem}`));
      }, patience);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.once('connected', done);
    });
  }

  /** The copy of a table, by uuid. */
  rows(table: string): ReadonlyMap<string, Row> {
    return this.#rows.get(table) ?? new Map();
  }
  typeOf(table: string, column: string): ColumnType {
    const type = this.#types.get(table)?.get(column);
    if (type === undefined) throw new OvsdbError('refused', `the database has no column ${column} in ${table}`);
    return type;
  }

  /**
   * All of it or nothing.
   * @returns the result of each operation
   * @throws OvsdbError
   */
  async transact(operations: readonly Operation[]): Promise<readonly { readonly [member: string]: unknown }[]> {
    if (!this.#ready)
      throw new OvsdbError('unavailable', `no connection to ${this.#options.database}: ${this.#problem}`);
    const results = (await this.#call('transact', [this.#options.database, ...operations])) as ({
      error?: string;
      details?: string;
    } | null)[];
    // An error that only the commit found stands after all others.
    const at = results.findIndex((result) => result?.error !== undefined);
    if (at < 0) return results as unknown as readonly { readonly [member: string]: unknown }[];
    const { error = '', details = '' } = results[at] ?? {};
    const where =
      at < operations.length ? `operation ${at}, ${operations[at]?.op} ${operations[at]?.['table'] ?? ''}` : 'commit';
    const code =
      error === 'timed out'
        ? 'overtaken'
        : /not leader|cluster error|not owner/.test(error)
          ? 'unavailable'
          : 'refused';
    throw new OvsdbError(code, `${this.#options.database} refused (${where}): ${error}: ${details}`);
  }

  /** @param at called with the answer before anything that comes after it is read */
  #call(method: string, params: unknown, at: (result: unknown) => void = () => {}): Promise<unknown> {
    const id = this.#serial++;
    return new Promise((resolve, reject) => {
      const answered = (result: unknown): void => {
        at(result);
        resolve(result);
      };
      this.#calls.set(id, { resolve: answered, reject });
      this.#send({ method, params, id });
    });
  }
  #send(message: object): void {
    this.#socket?.write(JSON.stringify(message));
  }

  async #tryNext(): Promise<void> {
    const { remotes } = this.#options;
    const remote = remotes[this.#next++ % remotes.length] ?? '';
    try {
      await this.#open(remote);
    } catch (error) {
      // A call that was lost with the connection: why that ended is told already.
      if (error instanceof OvsdbError && error.uncertain) return;
      this.#drop(error instanceof Error ? error.message : String(error));
    }
  }

  async #open(remote: string): Promise<void> {
    const socket = socketTo(remote, this.#context);
    this.#socket = socket;
    const splitter = new MessageSplitter();
    const mine = (): boolean => this.#socket === socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      if (!mine()) return;
      try {
        for (const message of splitter.push(chunk as Buffer)) this.#take(message as Message);
      } catch (error) {
        this.#drop(`what it said is no JSON: ${String(error)}`);
      }
    });
    socket.on('error', (error) => mine() && this.#drop(`${remote}: ${certificateProblem(error) ?? error.message}`));
    socket.on('close', () => mine() && this.#drop(`${remote} closed the connection`));
    socket.setTimeout(connectPatience, () => mine() && !this.#ready && this.#drop(`${remote} does not answer`));
    // Who is not the server is told nothing.
    if (socket instanceof TLSSocket) await new Promise<void>((done) => socket.once('secureConnect', done));
    await this.#demandLeader(remote);
    const schema = (await this.#call('get_schema', [this.#options.database])) as {
      tables: { [table: string]: { columns: { [column: string]: { type: Parameters<typeof columnType>[0] } } } };
    };
    this.#types = new Map(
      Object.entries(schema.tables).map(([table, { columns }]) => [
        table,
        new Map(Object.entries(columns).map(([column, { type }]) => [column, columnType(type)])),
      ]),
    );
    const wanted = Object.fromEntries(
      Object.entries(this.#options.tables).map(([table, columns]) => [table, [{ columns }]]),
    );
    const last = this.#lastTransaction;
    await this.#call('monitor_cond_since', [this.#options.database, 'copy', wanted, last], (result) => {
      // At once: the first change may have come with it, and must not be laid under it.
      const [found, transaction, updates] = result as [boolean, string, WireUpdates];
      if (!found) for (const rows of this.#rows.values()) rows.clear();
      this.#update(updates);
      this.#lastTransaction = transaction;
    });
    if (!mine()) return;
    this.#pause = firstPause;
    this.#ready = true;
    this.#problem = '';
    socket.setTimeout(0);
    this.#watch();
    this.emit('connected');
    this.emit('changed');
  }

  /** Of a cluster only the leader has what is newest; it says so when it ceases to be that. */
  async #demandLeader(remote: string): Promise<void> {
    await this.#call('set_db_change_aware', [true]);
    const columns = ['name', 'model', 'connected', 'leader'];
    const { Database = {} } = (await this.#call('monitor_cond', [
      '_Server',
      'server',
      { Database: [{ columns, where: [['name', '==', this.#options.database]] }] },
    ])) as WireUpdates;
    const [row] = Object.values(Database).map(({ initial }) => initial);
    if (row === undefined) throw new Error(`${remote} has no database ${this.#options.database}`);
    if (row['model'] !== 'clustered') return;
    if (row['leader'] !== true || row['connected'] !== true) throw new Error(`${remote} does not lead its cluster`);
  }

  #take(message: Message): void {
    this.#heard = true;
    const { id, method, params } = message;
    if (method === 'echo') {
      this.#send({ id, result: params, error: null });
      return;
    }
    if (method === 'update3') {
      const [, transaction, updates] = params as [unknown, string, WireUpdates];
      this.#update(updates);
      this.#lastTransaction = transaction;
      this.emit('changed');
      return;
    }
    if (method === 'update2') {
      const [monitor, { Database = {} }] = params as [unknown, WireUpdates];
      const lost = Object.values(Database).some(
        ({ modify, delete: gone }) =>
          gone !== undefined || modify?.['leader'] === false || modify?.['connected'] === false,
      );
      if (monitor === 'server' && lost) this.#drop('the member of the cluster does not lead any more');
      return;
    }
    if (typeof id !== 'number') return;
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (message.error == null) call?.resolve(message.result);
    else call?.reject(new OvsdbError('refused', `OVSDB: ${JSON.stringify(message.error)}`));
  }

  #update(updates: WireUpdates): void {
    for (const [table, changes] of Object.entries(updates)) {
      const rows = this.#rows.get(table);
      if (rows === undefined) continue;
      const columns = this.#options.tables[table] ?? [];
      for (const [uuid, { initial, insert, modify, delete: gone }] of Object.entries(changes)) {
        const whole = initial ?? insert;
        if (gone !== undefined) rows.delete(uuid);
        else if (whole !== undefined) {
          // Columns that hold their default are left out.
          const entries = columns.map((column): [string, Value] => {
            const type = this.typeOf(table, column);
            return [column, column in whole ? valueFrom(type, whole[column]) : type.empty];
          });
          rows.set(uuid, Object.fromEntries(entries));
        } else if (modify !== undefined) {
          const before = rows.get(uuid) ?? {};
          const after = Object.entries(modify).map(([column, wire]): [string, Value] => {
            const type = this.typeOf(table, column);
            return [column, modified(type, before[column] ?? type.empty, wire)];
          });
          rows.set(uuid, { ...before, ...Object.fromEntries(after) });
        }
      }
    }
  }

  #heard = false;
  /** Asks a server that says nothing whether it is there. */
  #watch(): void {
    const { probe = 5000 } = this.#options;
    clearInterval(this.#probe);
    let asked = false;
    this.#probe = setInterval(() => {
      if (this.#heard) asked = false;
      else if (asked) return this.#drop('it does not answer any more');
      else {
        asked = true;
        void this.#call('echo', []).catch(() => {});
      }
      this.#heard = false;
    }, probe);
    this.#probe.unref();
  }

  #drop(problem: string): void {
    if (this.#closed) return;
    const was = this.#ready;
    const calls = this.#calls;
    const socket = this.#socket;
    this.#calls = new Map();
    this.#socket = null;
    this.#ready = false;
    this.#problem = problem;
    clearInterval(this.#probe);
    socket?.destroy();
    for (const { reject } of calls.values())
      reject(new OvsdbError('unavailable', `the connection was lost: ${problem}`, true));
    if (was) this.emit('lost', problem);
    clearTimeout(this.#timer);
    // The other members at once; then a pause.
    const round = this.#next % this.#options.remotes.length === 0;
    this.#timer = setTimeout(() => void this.#tryNext(), round ? this.#pause : 10);
    if (round) this.#pause = Math.min(longestPause, this.#pause * 2);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#probe);
    this.#socket?.destroy();
    for (const { reject } of this.#calls.values()) reject(new OvsdbError('unavailable', 'the client was closed', true));
  }
}
