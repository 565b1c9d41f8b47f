/**
 * Limits how often an account may name VPC ids that do not exist: the id is the invitation, and guessing must not pay
 * (docs/jdcloud-api.md). A bucket for each account, refilled with time; nothing is stored.
 */
import type { AccountId } from '../model/ids.ts';

/** Misses that an account has at once, and how many it gets back in a minute. */
export const unknownIdBurst = 20;
const refillPerMillisecond = unknownIdBurst / 60_000;

export class UnknownIdGuard {
  readonly #clock: () => number;
  readonly #buckets = new Map<AccountId, { left: number; at: number }>();

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  #bucket(account: AccountId): { left: number; at: number } {
    const now = this.#clock();
    const bucket = this.#buckets.get(account) ?? { left: unknownIdBurst, at: now };
    const left = Math.min(unknownIdBurst, bucket.left + (now - bucket.at) * refillPerMillisecond);
    const fresh = { left, at: now };
    if (left >= unknownIdBurst) this.#buckets.delete(account);
    else this.#buckets.set(account, fresh);
    return fresh;
  }

  exhausted(account: AccountId): boolean {
    return this.#bucket(account).left < 1;
  }

  count(account: AccountId): void {
    const { left, at } = this.#bucket(account);
    this.#buckets.set(account, { left: left - 1, at });
  }
}
