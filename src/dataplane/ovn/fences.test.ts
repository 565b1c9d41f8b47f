import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isDone, turns } from '../../../test/wire/turns.ts';
import type { VpcId } from '../../model/ids.ts';
import { Fences } from './fences.ts';

const red = 'vpc-red0000000' as VpcId;
const blue = 'vpc-blue000000' as VpcId;
const hour = 3_600_000;
const none: ReadonlySet<VpcId> = new Set();

interface Question {
  readonly host: string;
  readonly number: number;
  /** @param number what it has proven; the number that it was asked for by default */
  readonly answer: (number?: number) => void;
  readonly refuse: (why?: string) => void;
}

/** Hosts that answer when the test says so. */
class AskedHosts {
  readonly up: Set<string>;
  readonly questions: Question[] = [];
  readonly #listeners: ((host: string) => void)[] = [];
  constructor(...up: readonly string[]) {
    this.up = new Set(up);
  }
  connected(): ReadonlySet<string> {
    return this.up;
  }
  fence(host: string, number: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const answer = (proven = number): void => resolve(proven);
      this.questions.push({ host, number, answer, refuse: (why = 'no') => reject(new Error(why)) });
    });
  }
  onConnected(listener: (host: string) => void): void {
    this.#listeners.push(listener);
  }
  connect(host: string): void {
    this.up.add(host);
    for (const listener of this.#listeners) listener(host);
  }
  /** The newest question that a host was asked. */
  asked(host: string): Question {
    const found = this.questions.findLast((question) => question.host === host);
    assert.ok(found, `${host} was asked nothing`);
    return found;
  }
}

function make(t: TestContext, hosts: AskedHosts, patience = hour, grace = 5): Fences {
  const fences = new Fences(hosts, patience, grace);
  t.after(() => fences.close());
  return fences;
}
const set = (...hosts: readonly string[]): ReadonlySet<string> => new Set(hosts);
/** The same hosts for each of them. */
const concern = (vpcIds: readonly VpcId[], hosts: ReadonlySet<string>) =>
  new Map(vpcIds.map((vpcId) => [vpcId, hosts]));

test('a change is over when each of its hosts has proven it, and no other is asked', async (t) => {
  const hosts = new AskedHosts('h1', 'h2', 'h3');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1', 'h2')), 7, new Set([red]));
  assert.deepEqual(
    hosts.questions.map(({ host, number }) => [host, number]),
    [
      ['h1', 7],
      ['h2', 7],
    ],
  );
  hosts.asked('h1').answer();
  assert.equal(await isDone(over), false);
  assert.deepEqual(fences.owed(), [], 'what is waited for is not owed yet');
  hosts.asked('h2').answer();
  await over;
  assert.deepEqual(fences.owed(), []);
  assert.equal(fences.count, 1);
});

test('what is proven is not asked again, whatever kind of change it was', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const added = fences.wait(concern([red], set('h1')), 3, none);
  hosts.asked('h1').answer(9);
  await added;
  await fences.wait(concern([red], set('h1')), 9, new Set([red]));
  assert.equal(hosts.questions.length, 1);
});

test('many changes meanwhile cost one more question', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const all = [1, 2, 3, 4, 5].map((number) => fences.wait(concern([red], set('h1')), number, new Set([red])));
  hosts.asked('h1').answer(1);
  await turns();
  assert.deepEqual(
    hosts.questions.map(({ number }) => number),
    [1, 5],
  );
  hosts.asked('h1').answer();
  await Promise.all(all);
});

test('a host that is away is named, asked when it is back, and named no more when it has proven', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  let told = 0;
  fences.onOwedChange(() => told++);
  const over = fences.wait(concern([red, blue], set('h1', 'h3')), 4, new Set([red, blue]));
  hosts.asked('h1').answer();
  await over;
  assert.deepEqual(fences.owed(), [
    { vpcId: blue, notFencedOn: ['h3'], notInstalledOn: [] },
    { vpcId: red, notFencedOn: ['h3'], notInstalledOn: [] },
  ]);
  assert.equal(told, 1);
  hosts.connect('h3');
  assert.equal(hosts.asked('h3').number, 4);
  hosts.asked('h3').answer();
  await turns();
  assert.deepEqual(fences.owed(), []);
  assert.equal(told, 2);
});

test('a debt is paid by the number it was made with, also when newer ones follow', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  await fences.wait(concern([red], set('h3')), 4, new Set([red]));
  await fences.wait(concern([blue], set('h3')), 6, new Set([blue]));
  // A later change of red concerns other hosts only: h3 still owes the earlier one, and no more.
  const later = fences.wait(concern([red], set('h1')), 8, new Set([red]));
  hosts.asked('h1').answer();
  await later;
  hosts.connect('h3');
  hosts.asked('h3').answer(5);
  await turns();
  assert.deepEqual(fences.owed(), [{ vpcId: blue, notFencedOn: ['h3'], notInstalledOn: [] }]);
  hosts.asked('h3').answer(6);
  await turns();
  assert.deepEqual(fences.owed(), []);
});

test('what was only added is owed as not installed, and not twice', async (t) => {
  const hosts = new AskedHosts();
  const fences = make(t, hosts);
  await fences.wait(concern([red], set('h3')), 4, none);
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: [], notInstalledOn: ['h3'] }]);
  await fences.wait(concern([red], set('h3')), 5, new Set([red]));
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h3'], notInstalledOn: [] }]);
});

test('a host that was late holds no further reply until it has proven what it was late with', async (t) => {
  const hosts = new AskedHosts();
  const fences = make(t, hosts);
  await fences.wait(concern([red], set('h3')), 4, new Set([red]));
  hosts.connect('h3');
  // It is connected now and does not answer: patience is an hour, and nobody has it.
  await fences.wait(concern([red], set('h3')), 5, new Set([red]));
  await fences.wait(concern([blue], set('h3')), 6, none);
  hosts.asked('h3').answer(4);
  await turns();
  const over = fences.wait(concern([blue], set('h3')), 7, new Set([blue]));
  assert.equal(await isDone(over), false, 'it is waited for again');
  hosts.asked('h3').answer(7);
  await turns();
  await over;
  assert.deepEqual(fences.owed(), []);
});

test('an away host does not shorten the patience with the others', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  await fences.wait(concern([red], set('h3')), 4, new Set([red]));
  const over = fences.wait(concern([red], set('h1', 'h3')), 5, new Set([red]));
  assert.equal(await isDone(over), false);
  hosts.asked('h1').answer();
  await over;
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h3'], notInstalledOn: [] }]);
});

test('a host that does not answer in time is named although it is connected', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts, 20);
  await fences.wait(concern([red], set('h1')), 4, new Set([red]));
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h1'], notInstalledOn: [] }]);
  hosts.asked('h1').answer();
  await turns();
  assert.deepEqual(fences.owed(), []);
});

test('a host that refuses is asked again', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1')), 4, new Set([red]));
  hosts.asked('h1').refuse();
  while (hosts.questions.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  hosts.asked('h1').answer();
  await over;
});

test('a question that the lost connection swallowed is put again, and a late answer to it still counts', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1')), 4, new Set([red]));
  const swallowed = hosts.asked('h1');
  hosts.up.delete('h1');
  hosts.connect('h1');
  assert.equal(hosts.questions.length, 2);
  swallowed.answer();
  await over;
  hosts.asked('h1').answer();
  await turns();
  assert.equal(hosts.questions.length, 2, 'only one of the two goes on asking');
});

test('a lower answer that comes late takes nothing back of what is proven', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1')), 4, new Set([red]));
  const swallowed = hosts.asked('h1');
  hosts.connect('h1');
  hosts.asked('h1').answer(9);
  await over;
  swallowed.answer(4);
  await turns();
  assert.equal(await isDone(fences.wait(concern([red], set('h1')), 9, new Set([red]))), true);
  assert.equal(hosts.questions.length, 2, 'nor is it asked for again');
  assert.equal(await isDone(fences.wait(concern([red], set('h1')), 10, new Set([red]))), false, 'the control');
});

test('a debt is not lessened by an older change that is given up after it', async (t) => {
  const hosts = new AskedHosts();
  const fences = make(t, hosts);
  fences.owe([red], 9, set('h3'));
  await fences.wait(concern([red], set('h3')), 4, new Set([red]));
  hosts.connect('h3');
  hosts.asked('h3').answer(8);
  await turns();
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h3'], notInstalledOn: [] }]);
  hosts.asked('h3').answer(9);
  await turns();
  assert.deepEqual(fences.owed(), []);
});

test('a host that is removed owes nothing, and who waits for it is released', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  await fences.wait(concern([red], set('h3')), 4, new Set([red]));
  let told = 0;
  fences.onOwedChange(() => told++);
  fences.forget('h3');
  assert.deepEqual(fences.owed(), []);
  assert.equal(told, 1);
  const over = fences.wait(concern([red], set('h1')), 5, new Set([red]));
  assert.equal(await isDone(over), false);
  fences.forget('h1');
  await over;
  assert.deepEqual(fences.owed(), []);
  hosts.asked('h1').answer();
  await turns();
  assert.deepEqual(fences.owed(), [], 'nor does what it says later bring it back');
});

test('a host that was removed is not asked for what comes after, whatever is still bound there, until it is back', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  fences.forget('h3');
  fences.owe([blue], 4, set('h3'));
  const over = fences.wait(concern([red], set('h1', 'h3')), 5, new Set([red]));
  hosts.asked('h1').answer();
  await over;
  assert.deepEqual(fences.owed(), []);
  hosts.connect('h3');
  const again = fences.wait(concern([red], set('h3')), 6, new Set([red]));
  assert.equal(await isDone(again), false, 'the control: another machine of that name counts');
  assert.equal(hosts.asked('h3').number, 6);
  hosts.asked('h3').answer();
  await again;
});

test('what an earlier process may have left open is owed at once, until it is proven', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  fences.owe([red, blue], 9, set('h1', 'h3'));
  assert.deepEqual(
    fences.owed().map(({ notFencedOn }) => notFencedOn),
    [
      ['h1', 'h3'],
      ['h1', 'h3'],
    ],
  );
  assert.equal(hosts.asked('h1').number, 9);
  hosts.asked('h1').answer();
  await turns();
  assert.deepEqual(
    fences.owed().map(({ notFencedOn }) => notFencedOn),
    [['h3'], ['h3']],
  );
});

test('what a host has proven already an earlier process did not leave open there', async (t) => {
  const hosts = new AskedHosts('h1', 'h2');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1')), 9, new Set([red]));
  hosts.asked('h1').answer();
  await over;
  fences.owe([red], 9, set('h1', 'h2'));
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h2'], notInstalledOn: [] }]);
});

test('closing releases who waits, and tells what is owed', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts);
  const over = fences.wait(concern([red], set('h1')), 5, new Set([red]));
  fences.close();
  await over;
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h1'], notInstalledOn: [] }]);
});

test('of changes that shared a transaction each VPC is told of its own hosts', async (t) => {
  const hosts = new AskedHosts('h1', 'h2');
  const fences = make(t, hosts);
  const over = fences.wait(
    new Map([
      [red, set('h1', 'h3')],
      [blue, set('h2')],
    ]),
    5,
    new Set([red, blue]),
  );
  for (const host of ['h1', 'h2']) hosts.asked(host).answer();
  await over;
  assert.deepEqual(fences.owed(), [{ vpcId: red, notFencedOn: ['h3'], notInstalledOn: [] }]);
});

test('of changes that shared a transaction only the VPC that lost something is not fenced', async (t) => {
  const hosts = new AskedHosts();
  const fences = make(t, hosts);
  await fences.wait(concern([red, blue], set('h3')), 5, new Set([blue]));
  assert.deepEqual(fences.owed(), [
    { vpcId: blue, notFencedOn: ['h3'], notInstalledOn: [] },
    { vpcId: red, notFencedOn: [], notInstalledOn: ['h3'] },
  ]);
});

test('why a host does not prove what it owes is told, the newest of it, until it does', async (t) => {
  const hosts = new AskedHosts('h1');
  const fences = make(t, hosts, 5);
  await fences.wait(concern([red], set('h1')), 5, new Set([red]));
  const told = (): unknown => fences.owed().map(({ problems }) => problems);
  assert.deepEqual(told(), [undefined]);
  let times = 0;
  fences.onOwedChange(() => times++);
  const refused = async (why: string): Promise<void> => {
    const before = hosts.questions.length;
    hosts.asked('h1').refuse(why);
    while (hosts.questions.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  for (const why of ['no vswitchd', 'no vswitchd', 'no socket']) await refused(why);
  assert.deepEqual([told(), times], [[{ h1: 'no socket' }], 2]);
  hosts.asked('h1').answer();
  await turns();
  assert.deepEqual([fences.owed(), times], [[], 3]);
});
