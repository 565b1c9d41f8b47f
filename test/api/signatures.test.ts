/**
 * A thousand signatures that are malformed, stolen, late or replayed: each is refused, and nothing changes. Beside every
 * one stands the request that it was made from, which passes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalRequest, type Scheme, signature, signingKey, stringToSign } from '../../src/api/auth/canonical.ts';
import { Api, enveloped, type Key, type Sent } from './api.ts';

const attempts = 1000;
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

test('the canonical form: path, query, headers, body, and what is signed', () => {
  const scheme: Scheme = 'JDCLOUD2-HMAC-SHA256';
  const scope = { day: '20190214', region: 'cn-north-1', service: 'vpc' };
  const headers = [
    ['host', 'h'],
    ['x-jdcloud-date', '20190214T104514Z'],
  ] as const;
  const canonical = canonicalRequest({ method: 'GET', url: "/v1/a%3Ab?b=2&a=1&a=0&c=%E5%AF%B9+'*", headers, body: '' });
  const [method, path, query, first, second, blank, names, hash] = canonical.split('\n');
  assert.deepEqual([method, path, query], ['GET', '/v1/a%3Ab', 'a=0&a=1&b=2&c=%E5%AF%B9%20%27%2A']);
  assert.deepEqual(
    [first, second, blank, names],
    ['host:h', 'x-jdcloud-date:20190214T104514Z', '', 'host;x-jdcloud-date'],
  );
  assert.equal(hash, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'of an empty body');
  const toSign = stringToSign(scheme, '20190214T104514Z', scope, canonical);
  assert.deepEqual(toSign.split('\n').slice(0, 3), [
    scheme,
    '20190214T104514Z',
    '20190214/cn-north-1/vpc/jdcloud2_request',
  ]);
  assert.equal(signature(signingKey(scheme, 'TESTSK', scope), toSign).length, 32);
});

type Bend = (sent: Sent, n: number) => Sent;
const header =
  (name: string, change: (value: string, n: number) => string | undefined): Bend =>
  (sent, n) => {
    const { [name]: value = '', ...others } = sent.headers;
    const next = change(value, n);
    return { ...sent, headers: next === undefined ? others : { ...others, [name]: next } };
  };
/** One character of a text exchanged for another of its kind. */
const twist = (text: string, n: number): string => {
  const at = n % text.length;
  const other = text[at] === '0' ? '1' : text[at] === 'a' ? 'b' : /[0-9a-f]/.test(text[at] ?? '') ? '0' : 'a';
  return text.slice(0, at) + other + text.slice(at + 1);
};
const within =
  (pattern: RegExp) =>
  (value: string, n: number): string =>
    value.replace(pattern, (_all, before: string, part: string) => before + twist(part, n));

/** Ways to spoil a request after it was signed. */
const bends: { readonly [name: string]: Bend } = {
  'no authorization': header('authorization', () => undefined),
  'empty authorization': header('authorization', () => ''),
  'basic authorization': header('authorization', () => 'Basic cm9vdDpyb290'),
  'another signature': header('authorization', within(/(Signature=)([0-9a-f]+)/)),
  'a cut signature': header('authorization', (value, n) => value.slice(0, value.length - 1 - (n % 60))),
  'a longer signature': header('authorization', (value) => `${value}00`),
  'an upper-case signature': header('authorization', (value) =>
    value.replace(/[0-9a-f]+$/, (hex) => `A${hex.slice(1).toUpperCase()}`),
  ),
  'another key id': header('authorization', within(/(Credential=)([^/]+)/)),
  'another day': header('authorization', within(/(Credential=[^/]+\/)(\d{8})/)),
  'another region': header('authorization', (value) => value.replace('/test-1/', '/cn-north-1/')),
  'another service': header('authorization', (value) => value.replace('/vpc/', '/vm/')),
  'another ending': header('authorization', (value) => value.replace(/jdcloud2_request/, 'jdcloud3_request')),
  'the other scheme': header('authorization', (value) =>
    value.replaceAll('JDCLOUD2', 'JDCLOUD3').replace('jdcloud2_', 'jdcloud3_'),
  ),
  'an unknown scheme': header('authorization', (value) => value.replace('JDCLOUD2', 'JDCLOUD9')),
  'a header unsigned': header('authorization', (value) => value.replace(/host;/, '')),
  'a header named twice': header('authorization', (value) => value.replace('SignedHeaders=', 'SignedHeaders=host;')),
  'a header named that is not sent': header('authorization', (value) =>
    value.replace('SignedHeaders=', 'SignedHeaders=x-a;'),
  ),
  'no date': header('x-jdcloud-date', () => undefined),
  'another date': header('x-jdcloud-date', (value, n) =>
    value.replace(/\d\dZ$/, `${String((Number(value.slice(13, 15)) + 1 + (n % 50)) % 60).padStart(2, '0')}Z`),
  ),
  'a date of another form': header('x-jdcloud-date', () => 'Mon, 23 Nov 2026 10:00:00 GMT'),
  'no nonce': header('x-jdcloud-nonce', () => undefined),
  'another nonce': header('x-jdcloud-nonce', (value, n) => twist(value, n)),
  'a nonce too long': header('x-jdcloud-nonce', (_value, n) => 'n'.repeat(129 + n)),
  'another host': header('host', () => 'evil.example'),
  'another content type': header('content-type', () => 'application/json; charset=utf-16'),
  'another path': (sent) => ({ ...sent, path: sent.path.replace('/vpcs', '/subnets') }),
  'a query added': (sent, n) => ({ ...sent, path: `${sent.path}?pageSize=${10 + (n % 80)}` }),
  'another body': (sent, n) => ({ ...sent, body: Buffer.from(sent.body.toString().replace('one', `tw${n % 10}`)) }),
  'a longer body': (sent) => ({ ...sent, body: Buffer.concat([sent.body, Buffer.from(' ')]) }),
  'another method': (sent) => ({ ...sent, method: 'GET' }),
};
/** Ways to sign wrongly. */
const hour = 3_600_000;
const wrongly: { readonly [name: string]: (api: Api, key: Key, other: Key, n: number) => Sent } = {
  'a wrong secret': (api, key, _other, n) => create(api, { ...key, secretAccessKey: twist(key.secretAccessKey, n) }),
  'the secret of another': (api, key, other) => create(api, { ...key, secretAccessKey: other.secretAccessKey }),
  'a key of nobody': (api, key) => create(api, { ...key, accessKeyId: 'A'.repeat(32) }),
  'an hour late': (api, key, _other, n) => create(api, key, { time: Date.now() - (0.26 + (n % 20)) * hour }),
  'an hour early': (api, key, _other, n) => create(api, key, { time: Date.now() + (0.26 + (n % 20)) * hour }),
  'for another region': (api, key) => create(api, key, { region: 'cn-east-2' }),
  'for another service': (api, key) => create(api, key, { service: 'oss' }),
};
const create = (api: Api, key: Key, of = {}): Sent =>
  api.signed(key, 'POST', '/vpcs', JSON.stringify({ vpcName: 'one', addressPrefix: '10.0.0.0/16' }), of);

test(`${attempts} malformed, stolen, late or replayed signatures are refused, seed ${seed}`, {
  timeout: 120_000,
}, async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  for (const { accountId } of [red, blue])
    await api.operate({ kind: 'modify-account', accountId, requestsPerSecond: 100_000 });
  const before = api.region.state.revision;
  const kinds = [...Object.keys(bends), ...Object.keys(wrongly), 'replayed', 'replayed with other unsigned headers'];
  const met = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...kinds), fc.nat(1000), async (kind, n) => {
      met.add(kind);
      let sent: Sent;
      if (kind.startsWith('replayed')) {
        sent = api.signed(red, 'GET', `/vpcs?pageNumber=${n + 1}`);
        assert.equal((await api.send(sent)).status, 200, 'control: the first time');
        if (kind !== 'replayed') sent = { ...sent, headers: { ...sent.headers, 'user-agent': `x${n}` } };
      } else {
        const bend = bends[kind];
        sent = bend === undefined ? (wrongly[kind] ?? assert.fail())(api, red, blue, n) : bend(create(api, red), n);
      }
      const answer = await api.send(sent);
      assert.equal(answer.status, 401, `${kind} ${n}: ${answer.text}`);
      assert.ok(['unauthenticated', 'no-authorization'].includes(enveloped(answer)), answer.text);
      assert.ok(!answer.text.includes(red.secretAccessKey));
      assert.equal(api.region.state.revision, before, `${kind} changed something`);
    }),
    { numRuns: attempts, seed },
  );
  assert.equal(met.size, kinds.length, 'every kind was met');
  assert.equal((await api.send(create(api, red))).status, 200, 'control: as it was signed, it passes');
  assert.equal(
    (await api.send(create(api, red, { scheme: 'JDCLOUD3-HMAC-SHA256' }))).status,
    200,
    'and under JDCLOUD3',
  );
  assert.equal(api.region.state.revision, before + 2);
  assert.ok(!api.log.join('').includes(red.secretAccessKey), 'no secret in the log');
});

test('a key that was deleted signs nothing any more, and another of the account goes on', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const second = await api.key(red.accountId);
  assert.equal((await api.call(red, 'GET', '/vpcs')).status, 200);
  await api.operate({ kind: 'delete-key', keyId: red.accessKeyId as never });
  assert.equal((await api.call(red, 'GET', '/vpcs')).status, 401);
  assert.equal((await api.call(second, 'GET', '/vpcs')).status, 200);
});

test('the clock window is 15 minutes, both ways', async (t) => {
  const now = Date.parse('2026-05-04T12:00:00Z');
  const api = await Api.start(t, { clock: () => now });
  const red = await api.tenant('red');
  const at = async (minutes: number): Promise<number> =>
    (await api.call(red, 'GET', '/vpcs', undefined, { time: now + minutes * 60_000 })).status;
  assert.deepEqual([await at(-15), await at(-15.1), await at(15), await at(15.1)], [200, 401, 200, 401]);
});

test('requests beyond the rate of the key are refused with 429, and the next second passes', async (t) => {
  let now = Date.parse('2026-05-04T12:00:00Z');
  const api = await Api.start(t, { clock: () => now });
  const red = await api.tenant('red');
  const other = await api.key(red.accountId);
  await api.operate({ kind: 'modify-account', accountId: red.accountId, requestsPerSecond: 5 });
  const status = async (key: Key): Promise<number> =>
    (await api.call(key, 'GET', '/vpcs', undefined, { time: now })).status;
  const seen: number[] = [];
  for (let n = 0; n < 7; n++) seen.push(await status(red));
  assert.deepEqual(seen, [200, 200, 200, 200, 200, 429, 429]);
  assert.equal(await status(other), 200, 'each key for itself');
  const over = api.signed(red, 'GET', '/vpcs', '', { time: now });
  assert.equal((await api.send(over)).status, 429);
  now += 1000;
  assert.equal((await api.send(over)).status, 200, 'what was refused for its rate was not spent');
  assert.equal(await status(red), 200);
});
