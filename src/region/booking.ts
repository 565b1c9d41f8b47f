/**
 * The arithmetic of metering: what is new in a reading of the plane, given what is booked. Pure. Every count has a life, and
 * of each life it is known how much is in the books: so nothing is booked twice, whoever restarts, and nothing is lost.
 */
import type { HalfReading, MeterReading } from '../dataplane/driver.ts';
import type { BookedCount, Booking, Traffic } from '../store/store.ts';

export interface Difference {
  /** To be written; those of one life are together in the first place where they can be. */
  readonly bookings: readonly Booking[];
  /** Lives in the books that the plane no longer tells of: it will never do so again. */
  readonly over: readonly string[];
}

/** What the books can hold. A count beyond that is nothing that was counted, and stands still there. */
const most = 2n ** 63n - 1n;
const held = (count: bigint): bigint => (count > most ? most : count);
const nothing: Traffic = { packets: 0n, bytes: 0n };

/** @param booked by life */
export function difference(booked: ReadonlyMap<string, BookedCount>, reading: MeterReading): Difference {
  const all = [...reading.retired, ...reading.running];
  const told = all.filter(({ doubtful, life, halfId }) => doubtful !== true || booked.get(life)?.halfId === halfId);
  const bookings = told.map((one) => bookingOf(one, booked.get(one.life) ?? nothing)).filter((one) => one !== null);
  const lives = new Set(all.map(({ life }) => life));
  // A host that is away tells of its lives when it is back.
  const silent = (life: string): boolean => reading.from?.has(life.slice(0, life.indexOf('/'))) === false;
  return { bookings, over: [...booked.keys()].filter((life) => !lives.has(life) && !silent(life)) };
}

function bookingOf({ halfId, life, ...told }: HalfReading, before: Traffic): Booking | null {
  const [packets, bytes] = [held(told.packets), held(told.bytes)];
  if (packets === before.packets && bytes === before.bytes) return null;
  // A count never goes back by itself: other hands set it to zero, and what it shows now came after that.
  const { packets: from, bytes: fromBytes } = packets < before.packets || bytes < before.bytes ? nothing : before;
  const sent = { packets: packets - from, bytes: bytes - fromBytes };
  return { halfId, life, upTo: { packets, bytes }, sent };
}
