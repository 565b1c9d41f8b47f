/** Keeps one process of the service running: starts it, starts it again when it ends, stops it. Decides nothing else. */
import type { ChildProcess } from 'node:child_process';

export interface Part {
  readonly name: 'agent' | 'region';
  /** Starts it with a channel over which it says that it is up. */
  readonly start: () => ChildProcess;
}

/** Pauses before a part is started again: short when it had been up, longer each time when it does not come up. */
const backoffFirst = 200;
const backoffMost = 5000;
/** A part that is not up after this time did not start at all, in milliseconds. */
const startPatience = 30_000;
/** How long a part may take to end before it is made to, in milliseconds. */
const stopPatience = 10_000;

export class Keeper {
  readonly #part: Part;
  readonly #say: (text: string) => void;
  #child: ChildProcess | null = null;
  /** Until then a failure is its starter's to deal with; afterwards it is tried again whatever happens. */
  #wasUp = false;
  #stopping = false;
  #backoff = backoffFirst;
  #timer: NodeJS.Timeout | undefined;

  /** @param say told of every end that nobody asked for */
  constructor(part: Part, say: (text: string) => void) {
    this.#part = part;
    this.#say = say;
  }

  /** Resolves with the first message of the part; rejects when it ends before. */
  start(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let up = false;
      const { name } = this.#part;
      const late = setTimeout(() => reject(new Error(`the ${name} is not up after 30 s`)), startPatience);
      const ended = (why: string): void => {
        clearTimeout(late);
        this.#child = null;
        reject(new Error(`the ${name} ended at once (${why})`));
        if (!this.#stopping && this.#wasUp) this.#again(up, why);
      };
      try {
        const child = this.#part.start();
        this.#child = child;
        child.once('message', (message) => {
          clearTimeout(late);
          up = true;
          this.#wasUp = true;
          resolve(message);
        });
        child.once('error', (error) => {
          if (child.pid === undefined) ended(error.message); // it never ran, so there will be no exit
        });
        child.once('exit', (code, signal) => ended(signal ?? `code ${code}`));
      } catch (error) {
        ended(error instanceof Error ? error.message : String(error));
      }
    });
  }

  #again(up: boolean, why: string): void {
    this.#say(`the ${this.#part.name} ended (${why}); starting it again`);
    this.#backoff = up ? backoffFirst : Math.min(backoffMost, this.#backoff * 2);
    this.#timer = setTimeout(() => void this.start().catch(() => {}), this.#backoff);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    child.kill('SIGCONT'); // one that stands still could not end
    const force = setTimeout(() => child.kill('SIGKILL'), stopPatience);
    await gone;
    clearTimeout(force);
  }
}
