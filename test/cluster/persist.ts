/** A plan carried out as the reconciler does it: again, while the databases have no leader that can be reached. */
import { type Driver, DriverError, type Plan } from '../../src/dataplane/driver.ts';

/** @returns how often it had to be tried @throws what is no passing trouble */
export async function persist(
  driver: Pick<Driver, 'apply' | 'observe'>,
  plan: Plan,
  patience = 30_000,
): Promise<number> {
  const end = performance.now() + patience;
  for (let tries = 1; ; tries++) {
    try {
      // After a failure nothing is assumed.
      if (tries > 1) await driver.observe();
      await driver.apply(plan);
      return tries;
    } catch (error) {
      const passing = error instanceof DriverError && error.code === 'unavailable';
      if (!passing || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
