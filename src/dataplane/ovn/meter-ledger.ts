/**
 * What the halves carried that this host sent for, made monotonic: OVN's flow counters begin anew with every flush, and
 * with every port that is made again. Pure but for the file it is kept in. What a flow carried between the last reading
 * and its end is lost to the count.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import type { HalfId } from '../../model/ids.ts';
import type { HostReading, MeterRequest } from './hosts.ts';

/** Packets and bytes that a flow has carried since it was made, and how many seconds ago that was. */
export interface FlowCount {
  readonly packets: number;
  readonly bytes: number;
  readonly age: number;
}
interface Total {
  readonly packets: number;
  readonly bytes: number;
}
/** Seconds by which two readings of when a flow was made may differ. */
const bornTolerance = 1.5;

interface Entry {
  life: string;
  packets: number;
  bytes: number;
  /** Which flow was read last, when it was made (in seconds since the boot), and what it told. */
  cookie: string;
  born: number;
  seen: Total;
}
interface Stored {
  readonly epoch: string;
  readonly running: { readonly [halfId: string]: Entry };
  readonly retired: { readonly [life: string]: { readonly halfId: string } & Total };
}
const nothing: Total = { packets: 0, bytes: 0 };

/** The counts of table 65 by cookie, out of what `ovs-ofctl dump-flows` prints. */
export function flowCounts(dump: string): ReadonlyMap<string, FlowCount> {
  const counts = new Map<string, FlowCount>();
  for (const line of dump.split('\n')) {
    const [, cookie, age, table, packets, bytes] =
      /cookie=0x([0-9a-f]+), duration=([\d.]+)s, table=(\d+), n_packets=(\d+), n_bytes=(\d+)/.exec(line) ?? [];
    if (cookie === undefined || table !== '65') continue;
    counts.set(cookie.padStart(8, '0'), { packets: Number(packets), bytes: Number(bytes), age: Number(age) });
  }
  return counts;
}

export class MeterLedger {
  readonly #path: string;
  readonly #running = new Map<string, Entry>();
  readonly #retired = new Map<string, { readonly halfId: string } & Total>();
  #epoch = '';
  /** Whether what the flows carried before is lost to the count: it may have been told already. */
  #blind = false;
  #written = '';

  /** @param path of the file; none yet is an empty ledger, and one that cannot be read is set aside */
  constructor(path: string) {
    this.#path = path;
    if (!existsSync(path)) return;
    try {
      this.#written = readFileSync(path, 'utf8');
      const { epoch, running, retired } = JSON.parse(this.#written) as Stored;
      this.#epoch = epoch;
      for (const [halfId, entry] of Object.entries(running)) this.#running.set(halfId, entry);
      for (const [life, entry] of Object.entries(retired)) this.#retired.set(life, entry);
    } catch {
      renameSync(path, `${path}.unreadable`);
      this.#written = '';
      this.#running.clear();
      this.#blind = true;
    }
  }

  /**
   * Takes the flows' counts in. Halves that are not asked for any more have ended.
   * @param uptime seconds since the boot of the machine
   */
  read({ epoch, halves, booked }: MeterRequest, flows: ReadonlyMap<string, FlowCount>, uptime: number): HostReading {
    if (epoch !== this.#epoch && !this.#blind) {
      this.#running.clear();
      this.#retired.clear();
    }
    this.#epoch = epoch;
    for (const life of booked) this.#retired.delete(life);
    const exist = new Set<string>(halves.map(([halfId]) => halfId));
    // The flow that was read last first: it may have carried more before it made room for another.
    for (const entry of this.#running.values()) this.#add(entry, entry.cookie, flows, uptime);
    for (const [halfId, cookie] of halves) {
      const flow = flows.get(cookie);
      if (cookie === '' || flow === undefined) continue;
      const entry = this.#running.get(halfId) ?? {
        life: randomUUID(),
        ...{ packets: 0, bytes: 0, cookie, born: uptime - flow.age },
        seen: this.#blind ? { packets: flow.packets, bytes: flow.bytes } : nothing,
      };
      this.#running.set(halfId, entry);
      this.#add(entry, cookie, flows, uptime);
    }
    this.#blind = false;
    for (const [halfId, { life, packets, bytes }] of this.#running) {
      if (exist.has(halfId)) continue;
      this.#running.delete(halfId);
      if (packets > 0) this.#retired.set(life, { halfId, packets, bytes });
    }
    const reading = (halfId: string, life: string, { packets, bytes }: Total) => ({
      halfId: halfId as HalfId,
      life,
      packets: BigInt(packets),
      bytes: BigInt(bytes),
    });
    return {
      running: [...this.#running]
        .filter(([, { packets }]) => packets > 0)
        .map(([halfId, entry]) => reading(halfId, entry.life, entry)),
      retired: [...this.#retired].map(([life, entry]) => reading(entry.halfId, life, entry)),
    };
  }

  #add(entry: Entry, cookie: string, flows: ReadonlyMap<string, FlowCount>, uptime: number): void {
    const now = flows.get(cookie);
    if (now === undefined) return;
    const born = uptime - now.age;
    const same =
      entry.cookie === cookie && now.packets >= entry.seen.packets && Math.abs(born - entry.born) < bornTolerance;
    const before = same ? entry.seen : nothing;
    entry.packets += now.packets - before.packets;
    entry.bytes += now.bytes - before.bytes;
    entry.cookie = cookie;
    entry.born = born;
    entry.seen = { packets: now.packets, bytes: now.bytes };
  }

  /** Keeps it for good. What was read is told only after that: a count must not go back. */
  async save(): Promise<void> {
    const text = JSON.stringify({
      epoch: this.#epoch,
      running: Object.fromEntries(this.#running),
      retired: Object.fromEntries(this.#retired),
    } satisfies Stored);
    if (text === this.#written) return;
    const file = await open(`${this.#path}.new`, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.new`, this.#path);
    this.#written = text;
  }
}
