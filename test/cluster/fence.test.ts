/** When a disconnect has been answered, no packet that used the peering is delivered any more (P4 in docs/architecture.md), on any host. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FenceTrial } from './fence-trial.ts';
import { cannotRun, Ground } from './ground.ts';

const none = [0, 0, 0, 0];
/** Enough that looking at all of them again takes longer than the reply. `bench/cluster-fence.ts` has twice as many. */
const manyFlows = 15_000;

/** One disconnect and its judgement, on what is connected again whatever came of it: else what follows cannot hold. */
async function fenced(trial: FenceTrial, run: number, leastCached = 0): Promise<void> {
  try {
    const { late, cached } = await trial.disconnect();
    assert.ok(cached >= leastCached, `${cached} cached`);
    assert.deepEqual(late, none, `run ${run}`);
  } finally {
    await trial.connect();
  }
}

test('disconnects under streams within a host and between two', { skip: cannotRun, timeout: 240_000 }, async (t) => {
  const ground = await Ground.start(t);
  const trial = await FenceTrial.start(ground, 2);
  try {
    // It tells that the reply waits for the rules, and that streams come back. With a few decisions cached Open vSwitch
    // has looked at all of them again by then, so that the next one is what needs the barrier.
    await t.test(
      'nothing comes after the reply (which needs no barrier here), and all of it after the connect',
      async () => {
        for (let run = 0; run < 6; run++) await fenced(trial, run);
      },
    );
    await t.test('nor with 15,000 decisions cached on the sending host, which needs the barrier', async () => {
      for (let run = 0; run < 2; run++) {
        await trial.fill(manyFlows);
        await fenced(trial, run, manyFlows);
      }
    });
    await t.test('the control: with OVN’s acknowledgement in the place of the barrier, packets come', async () => {
      const driver = trial.withoutBarrier();
      try {
        await driver.observe();
        let late = 0;
        for (let run = 0; run < 5 && late === 0; run++) {
          await trial.fill(manyFlows);
          try {
            const found = await trial.disconnect(driver, 1_500);
            late = found.late.reduce((sum, one) => sum + one, 0);
            t.diagnostic(
              `without the barrier: ${found.late} packets, the last ${found.lateBy.toFixed(0)} ms after the reply`,
            );
          } finally {
            await trial.connect(driver);
          }
        }
        assert.ok(late > 0, 'this test cannot fail');
      } finally {
        await driver.close();
      }
    });
  } finally {
    await trial.stop();
  }
});
