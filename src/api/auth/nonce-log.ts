/**
 * Nonces in two files, so that a restart forgets none. Each line is one nonce; files are only appended to and emptied in
 * turn once all they hold has run out, so that the cost of a request does not grow. A line is with the kernel before the
 * request is served: the end of any process loses none. A power failure may lose the last seconds.
 */
import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface Remembered {
  readonly keyId: string;
  readonly nonce: string;
  /** Milliseconds since the epoch after which it need not be known any more. */
  readonly until: number;
}

export class NonceLog {
  readonly #paths: readonly [string, string];
  readonly #span: number;
  /** Which file is written, and since when. */
  #current = 0;
  #since = 0;
  #fd: number;

  /**
   * @param directory where the files are, mode 600
   * @param span milliseconds that the longest remembered nonce is remembered
   */
  constructor(directory: string, span: number, now: number) {
    this.#paths = [join(directory, 'nonces.0'), join(directory, 'nonces.1')];
    this.#span = span;
    const [first, second] = this.#paths.map((path) => sinceOf(path));
    this.#current = (second ?? 0) > (first ?? 0) ? 1 : 0;
    this.#since = Math.max(first ?? 0, second ?? 0);
    this.#fd = openSync(this.#path(), 'a', 0o600);
    if (this.#since === 0) this.#begin(now);
    else writeSync(this.#fd, '\n'); // ends a line that was cut short
  }
  #path(): string {
    return this.#paths[this.#current] ?? this.#paths[0];
  }
  #begin(now: number): void {
    this.#since = now;
    writeSync(this.#fd, `since ${now}\n`);
  }

  /** All that has not run out yet. */
  *load(now: number): Iterable<Remembered> {
    for (const path of this.#paths) {
      if (sinceOf(path) === undefined) continue;
      for (const line of linesOf(path)) {
        const [until, keyId, nonce, ...rest] = line.split(' ');
        if (nonce === undefined || keyId === undefined || rest.length > 0 || !(Number(until) >= now)) continue;
        yield { keyId, nonce, until: Number(until) };
      }
    }
  }

  /** @throws when the disk is full */
  append({ keyId, nonce, until }: Remembered, now: number): void {
    if (now - this.#since > this.#span) {
      // What stands in the other file is older than this one, hence older than the span.
      // Opened before the old one is closed: a descriptor that is used up must never stay in use, for it is soon another's.
      const next = openSync(this.#paths[this.#current === 0 ? 1 : 0], 'w', 0o600);
      closeSync(this.#fd);
      this.#fd = next;
      this.#current = 1 - this.#current;
      this.#begin(now);
    }
    writeSync(this.#fd, `${until} ${keyId} ${nonce}\n`, null, 'latin1');
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The lines of a file, which may be larger than a string can be. */
function* linesOf(path: string): Iterable<string> {
  const fd = openSync(path, 'r');
  try {
    const part = Buffer.alloc(1024 * 1024);
    let rest = '';
    for (let size = readSync(fd, part); size > 0; size = readSync(fd, part)) {
      const lines = (rest + part.toString('latin1', 0, size)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    yield rest;
  } finally {
    closeSync(fd);
  }
}

/** When the file was begun; undefined when it is missing or its first line is. */
function sinceOf(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const fd = openSync(path, 'r');
  try {
    const first = Buffer.alloc(40);
    const since = /^since (\d+)\n/.exec(first.toString('latin1', 0, readSync(fd, first)))?.[1];
    return since === undefined ? undefined : Number(since);
  } finally {
    closeSync(fd);
  }
}
