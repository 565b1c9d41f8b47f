/** Warnings that strangers can cause: the first at once, then the newest once a second, and how many there were. */
import type { Logger } from 'pino';

const period = 1_000;
/** What others chose is shown so far, in characters. */
const longest = 200;
type Facts = { readonly [name: string]: string | number | undefined };

export class SparingLog {
  readonly #log: Pick<Logger, 'warn'>;
  #newest: readonly [Facts, string] | null = null;
  #unsaid = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Pick<Logger, 'warn'>) {
    this.#log = log;
  }

  warn(facts: Facts, text: string): void {
    this.#newest = [facts, text];
    this.#unsaid++;
    if (this.#timer === undefined) this.#say();
  }
  #say(): void {
    this.#timer = undefined;
    if (this.#newest === null) return;
    const [facts, text] = this.#newest;
    const short = Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, longest) : value,
    ]);
    const others = this.#unsaid > 1 ? { others: this.#unsaid - 1 } : {};
    this.#log.warn({ ...Object.fromEntries(short), ...others }, text);
    this.#newest = null;
    this.#unsaid = 0;
    this.#timer = setTimeout(() => this.#say(), period).unref();
  }
}
