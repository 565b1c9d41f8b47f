/**
 * Reads the plane's counters every few seconds and books what is new; also on a clean stop, and before usage is answered.
 * The only writer of the books. Says nothing of a plane that it cannot reach: what was counted meanwhile is booked later.
 */
import type { MeterReading } from '../dataplane/driver.ts';
import type { AccountId, HalfId } from '../model/ids.ts';
import type { BookedCount, BookedHalf, BookedHour, Booking, Soon, UsageBooks, UsageQuery } from '../store/store.ts';
import { difference } from './booking.ts';

export interface MeterOptions {
  readonly books: UsageBooks;
  /** Asks the plane; see `Driver.meter`. */
  readonly read: (booked: readonly string[]) => Promise<MeterReading>;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Whether this is the one server that keeps the books; default: it is. */
  readonly leads?: () => boolean;
  /** Milliseconds between readings, 0 for none but those that are asked for; default 5000. */
  readonly period?: number;
  /** Hours that are kept one by one; default 13 months of 31 days. */
  readonly retention?: number;
}

export const millisecondsPerHour = 3_600_000;
export const defaultRetention = 13 * 31 * 24;
/** Halves that one transaction books: between two, commands have their turn. */
const together = 128;
/** How long a stop waits for the last reading, in milliseconds. */
const lastPatience = 2000;

export type BookingListener = (bookings: readonly Booking[]) => void;

export class Meter {
  readonly #options: Required<MeterOptions>;
  /** What is in the books; null: to be read from them. */
  #booked: Map<string, BookedCount> | null = null;
  /** Final counts that are in the books: the next reading tells the plane. */
  #settled: readonly string[] = [];
  #current: Promise<void> = Promise.resolve();
  #next: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #bookedUntil: number | null = null;
  #foldedIn = 0;
  readonly #listeners: BookingListener[] = [];

  constructor(options: MeterOptions) {
    this.#options = { period: 5000, retention: defaultRetention, leads: () => true, ...options };
  }

  /** Begins to read by itself. */
  start(): void {
    const { period, clock } = this.#options;
    if (period === 0 || this.#closed) return;
    // One reading falls on each turn of the hour, so that what an hour carried is booked in it.
    const untilTurn = millisecondsPerHour - (clock() % millisecondsPerHour);
    this.#timer = setTimeout(
      () => {
        // A plane out of reach is the follower's to report; the next reading has it all.
        void this.book()
          .catch(() => {})
          .then(() => this.start());
      },
      Math.min(period, untilTurn + 1),
    );
    this.#timer.unref();
  }

  /**
   * Books all that was counted up to this call.
   * @throws DriverError when the plane cannot be reached; whatever the store throws
   */
  book(): Promise<void> {
    // A reading under way may have begun too early; whoever asks meanwhile shares the next.
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = null;
        this.#current = this.#round();
        return this.#current;
      });
    return this.#next;
  }

  async #round(): Promise<void> {
    const { books, read, clock, retention, leads } = this.#options;
    if (this.#closed) throw new Error('the meter is closed');
    if (!leads()) return; // whoever does, books
    const asked = clock();
    this.#booked ??= new Map(await books.lives());
    const booked = this.#booked;
    const reading = await read(this.#settled);
    const hour = this.#hourOf(asked);
    const { bookings, over } = difference(booked, reading);
    for (let from = 0; from < bookings.length; from += together) {
      const some = bookings.slice(from, from + together);
      await books.book(hour, some);
      for (const { life, halfId, upTo } of some) booked.set(life, { halfId, ...upTo });
      for (const listener of this.#listeners) listener(some);
      if (from + together < bookings.length) await new Promise((resolve) => setImmediate(resolve));
    }
    await books.forget(over);
    for (const life of over) booked.delete(life);
    this.#settled = reading.retired
      .filter(({ doubtful, life }) => doubtful !== true || booked.has(life))
      .map(({ life }) => life);
    this.#bookedUntil = asked;
    const now = Math.floor(asked / millisecondsPerHour);
    if (now === this.#foldedIn) return;
    this.#foldedIn = now;
    await books.fold(now - retention);
  }

  /** The hour in which it was carried: at the first reading after the turn, the one before, if that was read of just now. */
  #hourOf(time: number): number {
    const hour = Math.floor(time / millisecondsPerHour);
    const last = this.#bookedUntil ?? 0;
    const recent = time - last <= 2 * this.#options.period && last <= time;
    return recent ? Math.floor(last / millisecondsPerHour) : hour;
  }

  /** When what is in the books was counted, in milliseconds since the epoch; null before the first reading. */
  get bookedUntil(): number | null {
    return this.#bookedUntil;
  }
  /** All that a half ever carried, as far as booked. */
  half(halfId: HalfId): Soon<BookedHalf | undefined> {
    return this.#options.books.half(halfId);
  }
  /** Largest first. */
  totals(limit: number, account?: AccountId): Soon<readonly BookedHalf[]> {
    return this.#options.books.totals(limit, account);
  }
  sums(query: UsageQuery): Soon<readonly BookedHalf[]> {
    return this.#options.books.sums(query);
  }
  hours(query: UsageQuery): Soon<readonly BookedHour[]> {
    return this.#options.books.hours(query);
  }
  /** Somebody else may have kept the books meanwhile. */
  forget(): void {
    this.#booked = null;
    this.#bookedUntil = null;
  }
  /** Called with what is new, once it is booked. */
  onBooked(listener: BookingListener): void {
    this.#listeners.push(listener);
  }

  /** Books what there is, if the plane answers in time, and nothing any more. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#options.period > 0) {
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, lastPatience);
      });
      await Promise.race([this.book().catch(() => {}), patience]);
      clearTimeout(timer);
    }
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}
