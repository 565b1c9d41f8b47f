/** Every scenario and a random walk on OVN across three hosts, IPv4 and IPv6, the matrix after every step, on one bed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { networkScenarios } from '../matrix/scenarios-network.ts';
import { peeringScenarios } from '../matrix/scenarios-peering.ts';
import { action, play } from '../matrix/walk.ts';
import { World } from '../matrix/world.ts';
import { carrierOn } from './carrier.ts';
import { cannotRun, Ground } from './ground.ts';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
const walkLength = 40;

test('the connectivity matrix on OVN across three hosts', { skip: cannotRun, timeout: 600_000 }, async (t) => {
  const ground = await Ground.start(t, { alone: true });
  const make = async () => carrierOn(ground);
  for (const scenario of [...peeringScenarios, ...networkScenarios]) {
    await t.test(scenario.name, { timeout: 60_000 }, async (t) => {
      try {
        const world = await World.start(make, t);
        let steps = 0;
        await scenario.play(world, async () => {
          steps++;
          await world.matrix();
        });
        assert.ok(steps > 0 && world.cells > 0);
        t.diagnostic(`${steps} steps, ${world.cells} cells`);
      } finally {
        await ground.clear();
      }
    });
  }

  await t.test(`${walkLength} random commands by three tenants, seed ${seed}`, { timeout: 120_000 }, async (t) => {
    const [actions = []] = fc.sample(fc.array(action, { minLength: walkLength, maxLength: walkLength }), {
      seed,
      numRuns: 1,
    });
    try {
      const { done, refused, crossed, world } = await play(make, actions);
      t.diagnostic(`${done} done, ${refused} refused, ${world.cells} cells, ${crossed} of them between two VPCs`);
      assert.ok(done > walkLength / 4, 'control: much of it was possible');
      assert.ok(crossed > 0, 'control: packets crossed');
    } finally {
      await ground.clear();
    }
  });
});
