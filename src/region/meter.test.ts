import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { entryOf } from '../../test/ledger/writer.ts';
import { DriverError, type HalfReading, type MeterReading } from '../dataplane/driver.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { PeeringHalf } from '../model/resources.ts';
import { SqliteStore } from '../store/sqlite.ts';
import { Meter, millisecondsPerHour } from './meter.ts';

const halves = ['vpcpr-ab', 'vpcpr-ba', 'vpcpr-ac'] as unknown as readonly [HalfId, HalfId, HalfId];

/** A plane that counts, with all that may happen to one, and what was really sent over each half. */
class CountingPlane {
  readonly sent = new Map<HalfId, bigint>();
  readonly #running = new Map<HalfId, { life: string; packets: bigint }>();
  readonly #retired = new Map<string, HalfReading>();
  #lives = 0;
  down = false;
  reads = 0;

  send(halfId: HalfId, packets: bigint): void {
    const count = this.#running.get(halfId) ?? { life: `life-${++this.#lives}`, packets: 0n };
    count.packets += packets;
    this.#running.set(halfId, count);
    this.sent.set(halfId, (this.sent.get(halfId) ?? 0n) + packets);
  }
  /** The half is gone from the plane; it may come back. */
  remove(halfId: HalfId): void {
    const count = this.#running.get(halfId);
    if (count !== undefined && count.packets > 0n) this.#retired.set(count.life, reading(halfId, count));
    this.#running.delete(halfId);
  }
  /** A reboot: every count is lost. */
  anew(): void {
    this.#running.clear();
    this.#retired.clear();
  }
  read = async (booked: readonly string[]): Promise<MeterReading> => {
    if (this.down) throw new DriverError('unavailable', 'away');
    this.reads++;
    for (const life of booked) this.#retired.delete(life);
    return {
      running: [...this.#running].map(([halfId, count]) => reading(halfId, count)),
      retired: [...this.#retired.values()],
    };
  };
  get retired(): number {
    return this.#retired.size;
  }
}
const reading = (halfId: HalfId, { life, packets }: { life: string; packets: bigint }): HalfReading => ({
  halfId,
  life,
  packets,
  bytes: packets * 99n,
});

function known(store: SqliteStore): void {
  const half = (id: HalfId, local: string, remote: string): PeeringHalf => ({
    kind: 'peering',
    id,
    accountId: `acct-${local}` as AccountId,
    localVpcId: local as VpcId,
    remoteVpcId: remote as VpcId,
    name: id,
    description: '',
    state: 'Connected',
    createdTime: '',
  });
  const changes = [half(halves[0], 'a', 'b'), half(halves[1], 'b', 'a'), half(halves[2], 'a', 'c')];
  store.commit({ ...entryOf(1), changes: changes.map((resource) => ({ op: 'put', resource })) }, []);
}
function ground() {
  const plane = new CountingPlane();
  const store = new SqliteStore(':memory:');
  known(store);
  const clock = { now: 1000 * millisecondsPerHour };
  const open = (): Meter =>
    new Meter({
      ...{ books: store.usage, read: (lives) => plane.read(lives), clock: () => clock.now },
      ...{ period: 0, retention: 1_000_000 },
    });
  return { plane, store, clock, open };
}
const all = { from: 0, to: 1_000_000_000, limit: 1_000_000 };
/** What the books say that each half sent: as a total, and as a sum over its hours. */
function booked(store: SqliteStore) {
  const total = new Map(store.usage.totals(100).map(({ halfId, sent }) => [halfId, sent.packets]));
  const bytes = new Map(store.usage.totals(100).map(({ halfId, sent }) => [halfId, sent.bytes]));
  const hours = new Map<HalfId, bigint>();
  for (const { halfId, sent } of store.usage.hours(all)) {
    hours.set(halfId, (hours.get(halfId) ?? 0n) + sent.packets);
  }
  const of = (map: ReadonlyMap<HalfId, bigint>) => halves.map((id) => map.get(id) ?? 0n);
  return { total: of(total), hours: of(hours), bytes: of(bytes) };
}

const half = fc.constantFrom(...halves);
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('send' as const), half, packets: fc.bigInt(1n, 1n << 40n) }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant('book' as const) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('remove' as const), half }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('killed while booking' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('reboot' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('away' as const) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('time' as const), hours: fc.integer({ min: 0, max: 30 }) }) },
);

test('whatever happens, what was sent is in the totals and in the hours, once', async () => {
  let [lost, rebooked] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 60 }), async (events) => {
      const { plane, store, clock, open } = ground();
      let meter = open();
      for (const one of events) {
        if (one.what === 'send') plane.send(one.half, one.packets);
        else if (one.what === 'remove') plane.remove(one.half);
        else if (one.what === 'time') clock.now += one.hours * millisecondsPerHour;
        else if (one.what === 'restart')
          meter = open(); // with a kill, what the store has is all that is left
        else if (one.what === 'killed while booking') {
          // It is in the store, and the plane was not told: the next meter hears of it again.
          await meter.book();
          rebooked += plane.retired;
          meter = open();
        } else if (one.what === 'away') {
          plane.down = true;
          await assert.rejects(meter.book(), /away/);
          plane.down = false;
        } else if (one.what === 'reboot') {
          await meter.book(); // a clean stop
          plane.anew();
          meter = open();
          lost++;
        } else await meter.book();
      }
      await meter.book();
      const expected = halves.map((id) => plane.sent.get(id) ?? 0n);
      const { total, hours, bytes } = booked(store);
      assert.deepEqual(total, expected);
      assert.deepEqual(hours, expected);
      assert.deepEqual(
        bytes,
        expected.map((packets) => packets * 99n),
      );
      const [ab, ba] = [store.usage.half(halves[0]), store.usage.half(halves[1])];
      assert.deepEqual([ab?.received, ba?.received], [ba?.sent, ab?.sent]);
      await meter.book();
      assert.deepEqual([plane.retired, booked(store)], [0, { total, hours, bytes }], 'and once');
      store.close();
    }),
    { numRuns: 200 },
  );
  assert.ok(lost > 0 && rebooked > 0, 'controls: planes did begin anew, and final counts were heard of twice');
});

test('a count that other hands set to zero goes on from there', async () => {
  const { plane, store, open } = ground();
  const meter = open();
  plane.send(halves[0], 10n);
  await meter.book();
  const { read } = plane;
  plane.read = async (settled) => {
    const { running, retired } = await read(settled);
    return { retired, running: running.map((one) => ({ ...one, packets: 3n, bytes: 300n })) };
  };
  const after = new Meter({ books: store.usage, read: plane.read, clock: () => 0, period: 0 });
  await after.book();
  assert.equal(booked(store).total[0], 13n);
  store.close();
});

test('a call shares the next reading with others, and never one that began before it', async () => {
  const { plane, store, open } = ground();
  const meter = open();
  const first = meter.book();
  for (let turns = 0; plane.reads === 0 && turns < 20; turns++) await Promise.resolve();
  assert.equal(plane.reads, 1, 'it is under way');
  plane.send(halves[0], 1n);
  const later = [meter.book(), meter.book(), meter.book()];
  await Promise.all([first, ...later]);
  assert.equal(plane.reads, 2);
  assert.equal(booked(store).total[0], 1n);
  store.close();
});

test('at the turn of the hour what was carried before is booked in the hour that ended', async () => {
  const { plane, store, clock } = ground();
  const meter = new Meter({ books: store.usage, read: plane.read, clock: () => clock.now, period: 5000 });
  const hoursOf = () => store.usage.hours(all).filter(({ halfId }) => halfId === halves[0]);
  await meter.book();
  clock.now += millisecondsPerHour - 2000;
  await meter.book();
  plane.send(halves[0], 7n);
  clock.now += 2001;
  await meter.book();
  plane.send(halves[0], 5n);
  clock.now += 4000;
  await meter.book();
  assert.deepEqual(
    hoursOf().map(({ hour, sent }) => [hour, sent.packets]),
    [
      [1000, 7n],
      [1001, 5n],
    ],
  );
  plane.send(halves[0], 1n);
  clock.now += 3 * millisecondsPerHour; // the plane was away: nobody knows when it was
  await meter.book();
  assert.deepEqual(hoursOf().at(-1)?.hour, 1004);
  await meter.close();
  store.close();
});

test('a stop books what there is; a plane that does not answer does not hold it up for good', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { plane, store } = ground();
  const meter = new Meter({ books: store.usage, read: plane.read, clock: () => 0, period: 5000 });
  plane.send(halves[0], 2n);
  await meter.close();
  assert.equal(booked(store).total[0], 2n);
  const stuck = new Meter({ books: store.usage, read: () => new Promise(() => {}), clock: () => 0, period: 5000 });
  const closing = stuck.close();
  t.mock.timers.tick(2000);
  await closing;
  store.close();
});

test('hours are folded away after the retention, with the first reading of an hour', async () => {
  const { plane, store, clock } = ground();
  const meter = new Meter({ books: store.usage, read: plane.read, clock: () => clock.now, period: 0, retention: 48 });
  plane.send(halves[0], 1n);
  await meter.book();
  clock.now += 48 * millisecondsPerHour;
  await meter.book();
  assert.equal(booked(store).hours[0], 1n);
  clock.now += millisecondsPerHour;
  await meter.book();
  assert.deepEqual([booked(store).hours[0], booked(store).total[0]], [0n, 1n]);
  store.close();
});

test('a count beyond what the books can hold stops no other half, then or later', async () => {
  const { plane, store } = ground();
  const { read } = plane;
  for (const lie of [2n ** 63n - 1n, 10n ** 24n, null]) {
    plane.send(halves[2], 7n);
    plane.read = async (settled) => {
      const { running, retired } = await read(settled);
      const invented = lie === null ? [] : [{ halfId: halves[0], life: `lie-${lie}`, packets: lie, bytes: lie }];
      return { retired, running: [...invented, ...running] };
    };
    await new Meter({ books: store.usage, read: plane.read, clock: () => 0, period: 0 }).book();
  }
  assert.deepEqual(booked(store).total, [2n ** 63n - 1n, 0n, 21n]);
  assert.equal(store.usage.sums(all).length, 3);
  store.close();
});

test('what a host told is not booked again when it was away for a reading, whatever it told last', async () => {
  const { plane, store, open } = ground();
  const { read } = plane;
  plane.read = async (settled) => {
    const { running, retired } = await read(settled.map((life) => life.replace('h1/', '')));
    const of = (one: HalfReading): HalfReading => ({ ...one, life: `h1/${one.life}` });
    return { running: running.map(of), retired: retired.map(of), from: new Set(['h1', 'h2']) };
  };
  const there = plane.read;
  const meter = open();
  plane.send(halves[0], 10n);
  plane.send(halves[1], 5n);
  await meter.book();
  plane.remove(halves[1]);
  plane.read = async () => ({ running: [], retired: [], from: new Set(['h2']) });
  await meter.book();
  plane.read = there;
  plane.send(halves[0], 1n);
  await meter.book();
  assert.deepEqual(booked(store).total, [11n, 5n, 0n]);
  await meter.book();
  await meter.book();
  assert.deepEqual(
    [plane.retired, store.usage.lives().size],
    [0, 1],
    'and what a host that is there ended is forgotten',
  );
  store.close();
});

test('a doubtful count is booked only where its life is known already, and then goes on', async () => {
  const { plane, store } = ground();
  const [ours, strange] = [halves[0], halves[2]];
  const told = (halfId: HalfId, life: string, packets: bigint, doubtful: boolean): HalfReading => ({
    ...reading(halfId, { life, packets }),
    ...(doubtful ? { doubtful: true } : {}),
  });
  let settled: readonly string[] = [];
  const readings: MeterReading[] = [
    { running: [told(ours, 'h1/a', 5n, false), told(strange, 'h1/b', 9n, true)], retired: [] },
    // Another server leads, and its driver has never seen the host there.
    { running: [told(ours, 'h1/a', 7n, true)], retired: [told(strange, 'h1/c', 9n, true)] },
    { running: [], retired: [told(ours, 'h1/a', 8n, true), told(strange, 'h1/a', 9n, true)] },
    { running: [], retired: [] },
  ];
  plane.read = async (lives) => {
    settled = lives;
    return readings.shift() ?? assert.fail();
  };
  const open = () => new Meter({ books: store.usage, read: plane.read, clock: () => 0, period: 0 });
  await open().book();
  const next = open();
  await next.book();
  assert.deepEqual(booked(store).total, [7n, 0n, 0n]);
  await next.book();
  assert.deepEqual(settled, [], 'what was not believed is not said to be booked');
  assert.deepEqual(booked(store).total, [8n, 0n, 0n]);
  await next.book();
  assert.deepEqual([...new Set(settled)], ['h1/a']);
  store.close();
});
