/**
 * Remembers the nonces of each key for as long as a request that carries one could still be in time. Memory is bounded by
 * refusing, never by forgetting: a nonce that was forgotten could be replayed.
 */
import { NonceLog } from './nonce-log.ts';

export interface ReplayLimits {
  /** Nonces remembered for one key. */
  readonly perKey: number;
  /** Nonces remembered in all. */
  readonly total: number;
}
const roomy: ReplayLimits = { perKey: 1_000_000, total: 8_000_000 };

export type Admission = 'new' | 'replayed' | 'full';

export class ReplayGuard {
  readonly #log: NonceLog | undefined;
  readonly #window: number;
  readonly #limits: ReplayLimits;
  /** For each key its nonces, with the time after which a request that carries it is too old in any case. */
  readonly #keys = new Map<string, Map<string, number>>();
  #count = 0;
  #swept = 0;

  /**
   * @param window milliseconds that a request's date may differ from the clock
   * @param of.directory where to remember them beyond the end of the process; none by default
   */
  constructor(
    window: number,
    of: { readonly limits?: Partial<ReplayLimits>; readonly directory?: string; now: number },
  ) {
    this.#window = window;
    this.#limits = { ...roomy, ...of.limits };
    if (of.directory === undefined) return;
    this.#log = new NonceLog(of.directory, 2 * window + 1000, of.now);
    for (const { keyId, nonce, until } of this.#log.load(of.now)) this.#put(keyId, nonce, until);
  }

  #put(keyId: string, nonce: string, until: number): void {
    const nonces = this.#keys.get(keyId);
    if (nonces === undefined) this.#keys.set(keyId, new Map([[nonce, until]]));
    else nonces.set(nonce, until);
    this.#count++;
  }

  /** Whether a request may pass; its nonce is then remembered. @param sent its own date @param now the clock */
  admit(keyId: string, nonce: string, sent: number, now: number): Admission {
    this.#sweep(now);
    const nonces = this.#keys.get(keyId);
    if (nonces?.has(nonce) === true) return 'replayed';
    if ((nonces?.size ?? 0) >= this.#limits.perKey || this.#count >= this.#limits.total) return 'full';
    // The date is signed: once it is out of the window, so is every copy of the request.
    const until = sent + this.#window + 1000;
    try {
      this.#log?.append({ keyId, nonce, until }, now);
    } catch {
      return 'full';
    }
    this.#put(keyId, nonce, until);
    return 'new';
  }

  close(): void {
    this.#log?.close();
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
