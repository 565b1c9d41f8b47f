/**
 * Which of the servers on one store keeps the data plane: whoever holds an advisory lock, on a connection of its own. The
 * database gives the lock up with the connection, and a server that has not heard from the database for longer than that
 * can take believes no more that it leads. What the leader writes for all carries its name, and is void once another leads.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Ask, lockClass, lockFor } from './postgres-schema.ts';
import type { Watcher } from './postgres-watcher.ts';
import type { Leadership, PlaneReport } from './store.ts';

/** Milliseconds between two tries to lead, or two proofs that the lock is still held. */
const period = 500;
/** Without a proof for so long, this server leads no more, in milliseconds. */
const lease = 2_000;
/**
 * The database ends a connection whose other end is gone, and with it the lock, after 3 seconds: later than the lease,
 * so that there are never two who believe that they lead.
 */
const serverSettings = '-c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=2';

export interface LeadershipOptions {
  readonly settings: pg.ClientConfig;
  readonly ask: Ask;
  readonly watcher: Watcher;
  readonly mayLead: boolean;
}

export class PostgresLeadership implements Leadership {
  /** Of this server, for the database. */
  readonly name = randomUUID();
  readonly #options: LeadershipOptions;
  readonly #listeners: ((leads: boolean) => void)[] = [];
  #client: pg.Client | null = null;
  #told = false;
  /** When the lock was last proved to be held. */
  #proved = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #round: Promise<void> = Promise.resolve();

  constructor(options: LeadershipOptions) {
    this.#options = options;
    if (options.mayLead) this.#again(0);
  }

  get leads(): boolean {
    return this.#told && performance.now() - this.#proved < lease;
  }

  onChange(listener: (leads: boolean) => void): void {
    this.#listeners.push(listener);
  }

  #again(pause = period): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#try().then(() => this.#again());
    }, pause);
    this.#timer.unref();
  }

  async #try(): Promise<void> {
    const asked = performance.now();
    try {
      this.#client ??= await this.#connect();
      if (this.#told) await this.#client.query('select 1');
      else {
        const { rows } = await this.#client.query<{ held: boolean }>('select pg_try_advisory_lock($1, $2) as held', [
          lockClass,
          lockFor.leadership,
        ]);
        if (rows[0]?.held !== true) return;
        await this.#client.query('update head set leader = $1', [this.name]);
      }
      this.#proved = asked;
      this.#tell(true);
    } catch {
      // The lock is, or soon will be, anybody's.
      this.#drop();
    }
  }

  async #connect(): Promise<pg.Client> {
    const { settings } = this.#options;
    const options = `${settings.options ?? ''} ${serverSettings}`;
    const client = new pg.Client({
      ...settings,
      options,
      query_timeout: lease / 2,
      connectionTimeoutMillis: lease / 2,
    });
    client.on('error', () => this.#drop());
    client.on('end', () => {
      if (this.#client === client) this.#drop();
    });
    await client.connect();
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    client?.end().catch(() => {});
    this.#tell(false);
  }

  #tell(leads: boolean): void {
    if (this.#told === leads || (this.#closed && leads)) return;
    this.#told = leads;
    for (const listener of this.#listeners) listener(leads);
  }

  async publish({ revision, failed, owed }: PlaneReport): Promise<void> {
    await this.#options.ask(
      `with told as (
        update head set plane_revision = $2, plane_failed = $3, plane_owed = $4 where leader = $1 returning revision
      ) select pg_notify('isthmus_plane', '') from told`,
      [this.name, revision, JSON.stringify(failed), JSON.stringify(owed)],
    );
  }

  async published(): Promise<PlaneReport | null> {
    const { rows } = await this.#options.ask('select plane_revision, plane_failed, plane_owed from head');
    const [row] = rows;
    if (row === undefined || row['plane_revision'] === null) return null;
    return {
      revision: Number(row['plane_revision']),
      failed: row['plane_failed'] as PlaneReport['failed'],
      owed: row['plane_owed'] as PlaneReport['owed'],
    };
  }

  onPublished(listener: () => void): void {
    this.#options.watcher.on('isthmus_plane', listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#round;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = null;
    this.#tell(false);
    await client?.end().catch(() => {});
  }
}
