import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OwingDriver } from '../../test/hosts/owing-driver.ts';
import { Sketch } from '../../test/wire/sketch.ts';
import type { VpcId } from '../model/ids.ts';
import { gatewayMac, type NetworkSpec } from '../model/network-spec.ts';
import { type Driver, DriverError, type Owed, type Plan, type Step } from './driver.ts';
import { FakeDriver } from './fake/driver.ts';
import { Reconciler } from './reconciler.ts';

/** The fake driver with a fault: a step that it says no to, before or in the middle of a plan. */
class FaultyDriver extends FakeDriver implements Driver {
  fault: (step: Step) => boolean = () => false;
  /** Carries out what stands before the bad step, as a kernel does that fails half-way. */
  halfway = false;
  applied: Plan[] = [];
  damage: string[] = [];
  down = false;

  override async observe() {
    if (this.down) throw new DriverError('unavailable', 'the plane does not answer');
    return { ...(await super.observe()), damage: this.damage };
  }
  override async apply(plan: Plan): Promise<void> {
    if (this.down) throw new DriverError('unavailable', 'the plane does not answer');
    const steps = [...plan.make, ...plan.break];
    const bad = steps.findIndex(this.fault);
    if (bad >= 0) {
      const { make } = plan;
      if (this.halfway)
        await super.apply({ make: make.slice(0, bad), break: plan.break.slice(0, Math.max(0, bad - make.length)) });
      throw new DriverError('kernel', `no to ${steps[bad]?.step} of ${steps[bad]?.vpcId}`);
    }
    this.applied.push(plan);
    await super.apply(plan);
  }
  override async repair(): Promise<readonly string[]> {
    const done = this.damage.map((line) => `repaired: ${line}`);
    this.damage = [];
    return done;
  }
}

/** Three peered VPCs with an interface each, attached. */
async function three() {
  const sketch = new Sketch();
  const vpcs = [1, 2, 3].map((n) => sketch.vpc(`v${n}`, `10.${n}.0.0/16`));
  const ports = vpcs.map((vpc, n) => sketch.port(vpc, `p${n + 1}`, [`10.${n + 1}.0.4`]));
  const [a, b, c] = vpcs;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const halves = sketch.join(a, b);
  sketch.join(b, c);
  const driver = new FaultyDriver();
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const drift: string[] = [];
  plane.onDrift((line) => drift.push(line));
  let revision = 0;
  const full = () => plane.sync({ revision: ++revision, full: true, vpcs: sketch.network().vpcs, removed: [] });
  const only = (...ids: readonly VpcId[]) => {
    const wanted = sketch.network().vpcs.filter(({ vpcId }) => ids.includes(vpcId));
    const removed = ids.filter((id) => !wanted.some(({ vpcId }) => vpcId === id));
    return plane.sync({ revision: ++revision, full: false, vpcs: wanted, removed });
  };
  const seen = async (): Promise<NetworkSpec> => (await driver.observe()).network;
  const attach = async () => {
    for (const portId of ports) await plane.attach({ portId, target: { kind: 'netns', name: portId } });
  };
  /** What becomes of a packet from the interface of one VPC to that of another. */
  const send = (from: number, to: number): string => {
    const [fromVpc, fromPort, toVpc, toPort] = [vpcs[from], ports[from], vpcs[to], ports[to]];
    assert.ok(fromVpc !== undefined && fromPort !== undefined && toVpc !== undefined && toPort !== undefined);
    const [source, target] = [sketch.spec(fromVpc, fromPort), sketch.spec(toVpc, toPort)];
    const verdict = driver.send({
      from: fromPort,
      sourceMac: source.mac,
      destinationMac: gatewayMac,
      source: source.addresses[0]?.address as never,
      destination: target.addresses[0]?.address as never,
      ttl: 64,
      length: 100,
      protocol: 'udp',
    });
    return verdict.kind === 'dropped' ? verdict.reason : verdict.kind;
  };
  return { sketch, a, b, c, halves, driver, plane, drift, full, only, seen, attach, send };
}

test('before the first full sync nothing is touched, and a part is refused', async () => {
  const { a, driver, plane, only, full } = await three();
  await driver.apply({ make: [{ step: 'put-vpc', vpcId: 'vpc-stranger00' as VpcId }], break: [] });
  const { writes } = driver;
  await assert.rejects(only(a), { code: 'unavailable' });
  assert.deepEqual(await plane.checkDrift(), []);
  assert.equal(driver.writes, writes, 'what runs is left so');
  await full();
  assert.ok(driver.writes > writes, 'the control: now it is brought to what is wanted');
});

test('43. nothing is written when nothing differs, by a full sync, a part or a drift check', async () => {
  const { a, b, driver, sketch, plane, full, only, seen, drift } = await three();
  await full();
  assert.deepEqual(await seen(), sketch.network());
  const { writes } = driver;
  driver.applied = [];
  await full();
  await only(a, b);
  assert.deepEqual(await plane.checkDrift(), []);
  const restarted = new Reconciler(driver, { driftInterval: 0 });
  await restarted.sync({ revision: 9, full: true, vpcs: sketch.network().vpcs, removed: [] });
  assert.deepEqual([driver.writes, driver.applied, drift], [writes, [], []], 'not even an empty plan');
  sketch.route(a, '192.168.0.0/16', { kind: 'black-hole' });
  await only(a);
  assert.equal(driver.writes, writes + 1, 'the control: one rule is one step');
});

for (const halfway of [false, true]) {
  test(`47. a VPC that cannot follow${halfway ? ', and fails half-way,' : ''} stops no other; it follows later`, async () => {
    const { a, b, c, driver, plane, sketch, full, only, seen } = await three();
    driver.halfway = halfway;
    driver.fault = (step) => step.vpcId === b && step.step === 'put-route';
    const first = await full();
    assert.deepEqual(first.failed, [{ vpcId: b, problem: `no to put-route of ${b}` }]);
    const now = await seen();
    const wanted = sketch.network();
    for (const id of [a, c]) {
      const of = (network: NetworkSpec) => network.vpcs.find(({ vpcId }) => vpcId === id);
      assert.deepEqual(of(now), of(wanted), `${id} is whole`);
    }
    // Tried again with the next sync of any other, and still named while it cannot.
    assert.deepEqual(
      (await only(c)).failed.map(({ vpcId }) => vpcId),
      [b],
    );
    await plane.checkDrift();
    assert.notDeepEqual(await seen(), wanted);
    driver.fault = () => false;
    assert.deepEqual((await only(c)).failed, []);
    assert.deepEqual(await seen(), wanted);
  });
}

test('47. a VPC that failed is tried again by every drift check too, which is not drift', async () => {
  const { b, driver, plane, sketch, full, seen, drift } = await three();
  driver.fault = (step) => step.vpcId === b && step.step === 'put-interface';
  assert.equal((await full()).failed.length, 1);
  driver.fault = () => false;
  await plane.checkDrift();
  assert.deepEqual(await seen(), sketch.network());
  assert.deepEqual(drift, []);
});

test('47. a VPC whose peer comes after it in the same sync follows, when a third one fails', async () => {
  const { a, b, c, driver, full } = await three();
  // As the kernel does it: what does not fit is refused before the first write, a live half towards a VPC that is not
  // there when its turn comes.
  const there = new Set<VpcId>();
  driver.fault = (step) => {
    if (step.step === 'put-vpc') there.add(step.vpcId);
    driver.halfway = step.step === 'put-half' && step.half.live && !there.has(step.half.remoteVpcId);
    return driver.halfway || (step.vpcId === c && step.step === 'put-interface');
  };
  const apply = driver.apply.bind(driver);
  driver.apply = async (plan) => {
    there.clear();
    for (const { vpcId } of (await driver.observe()).network.vpcs) there.add(vpcId);
    await apply(plan);
  };
  const failed = (await full()).failed.map(({ vpcId }) => vpcId);
  assert.deepEqual(failed.sort(), [b, c], 'the third, and the one with a live half towards it');
  assert.ok(a < b, 'the control: the first was tried before the VPC that its half needs was there');
});

test('P4: a disconnect is carried out in a VPC whose other changes cannot be', async () => {
  const { sketch, a, b, driver, full, only, attach, send } = await three();
  await full();
  await attach();
  assert.deepEqual([send(0, 1), send(1, 0)], ['delivered', 'delivered']);
  // The plane is full: no further rule fits into A, which A's owner can bring about by himself.
  driver.fault = (step) => step.vpcId === a && step.step === 'put-route';
  sketch.route(a, '192.168.0.0/16', { kind: 'black-hole' });
  assert.deepEqual(
    (await only(a)).failed.map(({ vpcId }) => vpcId),
    [a],
  );
  assert.equal(send(0, 1), 'delivered', 'the control: what was there works on');
  sketch.peer(a, b, false); // B's owner deletes his half: both are dead
  assert.deepEqual(
    (await only(a, b)).failed.map(({ vpcId }) => vpcId),
    [a],
    'still said of the rest',
  );
  assert.deepEqual([send(0, 1), send(1, 0)], ['NoPeering', 'NoPeering']);
});

test('44. damage by other hands is healed and logged as drift, a line for each step', async () => {
  const { a, b, sketch, driver, plane, halves, drift, full, seen, attach, send } = await three();
  await full();
  await attach();
  await driver.apply({
    make: [{ step: 'put-vpc', vpcId: 'vpc-rogue00000' as VpcId }],
    break: [
      { step: 'kill-half', vpcId: a, halfId: halves[0] },
      { step: 'remove-route', vpcId: b, routeTableId: sketch.site(b).table, destination: '10.1.0.0/16' as never },
    ],
  });
  assert.equal(send(0, 1), 'NoPeering');
  const healed = [
    `healed: put-half ${a} ${halves[0]} live`,
    `healed: put-route ${b} ${sketch.site(b).table} 10.1.0.0/16`,
    'healed: remove-vpc vpc-rogue00000',
  ];
  assert.deepEqual([...(await plane.checkDrift())].sort(), healed);
  assert.deepEqual([...drift].sort(), healed);
  assert.deepEqual(await seen(), sketch.network());
  assert.equal(send(0, 1), 'delivered');
  assert.deepEqual(await plane.checkDrift(), [], 'once is enough');
});

test('44. entries that contradict themselves are repaired and logged', async () => {
  const { driver, plane, drift, full } = await three();
  await full();
  driver.damage = ['slot 7 is of nobody'];
  assert.deepEqual(await plane.checkDrift(), ['slot 7 is of nobody', 'repaired: slot 7 is of nobody']);
  assert.deepEqual(drift, ['slot 7 is of nobody', 'repaired: slot 7 is of nobody']);
});

test('a VPC that is wanted no more is removed, by name or because a full sync does not hold it', async () => {
  for (const way of ['part', 'full'] as const) {
    const { c, sketch, full, only, seen } = await three();
    await full();
    sketch.removeVpc(c);
    assert.deepEqual((way === 'part' ? await only(c) : await full()).failed, []);
    assert.deepEqual(await seen(), sketch.network());
  }
});

test('a plane that does not answer is an error, not a failed VPC, and is caught up with when it does', async () => {
  const { a, sketch, driver, full, only, seen } = await three();
  await full();
  driver.down = true;
  sketch.route(a, '192.168.0.0/16', { kind: 'black-hole' });
  await assert.rejects(only(a), { code: 'unavailable' });
  driver.down = false;
  assert.deepEqual((await full()).failed, []);
  assert.deepEqual(await seen(), sketch.network());
});

test('syncs and drift checks that come together are carried out one after the other', async () => {
  const { a, b, c, sketch, driver, plane, full, only, seen } = await three();
  const apply = driver.apply.bind(driver);
  let inside = 0;
  driver.apply = async (plan) => {
    assert.equal(++inside, 1, 'one at a time');
    await new Promise((resolve) => setImmediate(resolve));
    await apply(plan);
    inside--;
  };
  await full();
  const work: Promise<unknown>[] = [];
  for (let n = 0; n < 10; n++) {
    sketch.route([a, b, c][n % 3] ?? a, `192.168.${n}.0/24`, { kind: 'black-hole' });
    work.push(only(a, b, c), plane.checkDrift());
  }
  await Promise.all(work);
  assert.deepEqual(await seen(), sketch.network());
  assert.deepEqual(await plane.checkDrift(), []);
});

test('what hosts owe comes with each sync, and by itself when it changes', async () => {
  const sketch = new Sketch();
  const vpcId = sketch.vpc('v', '10.1.0.0/16');
  const driver = new OwingDriver();
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const heard: (readonly [readonly Owed[], number])[] = [];
  plane.onOwed((...said) => heard.push(said));
  driver.leave('h3');
  const { vpcs } = sketch.network();
  const first = await plane.sync({ revision: 4, full: true, vpcs, removed: [] });
  assert.deepEqual(first.owed, [{ vpcId, notFencedOn: [], notInstalledOn: ['h3'] }]);
  const cut = await plane.sync({ revision: 5, full: false, vpcs: [], removed: [vpcId] });
  assert.deepEqual(cut.owed, [{ vpcId, notFencedOn: ['h3'], notInstalledOn: [] }]);
  assert.deepEqual(heard, [], 'what came with a sync is not said twice');
  driver.comeBack('h3');
  await plane.checkDrift();
  assert.deepEqual(heard, [[[], 5]]);
  await plane.close();
});

test('a plane that another server keeps from now on is left as that one makes it, until a full sync', async () => {
  const { a, b, halves, driver, plane, drift, full, only, attach, send, seen } = await three();
  await full();
  await attach();
  const cut = (): Promise<void> =>
    driver.apply({ make: [], break: [{ step: 'kill-half', vpcId: a, halfId: halves[0] }] });
  await cut();
  await plane.checkDrift();
  assert.equal(send(0, 1), 'delivered', 'the control: while it is kept here this is undone');

  plane.rest();
  drift.length = 0;
  await cut(); // as the server does that keeps it now
  assert.deepEqual(await plane.checkDrift(), []);
  assert.equal(send(0, 1), 'NoPeering');
  assert.deepEqual(drift, []);
  await assert.rejects(only(a, b), { code: 'unavailable' });
  assert.equal(send(0, 1), 'NoPeering');
  await full();
  assert.equal(send(0, 1), 'delivered', 'kept here again');
  assert.equal((await seen()).vpcs.length, 3);
});

test('what was asked for before the plane was given up writes nothing afterwards', async () => {
  const { a, b, c, driver, plane, full, only } = await three();
  await full();
  let go = (): void => {};
  const observe = driver.observe.bind(driver);
  const seen = observe();
  // Another server begins to lead while this one looks at the plane.
  driver.observe = () =>
    new Promise((resolve) => {
      go = () => resolve(seen);
    });
  const { writes } = driver;
  const checking = plane.checkDrift();
  await new Promise((resolve) => setImmediate(resolve));
  const waiting = only(a, b, c);
  await driver.apply({ make: [], break: [{ step: 'remove-vpc', vpcId: c }] });
  const after = driver.writes;
  assert.ok(after > writes, 'it wrote');
  plane.rest();
  driver.observe = observe;
  go();
  assert.deepEqual(await checking, []);
  await assert.rejects(waiting, { code: 'unavailable' });
  assert.equal(driver.writes, after);
  assert.deepEqual(
    (await observe()).network.vpcs.map(({ vpcId }) => vpcId),
    [a, b].sort(),
  );
});
