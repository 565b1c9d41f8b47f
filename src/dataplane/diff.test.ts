import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { network, vpcIds } from '../../test/ledger/networks.ts';
import type { NetworkSpec, VpcSpec } from '../model/network-spec.ts';
import { diff, isEmpty } from './diff.ts';
import type { Plan, Step } from './driver.ts';
import { FakeDriver } from './fake/driver.ts';

const nothing: NetworkSpec = { vpcs: [] };
const vpcOf = (of: NetworkSpec, vpcId: string): VpcSpec | null =>
  of.vpcs.find((candidate) => candidate.vpcId === vpcId) ?? null;
const between = (observed: NetworkSpec, wanted: NetworkSpec): Plan =>
  diff(vpcIds.map((vpcId) => ({ vpcId, observed: vpcOf(observed, vpcId), wanted: vpcOf(wanted, vpcId) })));

/** A plane in memory that holds this network. */
async function holding(of: NetworkSpec): Promise<FakeDriver> {
  const driver = new FakeDriver();
  await driver.apply(between(nothing, of));
  return driver;
}
const seen = async (driver: FakeDriver): Promise<NetworkSpec> => (await driver.observe()).network;
/** The plan cut short after so many steps, as a crash does it. */
const cut = ({ make, break: breaks }: Plan, steps: number): Plan => ({
  make: make.slice(0, steps),
  break: breaks.slice(0, Math.max(0, steps - make.length)),
});
const sizeOf = ({ make, break: breaks }: Plan): number => make.length + breaks.length;

/** Everything that a network says, a line each: what is added or lost is seen as lines. */
function facts(of: NetworkSpec): ReadonlySet<string> {
  const lines = of.vpcs.flatMap((vpc) => [
    vpc.vpcId,
    ...vpc.halves.flatMap(({ id, live }) => [id, ...(live ? [`${id} live`] : [])]),
    ...vpc.interfaces.flatMap(({ id, addresses }) => [id, ...addresses.map(({ address }) => `${id} ${address}`)]),
    ...vpc.routeTables.flatMap(({ id, routes }) => [id, ...routes.map(({ destination }) => `${id} ${destination}`)]),
  ]);
  return new Set(lines);
}
const missing = (from: ReadonlySet<string>, other: ReadonlySet<string>): readonly string[] =>
  [...from].filter((line) => !other.has(line));
const both = (a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> =>
  new Set([...a].filter((line) => b.has(line)));

/** How a network is, at every moment of a plan that is carried out step by step. */
async function* moments(before: NetworkSpec, after: NetworkSpec) {
  const plan = between(before, after);
  for (let steps = 0; steps <= sizeOf(plan); steps++) {
    const driver = await holding(before);
    await driver.apply(cut(plan, steps));
    yield { steps, plan, now: await seen(driver) };
  }
}

test('the plan from any network to any other reaches it exactly', async () => {
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      const driver = await holding(before);
      assert.deepEqual(await seen(driver), before);
      await driver.apply(between(before, after));
      assert.deepEqual(await seen(driver), after);
    }),
    { numRuns: 100 },
  );
});

test('between a network and itself there is nothing to do, and between two different ones there is', () => {
  fc.assert(
    fc.property(network, network, (one, other) => {
      assert.ok(isEmpty(between(one, structuredClone(one))));
      assert.equal(isEmpty(between(one, other)), JSON.stringify(one) === JSON.stringify(other));
    }),
  );
});

test('a VPC that was not asked about is left alone', () => {
  fc.assert(
    fc.property(network, network, (before, after) => {
      const [first] = vpcIds;
      assert.ok(first !== undefined);
      const plan = diff([{ vpcId: first, observed: vpcOf(before, first), wanted: vpcOf(after, first) }]);
      for (const step of [...plan.make, ...plan.break]) assert.equal(step.vpcId, first);
    }),
  );
});

test('make steps only add or replace, break steps only remove or kill', async () => {
  const makes: ReadonlySet<Step['step']> = new Set([
    'put-vpc',
    'put-route-table',
    'put-interface',
    'put-half',
    'put-route',
  ] as const);
  let removed = 0;
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      const plan = between(before, after);
      for (const { step } of plan.make) assert.ok(makes.has(step), step);
      for (const { step } of plan.break) assert.ok(!makes.has(step), step);
      const driver = await holding(before);
      await driver.apply({ make: plan.make, break: [] });
      const middle = facts(await seen(driver));
      assert.deepEqual(missing(facts(before), middle), [], 'made without losing anything');
      assert.deepEqual(missing(facts(after), middle), [], 'and all that is wanted is there');
      await driver.apply({ make: [], break: plan.break });
      const end = facts(await seen(driver));
      assert.deepEqual(missing(end, middle), [], 'broken without adding anything');
      removed += missing(middle, end).length;
    }),
  );
  assert.ok(removed > 100, `something was broken: ${removed}`);
});

test('29. what is both before and after is never gone in between, whatever else changes', async () => {
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      const stays = both(facts(before), facts(after));
      for await (const { steps, now } of moments(before, after)) {
        assert.deepEqual(missing(stays, facts(now)), [], `after ${steps} steps`);
      }
    }),
    { numRuns: 12 },
  );
});

test('57. an address that moves to another interface has a holder at every moment, in the end the new one', async () => {
  let moved = 0;
  const holders = (of: NetworkSpec): ReadonlyMap<string, readonly string[]> => {
    const map = new Map<string, string[]>();
    for (const { vpcId, interfaces } of of.vpcs) {
      for (const { id, addresses } of interfaces) {
        for (const { address } of addresses) {
          map.set(`${vpcId} ${address}`, [...(map.get(`${vpcId} ${address}`) ?? []), id]);
        }
      }
    }
    return map;
  };
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      const [old, wanted] = [holders(before), holders(after)];
      const moving = [...old].filter(([key, [from]]) => wanted.has(key) && wanted.get(key)?.[0] !== from);
      moved += moving.length;
      let given = false;
      for await (const { now, plan, steps } of moments(before, after)) {
        const current = holders(now);
        given = steps >= plan.make.length;
        for (const [key] of moving) {
          const [newOwner] = wanted.get(key) ?? [];
          assert.ok((current.get(key)?.length ?? 0) > 0, `${key} has no holder`);
          if (given) assert.ok(newOwner !== undefined && current.get(key)?.includes(newOwner), `${key} was taken away`);
        }
      }
    }),
    { numRuns: 12 },
  );
  assert.ok(moved > 0, `addresses do move: ${moved}`);
});

test('no interface ever names a table, and no rule of a table that stays a target, that is not there', async () => {
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      for await (const { now, steps } of moments(before, after)) {
        for (const { vpcId, interfaces, routeTables, halves } of now.vpcs) {
          for (const { routeTableId } of interfaces) {
            assert.ok(
              routeTables.some(({ id }) => id === routeTableId),
              `table ${routeTableId} after ${steps} steps`,
            );
          }
          // Of a table that goes the rules may outlive their targets: they are black holes, as they were to become.
          const staying = routeTables.filter(({ id }) => vpcOf(after, vpcId)?.routeTables.some((one) => one.id === id));
          for (const { target } of staying.flatMap(({ routes }) => routes)) {
            if (target.kind === 'peering')
              assert.ok(
                halves.some(({ id }) => id === target.halfId),
                target.halfId,
              );
            if (target.kind === 'interface')
              assert.ok(
                interfaces.some(({ id }) => id === target.portId),
                target.portId,
              );
          }
        }
      }
    }),
    { numRuns: 12 },
  );
});

test('42. a plan cut short anywhere is finished by the plan from what is then observed', async () => {
  await fc.assert(
    fc.asyncProperty(network, network, network, async (before, first, second) => {
      const plan = between(before, first);
      for (let steps = 0; steps <= sizeOf(plan); steps += 3) {
        for (const goal of [first, second]) {
          const driver = await holding(before);
          await driver.apply(cut(plan, steps));
          await driver.apply(between(await seen(driver), goal));
          assert.deepEqual(await seen(driver), goal, `cut after ${steps} steps`);
        }
      }
    }),
    { numRuns: 12 },
  );
});

test('a plan may be carried out twice', async () => {
  await fc.assert(
    fc.asyncProperty(network, network, async (before, after) => {
      const driver = await holding(before);
      const plan = between(before, after);
      await driver.apply(plan);
      await driver.apply(plan);
      assert.deepEqual(await seen(driver), after);
    }),
  );
});

test('a disconnect stands first among what is broken', () => {
  let kills = 0;
  fc.assert(
    fc.property(network, network, (before, after) => {
      const steps = between(before, after).break.map(({ step }) => step);
      const last = steps.lastIndexOf('kill-half');
      kills += last + 1;
      assert.ok(steps.slice(0, last + 1).every((step) => step === 'kill-half'));
    }),
  );
  assert.ok(kills > 0, `halves do die: ${kills}`);
});
