/**
 * The journal that two servers wrote, held against what their clients saw: nothing twice, nothing missing, every answer
 * right at a revision that it may rest on.
 */
import assert from 'node:assert/strict';
import pg from 'pg';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId } from '../../src/model/ids.ts';
import { type Change, type Resource, resourceKinds } from '../../src/model/resources.ts';
import { State } from '../../src/model/state.ts';
import { decide } from '../../src/rules/decide.ts';
import { CountedIds } from '../ledger/ledger.ts';
import { type Given, isQuestion, viewOf } from './caller.ts';
import type { Notebook } from './notebook.ts';

export interface Entry {
  readonly revision: number;
  readonly request_id: string;
  readonly operation: string;
  readonly changes: readonly Change[];
}
export interface Books {
  readonly journal: readonly Entry[];
  readonly resources: readonly Resource[];
  readonly installationId: string;
}
export async function booksOf(store: string): Promise<Books> {
  const db = new pg.Client({ connectionString: store });
  await db.connect();
  const journal = await db.query(
    'select revision::int, request_id, operation, changes from isthmus.journal order by revision',
  );
  const resources = await db.query('select doc from isthmus.resource');
  const [installation] = (await db.query(`select value from isthmus.meta where name = 'installation'`)).rows;
  await db.end();
  return {
    journal: journal.rows.map((row) => ({ ...row, changes: JSON.parse(row.changes) })),
    resources: resources.rows.map(({ doc }) => JSON.parse(doc)),
    installationId: installation?.value,
  };
}

/** Everything that a state holds, in an order of its own. */
export const everythingOf = (state: State): readonly Resource[] =>
  ordered(resourceKinds.flatMap((kind): Resource[] => [...state.all(kind)]));
export const ordered = (resources: readonly Resource[]): readonly Resource[] =>
  [...resources].sort((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1));

type Answered = Notebook['answered'][number] & { readonly asked: Given };
const commandsOf = (notebook: Notebook): readonly Answered[] =>
  notebook.answered.filter((deed): deed is Answered => !isQuestion(deed.asked));

/**
 * Which entry is which command's. @param since the revision before the first of them
 * @returns how many entries are of commands whose answer was lost
 */
export function matchEntries(journal: readonly Entry[], notebook: Notebook, since: number): number {
  assert.deepEqual(
    journal.map(({ revision }) => revision),
    journal.map((_, index) => index + 1),
    'no gap and nothing twice',
  );
  const commands = commandsOf(notebook);
  const left = new Map(journal.filter(({ revision }) => revision > since).map((entry) => [entry.revision, entry]));
  const byRequest = Map.groupBy(left.values(), ({ request_id }) => request_id);
  const born = birthsIn(journal);
  const take = (deed: Answered, entry: Entry): void => {
    const what = `${JSON.stringify(deed.asked)} ${JSON.stringify(deed.end.answer)} ${entry.revision}`;
    assert.ok(left.delete(entry.revision), `the entry of two commands: ${what}`);
    assert.equal(entry.operation, deed.asked.kind, what);
    assert.ok(entry.revision <= deed.end.answer.revision, `answered before it was stored: ${what}`);
    assert.ok(entry.revision > deed.told, `stored before what was known when it was asked for: ${what}`);
  };
  const retried: Answered[] = [];
  for (const deed of commands) {
    const { asked, end } = deed;
    const entries = byRequest.get(end.answer.requestId) ?? [];
    const [entry] = entries;
    const what = JSON.stringify([asked, end.answer]);
    assert.ok(entries.length <= 1, what);
    if (end.answer.output !== 'done') assert.equal(entry, undefined, `refused, and stored: ${what}`);
    else if (entry !== undefined) take(deed, entry);
    else if (asked.kind.startsWith('create-')) retried.push(deed);
    else assert.equal(asked.kind, 'modify-vpc', `acknowledged, and not stored: ${what}`); // the same description again
  }
  // Asked for once more with the same token, and told of what an earlier try had made.
  for (const deed of retried) {
    const made = deed.end.answer.made ?? '';
    const entry = (born.get(made) ?? []).find(({ revision }) => left.has(revision) && revision > deed.told);
    assert.ok(entry !== undefined, `acknowledged, and not stored: ${JSON.stringify(deed)}`);
    take(deed, entry);
  }
  const made = Map.groupBy(
    commands.filter(({ end }) => end.answer.made !== null),
    ({ end }) => end.answer.made ?? '',
  );
  for (const [id, deeds] of made) assert.equal(born.get(id)?.length, deeds.length, `${id} was made as often as told`);
  const lost = notebook.lost.map(({ asked }) => asked.kind as string);
  for (const { operation, revision } of left.values()) {
    const at = lost.indexOf(operation);
    assert.ok(at >= 0, `nobody asked for ${operation} at ${revision}`);
    lost.splice(at, 1);
  }
  return left.size;
}

/** For each id the entries that made it. */
function birthsIn(journal: readonly Entry[]): ReadonlyMap<string, readonly Entry[]> {
  const born = new Map<string, Entry[]>();
  const there = new Set<string>();
  for (const entry of journal) {
    for (const change of entry.changes) {
      const { id } = change.op === 'put' ? change.resource : change;
      if (change.op === 'delete') there.delete(id);
      else if (!there.has(id)) {
        there.add(id);
        born.set(id, [...(born.get(id) ?? []), entry]);
      }
    }
  }
  return born;
}

/**
 * The state after all entries. On the way each thing that was read must be what the state of that revision holds, each
 * refusal must follow from a state that it may rest on, and whatever was stored must have been allowed.
 */
export function replay(journal: readonly Entry[], notebook: Notebook, accountId: AccountId): State {
  const state = new State();
  const reads = Map.groupBy(notebook.answered, ({ end }) => end.answer.revision);
  const commands = commandsOf(notebook);
  const refused = commands.filter(({ end }) => end.answer.output !== 'done');
  const bySince = Map.groupBy(refused, ({ told }) => told);
  const byRequest = new Map(commands.map((deed) => [deed.end.answer.requestId, deed]));
  const codeOf = (asked: Given): string => {
    const now = '2030-01-01T00:00:00Z';
    const decision = decide(asked, { state, accountId, now, ids: new CountedIds() });
    return isRefusal(decision) ? decision.code : 'done';
  };
  let open: readonly Answered[] = [];
  const look = (revision: number): void => {
    for (const { asked, end } of reads.get(revision) ?? []) {
      if (isQuestion(asked)) {
        assert.equal(end.answer.output, viewOf(state, asked), `${JSON.stringify(asked)} at ${revision}`);
      }
    }
    open = [...open, ...(bySince.get(revision) ?? [])].filter(({ asked, end }) => codeOf(asked) !== end.answer.output);
    const late = open.find(({ end }) => end.answer.revision <= revision);
    assert.equal(late, undefined, `no state refuses it so: ${JSON.stringify(late)}`);
  };
  look(0);
  for (const { revision, request_id, changes } of journal) {
    const deed = byRequest.get(request_id);
    if (deed !== undefined) assert.equal(codeOf(deed.asked), 'done', `${revision}: ${JSON.stringify(deed.asked)}`);
    state.apply(changes, revision);
    look(revision);
  }
  assert.deepEqual(open, []);
  return state;
}
