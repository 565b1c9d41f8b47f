import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Owed } from '../dataplane/driver.ts';
import type { OwedListener, Plane, SyncResult, SyncUpdate } from '../dataplane/plane.ts';
import type { VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import { Follower, replyPatience } from './follower.ts';

const [a, b, c] = ['vpc-a', 'vpc-b', 'vpc-c'] as unknown as readonly [VpcId, VpcId, VpcId];
const spec = (vpcId: VpcId): VpcSpec => ({ vpcId, interfaces: [], routeTables: [], halves: [] });

/** A plane that answers when the test says so, and remembers what it was given. */
class SlowPlane {
  readonly updates: SyncUpdate[] = [];
  /** What hosts owe with each sync that ends. */
  owed: readonly Owed[] = [];
  owes: OwedListener = () => {};
  #answer: ((result: SyncResult | Error) => void) | null = null;
  needSync: () => void = () => {};
  lost: (problem: string) => void = () => {};

  sync(update: SyncUpdate): Promise<SyncResult> {
    assert.equal(this.#answer, null, 'one sync at a time');
    this.updates.push(update);
    return new Promise((resolve, reject) => {
      this.#answer = (result) => {
        this.#answer = null;
        if (result instanceof Error) reject(result);
        else resolve(result);
      };
    });
  }
  onNeedSync(listener: () => void): void {
    this.needSync = listener;
  }
  onOwed(listener: OwedListener): void {
    this.owes = listener;
  }
  onLost(listener: (problem: string) => void): void {
    this.lost = listener;
  }
  /** The sync that is under way ends like this. */
  async end(result: Error | readonly VpcId[] = []): Promise<void> {
    await this.begun();
    const { revision } = this.updates.at(-1) ?? { revision: 0 };
    const failed = result instanceof Error ? [] : result.map((vpcId) => ({ vpcId, problem: 'does not fit' }));
    this.#answer?.(result instanceof Error ? result : { revision, failed, owed: this.owed });
    await turn();
  }
  async begun(): Promise<void> {
    for (let n = 0; this.#answer === null; n++) {
      assert.ok(n < 20, 'a sync begins');
      await turn();
    }
  }
  get busy(): boolean {
    return this.#answer !== null;
  }
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A follower of a state that is a set of VPCs and a number; its first full sync is done. */
async function started(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const plane = new SlowPlane();
  const heard: (readonly [readonly Owed[], number])[] = [];
  const state = { revision: 1, vpcs: new Set<VpcId>([a, b]) };
  const follower = new Follower(plane as unknown as Plane, {
    revision: () => state.revision,
    compile: (vpcId) => (state.vpcs.has(vpcId) ? spec(vpcId) : undefined),
    all: () => [...state.vpcs].map(spec),
    owed: (...said) => heard.push(said),
  });
  const start = follower.start();
  await plane.end();
  assert.equal((await start).applied, true);
  /** A command that touches these VPCs. */
  const whole = (...touched: readonly VpcId[]) => follower.follow(++state.revision, new Set(touched));
  /** … and whether it is applied. */
  const change = async (...touched: readonly VpcId[]): Promise<boolean> => (await whole(...touched)).applied;
  /** Whether a reply has come, and which. */
  const watch = (reply: Promise<boolean>) => {
    const seen: { reply: boolean | 'waits' } = { reply: 'waits' };
    void reply.then((applied) => {
      seen.reply = applied;
    });
    return seen;
  };
  t.after(() => follower.close());
  return { plane, state, follower, heard, whole, change, watch, tick: (ms: number) => t.mock.timers.tick(ms) };
}

test('the first sync is a full one, a later one holds only what was touched, and says what is gone', async (t) => {
  const { plane, state, change, follower } = await started(t);
  assert.deepEqual(plane.updates, [{ revision: 1, full: true, vpcs: [spec(a), spec(b)], removed: [] }]);
  assert.equal(follower.appliedRevision, 1);
  state.vpcs.delete(b);
  const reply = change(b, a);
  await plane.end();
  assert.equal(await reply, true);
  assert.deepEqual(plane.updates.at(-1), { revision: 2, full: false, vpcs: [spec(a)], removed: [b] });
  assert.equal(follower.appliedRevision, 2);
});

test('a reply waits for the sync that includes its revision, not for one that began before it', async (t) => {
  const { plane, change, watch, follower } = await started(t);
  const first = watch(change(a));
  await plane.begun();
  const second = watch(change(b)); // too late for the sync that is under way
  await plane.end();
  assert.deepEqual([first.reply, second.reply], [true, 'waits']);
  assert.equal(follower.appliedRevision, 2);
  await plane.end();
  assert.equal(second.reply, true);
  assert.equal(follower.appliedRevision, 3);
});

test('a thousand changes while a sync is under way cost one more sync, and each gets its reply', async (t) => {
  const { plane, change } = await started(t);
  const first = change(a);
  await plane.begun();
  const replies = Array.from({ length: 1000 }, (_, n) => change(n % 2 === 0 ? a : b));
  await plane.end();
  await first;
  await plane.end();
  assert.deepEqual(new Set(await Promise.all(replies)), new Set([true]));
  assert.equal(plane.updates.length, 3);
  assert.deepEqual(plane.updates.at(-1)?.vpcs, [spec(a), spec(b)], 'each VPC once');
  assert.equal(plane.updates.at(-1)?.revision, 1002);
});

test('47. a VPC that could not follow makes only those wait who touched it, and is tried again later', async (t) => {
  const { plane, change, follower, tick } = await started(t);
  const [bad, good] = [change(a), change(b)];
  await plane.end([a]);
  assert.deepEqual(await Promise.all([bad, good]), [false, true]);
  assert.equal(follower.problem, `${a}: does not fit`);
  assert.equal(plane.busy, false, 'not at once');
  tick(5_000);
  await plane.end();
  assert.deepEqual(plane.updates.at(-1)?.vpcs, [spec(a)]);
  assert.equal(follower.problem, null);
});

test('a plane that fails altogether is answered with "pending" and tried again with all that was lost', async (t) => {
  const { plane, change, follower, tick } = await started(t);
  const reply = change(a);
  await plane.end(new Error('the agent is gone'));
  assert.equal(await reply, false);
  assert.equal(follower.problem, 'the agent is gone');
  assert.equal(follower.appliedRevision, 1, 'nothing is said to be true that is not');
  assert.equal(plane.busy, false);
  tick(500);
  await plane.end();
  assert.deepEqual(plane.updates.at(-1), { revision: 2, full: false, vpcs: [spec(a)], removed: [] });
  assert.deepEqual([follower.problem, follower.appliedRevision], [null, 2]);
});

test('a full sync that fails stays a full one until it is done', async (t) => {
  const { plane, change, tick } = await started(t);
  plane.needSync();
  await plane.end(new Error('not yet'));
  const reply = change(a);
  await plane.begun();
  assert.equal(plane.updates.at(-1)?.full, true);
  await plane.end();
  assert.equal(await reply, true);
  tick(500); // the retry that was due is not a sync too many
  await turn();
  assert.equal(plane.updates.length, 3);
});

test('a plane that lost its memory gets everything anew, and what was lost is said until then', async (t) => {
  const { plane, state, follower } = await started(t);
  plane.lost('the agent cannot be reached');
  assert.equal(follower.problem, 'the agent cannot be reached');
  state.vpcs.add(c);
  state.revision++;
  plane.needSync();
  await plane.end();
  assert.deepEqual(plane.updates.at(-1), { revision: 2, full: true, vpcs: [spec(a), spec(b), spec(c)], removed: [] });
  assert.equal(follower.problem, null);
});

test('a reply waits no longer than its patience, and the change is carried out all the same', async (t) => {
  const { plane, change, watch, follower, tick } = await started(t);
  const reply = watch(change(a));
  await plane.begun();
  tick(replyPatience - 1);
  await turn();
  assert.equal(reply.reply, 'waits');
  tick(1);
  await turn();
  assert.equal(reply.reply, false);
  await plane.end();
  assert.equal(follower.appliedRevision, 2);
});

test('closing answers those who wait, and nothing begins any more', async (t) => {
  const { plane, change, follower, tick } = await started(t);
  const reply = change(a);
  await plane.begun();
  follower.close();
  assert.equal(await reply, false);
  await plane.end(new Error('closed'));
  tick(60_000);
  await turn();
  assert.equal(plane.busy, false);
  assert.equal(plane.updates.length, 2);
});

test('a change that hosts have not proven is answered with their names, and only to those who touched it', async (t) => {
  const { plane, whole, follower, heard } = await started(t);
  const owed = [
    { vpcId: a, notFencedOn: ['h3'], notInstalledOn: ['h2'] },
    { vpcId: c, notFencedOn: ['h2'], notInstalledOn: [] },
  ];
  const [cut, free, both] = [whole(a), whole(b), whole(a, c)];
  plane.owed = owed;
  await plane.end();
  assert.deepEqual(await cut, { applied: false, notFencedOn: ['h3'], notInstalledOn: ['h2'] });
  assert.deepEqual(await free, { applied: true, notFencedOn: [], notInstalledOn: [] });
  assert.deepEqual(await both, { applied: false, notFencedOn: ['h2', 'h3'], notInstalledOn: [] }, 'each host once');
  assert.equal(follower.problem, null, 'the plane itself follows');
  assert.equal(plane.busy, false, 'and nothing is tried again: the hosts come by themselves');
  assert.deepEqual(heard.at(-1), [owed, follower.appliedRevision]);
  plane.owes([], follower.appliedRevision);
  assert.deepEqual(heard.at(-1), [[], follower.appliedRevision], 'also without a sync');
});
