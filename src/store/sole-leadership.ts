/**
 * The leadership of a server that has its store to itself: it leads. What hosts owe it writes down for its successor, for
 * of a VPC that is gone nobody else knows that a host may still carry it.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Leadership, PlaneReport } from './store.ts';

/** A word that the store keeps. */
export interface Kept {
  read(): string | undefined;
  write(text: string): void;
}

export class SoleLeadership implements Leadership {
  readonly leads = true;
  readonly #kept: Kept;
  #owed: PlaneReport['owed'];

  constructor(kept: Kept) {
    this.#kept = kept;
    this.#owed = JSON.parse(kept.read() ?? '[]') as PlaneReport['owed'];
  }

  /** Nothing is written where hosts owe what they did before: on most systems never. */
  async publish({ owed }: PlaneReport): Promise<void> {
    if (isDeepStrictEqual(owed, this.#owed)) return;
    this.#kept.write(JSON.stringify(owed));
    this.#owed = owed;
  }
  async published(): Promise<PlaneReport> {
    return { revision: 0, failed: [], owed: this.#owed };
  }
  /** It never does. */
  onChange(): void {}
  /** There is nobody else. */
  onPublished(): void {}
}
