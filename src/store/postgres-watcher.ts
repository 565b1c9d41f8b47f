/**
 * A connection that hears what other servers announce (LISTEN). When it was lost, announcements were missed: so every
 * listener is called once it is back. Also the pulse of the store: while this connection answers, the store is there.
 */
import pg from 'pg';

/** Pauses between tries to connect, in milliseconds: the first, and the longest as they double. */
const firstPause = 100;
const longestPause = 1000;
/** Milliseconds between two pulses, and how long one may take. */
const pulsePeriod = 1000;

export class Watcher {
  readonly #settings: pg.ClientConfig;
  readonly #channels: readonly string[];
  readonly #listeners = new Map<string, (() => void)[]>();
  #client: pg.Client | null = null;
  #pause = firstPause;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Why there is no connection; null while there is. */
  problem: string | null = null;

  constructor(settings: pg.ClientConfig, channels: readonly string[]) {
    this.#settings = { ...settings, query_timeout: 3 * pulsePeriod };
    this.#channels = channels;
    void this.#connect();
  }

  on(channel: string, listener: () => void): void {
    this.#listeners.set(channel, [...(this.#listeners.get(channel) ?? []), listener]);
  }

  #tell(channel: string): void {
    for (const listener of this.#listeners.get(channel) ?? []) listener();
  }

  async #connect(): Promise<void> {
    const client = new pg.Client(this.#settings);
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () => this.#lost(client, new Error('the connection was closed')));
    client.on('notification', ({ channel }) => this.#tell(channel));
    this.#client = client;
    try {
      await client.connect();
      for (const channel of this.#channels) await client.query(`listen ${channel}`);
      if (this.#closed) return void client.end();
      this.problem = null;
      this.#pause = firstPause;
      this.#timer = setTimeout(() => void this.#pulse(client), pulsePeriod);
      this.#timer.unref();
      for (const channel of this.#channels) this.#tell(channel);
    } catch (error) {
      this.#lost(client, error);
    }
  }

  async #pulse(client: pg.Client): Promise<void> {
    try {
      await client.query('select 1');
      if (this.#closed || this.#client !== client) return;
      this.#timer = setTimeout(() => void this.#pulse(client), pulsePeriod);
      this.#timer.unref();
    } catch (error) {
      this.#lost(client, error);
    }
  }

  #lost(client: pg.Client, error: unknown): void {
    if (this.#closed || this.#client !== client) return;
    this.#client = null;
    client.end().catch(() => {});
    this.problem = `the store cannot be reached: ${error instanceof Error ? error.message : String(error)}`;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#connect(), this.#pause);
    this.#timer.unref();
    this.#pause = Math.min(longestPause, this.#pause * 2);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }
}
