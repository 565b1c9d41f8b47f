/**
 * The books of usage on SQLite: per half a total, per half and hour what was carried, and how much of each count of the
 * plane is in them already. What one `book` says is written together or not at all. Decides nothing: `region/meter.ts`
 * says what is new. Usage is never journalled.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { BookedCount, BookedHalf, BookedHour, Booking, Traffic, UsageBooks, UsageQuery } from './store.ts';

/** Halves of one account that are kept after they are gone; the oldest beyond are forgotten, so that the books end. */
const mostGone = 10_000;

/** The greatest sum that is kept: one that would be greater stays there. */
const most = 2n ** 63n - 1n;
/** That column with a number added, which is a parameter. */
const plus = (column: string, number: string): string => `${column} + min(${number}, ${most} - ${column})`;
const sums = ['sent_packets', 'sent_bytes', 'received_packets', 'received_bytes'] as const;
type Direction = 'sent' | 'received';
type Row = Readonly<Record<string, string | bigint>>;

const trafficOf = (row: Row) => {
  const number = (name: (typeof sums)[number]): bigint => BigInt(row[name] ?? 0);
  return {
    sent: { packets: number('sent_packets'), bytes: number('sent_bytes') },
    received: { packets: number('received_packets'), bytes: number('received_bytes') },
  };
};
const halfOf = (row: Row): BookedHalf => ({
  halfId: String(row['half']) as HalfId,
  accountId: String(row['account']) as AccountId,
  localVpcId: String(row['local_vpc']) as VpcId,
  remoteVpcId: String(row['remote_vpc']) as VpcId,
  ...trafficOf(row),
});

/** What the store lends its books. */
export interface BookStore {
  readonly db: DatabaseSync;
  readonly transaction: (work: () => void) => void;
}

export class SqliteUsageBooks implements UsageBooks {
  readonly #db: DatabaseSync;
  readonly #transaction: (work: () => void) => void;
  readonly #know: StatementSync;
  readonly #life: StatementSync;
  readonly #mirror: StatementSync;
  readonly #half: StatementSync;
  readonly #total: Readonly<Record<Direction, StatementSync>>;
  readonly #hour: Readonly<Record<Direction, StatementSync>>;

  constructor({ db, transaction }: BookStore) {
    this.#db = db;
    this.#transaction = transaction;
    this.#know = db.prepare(
      'insert or ignore into usage_half (half, account, local_vpc, remote_vpc) values (?, ?, ?, ?)',
    );
    this.#life = db.prepare(
      'insert into usage_life (life, half, packets, bytes) values (?, ?, ?, ?) ' +
        'on conflict (life) do update set packets = excluded.packets, bytes = excluded.bytes',
    );
    // A pair of VPCs may have had several halves one after the other: what arrives is the newest one's.
    this.#mirror = db.prepare(
      'select other.half from usage_half as own join usage_half as other ' +
        'on other.local_vpc = own.remote_vpc and other.remote_vpc = own.local_vpc ' +
        "where own.half = ? and own.local_vpc <> '' order by other.number desc limit 1",
    );
    this.#half = db.prepare('select * from usage_half where half = ?');
    this.#half.setReadBigInts(true);
    const total = (direction: Direction): StatementSync => {
      const [packets, bytes] = [`${direction}_packets`, `${direction}_bytes`];
      return db.prepare(
        `update usage_half set ${packets} = ${plus(packets, '?2')}, ${bytes} = ${plus(bytes, '?3')} where half = ?1`,
      );
    };
    const inHour = (direction: Direction): StatementSync => {
      const [packets, bytes] = [`${direction}_packets`, `${direction}_bytes`];
      return db.prepare(
        `insert into usage_hour (half, ${packets}, ${bytes}, hour) values (?1, ?2, ?3, ?4) ` +
          `on conflict (half, hour) do update set ${packets} = ${plus(packets, '?2')}, ${bytes} = ${plus(bytes, '?3')}`,
      );
    };
    this.#total = { sent: total('sent'), received: total('received') };
    this.#hour = { sent: inHour('sent'), received: inHour('received') };
  }

  know(half: {
    readonly id: HalfId;
    readonly accountId: AccountId;
    readonly localVpcId: VpcId;
    readonly remoteVpcId: VpcId;
  }): void {
    this.#know.run(half.id, half.accountId, half.localVpcId, half.remoteVpcId);
  }

  lives(): ReadonlyMap<string, BookedCount> {
    return new Map(
      this.#rows('select life, half, packets, bytes from usage_life').map((row) => [
        String(row['life']),
        {
          halfId: String(row['half']) as HalfId,
          packets: BigInt(row['packets'] ?? 0),
          bytes: BigInt(row['bytes'] ?? 0),
        },
      ]),
    );
  }

  book(hour: number, bookings: readonly Booking[]): void {
    this.#transaction(() => {
      for (const { halfId, life, upTo, sent } of bookings) {
        this.#life.run(life, halfId, upTo.packets, upTo.bytes);
        if (sent.packets === 0n && sent.bytes === 0n) continue;
        // Only a store that is older than its plane does not know a half: then it is nobody's, and the operator sees it.
        this.#know.run(halfId, '', '', '');
        this.#add('sent', halfId, hour, sent);
        const mirror = this.#mirror.get(halfId)?.['half'];
        if (mirror !== undefined) this.#add('received', String(mirror), hour, sent);
      }
    });
  }
  #add(direction: Direction, half: string, hour: number, { packets, bytes }: Traffic): void {
    this.#total[direction].run(half, packets, bytes);
    this.#hour[direction].run(half, packets, bytes, hour);
  }

  forget(lives: readonly string[]): void {
    if (lives.length === 0) return;
    const drop = this.#db.prepare('delete from usage_life where life = ?');
    this.#transaction(() => {
      for (const life of lives) drop.run(life);
    });
  }

  half(halfId: HalfId): BookedHalf | undefined {
    const row = this.#half.get(halfId) as Row | undefined;
    return row === undefined ? undefined : halfOf(row);
  }

  totals(limit: number, account?: AccountId): readonly BookedHalf[] {
    const order = 'order by sent_bytes + received_bytes desc, half limit ?';
    return account === undefined
      ? this.#rows(`select * from usage_half ${order}`, limit).map(halfOf)
      : this.#rows(`select * from usage_half where account = ? ${order}`, account, limit).map(halfOf);
  }

  sums(query: UsageQuery): readonly BookedHalf[] {
    // In two parts, for SQLite adds up 64 bits at most.
    const part = (name: string, bits: string, as: string): string => `sum(usage_hour.${name} ${bits}) as ${name}${as}`;
    const columns = sums.flatMap((name) => [part(name, '>> 32', '_high'), part(name, '& 4294967295', '_low')]);
    const rows = this.#hours(columns.join(', '), 'group by usage_half.half order by usage_half.number', query);
    const whole = (row: Row, name: string): bigint =>
      (BigInt(row[`${name}_high`] ?? 0) << 32n) + BigInt(row[`${name}_low`] ?? 0);
    return rows.map((row) => halfOf({ ...row, ...Object.fromEntries(sums.map((name) => [name, whole(row, name)])) }));
  }

  hours(query: UsageQuery): readonly BookedHour[] {
    const columns = `usage_hour.hour, ${sums.map((name) => `usage_hour.${name}`).join(', ')}`;
    const rows = this.#hours(columns, 'order by usage_hour.hour, usage_half.number', query);
    return rows.map((row) => ({ hour: Number(row['hour']), ...halfOf(row) }));
  }

  #hours(columns: string, tail: string, { from, to, account, limit }: UsageQuery): readonly Row[] {
    const select =
      `select usage_half.half, account, local_vpc, remote_vpc, ${columns} from usage_half join usage_hour ` +
      'on usage_hour.half = usage_half.half where hour >= ? and hour < ?';
    return account === undefined
      ? this.#rows(`${select} ${tail} limit ?`, from, to, limit)
      : this.#rows(`${select} and account = ? ${tail} limit ?`, from, to, account, limit);
  }

  fold(before: number): void {
    // Looked up half by half: there may be millions of hours.
    const none = (table: string, where: string): string => `not exists (select 1 from ${table} where ${where})`;
    const unknown = none('resource', "kind = 'peering' and id = usage_half.half");
    const gone = `${unknown} and ${none('usage_life', 'usage_life.half = usage_half.half')}`;
    const empty = none('usage_hour', 'usage_hour.half = usage_half.half');
    this.#transaction(() => {
      this.#db.prepare('delete from usage_hour where hour < ?').run(before);
      this.#db.exec(`delete from usage_half where ${gone} and ${empty}`);
      for (const row of this.#rows(
        `select account, count(*) as n from usage_half where ${gone} group by account having n > ?`,
        mostGone,
      )) {
        const oldest = `select half from usage_half where account = ? and ${gone} order by number limit ?`;
        for (const { half = '' } of this.#rows(
          oldest,
          String(row['account']),
          BigInt(row['n'] ?? 0) - BigInt(mostGone),
        )) {
          this.#db.prepare('delete from usage_hour where half = ?').run(half);
          this.#db.prepare('delete from usage_half where half = ?').run(half);
        }
      }
    });
  }

  /** Numbers as bigints: bytes may be beyond 2^53. */
  #rows(select: string, ...values: readonly (string | number | bigint)[]): readonly Row[] {
    const statement = this.#db.prepare(select);
    statement.setReadBigInts(true);
    return statement.all(...values) as unknown as readonly Row[];
  }
}
