/**
 * Proves that a host's datapath follows its rules: makes Open vSwitch decide everything anew that it had decided before.
 * ovn-controller's word that a configuration is installed says nothing of what ovs-vswitchd has cached; that is looked at
 * again only afterwards, for up to a second.
 *
 * Forgetting everything at once is quick for who waits, and dear for everybody else: each flow of every tenant goes
 * through the slow path once. As a tenant can bring a fence about as often as he likes, it happens at most once in
 * `purgePause`, and not where many flows would pay for it. Otherwise two whole rounds of revalidation do the same.
 */

/** With more cached decisions than this, forgetting all of them at once is dearer than two rounds of revalidation. */
const manyFlows = 50_000;
/** Milliseconds between two times that everything is forgotten at once. */
const purgePause = 1_000;

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
  #lastPurge: number | undefined;
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
    if (this.#untilPurge() > 0 || cached > manyFlows) await this.#revalidate();
    else await this.#purge();
    this.#proven = Math.max(this.#proven, number);
  }
  async #revalidate(): Promise<void> {
    const { ask, pause } = this.#place;
    try {
      // The first may only end a round that began before the change.
      await ask('revalidator/wait');
      await ask('revalidator/wait');
    } catch (error) {
      // With datapaths of two kinds on one host, Open vSwitch cannot wait for a round.
      if (!/multiple udpifs/.test(String(error))) throw error;
      await pause(this.#untilPurge());
      await this.#purge();
    }
  }
  async #purge(): Promise<void> {
    this.#lastPurge = this.#place.now();
    await this.#place.ask('revalidator/purge');
  }
  /** Milliseconds for which there may be no other. */
  #untilPurge(): number {
    return this.#lastPurge === undefined ? 0 : Math.max(0, this.#lastPurge + purgePause - this.#place.now());
  }
}

/** Cached flows, out of what `upcall/show` prints: the sum over the datapaths. */
export function flowsIn(shown: string): number {
  return [...shown.matchAll(/\(current (\d+)\)/g)].reduce((sum, [, flows]) => sum + Number(flows), 0);
}
