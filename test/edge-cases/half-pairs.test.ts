/** Half a peering is none: the plane never holds one live half without the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Driver } from '../../src/dataplane/driver.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { VpcId } from '../../src/model/ids.ts';
import type { NetworkSpec } from '../../src/model/network-spec.ts';
import { onFake } from '../matrix/carriers.ts';
import { World } from '../matrix/world.ts';
import { cannotRun } from '../wire/lab.ts';
import { kernelWorld, pair } from './ground.ts';

/** Halves of the plane that are live while the other one is not. */
function halfPairs({ vpcs }: NetworkSpec): readonly string[] {
  const live = new Set<string>();
  for (const { vpcId, halves } of vpcs)
    for (const half of halves) if (half.live) live.add(`${vpcId}>${half.remoteVpcId}`);
  return [...live].filter((one) => !live.has(one.split('>').reverse().join('>')));
}
/** The driver, looked at after every apply. */
function watched(driver: Driver, look: (network: NetworkSpec) => void): Driver {
  return new Proxy(driver, {
    get(target, key) {
      if (key !== 'apply') {
        const member: unknown = Reflect.get(target, key, target);
        return typeof member === 'function' ? member.bind(target) : member;
      }
      return async (...args: Parameters<Driver['apply']>) => {
        await target.apply(...args);
        look((await target.observe()).network);
      };
    },
  });
}

// OVN's half pairs punt packets; here one would be a peering that only one side can use. No apply may leave one.
for (const [name, skip] of [
  ['in memory', false],
  ['in the kernel', cannotRun],
] as const) {
  test(`48. whatever is created and deleted, no apply leaves half a pair (${name})`, {
    skip,
    timeout: 60_000,
  }, async (t) => {
    const seen = { applies: 0, live: 0, halfPairs: [] as string[] };
    const look = (network: NetworkSpec): void => {
      seen.applies++;
      if (network.vpcs.some(({ halves }) => halves.some(({ live }) => live))) seen.live++;
      seen.halfPairs.push(...halfPairs(network));
    };
    const between = (driver: Driver): Driver => watched(driver, look);
    const onWatchedFake: typeof onFake = async (ending) => ({
      ...(await onFake(ending)),
      plane: new Reconciler(between(new FakeDriver()), { driftInterval: 0 }),
    });
    const inMemory = name === 'in memory';
    const w = inMemory ? await World.start(onWatchedFake, t) : (await kernelWorld(t, { between })).world;
    const vpcs: VpcId[] = [];
    const owners = ['t0', 't1', 't2', 't3'];
    for (const [n, owner] of owners.entries()) vpcs.push(await w.vpc(owner, 'v', `10.${n}.0.0/16`));
    let random = 20_260_101;
    t.diagnostic(`seed ${random}`);
    const next = (below: number): number => {
      random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor(random / 65_536) % below;
    };
    /** Makes the half of a random pair, or takes it away. */
    const toggle = async (one: number, other: number): Promise<void> => {
      const [from, to] = [vpcs[one] ?? assert.fail(), vpcs[other] ?? assert.fail()];
      const half = w.state.half(from, to);
      if (half === undefined) await w.half(from, to);
      else await w.give(from, { kind: 'delete-peering', halfId: half.id });
    };
    for (let step = 0; step < 80; step++) {
      const one = next(4);
      const other = (one + 1 + next(3)) % 4;
      if (step % 3 === 0) await toggle(one, other);
      else await Promise.all([toggle(one, other), toggle(other, one)]);
      if (step % 16 !== 15) continue;
      // The VPC goes with all its halves, or its owner with all that he has.
      const { accountId } = await w.tenant(owners[one] ?? assert.fail());
      const vpcId = vpcs[one] ?? assert.fail();
      if (step % 32 === 31) {
        await w.give('operator', { kind: 'delete-account', accountId, force: true });
        owners[one] = `t${one}-${step}`;
      } else {
        await w.give(vpcId, { kind: 'delete-vpc', vpcId, cascade: true });
      }
      vpcs[one] = await w.vpc(owners[one] ?? assert.fail(), 'v', `10.${one}.0.0/16`);
    }
    assert.ok(seen.applies > 50 && seen.live > 20, `control: ${seen.applies} applies, ${seen.live} with a peering`);
    assert.deepEqual(seen.halfPairs, []);
  });
}
test('48. the watch of the test before would notice half a pair', async (t) => {
  const w = await World.start(onFake, t);
  const [a, b] = await pair(w);
  const halfId = await w.half(a.vpcId, b.vpcId);
  const networkOf = async (): Promise<NetworkSpec> => {
    const { view } = await w.carrier.observed();
    return { vpcs: [...view.vpcIds()].map((vpcId) => view.vpc(vpcId) ?? assert.fail()) };
  };
  assert.deepEqual(halfPairs(await networkOf()), []);
  const half = { id: halfId, remoteVpcId: b.vpcId, live: true };
  await w.carrier.tamper({ make: [{ step: 'put-half', vpcId: a.vpcId, half }], break: [] });
  assert.deepEqual(halfPairs(await networkOf()), [`${a.vpcId}>${b.vpcId}`]);
});
