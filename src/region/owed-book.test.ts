import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Owed } from '../dataplane/driver.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Change, PeeringHalf, Resource } from '../model/resources.ts';
import { type Behind, behindOn, OwedBook, type OwedSubject, owedByVpc } from './owed-book.ts';

const [a, b, c] = ['vpc-a', 'vpc-b', 'vpc-c'] as unknown as readonly [VpcId, VpcId, VpcId];
const half = (from: VpcId, to: VpcId, state: PeeringHalf['state']): PeeringHalf => ({
  kind: 'peering',
  id: `${from}>${to}` as HalfId,
  accountId: `of ${from}` as AccountId,
  localVpcId: from,
  remoteVpcId: to,
  name: 'h',
  description: '',
  state,
  createdTime: '',
});
const owes = (vpcId: VpcId, notFencedOn: readonly string[], notInstalledOn: readonly string[] = []): Owed => ({
  vpcId,
  notFencedOn,
  notInstalledOn,
});

/** A book whose first word was that nothing is owed, and what it tells from then on. */
function opened(first: readonly Owed[] = []) {
  const told: string[] = [];
  const touched: string[] = [];
  const clock = { now: 1000 };
  const say = (subject: OwedSubject, { notFencedOn, notInstalledOn }: Behind): void => {
    const of = subject.kind === 'half' ? subject.halfId : subject.vpcId;
    told.push(`${subject.accountId}: ${of} fence[${notFencedOn.join()}] install[${notInstalledOn.join()}]`);
  };
  const book = new OwedBook(
    () => clock.now,
    (vpcId) => (vpcId === c ? undefined : (`of ${vpcId}` as AccountId)),
    { touched: (vpcId, quiet) => touched.push(quiet ? `${vpcId} quietly` : vpcId), news: say },
  );
  const news = (): readonly string[] => told.splice(0);
  book.take(first, 1);
  return { book, news, touched, clock };
}
/** What changes say, and how it was. */
const changes = (...pairs: readonly (readonly [before: Resource, after: Resource | null])[]) => {
  const list = pairs.map(
    ([old, now]): Change =>
      now === null ? ({ op: 'delete', kind: old.kind, id: old.id } as Change) : { op: 'put', resource: now },
  );
  const before = (_: string, id: string): Resource | undefined => pairs.find(([old]) => old.id === id)?.[0];
  return [list, before] as const;
};
const deleted = changes([half(a, b, 'Connected'), null], [half(b, a, 'Connected'), half(b, a, 'Disconnected')]);

test('a VPC that hosts owe is told once when it begins and once when it ends', () => {
  const { book, news, touched } = opened();
  book.take([owes(a, ['h3'], ['h2'])], 2);
  assert.deepEqual(news(), ['of vpc-a: vpc-a fence[h3] install[h2]']);
  book.take([owes(a, ['h3'], ['h2'])], 3);
  assert.deepEqual(news(), [], 'nothing is new');
  book.take([owes(a, ['h3'])], 3);
  assert.deepEqual(news(), ['of vpc-a: vpc-a fence[h3] install[]']);
  book.take([], 3);
  assert.deepEqual(news(), ['of vpc-a: vpc-a fence[] install[]']);
  assert.deepEqual(touched, [a, a, a]);
  assert.equal(book.vpcs, 0);
});

test('an ended peering is said to be open on both sides, on the hosts that owed it then, until they have caught up', () => {
  const { book, news } = opened();
  book.changed(...deleted, 5);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), [], 'not before the plane has spoken');
  book.take([owes(a, ['h9'])], 4);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), [], 'of an earlier revision it says nothing');
  news();
  book.take([owes(a, ['h3']), owes(b, ['h3'])], 5);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), ['h3']);
  assert.deepEqual(news().slice(2), [
    'of vpc-a: vpc-a>vpc-b fence[h3] install[]',
    'of vpc-b: vpc-b>vpc-a fence[h3] install[]',
  ]);
  // Something else of the other side's, on another host: not to be learnt from the old half.
  book.take([owes(a, ['h3', 'h4']), owes(b, ['h3'])], 6);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), ['h3']);
  book.take([owes(a, ['h4'])], 6);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), [], 'h3 has caught up');
  assert.ok(news().includes('of vpc-b: vpc-b>vpc-a fence[] install[]'), 'and that is told');
  book.take([owes(a, ['h3', 'h4'])], 7);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), [], 'what h3 owes later is of something else');
});

test('a half that never was Connected says nothing of the other side’s hosts', () => {
  const { book } = opened();
  book.take([owes(a, ['h3'])], 2);
  assert.deepEqual(book.ofHalf(half(b, a, 'Initiated')), []);
  assert.deepEqual(book.of(a).notFencedOn, ['h3'], 'the control: its owner sees it');
});

test('a peering that is made again has nothing to fence', () => {
  const { book, news } = opened();
  book.changed(...deleted, 5);
  book.take([owes(a, ['h3']), owes(b, ['h3'])], 5);
  news();
  book.changed(...changes([half(b, a, 'Disconnected'), half(b, a, 'Connected')]), 6);
  assert.deepEqual(book.ofHalf(half(b, a, 'Connected')), []);
  assert.deepEqual(news(), ['of vpc-a: vpc-a>vpc-b fence[] install[]', 'of vpc-b: vpc-b>vpc-a fence[] install[]']);
});

test('the owner of a VPC that is gone is told too, until it is fenced', () => {
  const { book, news } = opened();
  const vpc = { kind: 'vpc', id: c, accountId: 'of vpc-c' } as unknown as Resource;
  book.changed(...changes([vpc, null]), 5);
  book.take([owes(c, ['h3'])], 5);
  book.take([], 5);
  assert.deepEqual(news(), ['of vpc-c: vpc-c fence[h3] install[]', 'of vpc-c: vpc-c fence[] install[]']);
});

test('what a start finds open is shown, and told only when it lasts', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const quick = opened([owes(a, ['h3'])]);
  assert.deepEqual(quick.book.of(a).notFencedOn, ['h3']);
  quick.clock.now += 1000;
  quick.book.take([], 1);
  assert.deepEqual(quick.news(), []);
  const slow = opened([owes(a, ['h3'])]);
  assert.deepEqual(slow.touched, ['vpc-a quietly']);
  t.mock.timers.tick(10_000);
  assert.deepEqual(slow.touched, ['vpc-a quietly', 'vpc-a']);
  assert.deepEqual(quick.touched, ['vpc-a quietly', 'vpc-a'], 'by its end, not by the time');
  slow.clock.now += 60_000;
  slow.book.take([], 1);
  assert.deepEqual(slow.news(), ['of vpc-a: vpc-a fence[] install[]']);
});

test('after a start it is not known what hosts have fenced: old halves count as open where something is owed', () => {
  const book = new OwedBook(
    () => 0,
    () => undefined,
    { touched: () => {}, news: () => {} },
  );
  book.doubt([half(b, a, 'Disconnected'), half(c, a, 'Initiated')], 9);
  book.take([owes(a, ['h3'])], 9);
  assert.deepEqual(book.ofHalf(half(b, a, 'Disconnected')), ['h3']);
  assert.deepEqual(book.ofHalf(half(c, a, 'Initiated')), [], 'but not those that never were Connected');
});

test('by host: what it owes, since when, and some of the VPCs', () => {
  const { book, clock } = opened();
  book.take([owes(a, ['h3'])], 2);
  clock.now = 5000;
  book.take([owes(a, ['h3']), { ...owes(b, [], ['h3', 'h2']), problems: { h3: 'no vswitchd' } }], 3);
  assert.deepEqual(book.byHost(), [
    { host: 'h2', notFenced: 0, notInstalled: 1, since: 5000, vpcIds: [b], problem: null },
    { host: 'h3', notFenced: 1, notInstalled: 1, since: 1000, vpcIds: [a, b], problem: 'no vswitchd' },
  ]);
  assert.equal(book.vpcs, 2);
  assert.ok(!('problems' in book.of(b)), 'what a host says of itself is not for tenants');
});

test('of several VPCs together each host counts once, and a cut weighs more', () => {
  const owed = owedByVpc([owes(a, ['h3'], ['h2']), owes(b, ['h2'])]);
  assert.deepEqual(behindOn(owed, new Set([a])), { notFencedOn: ['h3'], notInstalledOn: ['h2'] });
  assert.deepEqual(behindOn(owed, new Set([a, b, c])), { notFencedOn: ['h2', 'h3'], notInstalledOn: [] });
  assert.deepEqual(behindOn(owed, new Set([c])), { notFencedOn: [], notInstalledOn: [] });
});
