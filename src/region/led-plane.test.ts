import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Owed } from '../dataplane/driver.ts';
import { FakeDriver } from '../dataplane/fake/driver.ts';
import { Reconciler } from '../dataplane/reconciler.ts';
import type { VpcId } from '../model/ids.ts';
import { SqliteStore } from '../store/sqlite.ts';
import type { Leadership, PlaneReport } from '../store/store.ts';
import { LedPlane } from './led-plane.ts';

/** A server that leads, on a store that takes each report when the test says so. */
class SlowStore implements Leadership {
  readonly leads = true;
  readonly reports: PlaneReport[] = [];
  #take: (() => void) | null = null;
  onChange(): void {}
  onPublished(): void {}
  async publish(report: PlaneReport): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#take = resolve;
    });
    this.reports.push(report);
  }
  async published(): Promise<PlaneReport | null> {
    return this.reports.at(-1) ?? null;
  }
  /** The report that is under way arrives. */
  async arrive(): Promise<void> {
    for (let turn = 0; this.#take === null; turn++) {
      assert.ok(turn < 20, 'a report is under way');
      await turns();
    }
    this.#take();
    this.#take = null;
    await turns();
  }
}
const turns = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a host that catches up while its debt is published is not owed afterwards', async (t) => {
  const debt: Owed = { vpcId: 'vpc-a' as VpcId, notFencedOn: ['h3'], notInstalledOn: [] };
  let owed: readonly Owed[] = [debt];
  let tell = (): void => assert.fail('nobody listens');
  const driver = Object.assign(new FakeDriver(), {
    owed: () => owed,
    onOwedChange: (listener: () => void) => {
      tell = listener;
    },
  });
  const store = new SlowStore();
  const plane = new LedPlane(new Reconciler(driver, { driftInterval: 0 }), store);
  t.after(() => plane.close());
  const told: (readonly Owed[])[] = [];
  plane.onOwed((now) => told.push(now));

  const synced = plane.sync({ revision: 1, full: true, vpcs: [], removed: [] });
  await turns();
  owed = [];
  tell();
  await turns();
  assert.deepEqual(told, [[]], 'the leader tells at once');
  await store.arrive();
  assert.deepEqual(store.reports.at(-1)?.owed, [debt]);
  assert.deepEqual((await synced).owed, [], 'and the sync does not say what was before');
  await store.arrive();
  assert.deepEqual(store.reports.at(-1)?.owed, [], 'the others read it as well');
});

test('who begins to lead takes over what was owed, once', async (t) => {
  const debt: Owed = { vpcId: 'vpc-gone' as VpcId, notFencedOn: ['h3'], notInstalledOn: [] };
  const inherited: (readonly Owed[])[] = [];
  const driver = Object.assign(new FakeDriver(), {
    owed: () => inherited.flat(),
    inherit: async (owed: readonly Owed[]) => void inherited.push(owed),
  });
  const store = new SlowStore();
  store.reports.push({ revision: 7, failed: [], owed: [debt] });
  const plane = new LedPlane(new Reconciler(driver, { driftInterval: 0 }), store);
  t.after(() => plane.close());
  for (const full of [true, false]) {
    const synced = plane.sync({ revision: 8, full, vpcs: [], removed: [] });
    await store.arrive();
    assert.deepEqual((await synced).owed, [debt]);
  }
  assert.deepEqual(inherited, [[debt]]);
});

test('with a store of its own, what a server wrote down that was owed its successor takes over', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'led-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const debt: Owed = { vpcId: 'vpc-gone' as VpcId, notFencedOn: ['h3'], notInstalledOn: [] };
  /** @returns what it was told of the time before */
  const serve = async (owed: readonly Owed[]): Promise<readonly Owed[]> => {
    const inherited: Owed[] = [];
    const inherit = async (before: readonly Owed[]) => void inherited.push(...before);
    const driver = Object.assign(new FakeDriver(), { owed: () => owed, inherit });
    const store = new SqliteStore(join(folder, 'region.db'));
    const plane = new LedPlane(new Reconciler(driver, { driftInterval: 0 }), store.leadership);
    await plane.sync({ revision: 1, full: true, vpcs: [], removed: [] });
    plane.close();
    store.close();
    return inherited;
  };
  assert.deepEqual(await serve([debt]), []);
  assert.deepEqual(await serve([]), [debt]);
  assert.deepEqual(await serve([]), [], 'it was paid');
});

test('who does not lead any more lets the plane rest', async (t) => {
  const listeners: ((leads: boolean) => void)[] = [];
  const leadership: Leadership = {
    leads: true,
    onChange: (listener) => void listeners.push(listener),
    onPublished: () => {},
    publish: async () => {},
    published: async () => null,
  };
  const inner = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  let rests = 0;
  inner.rest = () => {
    rests++;
  };
  const plane = new LedPlane(inner, leadership);
  t.after(() => plane.close());
  for (const listener of listeners) listener(true);
  assert.equal(rests, 0, 'the control');
  for (const listener of listeners) listener(false);
  assert.equal(rests, 1);
});
