/** Reads the counters of the data plane for an operation; a plane out of reach is a 503, never zeros. */
import type { Counters } from '../../dataplane/driver.ts';
import { refuse } from '../../model/errors.ts';
import type { Call } from '../operation.ts';
import { Refused } from '../refused.ts';
import { UnderWay } from '../under-way.ts';

/** Each reads every host, or shares such a reading. */
const readings = new UnderWay(8, 'too-many-readings');

/** @throws Refused when the data plane cannot be reached, or the account has too many readings under way */
export function countersOf(call: Call): Promise<Counters> {
  const read = (): Promise<Counters> => answered(() => call.region.counters());
  const { principal } = call;
  return principal.kind === 'operator' ? read() : readings.within(principal.accountId, read);
}

/** What the data plane answers. @throws Refused when it cannot be reached */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch {
    throw new Refused(refuse('unavailable', { problem: 'the data plane is out of reach' }));
  }
}
