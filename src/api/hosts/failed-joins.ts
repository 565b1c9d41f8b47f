/**
 * How many joins may fail for one source in a while: whoever guesses tokens gets no further by using many connections. A
 * try counts from its beginning, so that tries at the same moment count too.
 */
const window = 60_000;
const most = 10;
/** Sources that are told apart; those beyond count as one. */
const mostSources = 4096;

interface Tries {
  count: number;
  readonly until: number;
}

export class FailedJoins {
  readonly #now: () => number;
  readonly #tries = new Map<string, Tries>();

  /** @param now milliseconds of a clock that only goes on */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @returns to be called when the try did not fail; null: nothing more may be tried from there for now */
  begin(source: string): (() => void) | null {
    const tries = this.#triesOf(source);
    if (tries.count >= most) return null;
    tries.count++;
    return () => {
      tries.count--;
    };
  }

  #triesOf(source: string): Tries {
    const now = this.#now();
    if (this.#tries.size >= mostSources) {
      for (const [of, { until }] of this.#tries) if (until <= now) this.#tries.delete(of);
    }
    const key = this.#tries.size >= mostSources && !this.#tries.has(source) ? '' : source;
    const known = this.#tries.get(key);
    if (known !== undefined && known.until > now) return known;
    const fresh = { count: 0, until: now + window };
    this.#tries.set(key, fresh);
    return fresh;
  }
}
