/** An overlay answers every question as the state would after the same changes, and leaves the state below alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { compileAll } from '../compile/compile.ts';
import { isRefusal } from '../model/errors.ts';
import type { Change, ResourceKind } from '../model/resources.ts';
import { State, type StateView } from '../model/state.ts';
import { Overlay } from './overlay.ts';

const kinds: readonly ResourceKind[] = [
  'account',
  'key',
  'vpc',
  'subnet',
  'route-table',
  'peering',
  'half-identity',
  'interface',
];
/** Everything a state can be asked, as text. */
function said(state: StateView): string {
  const sorted = (list: readonly unknown[]): readonly string[] => list.map((one) => JSON.stringify(one)).sort();
  const answers: unknown[] = [];
  const parents = kinds.flatMap((kind) => [...state.all(kind)].map(({ id }) => id)).sort();
  for (const kind of kinds) {
    answers.push(kind, sorted([...state.all(kind)]));
    for (const parent of parents) answers.push(sorted(state.children(kind, parent)), state.count(kind, parent));
  }
  for (const half of state.all('peering')) {
    answers.push(half.id, state.half(half.localVpcId, half.remoteVpcId), [...state.tablesTowards(half.id)].sort());
    answers.push(state.named('peering', half.accountId, half.name));
  }
  for (const account of state.all('account')) answers.push(account.id, state.named('account', '', account.name));
  for (const port of state.all('interface')) {
    for (const address of [...port.primary, ...port.secondary])
      answers.push(port.id, state.interfaceAt(port.vpcId, address), sorted(state.interfacesWith(address)));
  }
  return JSON.stringify([answers.map((one) => (Array.isArray(one) ? one : [one])), compileAll(state)]);
}
const ordered = (text: string): string => text.split('"').sort().join('"');

test('an overlay is the state after the changes, and the changes put together are the same changes', () => {
  let changed = 0;
  fc.assert(
    fc.property(fc.array(draw, { maxLength: 60 }), fc.array(draw, { maxLength: 25 }), (before, after) => {
      const ledger = new Ledger();
      populate(ledger);
      const give = (draws: readonly (typeof before)[number][], fold: (changes: readonly Change[]) => void): void => {
        for (const one of draws) {
          const command = commandOf(ledger.view, one);
          const decision = ledger.submit(command, giverOf(ledger, command, one));
          if (!isRefusal(decision)) fold(decision.changes);
        }
      };
      give(before, () => {});
      const below = new State();
      below.apply(
        kinds.flatMap((kind) => [...ledger.state.all(kind)].map((resource) => ({ op: 'put', resource }) as const)),
        1,
      );
      const untouched = said(below);
      const overlay = new Overlay(below);
      give(after, (changes) => {
        overlay.apply(changes);
        changed += changes.length;
      });
      assert.equal(ordered(said(overlay)), ordered(said(ledger.state)));
      assert.equal(said(below), untouched);
      below.apply(overlay.changes, 2);
      assert.equal(ordered(said(below)), ordered(said(ledger.state)));
    }),
    { numRuns: 100 },
  );
  assert.ok(changed > 0);
});
