/**
 * Final counts of halves that the plane no longer holds, kept in the pinned `ids` until they are booked: whoever is killed
 * in between, no packet goes unbooked. A count is final behind the fence; until then it stands where packets count.
 */
import * as bpf from '../../kernel/bpf.ts';
import type { HalfId } from '../../model/ids.ts';
import type { HalfReading } from '../driver.ts';
import { countsAt } from './counts.ts';
import { decodeRetirement, encodeRetirement, idKey, type Retirement, sizes, u32 } from './layout.ts';
import type { Tables } from './tables.ts';

/** Under which a final count stands in `ids`; no resource's id has an @. */
const keyOf = (halfId: string, generation: number): string => `${halfId}@${generation}`;

export class RetiredHalves {
  readonly #tables: Tables;
  readonly #byKey = new Map<string, Retirement>();

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  /** One entry of `ids`, at the start. @returns whether it is a final count */
  load(key: string, value: Buffer): boolean {
    const retirement = decodeRetirement(value);
    if (retirement !== undefined) this.#byKey.set(key, retirement);
    return retirement !== undefined;
  }

  /** Slots whose count is not final: not to be given out. */
  pending(): readonly number[] {
    return [...this.#byKey.values()].map(({ slot }) => slot).filter((slot) => slot !== 0);
  }

  /** To be said before the half is taken out of `ids`: whoever is killed between the two finds both, and takes it back. */
  begin(halfId: string, of: { readonly slot: number; readonly generation: number }): void {
    const { slot, generation } = of;
    this.#write(keyOf(halfId, generation), { slot, generation, packets: 0n, bytes: 0n });
  }
  /** The half is there after all. */
  takeBack(halfId: string, generation: number): void {
    this.#forget(keyOf(halfId, generation));
  }

  /** Behind the fence: nothing is added to these counts any more. The slots are empty then. */
  finish(): void {
    const pending = [...this.#byKey].filter(([, { slot }]) => slot !== 0);
    const counts = countsAt(
      this.#tables,
      pending.map(([, { slot }]) => slot),
    );
    const zero = Buffer.alloc(sizes.count * bpf.possibleCpus);
    for (const [key, { slot, generation }] of pending) {
      const { packets, bytes } = counts.get(slot) ?? { packets: 0n, bytes: 0n };
      if (packets === 0n) this.#forget(key);
      else this.#write(key, { slot: 0, generation, packets, bytes });
      bpf.update(this.#tables.fd('half_counts'), u32(slot), zero);
    }
  }

  #write(key: string, retirement: Retirement): void {
    this.#byKey.set(key, retirement);
    try {
      bpf.update(this.#tables.fd('ids'), idKey(key), encodeRetirement(retirement));
    } catch (error) {
      // The table may be full. A disconnect must not fail for it: the count is then kept as long as the process lives.
      if (!(error instanceof bpf.KernelError)) throw error;
    }
  }
  #forget(key: string): void {
    if (this.#byKey.delete(key)) bpf.remove(this.#tables.fd('ids'), idKey(key));
  }

  /** @param running whether those that may still grow are asked for, or those that are final */
  readings(running: boolean): readonly HalfReading[] {
    const found = [...this.#byKey].filter(([, { slot }]) => (slot !== 0) === running);
    const counts = countsAt(
      this.#tables,
      found.map(([, { slot }]) => slot).filter((slot) => slot !== 0),
    );
    return found.map(([key, retirement]) => {
      const { packets, bytes } = counts.get(retirement.slot) ?? retirement;
      const halfId = key.slice(0, key.indexOf('@')) as HalfId;
      return { halfId, life: this.lifeOf(retirement.generation), packets, bytes };
    });
  }
  /** A half's count begins with its registration, whose number the plane never gives again. */
  lifeOf(generation: number): string {
    return `${this.#tables.epoch}.${generation}`;
  }

  /** They are booked for good. What is not final yet stays. */
  settle(lives: readonly string[]): void {
    if (lives.length === 0) return;
    const booked = new Set(lives);
    for (const [key, { slot, generation }] of [...this.#byKey]) {
      if (slot === 0 && booked.has(this.lifeOf(generation))) this.#forget(key);
    }
  }

  /** Whether this entry of `ids` is as it was written. */
  holds(key: string, value: Buffer): boolean {
    const known = this.#byKey.get(key);
    return known !== undefined && encodeRetirement(known).equals(value);
  }
}
