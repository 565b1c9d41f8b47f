/** Every scenario on every carrier, IPv4 and IPv6, the connectivity matrix after every step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cannotRun } from '../wire/lab.ts';
import { onEbpf, onFake } from './carriers.ts';
import { networkScenarios } from './scenarios-network.ts';
import { peeringScenarios } from './scenarios-peering.ts';
import { World } from './world.ts';

const scenarios = [...peeringScenarios, ...networkScenarios];
test('there are at least 25 scenarios', () => assert.ok(scenarios.length >= 25, `${scenarios.length}`));

for (const [name, make, skip] of [
  ['in memory', onFake, false],
  ['in the kernel', onEbpf, cannotRun],
] as const) {
  for (const scenario of scenarios) {
    test(`${name}: ${scenario.name}`, { skip, timeout: 60_000 }, async (t) => {
      const world = await World.start(make, t);
      let steps = 0;
      await scenario.play(world, async () => {
        steps++;
        await world.matrix();
      });
      assert.ok(steps > 0 && world.cells > 0);
      t.diagnostic(`${steps} steps, ${world.cells} cells`);
    });
  }

  test(`${name}: the matrix notices what is in the plane and not in the resources`, { skip }, async (t) => {
    const world = await World.start(make, t);
    const [a, b] = [await world.site('red', 'a', 1), await world.site('blue', 'b', 2)];
    const ab = await world.half(a.vpcId, b.vpcId);
    await world.route(a.tableId, ab, ...b.cidrs);
    await world.matrix();
    const half = { id: ab, remoteVpcId: b.vpcId, live: true };
    await world.carrier.tamper({ make: [{ step: 'put-half', vpcId: a.vpcId, half }], break: [] });
    await assert.rejects(world.matrix(), /resources say NoPeering, the plane to port-.*, the packet to port-/);
    assert.deepEqual((await world.carrier.plane.checkDrift()).length, 1, 'and it is healed');
    await world.matrix();
  });
}
