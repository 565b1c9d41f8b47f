/**
 * Remembers the nonces of each key for as long as a request that carries one could still be in time. Memory is bounded by
 * refusing, never by forgetting: a nonce that was forgotten could be replayed.
 */
export interface ReplayLimits {
  /** Nonces remembered for one key. */
  readonly perKey: number;
  /** Nonces remembered in all. */
  readonly total: number;
}
const roomy: ReplayLimits = { perKey: 2_000_000, total: 4_000_000 };

export type Admission = 'new' | 'replayed' | 'full';

export class ReplayGuard {
  readonly #window: number;
  readonly #limits: ReplayLimits;
  /** For each key its nonces, with the time after which a request that carries it is too old in any case. */
  readonly #keys = new Map<string, Map<string, number>>();
  #count = 0;
  #swept = 0;

  /** @param window milliseconds that a request's date may differ from the clock */
  constructor(window: number, limits: Partial<ReplayLimits> = {}) {
    this.#window = window;
    this.#limits = { ...roomy, ...limits };
  }

  /** Whether a request may pass; its nonce is then remembered. @param sent its own date @param now the clock */
  admit(keyId: string, nonce: string, sent: number, now: number): Admission {
    this.#sweep(now);
    let nonces = this.#keys.get(keyId);
    if (nonces === undefined) {
      nonces = new Map();
      this.#keys.set(keyId, nonces);
    }
    if (nonces.has(nonce)) return 'replayed';
    if (nonces.size >= this.#limits.perKey || this.#count >= this.#limits.total) return 'full';
    // JDCLOUD3 does not sign its date: whoever replays may change it, so the later of the two times counts.
    nonces.set(nonce, Math.max(sent, now) + 2 * this.#window);
    this.#count++;
    return 'new';
  }

  /** Forgets what has run out, at most once a second. */
  #sweep(now: number): void {
    if (now - this.#swept < 1000) return;
    this.#swept = now;
    for (const [keyId, nonces] of this.#keys) {
      for (const [nonce, until] of nonces) {
        if (until >= now) break; // in the order of their arrival, hence nearly of their end
        nonces.delete(nonce);
        this.#count--;
      }
      if (nonces.size === 0) this.#keys.delete(keyId);
    }
  }
}
