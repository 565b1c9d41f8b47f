/** Work that takes turns: what concerns the same thing, one after the other. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  take<T>(of: string, work: () => Promise<T>): Promise<T> {
    const run = (this.#last.get(of) ?? Promise.resolve()).then(work);
    const over: Promise<unknown> = run
      .catch(() => {})
      .then(() => {
        if (this.#last.get(of) === over) this.#last.delete(of);
      });
    this.#last.set(of, over);
    return run;
  }

  /** Resolves when nothing is at work. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }
}

/** Work of which so much may go on at once. */
export class Places {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(most: number) {
    this.#free = most;
  }

  async within<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
