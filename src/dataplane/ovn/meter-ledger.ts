/**
 * What the halves carried that this host sent for, made monotonic: OVN's flow counters begin anew with every flush, and
 * with every port that is made again. Pure but for the file it is kept in.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { HalfId } from '../../model/ids.ts';
import type { HostReading, MeterRequest } from './hosts.ts';

/** Packets and bytes that a flow has carried since it was made. */
export interface FlowCount {
  readonly packets: number;
  readonly bytes: number;
}
interface Entry {
  life: string;
  packets: number;
  bytes: number;
  /** Which flow was read last, and what it told. */
  cookie: string;
  seen: FlowCount;
}
interface Stored {
  readonly epoch: string;
  readonly running: { readonly [halfId: string]: Entry };
  readonly retired: { readonly [life: string]: { readonly halfId: string } & FlowCount };
}

/** The counts of table 65 by cookie, out of what `ovs-ofctl dump-flows` prints. */
export function flowCounts(dump: string): ReadonlyMap<string, FlowCount> {
  const counts = new Map<string, FlowCount>();
  for (const line of dump.split('\n')) {
    const [, cookie, table, packets, bytes] =
      /cookie=0x([0-9a-f]+),.*\btable=(\d+), n_packets=(\d+), n_bytes=(\d+)/.exec(line) ?? [];
    if (cookie === undefined || table !== '65') continue;
    counts.set(cookie.padStart(8, '0'), { packets: Number(packets), bytes: Number(bytes) });
  }
  return counts;
}

export class MeterLedger {
  readonly #path: string;
  readonly #running = new Map<string, Entry>();
  readonly #retired = new Map<string, { readonly halfId: string } & FlowCount>();
  #epoch = '';
  #written = '';

  /** @param path of the file; none yet is an empty ledger */
  constructor(path: string) {
    this.#path = path;
    if (!existsSync(path)) return;
    this.#written = readFileSync(path, 'utf8');
    const { epoch, running, retired } = JSON.parse(this.#written) as Stored;
    this.#epoch = epoch;
    for (const [halfId, entry] of Object.entries(running)) this.#running.set(halfId, entry);
    for (const [life, entry] of Object.entries(retired)) this.#retired.set(life, entry);
  }

  /** Takes the flows' counts in. Halves that are not asked for any more have ended. */
  read({ epoch, halves, booked }: MeterRequest, flows: ReadonlyMap<string, FlowCount>): HostReading {
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#running.clear();
      this.#retired.clear();
    }
    for (const life of booked) this.#retired.delete(life);
    const exist = new Set<string>(halves.map(([halfId]) => halfId));
    const cookies = new Map<string, string>(halves);
    // The flow that was read last first: it may have carried more before it made room for another.
    for (const entry of this.#running.values()) this.#add(entry, entry.cookie, flows);
    for (const [halfId, cookie] of cookies) {
      if (cookie === '' || !flows.has(cookie)) continue;
      const entry = this.#running.get(halfId) ?? {
        life: randomUUID(),
        packets: 0,
        bytes: 0,
        cookie,
        seen: { packets: 0, bytes: 0 },
      };
      this.#running.set(halfId, entry);
      this.#add(entry, cookie, flows);
    }
    for (const [halfId, { life, packets, bytes }] of this.#running) {
      if (exist.has(halfId)) continue;
      this.#running.delete(halfId);
      if (packets > 0) this.#retired.set(life, { halfId, packets, bytes });
    }
    this.#write();
    const reading = (halfId: string, life: string, { packets, bytes }: FlowCount) => ({
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

  #add(entry: Entry, cookie: string, flows: ReadonlyMap<string, FlowCount>): void {
    const now = flows.get(cookie);
    if (now === undefined) return;
    const before = entry.cookie === cookie && now.packets >= entry.seen.packets ? entry.seen : { packets: 0, bytes: 0 };
    entry.packets += now.packets - before.packets;
    entry.bytes += now.bytes - before.bytes;
    entry.cookie = cookie;
    entry.seen = now;
  }

  #write(): void {
    const text = JSON.stringify({
      epoch: this.#epoch,
      running: Object.fromEntries(this.#running),
      retired: Object.fromEntries(this.#retired),
    } satisfies Stored);
    if (text === this.#written) return;
    writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
    this.#written = text;
  }
}
