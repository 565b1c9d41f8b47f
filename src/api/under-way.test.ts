import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AccountId } from '../model/ids.ts';
import { Refused } from './refused.ts';
import { UnderWay } from './under-way.ts';

const [one, other] = ['acc-1', 'acc-2'] as readonly string[] as readonly [AccountId, AccountId];

test('an account has so many under way, another its own, and what ended or failed makes room', async () => {
  const readings = new UnderWay(2, 'too-many-readings');
  const held = Promise.withResolvers<void>();
  const first = readings.within(one, () => held.promise);
  const second = readings.within(one, () => held.promise);
  await assert.rejects(
    readings.within(one, async () => {}),
    Refused,
  );
  assert.equal(await readings.within(other, async () => 'its own'), 'its own');
  held.reject(new Error('away'));
  await assert.rejects(first, /away/);
  await assert.rejects(second, /away/);
  assert.equal(await readings.within(one, async () => 'again'), 'again');
});
