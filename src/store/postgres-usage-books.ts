/**
 * The books of usage on PostgreSQL, as `usage-books.ts` keeps them on SQLite. Only the server that leads writes them, and
 * every transaction makes sure that it still does: two that book the same count would book it twice.
 */
import type { ClientBase } from 'pg';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Ask, Row } from './postgres-schema.ts';
import type { BookedCount, BookedHalf, BookedHour, Booking, Traffic, UsageBooks, UsageQuery } from './store.ts';

/** Halves of one account that are kept after they are gone; the oldest beyond are forgotten, so that the books end. */
const mostGone = 10_000;
/** The greatest sum that is kept: one that would be greater stays there. */
const most = 2n ** 63n - 1n;
/** That column with a number added, which is a parameter. */
const plus = (column: string, number: string): string => `${column} + least(${number}::bigint, ${most} - ${column})`;
const sums = ['sent_packets', 'sent_bytes', 'received_packets', 'received_bytes'] as const;

export interface PostgresBookStore {
  readonly ask: Ask;
  readonly transaction: <T>(work: (client: ClientBase) => Promise<T>) => Promise<T>;
  /** Of this server. */
  readonly leader: () => string;
}

const halfOf = (row: Row): BookedHalf => {
  const number = (name: (typeof sums)[number]): bigint => BigInt(String(row[name] ?? 0));
  return {
    halfId: String(row['half']) as HalfId,
    accountId: String(row['account']) as AccountId,
    localVpcId: String(row['local_vpc']) as VpcId,
    remoteVpcId: String(row['remote_vpc']) as VpcId,
    sent: { packets: number('sent_packets'), bytes: number('sent_bytes') },
    received: { packets: number('received_packets'), bytes: number('received_bytes') },
  };
};

export class PostgresUsageBooks implements UsageBooks {
  readonly #store: PostgresBookStore;

  constructor(store: PostgresBookStore) {
    this.#store = store;
  }

  /** As the leader, or not at all. */
  #leading(work: (client: ClientBase) => Promise<void>): Promise<void> {
    return this.#store.transaction(async (client) => {
      // Held to the end of the transaction: nobody else becomes the leader before.
      const { rowCount } = await client.query('select 1 from head where leader = $1 for share', [this.#store.leader()]);
      if (rowCount !== 1) throw new Error('another server keeps the books now');
      await work(client);
    });
  }

  async lives(): Promise<ReadonlyMap<string, BookedCount>> {
    const { rows } = await this.#store.ask('select life, half, packets, bytes from usage_life');
    return new Map(
      rows.map((row) => [
        String(row['life']),
        {
          halfId: String(row['half']) as HalfId,
          packets: BigInt(String(row['packets'])),
          bytes: BigInt(String(row['bytes'])),
        },
      ]),
    );
  }

  book(hour: number, bookings: readonly Booking[]): Promise<void> {
    return this.#leading(async (client) => {
      for (const { halfId, life, upTo, sent } of bookings) {
        await client.query(
          `insert into usage_life (life, half, packets, bytes) values ($1, $2, $3, $4)
           on conflict (life) do update set packets = excluded.packets, bytes = excluded.bytes`,
          [life, halfId, upTo.packets, upTo.bytes],
        );
        if (sent.packets === 0n && sent.bytes === 0n) continue;
        // Only a store that is older than its plane does not know a half: then it is nobody's, and the operator sees it.
        await client.query(
          `insert into usage_half (half, account, local_vpc, remote_vpc) values ($1, '', '', '') on conflict do nothing`,
          [halfId],
        );
        await this.#add(client, 'sent', halfId, hour, sent);
        // A pair of VPCs may have had several halves one after the other: what arrives is the newest one's.
        const { rows } = await client.query<{ half: string }>(
          `select other.half from usage_half as own join usage_half as other
           on other.local_vpc = own.remote_vpc and other.remote_vpc = own.local_vpc
           where own.half = $1 and own.local_vpc <> '' order by other.number desc limit 1`,
          [halfId],
        );
        const [mirror] = rows;
        if (mirror !== undefined) await this.#add(client, 'received', mirror.half, hour, sent);
      }
    });
  }

  async #add(
    client: ClientBase,
    direction: 'sent' | 'received',
    half: string,
    hour: number,
    { packets, bytes }: Traffic,
  ): Promise<void> {
    const [p, b] = [`${direction}_packets`, `${direction}_bytes`];
    await client.query(`update usage_half set ${p} = ${plus(p, '$2')}, ${b} = ${plus(b, '$3')} where half = $1`, [
      half,
      packets,
      bytes,
    ]);
    await client.query(
      `insert into usage_hour (half, hour, ${p}, ${b}) values ($1, $4, $2, $3)
       on conflict (half, hour) do update set ${p} = ${plus(`usage_hour.${p}`, '$2')},
       ${b} = ${plus(`usage_hour.${b}`, '$3')}`,
      [half, packets, bytes, hour],
    );
  }

  async forget(lives: readonly string[]): Promise<void> {
    if (lives.length === 0) return;
    await this.#leading(async (client) => {
      await client.query('delete from usage_life where life = any ($1)', [lives]);
    });
  }

  async half(halfId: HalfId): Promise<BookedHalf | undefined> {
    const { rows } = await this.#store.ask('select * from usage_half where half = $1', [halfId]);
    return rows[0] === undefined ? undefined : halfOf(rows[0]);
  }

  async totals(limit: number, account?: AccountId): Promise<readonly BookedHalf[]> {
    const { rows } = await this.#store.ask(
      `select * from usage_half where $2::text is null or account = $2
       order by sent_bytes::numeric + received_bytes desc, half limit $1`,
      [limit, account ?? null],
    );
    return rows.map(halfOf);
  }

  async sums(query: UsageQuery): Promise<readonly BookedHalf[]> {
    const columns = sums.map((name) => `sum(usage_hour.${name}) as ${name}`).join(', ');
    const rows = await this.#hours(columns, 'group by usage_half.half order by min(usage_half.number)', query);
    return rows.map(halfOf);
  }

  async hours(query: UsageQuery): Promise<readonly BookedHour[]> {
    const columns = `usage_hour.hour, ${sums.map((name) => `usage_hour.${name}`).join(', ')}`;
    const rows = await this.#hours(columns, 'order by usage_hour.hour, usage_half.number', query);
    return rows.map((row) => ({ hour: Number(row['hour']), ...halfOf(row) }));
  }

  async #hours(columns: string, tail: string, { from, to, account, limit }: UsageQuery): Promise<readonly Row[]> {
    const { rows } = await this.#store.ask(
      `select usage_half.half, account, local_vpc, remote_vpc, ${columns} from usage_half join usage_hour
       on usage_hour.half = usage_half.half
       where hour >= $1 and hour < $2 and ($4::text is null or account = $4) ${tail} limit $3`,
      [from, to, limit, account ?? null],
    );
    return rows;
  }

  fold(before: number): Promise<void> {
    const gone = `not exists (select 1 from resource where kind = 'peering' and id = usage_half.half)
      and not exists (select 1 from usage_life where usage_life.half = usage_half.half)`;
    return this.#leading(async (client) => {
      await client.query('delete from usage_hour where hour < $1', [before]);
      await client.query(
        `delete from usage_half where ${gone}
         and not exists (select 1 from usage_hour where usage_hour.half = usage_half.half)`,
      );
      await client.query(
        `with ranked as (
           select half, row_number() over (partition by account order by number desc) as place
           from usage_half where ${gone}
         ), old as (
           delete from usage_half using ranked where usage_half.half = ranked.half and place > $1 returning usage_half.half
         ) delete from usage_hour using old where usage_hour.half = old.half`,
        [mostGone],
      );
    });
  }
}
