/** How many questions of one kind an account may have under way at once. */
import type { AccountId } from '../model/ids.ts';
import { reject } from './refused.ts';

export class UnderWay {
  readonly #most: number;
  readonly #refusal: 'too-many-traces' | 'too-many-readings';
  readonly #now = new Map<AccountId, number>();

  constructor(most: number, refusal: 'too-many-traces' | 'too-many-readings') {
    this.#most = most;
    this.#refusal = refusal;
  }

  /** @throws Refused when the account has so many under way already */
  async within<T>(accountId: AccountId, work: () => Promise<T>): Promise<T> {
    const now = this.#now.get(accountId) ?? 0;
    if (now >= this.#most) return reject(this.#refusal, { limit: String(this.#most) });
    this.#now.set(accountId, now + 1);
    try {
      return await work();
    } finally {
      const left = (this.#now.get(accountId) ?? 1) - 1;
      if (left === 0) this.#now.delete(accountId);
      else this.#now.set(accountId, left);
    }
  }
}
