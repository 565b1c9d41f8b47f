import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HalfId } from '../../model/ids.ts';
import { Counts } from './counts.ts';
import type { HostReading, MeterRequest } from './hosts.ts';

const half = 'vpcpr-redblue00' as HalfId;
const hour = 3_600_000;
const carried = (life: string, packets: number): HostReading => ({
  running: [{ halfId: half, life, packets: BigInt(packets), bytes: BigInt(packets * 100) }],
  retired: [],
});

interface Question {
  readonly host: string;
  readonly request: MeterRequest;
  readonly answer: (packets: number) => void;
  readonly refuse: () => void;
}
/** Hosts that answer when the test says so, and what they are asked for. */
class AskedHosts {
  readonly up: Set<string>;
  readonly questions: Question[] = [];
  halves: MeterRequest['halves'] = [[half, 'a']];
  epoch = 'first';
  /** Hosts that answer at once, and with what. */
  readonly prompt = new Map<string, number>();
  constructor(...up: readonly string[]) {
    this.up = new Set(up);
  }
  connected(): ReadonlySet<string> {
    return this.up;
  }
  meter(host: string, request: MeterRequest): Promise<HostReading> {
    const packets = this.prompt.get(host);
    if (packets !== undefined) return Promise.resolve(carried(`life on ${host}`, packets));
    return new Promise((resolve, reject) => {
      const answer = (packets: number): void => resolve(carried(`life on ${host}`, packets));
      this.questions.push({ host, request, answer, refuse: () => reject(new Error('no')) });
    });
  }
  counts(patience = hour, cutPatience = hour): Counts {
    const request = () => ({ epoch: this.epoch, halves: this.halves });
    return new Counts({ hosts: this, request }, patience, cutPatience);
  }
  /** The newest question that a host was asked. */
  async asked(host: string, number = 1): Promise<Question> {
    for (;;) {
      const own = this.questions.filter((question) => question.host === host);
      if (own.length > number) assert.fail(`${host} was asked ${own.length} times`);
      const last = own[number - 1];
      if (last !== undefined) return last;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
const packetsOf = (sums: Awaited<ReturnType<Counts['sums']>>): number => sums.get(half)?.packets ?? 0;

test('a hundred who ask at once are answered by two readings, none of them older than the question', async () => {
  const hosts = new AskedHosts('h1', 'h2');
  const counts = hosts.counts();
  const first = counts.sums();
  for (const host of hosts.up) await hosts.asked(host);
  const hundred = Array.from({ length: 100 }, () => counts.sums());
  for (const host of hosts.up) (await hosts.asked(host)).answer(1);
  assert.equal(packetsOf(await first), 2);
  for (const host of hosts.up) (await hosts.asked(host, 2)).answer(5);
  for (const sums of await Promise.all(hundred)) assert.equal(packetsOf(sums), 10);
  assert.equal(hosts.questions.length, 4);
});

test('what is booked is told with the reading that all share', async () => {
  const hosts = new AskedHosts('h1');
  const counts = hosts.counts();
  const all = [counts.read(['a']), counts.read([]), counts.read(['b', 'a'])];
  const { request, answer } = await hosts.asked('h1');
  assert.deepEqual(request.booked, ['a', 'b']);
  answer(1);
  const readings = await Promise.all(all);
  assert.deepEqual(
    readings.map(({ running }) => running[0]?.packets),
    [1n, 1n, 1n],
  );
});

test('a host that does not answer counts with what it told last, and is asked nothing more meanwhile', async () => {
  const hosts = new AskedHosts('h1', 'h2');
  const counts = hosts.counts(5);
  hosts.prompt.set('h1', 3).set('h2', 3);
  assert.equal(packetsOf(await counts.sums()), 6);
  hosts.prompt.delete('h2');
  hosts.prompt.set('h1', 4);
  const { running, from } = await counts.read([]);
  assert.deepEqual([running.map(({ packets }) => packets), [...from]], [[4n], ['h1']]);
  hosts.prompt.set('h1', 5);
  for (let times = 0; times < 3; times++) assert.equal(packetsOf(await counts.sums()), 8);
  const hung = await hosts.asked('h2');
  hosts.prompt.set('h2', 10);
  hung.answer(9);
  assert.equal(packetsOf(await counts.sums()), 15);
});

test('a host that is away keeps its count, until the half goes or the plane begins anew', async () => {
  const hosts = new AskedHosts('h1', 'h2');
  const counts = hosts.counts();
  const first = counts.sums();
  for (const host of hosts.up) (await hosts.asked(host)).answer(3);
  await first;
  hosts.up.delete('h2');
  const second = counts.sums();
  (await hosts.asked('h1', 2)).answer(4);
  assert.equal(packetsOf(await second), 7);
  hosts.halves = [];
  const third = counts.sums();
  (await hosts.asked('h1', 3)).refuse();
  assert.equal(packetsOf(await third), 0);
  hosts.halves = [[half, 'b']];
  hosts.epoch = 'second';
  const fourth = counts.sums();
  (await hosts.asked('h1', 4)).answer(1);
  assert.equal(packetsOf(await fourth), 1);
});

test('before a cut its hosts alone are asked, and it waits for none that does not answer at once', async () => {
  const hosts = new AskedHosts('h1', 'h2', 'h3');
  const counts = hosts.counts(hour, 5);
  await counts.beforeCut(new Set(['h1', 'h2', 'away']));
  assert.deepEqual(
    hosts.questions.map(({ host }) => host),
    ['h1', 'h2'],
  );
  // Nor twice for one that hangs; and what it says later counts.
  await counts.beforeCut(new Set(['h1']));
  (await hosts.asked('h1')).answer(7);
  hosts.prompt.set('h1', 8).set('h2', 1).set('h3', 1);
  (await hosts.asked('h2')).refuse();
  assert.equal(packetsOf(await counts.sums()), 10);
});

test('what a host is not believed is in no sum', async () => {
  const hosts = new AskedHosts('h1', 'h2');
  const [honest, strange] = [carried('h1/a', 5), carried('h2/b', 9)];
  const told = new Map([
    ['h1', honest],
    ['h2', { ...strange, running: strange.running.map((one) => ({ ...one, doubtful: true as const })) }],
  ]);
  const counts = new Counts({
    hosts: { connected: () => hosts.up, meter: async (host) => told.get(host) ?? assert.fail() },
    request: () => ({ epoch: 'first', halves: [[half, 'a']] }),
  });
  assert.equal(packetsOf(await counts.sums()), 5);
  const { running, from } = await counts.read([]);
  assert.deepEqual([running.length, [...from].sort()], [2, ['h1', 'h2']], 'who keeps the books hears of it');
});
