/** Work that holds everybody up is counted for each account, and comes back with time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccountId } from '../model/ids.ts';
import { Budget } from './budget.ts';
import { Refused } from './refused.ts';

test('an account that has used its share up waits, nobody else does, and it has it again later', () => {
  let now = 0;
  const budget = new Budget(
    () => now,
    () => now,
  );
  const [red, blue] = ['acct-red' as AccountId, 'acct-blue' as AccountId];
  const work = (account: AccountId | null): string =>
    budget.spend(account, () => {
      now += 800;
      return 'done';
    });
  work(red);
  work(red);
  assert.throws(
    () => work(red),
    (error: unknown) =>
      error instanceof Refused && error.refusal.code === 'too-much-work' && error.refusal.http === 429,
  );
  assert.equal(work(blue), 'done');
  assert.equal(work(null), 'done', 'the operator is never held up');
  now += 5000;
  assert.equal(work(red), 'done');
});

test('work that fails is counted too', () => {
  let now = 0;
  const budget = new Budget(
    () => now,
    () => now,
  );
  const red = 'acct-red' as AccountId;
  const fail = (): never => {
    now += 2000;
    throw new Error('no');
  };
  assert.throws(() => budget.spend(red, fail), /no/);
  assert.throws(() => budget.spend(red, () => 'done'), Refused);
});
