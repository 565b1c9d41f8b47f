/** Reads the counters of the data plane for an operation; a plane out of reach is a 503, never zeros. */
import type { Counters } from '../../dataplane/driver.ts';
import { refuse } from '../../model/errors.ts';
import type { Call } from '../operation.ts';
import { Refused } from '../refused.ts';

/** @throws Refused when the data plane cannot be reached */
export const countersOf = (call: Call): Promise<Counters> => answered(() => call.region.counters());

/** What the data plane answers. @throws Refused when it cannot be reached */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch {
    throw new Refused(refuse('unavailable', { problem: 'the data plane is out of reach' }));
  }
}
