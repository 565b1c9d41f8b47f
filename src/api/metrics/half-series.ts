/**
 * Which halves have metrics of their own: the largest by traffic, at most so many; the rest is summed. No series ever goes
 * back: a half that is given its own keeps out of the sum from then on, and the sum keeps what it had.
 */
import type { HalfId } from '../../model/ids.ts';
import type { BookedHalf, Soon, Traffic } from '../../store/store.ts';

export interface HalfSource {
  /** All that it ever carried. */
  readonly half: (halfId: HalfId) => Soon<BookedHalf | undefined>;
  /** Largest first. */
  readonly totals: (limit: number) => Soon<readonly BookedHalf[]>;
  readonly exists: (halfId: HalfId) => boolean;
}
export type Direction = 'sent' | 'received';

export class HalfSeries {
  readonly #most: number;
  readonly #source: HalfSource;
  #named = new Set<HalfId>();
  readonly #other = { sent: { packets: 0n, bytes: 0n }, received: { packets: 0n, bytes: 0n } };
  #reviewed = Number.NEGATIVE_INFINITY;

  /** @param most series of single halves */
  constructor(most: number, source: HalfSource) {
    this.#most = most;
    this.#source = source;
  }

  /** What a half carried since the last call for it; it is in the books already. */
  add(halfId: HalfId, direction: Direction, { packets, bytes }: Traffic): void {
    if (this.#named.has(halfId)) return;
    if (this.#named.size < this.#most && this.#source.exists(halfId)) {
      this.#named.add(halfId);
      return;
    }
    const sum = this.#other[direction];
    sum.packets += packets;
    sum.bytes += bytes;
  }

  /** Chooses the largest again, at most every ten minutes. @param now milliseconds */
  async review(now: number): Promise<void> {
    for (const halfId of this.#named) if (!this.#source.exists(halfId)) this.#named.delete(halfId);
    if (now - this.#reviewed < 600_000) return;
    this.#reviewed = now;
    // Some of the largest may be gone: so many are passed over.
    const totals = await this.#source.totals(this.#most * 2);
    const largest = totals.filter(({ halfId }) => this.#source.exists(halfId));
    this.#named = new Set(largest.slice(0, this.#most).map(({ halfId }) => halfId));
  }

  async named(): Promise<readonly BookedHalf[]> {
    const halves = await Promise.all([...this.#named].map((halfId) => this.#source.half(halfId)));
    return halves.filter((half) => half !== undefined);
  }
  get other(): Readonly<Record<Direction, Traffic>> {
    return this.#other;
  }
}
