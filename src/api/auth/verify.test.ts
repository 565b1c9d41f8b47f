import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeDriver } from '../../dataplane/fake/driver.ts';
import { Reconciler } from '../../dataplane/reconciler.ts';
import { isRefusal } from '../../model/errors.ts';
import type { AccountId } from '../../model/ids.ts';
import { Region } from '../../region/region.ts';
import { SqliteStore } from '../../store/sqlite.ts';
import { canonicalRequest, type Scheme, signature, signingKey, stringToSign } from './canonical.ts';
import { Verifier } from './verify.ts';

const now = Date.parse('2026-05-04T03:02:01Z');

test('what was sent once is not done twice, whether or not its nonce is signed; reads may be alike', async () => {
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r-1', version: '0', store: new SqliteStore(':memory:'), plane });
  const context = { principal: { kind: 'operator' }, requestId: 'r' } as const;
  const account = await region.submit({ kind: 'create-account', name: 'red' }, context);
  assert.ok(!isRefusal(account));
  const accountId = account.result.id as AccountId;
  const key = await region.submit({ kind: 'create-key', accountId, description: '' }, context);
  assert.ok(!isRefusal(key) && key.secret !== undefined);
  const { secret, result } = key;
  const verifier = new Verifier(region, { clock: () => now });

  const send = (scheme: Scheme, method: string, nonce: string, signed: readonly string[]): boolean => {
    const date = '20260504T030201Z';
    const scope = { day: '20260504', region: 'r-1', service: 'vpc' };
    const all = { host: 'h', 'x-jdcloud-date': date, 'x-jdcloud-nonce': nonce };
    const headers = Object.entries(all).filter(([name]) => signed.includes(name));
    const canonical = canonicalRequest({ method, url: '/x', headers, body: '' });
    const signing = signingKey(scheme, secret, scope);
    const hex = signature(signing, stringToSign(scheme, date, scope, canonical)).toString('hex');
    const terminator = scheme.slice(0, 8).toLowerCase();
    const credential = `${result.id}/20260504/r-1/vpc/${terminator}_request`;
    const authorization = `${scheme} Credential=${credential}, SignedHeaders=${signed.join(';')}, Signature=${hex}`;
    const rawHeaders = [...Object.entries(all).flat(), 'authorization', authorization];
    const caller = verifier.verify({ method, url: '/x', rawHeaders, body: new Uint8Array() });
    if (isRefusal(caller)) assert.match(JSON.stringify(caller), /was sent before/);
    return !isRefusal(caller);
  };
  const all = ['host', 'x-jdcloud-date', 'x-jdcloud-nonce'];
  assert.deepEqual(
    [send('JDCLOUD2-HMAC-SHA256', 'POST', 'a', all), send('JDCLOUD2-HMAC-SHA256', 'POST', 'a', all)],
    [true, false],
  );
  assert.equal(send('JDCLOUD2-HMAC-SHA256', 'POST', 'b', all), true);
  // The nonce is not signed here, and whoever replays exchanges it.
  assert.deepEqual(
    ['c', 'd'].map((nonce) => send('JDCLOUD3-HMAC-SHA256', 'DELETE', nonce, ['host'])),
    [true, false],
  );
  assert.deepEqual(
    ['e', 'f'].map((nonce) => send('JDCLOUD3-HMAC-SHA256', 'GET', nonce, ['host'])),
    [true, true],
  );
  assert.equal(send('JDCLOUD3-HMAC-SHA256', 'GET', 'f', ['host']), false);
  await region.close();
});
