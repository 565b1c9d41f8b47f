/**
 * Proves that a host's datapath follows its rules: makes Open vSwitch decide everything anew that it had decided before.
 * ovn-controller's word that a configuration is installed says nothing of what ovs-vswitchd has cached; that is looked at
 * again only afterwards, for up to a second.
 *
 * Forgetting everything at once is quick for who waits, and dear for everybody else: each flow of every tenant goes
 * through the slow path once. As a tenant can bring fences about as often as he likes, what may be forgotten so has a
 * measure. Beyond it two whole rounds of revalidation do the same: they take a second, and nobody else pays for it.
 */

/** Cached decisions that may be forgotten at once in a second, all times in it together. */
const mostForgotten = 50_000;
/** What each time costs besides. */
const eachForgets = 500;

export interface BarrierPlace {
  /** The configuration that is installed now. */
  readonly installed: () => number;
  /** Asks ovs-vswitchd at its control socket. */
  readonly ask: (method: 'upcall/show' | 'revalidator/wait' | 'revalidator/purge') => Promise<string>;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  readonly pause: (milliseconds: number) => Promise<void>;
}

export class Barrier {
  readonly #place: BarrierPlace;
  #proven = 0;
  /** How many may be forgotten now, and as of when. */
  #allowance = mostForgotten;
  #allowanceAt: number;
  #running: Promise<void> | null = null;

  constructor(place: BarrierPlace) {
    this.#place = place;
    this.#allowanceAt = place.now();
  }

  /**
   * Resolves once nothing is cached that was decided before this configuration. It must be installed already.
   * @returns the configuration that is proven, this one or a later one @throws what asking throws
   */
  async prove(number: number): Promise<number> {
    for (let tries = 0; this.#proven < number; tries++) {
      // What runs already may have begun before this configuration was installed; the next one has not.
      if (tries === 2) throw new Error(`configuration ${number} is not installed`);
      await this.#once();
    }
    return this.#proven;
  }
  /** The same for a change that is no configuration: what is cached now is not, when it resolves. */
  async forget(): Promise<void> {
    await this.#running?.catch(() => {});
    await this.#once();
  }

  /** All who come while one runs share it. */
  #once(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    const number = this.#place.installed();
    const { ask } = this.#place;
    const cost = eachForgets + flowsIn(await ask('upcall/show'));
    if (this.#mayForget(cost)) await ask('revalidator/purge');
    else await this.#revalidate(cost);
    this.#proven = Math.max(this.#proven, number);
  }
  #mayForget(cost: number): boolean {
    const now = this.#place.now();
    this.#allowance = Math.min(mostForgotten, this.#allowance + (mostForgotten * (now - this.#allowanceAt)) / 1000);
    this.#allowanceAt = now;
    if (cost > this.#allowance) return false;
    this.#allowance -= cost;
    return true;
  }
  async #revalidate(cost: number): Promise<void> {
    const { ask, pause } = this.#place;
    try {
      // The first may only end a round that began before the change.
      await ask('revalidator/wait');
      await ask('revalidator/wait');
    } catch (error) {
      // With datapaths of two kinds on one host, Open vSwitch cannot wait for a round.
      if (!/multiple udpifs/.test(String(error))) throw error;
      await pause((Math.min(cost, mostForgotten) * 1000) / mostForgotten);
      this.#mayForget(Math.min(cost, mostForgotten));
      await ask('revalidator/purge');
    }
  }
}

/** Cached flows, out of what `upcall/show` prints: the sum over the datapaths. */
export function flowsIn(shown: string): number {
  return [...shown.matchAll(/\(current (\d+)\)/g)].reduce((sum, [, flows]) => sum + Number(flows), 0);
}
