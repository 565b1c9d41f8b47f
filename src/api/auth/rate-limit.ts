/**
 * How many requests a second an access key may make: a bucket for each key that holds one second's worth. Only keys
 * that signed correctly have a bucket, so their number is bounded by the number of keys.
 */
export class RateLimit {
  readonly #clock: () => number;
  readonly #buckets = new Map<string, { left: number; at: number }>();

  /** @param clock milliseconds */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Takes one request out of the key's bucket. @returns whether there was one */
  take(keyId: string, perSecond: number): boolean {
    const now = this.#clock();
    const bucket = this.#buckets.get(keyId) ?? { left: perSecond, at: now };
    const left = Math.min(perSecond, bucket.left + (Math.max(0, now - bucket.at) * perSecond) / 1000);
    const granted = left >= 1;
    this.#buckets.set(keyId, { left: granted ? left - 1 : left, at: now });
    return granted;
  }
}
