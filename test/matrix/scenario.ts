/** A scenario of the connectivity matrix; the lists are in the files beside this one. */
import type { World } from './world.ts';

/** What happens to a network, told step by step. It ends with what must have come of it. */
export interface Scenario {
  readonly name: string;
  /** @param step checks the matrix; called after everything that changes something */
  readonly play: (world: World, step: () => Promise<void>) => Promise<void>;
}

/** The two default routes. */
export const everywhere = ['0.0.0.0/0', '::/0'] as const;
