/** The plane is what the store says, through damage, bad data, strange names and restarts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Step } from '../../src/dataplane/driver.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { VpcId } from '../../src/model/ids.ts';
import type { Command } from '../../src/rules/commands.ts';
import { House } from '../processes/house.ts';
import { cannotRun } from '../wire/lab.ts';
import { prefix } from '../wire/sketch.ts';
import { enough, inKernel, onBoth, three } from './ground.ts';

onBoth('44. damage by other hands is healed, and told as drift', async (w) => {
  const [a, b, c] = await three(w);
  const [ab] = await w.join(a.vpcId, b.vpcId);
  const ac = await w.half(a.vpcId, c.vpcId);
  await w.route(a.tableId, ac, ...c.cidrs);
  const before = await w.matrix();
  const rogue = 'vpc-rogue00000' as VpcId;
  const of = { vpcId: a.vpcId, routeTableId: a.tableId } as const;
  const destination = prefix(b.cidrs[0]);
  const damages: readonly (readonly [string, 'make' | 'break', Step])[] = [
    ['a half killed', 'break', { step: 'kill-half', vpcId: a.vpcId, halfId: ab }],
    [
      'a half brought to life that C has not agreed to',
      'make',
      { step: 'put-half', vpcId: a.vpcId, half: { id: ac, remoteVpcId: c.vpcId, live: true } },
    ],
    ['a route taken away', 'break', { step: 'remove-route', ...of, destination }],
    [
      'a route that leads elsewhere',
      'make',
      { step: 'put-route', ...of, route: { destination, target: { kind: 'peering', halfId: ac } } },
    ],
    [
      'a route that nobody asked for',
      'make',
      { step: 'put-route', ...of, route: { destination: prefix('10.2.0.0/24'), target: { kind: 'black-hole' } } },
    ],
    ['a VPC that nobody has', 'make', { step: 'put-vpc', vpcId: rogue }],
  ];
  assert.deepEqual(await w.carrier.plane.checkDrift(), [], 'control: nothing has drifted yet');
  for (const [what, part, step] of damages) {
    await w.carrier.tamper({ make: [], break: [], [part]: [step] });
    const { view } = await w.carrier.observed();
    if (step.step === 'put-vpc') assert.ok(view.vpc(rogue) !== undefined, 'control: it is there');
    else await assert.rejects(w.matrix(), /the plane/, `control: ${what} shows`);
    const told = w.region.status().drift.length;
    assert.ok((await w.carrier.plane.checkDrift()).length > 0, what);
    assert.ok(w.region.status().drift.length > told, `${what} is told`);
    assert.deepEqual(await w.matrix(), before);
    assert.equal((await w.carrier.observed()).view.vpc(rogue), undefined);
    assert.deepEqual(await w.carrier.plane.checkDrift(), [], 'healed once, told once');
  }
});

/** Every text in a value, keys left out. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

onBoth('46. names of tenants, VPCs and halves never reach the plane, so none can collide there', async (w) => {
  // Joined by a dash the first two are one and the same; the others are the shortest, the longest and the oddest.
  const names = [
    ['a-b', 'c'],
    ['a', 'b-c'],
    ['é', '京'],
    ['Ω-0', '٣'],
    ['x'.repeat(32), 'y'.repeat(32)],
    ['X'.repeat(32), `${'y'.repeat(31)}z`],
    ['e\u0301', '𝟘_𠀀'],
  ] as const;
  const sites = [];
  for (const [at, [tenant, vpc]] of names.entries()) sites.push(await w.site(tenant, vpc, at + 1));
  const kinds = ['vpc', 'interface', 'route-table', 'peering', 'local', 'black-hole'];
  const shapes =
    /^((vpc|port|rtb|vpcpr)-[a-z0-9]{10}|([0-9a-f]{2}:){5}[0-9a-f]{2}|[0-9.]+(\/\d+)?|[0-9a-f:]+(\/\d+)?)$/;
  const [first, second] = [sites[0] ?? assert.fail(), sites[1] ?? assert.fail()];
  for (const [at, site] of sites.slice(1).entries()) {
    await w.half(first.vpcId, site.vpcId, names[at]?.[1]);
    if (at % 2 === 0) await w.half(site.vpcId, first.vpcId, names[at]?.[0]);
  }
  const { view } = await w.carrier.observed();
  for (const { vpcId } of sites) {
    for (const text of textsIn(view.vpc(vpcId))) assert.ok(kinds.includes(text) || shapes.test(text), text);
  }
  await w.route(first.tableId, w.state.half(first.vpcId, second.vpcId)?.id ?? '', ...second.cidrs);
  await w.route(second.tableId, w.state.half(second.vpcId, first.vpcId)?.id ?? '', ...first.cidrs);
  assert.equal(await w.sends(first.portId, second.portId), 'delivered', 'control: those two are peered');
  const shared = await w.matrix();
  const crossing = shared.filter(({ from, words }) => words.startsWith('to ') && words !== `to ${from}`);
  assert.equal(crossing.length, 4, 'both ways, both families, and nobody else');
});

inKernel(
  '47. a VPC that cannot follow stops no other, and its peer’s disconnect is carried out all the same',
  async (w) => {
    const [a, b, c] = await three(w);
    const [, ba] = await w.join(a.vpcId, b.vpcId);
    assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
    // More rules than a table has room for: A brings that about by itself.
    const routes = Array.from({ length: 12 }, (_, n) => ({
      destination: prefix(`172.20.${n}.0/24`),
      nextHop: { kind: 'internet' } as const,
    }));
    const submit = async (tenant: string, command: Command): Promise<boolean> => {
      const outcome = await w.region.submit(command, { principal: await w.tenant(tenant), requestId: 'r' });
      assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
      return outcome.applied;
    };
    assert.equal(await submit('red', { kind: 'add-routes', routeTableId: a.tableId, routes }), false);
    assert.ok(w.region.status().planeProblem?.includes(a.vpcId), `${w.region.status().planeProblem}`);
    // Others go on: `give` in `join` demands that the plane has followed.
    await w.join(b.vpcId, c.vpcId);
    assert.equal(await w.sends(b.portId, c.portId), 'delivered');
    assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'and what A had it keeps');
    await submit('blue', { kind: 'delete-peering', halfId: ba });
    assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
    assert.equal(await w.sends(b.portId, a.portId), 'NoPeering');
    assert.equal(await w.sends(c.portId, b.portId), 'delivered');
    const ruleIds = routes.slice(2).map(({ destination }) => w.rule(a.tableId, destination).id);
    assert.equal(await submit('red', { kind: 'remove-routes', routeTableId: a.tableId, ruleIds }), true);
    assert.equal(w.region.status().planeProblem, null);
    await w.matrix();
  },
  { lab: { limits: { routesPerTable: 10 } } },
);

// Of an upgrade, the part beside the new program (test/ebpf/lifetime.test.ts): a new service on the old store and plane.
test('50. a service that is stopped and started on its old store keeps peerings Connected and loses nothing', {
  skip: cannotRun,
  timeout: 120_000,
}, async (t) => {
  const house = await House.start(t);
  const { red, blue, redHalf } = await house.peered();
  const running = [await house.stream(red, blue), await house.stream(blue, red)];
  for (let round = 0; round < 2; round++) {
    const before = house.syncs().length;
    await house.down();
    await house.up();
    await house.met(before);
    const writes = house.syncs(before).map((line) => line['writes']);
    assert.ok(writes.length > 0 && writes.every((count) => count === 0), `writes: ${writes.join(', ')}`);
    const { vpcPeering } = (await red.client.get(`/vpcPeerings/${redHalf}`)) as {
      vpcPeering: { vpcPeeringState: string };
    };
    assert.equal(vpcPeering.vpcPeeringState, 'Connected');
    assert.deepEqual(await house.live(), [true, true]);
  }
  await enough(running, 500);
  const { lost } = await house.lost(running);
  assert.equal(lost, 0);
});
