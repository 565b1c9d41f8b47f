/**
 * Two servers on one store, eight clients, 2,000 commands, one server killed half way. What each client saw must be
 * explained, VPC by VPC, by one order of the commands; and the journal, both servers and the plane must tell the same.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import pg from 'pg';
import type { Change } from '../../src/model/resources.ts';
import { judge } from '../ledger/linearizable.ts';
import { startPostgres, until } from '../store/postgres-server.ts';
import { cannotRun } from '../wire/lab.ts';
import {
  type Answer,
  Caller,
  type Key,
  type VpcContent,
  type VpcInput,
  type VpcOperation,
  type VpcOutput,
  vpcModel,
} from './history.ts';
import { House } from './house.ts';

const clients = 8;
const commandsOfEach = 250;
/** VPCs at a time: few, so that several clients are at the same one. */
const alive = 4;
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Track {
  readonly vpcId: string;
  readonly operations: VpcOperation[];
}
interface Seen {
  readonly vpcId: string;
  readonly answer: Answer;
}
interface Status {
  readonly revision: number;
  readonly appliedRevision: number;
  readonly planeProblem: string | null;
  readonly leads: boolean;
}
interface Committed {
  readonly revision: number;
  readonly request_id: string;
  readonly changes: readonly Change[];
}

/** What the journal says that each VPC was at each revision. */
function fold(journal: readonly Committed[]): (vpcId: string, revision: number) => VpcContent | null {
  const past = new Map<string, { readonly since: number; readonly content: VpcContent | null }[]>();
  for (const { revision: since, changes } of journal) {
    for (const change of changes) {
      const { kind, id } = change.op === 'put' ? change.resource : change;
      if (kind !== 'vpc') continue;
      const vpc = change.op === 'put' && change.resource.kind === 'vpc' ? change.resource : null;
      const content = vpc === null ? null : { description: vpc.description, cidrs: vpc.cidrs };
      past.set(id, [...(past.get(id) ?? []), { since, content }]);
    }
  }
  return (vpcId, revision) => past.get(vpcId)?.findLast(({ since }) => since <= revision)?.content ?? null;
}
const read = (content: VpcContent | null): VpcOutput =>
  content === null ? { kind: 'not-found' } : { kind: 'found', vpc: content };

test(`${clients} clients of two servers, one killed: one order explains all that they saw, seed ${seed}`, {
  skip: cannotRun,
  timeout: 180_000,
}, async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const store = await postgres.database('history');
  const houses = [
    await House.start(t, { driver: 'fake', store }),
    await House.start(t, { driver: 'fake', store }),
  ] as const;
  const [first] = houses;
  const { accountId } = (await first.admin.call('POST', '/accounts', { name: 'red' })) as { accountId: string };
  await first.admin.call('PATCH', `/accounts/${accountId}`, { requestsPerSecond: 10_000 });
  await first.admin.call('PUT', `/accounts/${accountId}/quotas/vpc`, { maxLimit: 1000 });
  const key = (await first.admin.call('POST', `/accounts/${accountId}/keys`, {})) as Key;
  const caller = new Caller(key);
  t.after(() => caller.close());
  const urls = houses.map(({ service }) => service.ready.url);
  for (const url of urls) {
    await until('the key is known', async () => {
      const met = await caller.ask(url, 'vpc-none', { kind: 'read' }).catch(() => 'nobody' as const);
      return typeof met !== 'string';
    });
  }

  let state = seed;
  const below = (n: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % n;
  };
  const tracks: Track[] = [];
  const creates: { readonly token: string; readonly vpcId: string }[] = [];
  const acknowledged: { readonly vpcId: string; readonly input: VpcInput; readonly answer: Answer }[] = [];
  const seen: Seen[] = [];
  /** The newest revision that each server has answered at. */
  const answered = [0, 0];
  /** What anybody was told. A read that carries it must know all that was answered before it. */
  let newest = 0;
  let [commands, unknown, nobody, stale] = [0, 0, 0, 0];
  let killed: House | null = null;

  /** One command, on the record: to that server, or to the other when nobody is there. */
  async function ask(server: number, track: Track, input: VpcInput, atLeast?: number): Promise<void> {
    const [called, told, known] = [performance.now(), newest, answered[server] ?? 0];
    const met = await caller.ask(urls[server] ?? '', track.vpcId, input, atLeast === undefined ? {} : { atLeast });
    const returned = performance.now();
    if (met === 'nobody') {
      nobody++;
      await pause(5);
      return ask(1 - server, track, input, atLeast);
    }
    if (met === 'unknown') {
      unknown++;
      if (input.kind !== 'read') track.operations.push({ input, called, end: null });
      return;
    }
    assert.ok(Number.isInteger(met.revision), `every answer says its revision: ${input.kind} ${met.output.kind}`);
    assert.ok(met.revision >= known, 'a server never goes back, also when it was killed');
    answered[server] = Math.max(answered[server] ?? 0, met.revision);
    if (input.kind === 'read') seen.push({ vpcId: track.vpcId, answer: met });
    else acknowledged.push({ vpcId: track.vpcId, input, answer: met });
    if (input.kind === 'read' && atLeast === undefined) {
      if (met.revision < told) stale++;
      return; // it promises less
    }
    newest = Math.max(newest, met.revision);
    track.operations.push({ input, called, end: { returned, output: met.output } });
  }
  /** Makes a VPC, and asks again with the same token until somebody says that it is there. */
  async function create(server: number): Promise<void> {
    const token = randomUUID();
    const input = { kind: 'create', description: 'new' } as const;
    const called = performance.now();
    for (let tries = 0; ; tries++) {
      const met = await caller.ask(urls[(server + tries) % 2] ?? '', '', input, { token });
      if (met === 'unknown') unknown++;
      if (typeof met === 'string') {
        await pause(5);
        continue;
      }
      assert.ok(met.vpcId !== null && met.output.kind === 'done');
      newest = Math.max(newest, met.revision);
      const operation: VpcOperation = { input, called, end: { returned: performance.now(), output: met.output } };
      tracks.push({ vpcId: met.vpcId, operations: [operation] });
      creates.push({ token, vpcId: met.vpcId });
      return;
    }
  }
  for (let n = 0; n < alive; n++) await create(n % 2);

  async function client(): Promise<void> {
    for (let n = 0; n < commandsOfEach; n++) {
      const server = below(2);
      const track = tracks.at(-1 - below(alive + 1)) ?? tracks[0];
      assert.ok(track !== undefined);
      const word = below(100);
      const cidr = `172.${16 + below(2)}.0.0/16`;
      if (word < 3) await create(server);
      else if (word < 5) await ask(server, track, { kind: 'delete' });
      else if (word < 40) await ask(server, track, { kind: 'describe', description: `d${below(3)}` });
      else await ask(server, track, { kind: word < 70 ? 'add' : 'remove', cidr });
      commands++;
      const other = below(2);
      if (below(2) === 0) await ask(other, track, { kind: 'read' }, newest);
      if (below(4) === 0) await ask(other, track, { kind: 'read' });
      if (killed === null && commands >= (clients * commandsOfEach) / 2) {
        killed = houses[0];
        houses[0].kill('region');
      }
    }
  }
  const began = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const seconds = (performance.now() - began) / 1000;
  const statusOf = async (house: House): Promise<Status> => (await house.admin.call('GET', '/status')) as Status;
  for (const house of houses) {
    await until('it is there and agrees', () =>
      statusOf(house).then(
        ({ revision, appliedRevision, planeProblem }) => planeProblem === null && appliedRevision === revision,
        () => false,
      ),
    );
  }
  t.diagnostic(
    `${commands} commands and ${seen.length} reads in ${seconds.toFixed(1)} s; ${nobody} met nobody, ${unknown} unknown, ` +
      `${stale} of ${seen.length} reads without a revision were behind`,
  );
  assert.equal(commands, clients * commandsOfEach);
  assert.ok(nobody > 0, 'the control: a server was away');

  const db = new pg.Client({ connectionString: store });
  await db.connect();
  const rows = await db.query('select revision::int, request_id, changes from isthmus.journal order by revision');
  await db.end();
  const journal = rows.rows.map((row) => ({ ...row, changes: JSON.parse(row.changes) }) as Committed);
  const head = journal.length;
  assert.deepEqual(
    journal.map(({ revision }) => revision),
    journal.map((_, index) => index + 1),
    'no gap and nothing twice',
  );
  const contentAt = fold(journal);

  // Each acknowledged command that changed something is one entry; each VPC was made once, whatever became of the answer.
  const entries = Map.groupBy(journal, ({ request_id }) => request_id);
  let changed = 0;
  for (const { vpcId, input, answer } of acknowledged) {
    const made = entries.get(answer.requestId) ?? [];
    if (answer.output.kind !== 'done') assert.deepEqual(made, [], `refused, and stored: ${JSON.stringify(input)}`);
    else if (input.kind !== 'describe' || made.length > 0) {
      assert.equal(made.length, 1, `${vpcId} ${JSON.stringify(input)} ${JSON.stringify(answer)}`);
      assert.ok((made[0]?.revision ?? 0) <= answer.revision);
      changed++;
    }
  }
  assert.ok(changed > 500, `the control: ${changed} changed something`);
  assert.equal(new Set(creates.map(({ vpcId }) => vpcId)).size, creates.length);
  const born = journal.flatMap(({ changes }) =>
    changes.filter((change) => change.op === 'put' && change.resource.kind === 'client-token'),
  );
  assert.equal(born.length, creates.length, 'one for each token');

  // Both servers, and what the plane was told.
  for (const url of urls) {
    for (const { vpcId } of tracks) {
      const met = await caller.ask(url, vpcId, { kind: 'read' }, { atLeast: head });
      assert.ok(typeof met !== 'string');
      assert.deepEqual(met.output, read(contentAt(vpcId, head)));
    }
  }
  const statuses = await Promise.all(houses.map(statusOf));
  assert.deepEqual(
    statuses.map(({ revision, appliedRevision }) => [revision, appliedRevision]),
    [
      [head, head],
      [head, head],
    ],
    'the plane holds it',
  );
  assert.deepEqual(statuses.filter(({ leads }) => leads).length, 1);

  // Each read, also one that demands nothing, is the state of one revision: the one that it says.
  for (const { vpcId, answer } of seen) {
    assert.deepEqual(answer.output, read(contentAt(vpcId, answer.revision)), `${vpcId} at ${answer.revision}`);
  }

  // One order for each VPC. Were the last read as stale as the first, there would be none.
  let controls = 0;
  for (const { vpcId, operations } of tracks) {
    const judgement = judge(vpcModel, operations);
    assert.equal(judgement.kind, 'linearizable', `${vpcId}: ${JSON.stringify(judgement)}`);
    const at = operations.findLastIndex(({ end }) => end?.output.kind === 'found');
    const last = operations[at];
    const stale = operations.find(({ end }) => end?.output.kind === 'found')?.end?.output;
    if (last?.end == null || stale === undefined) continue;
    const damaged = operations.with(at, { ...last, end: { ...last.end, output: stale } });
    if (judge(vpcModel, damaged).kind === 'impossible') controls++;
  }
  assert.ok(controls > 0, 'the control: a stale read is found');
});
