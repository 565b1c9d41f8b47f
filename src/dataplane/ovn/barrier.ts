/**
 * Proves that a host's datapath follows its rules: makes Open vSwitch decide everything anew that it had decided before.
 * ovn-controller's word that a configuration is installed says nothing of what ovs-vswitchd has cached; that is looked at
 * again only afterwards, for up to a second.
 *
 * Forgetting everything at once is quick for who waits, and dear for everybody else: each flow of every tenant goes
 * through the slow path once. As a tenant can bring a fence about as often as he likes, only so many flows are forgotten
 * in a second; with few of them every command may have its purge. Otherwise two whole rounds of revalidation do the same,
 * which take up to a second.
 */

/** Flows that may be forgotten at once, and in every second. */
const mostForgotten = 50_000;

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
  /** Flows that may be forgotten, and as of when. */
  #allowance = mostForgotten;
  #allowanceAt: number | undefined;
  #running: Promise<void> | null = null;

  constructor(place: BarrierPlace) {
    this.#place = place;
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
    const cached = flowsIn(await ask('upcall/show'));
    if (cached > mostForgotten || this.#untilPurge(cached) > 0) await this.#revalidate(cached);
    else await this.#purge(cached);
    this.#proven = Math.max(this.#proven, number);
  }
  async #revalidate(cached: number): Promise<void> {
    const { ask, pause } = this.#place;
    try {
      // The first may only end a round that began before the change.
      await ask('revalidator/wait');
      await ask('revalidator/wait');
    } catch (error) {
      // With datapaths of two kinds on one host, Open vSwitch cannot wait for a round.
      if (!/multiple udpifs/.test(String(error))) throw error;
      await pause(this.#untilPurge(cached));
      await this.#purge(cached);
    }
  }
  async #purge(cached: number): Promise<void> {
    this.#refill();
    this.#allowance = Math.max(0, this.#allowance - cached);
    await this.#place.ask('revalidator/purge');
  }
  /** Milliseconds until so many may be forgotten. */
  #untilPurge(cached: number): number {
    this.#refill();
    return Math.ceil((Math.max(0, Math.min(cached, mostForgotten) - this.#allowance) * 1000) / mostForgotten);
  }
  #refill(): void {
    const now = this.#place.now();
    const gained = (mostForgotten * (now - (this.#allowanceAt ?? now))) / 1000;
    this.#allowance = Math.min(mostForgotten, this.#allowance + gained);
    this.#allowanceAt = now;
  }
}

/** Cached flows, out of what `upcall/show` prints: the sum over the datapaths. */
export function flowsIn(shown: string): number {
  return [...shown.matchAll(/\(current (\d+)\)/g)].reduce((sum, [, flows]) => sum + Number(flows), 0);
}
