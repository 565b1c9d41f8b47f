/**
 * Ten thousand generated bodies, signed as they should be, against every operation that takes one: only refusals, nothing
 * changed, nothing crashed. Each body carries at least one value that cannot be right; SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TSchema } from 'typebox';
import { jdcloudOperations } from '../../src/api/jdcloud/operations.ts';
import type { Operation } from '../../src/api/operation.ts';
import { Api, enveloped, estate } from './api.ts';

const bodies = 10_000;
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

/** As far as a generator must know a schema. */
interface Shape extends TSchema {
  readonly type?: string;
  readonly properties?: { readonly [name: string]: Shape };
  readonly items?: Shape;
}

const key = fc.constantFrom('__proto__', 'constructor', 'toString', 'a', '', 'vpcId', '\u0000', 'é', '💥', 'length');
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }),
  fc.dictionary(key, fc.jsonValue({ maxDepth: 2 })),
  fc.constantFrom<unknown>(1e308, -0, 2 ** 53, -1, 0.1, '', 'null', '\ud800', '../../etc', "' OR 1=1 --", '%00'),
);
/** No name, id, CIDR, token or description is as long as this. */
const tooLong = fc.string({ minLength: 300, maxLength: 3000, unit: 'binary' });
const noText = anything.filter((value) => value !== null && typeof value !== 'string' && !Array.isArray(value));
const noList = anything.filter((value) => value !== null && !Array.isArray(value));
const noNumber = fc.oneof(
  anything.filter((value) => value !== null && !Number.isInteger(value)),
  fc.constantFrom(-1, 101, 1e9, 2 ** 53, -(2 ** 31)),
);

/** What cannot stand in a field of this shape. */
function poison(name: string, shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.type) {
    case 'string':
      return name === 'az' ? noText : fc.oneof(noText, tooLong); // az is any text
    case 'integer':
      return noNumber;
    case 'array': {
      const items = fc.array(fc.oneof(noText, tooLong), { minLength: 1, maxLength: 5 });
      const many = fc.constant(Array.from({ length: 2000 }, (_, n) => `x${n}`));
      return fc.oneof(noList, items, many);
    }
    default:
      return fc.oneof(fc.constantFrom<unknown>(7, true, [], ['a', 'b'], [3]), fc.dictionary(key, anything), tooLong);
  }
}

interface Attempt {
  readonly operation: Operation;
  readonly body: string | Buffer;
  readonly type?: string;
}

/** A whole body with one field that is wrong, whatever the others are. */
const poisoned = (operation: Operation): fc.Arbitrary<Attempt> => {
  const fields = Object.entries((operation.body as Shape).properties ?? {});
  return fc
    .constantFrom(...fields)
    .chain(([name, shape]) =>
      fc.tuple(
        fc.constant(name),
        poison(name, shape),
        fc.dictionary(fc.oneof(fc.constantFrom(...fields.map(([one]) => one)), key), anything),
      ),
    )
    .map(([name, wrong, others]) => ({ operation, body: JSON.stringify({ ...others, [name]: wrong }) }));
};
const noObject = fc
  .oneof(fc.jsonValue(), fc.array(anything))
  .filter((value) => typeof value !== 'object' || Array.isArray(value) || value === null);
const noJson = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ minLength: 1, unit: 'binary' }).filter((text) => {
    try {
      JSON.parse(text);
      return false;
    } catch {
      return true;
    }
  }),
  fc.constantFrom(
    '{',
    '{"a":',
    '[[[[',
    `${'['.repeat(5000)}`,
    '{"a":1,}',

    'NaN',
    '{"vpcName":"a"}{}',
    "{'a':1}",
    '\u0000',
  ),
  fc.integer({ min: 17, max: 4000 }).map((deep) => `{"x":${'['.repeat(deep)}${']'.repeat(deep)}}`),
);
const unlike = fc.constantFrom(
  'text/plain',
  'application/xml',
  'multipart/form-data; boundary=x',
  'application/jsonx',
  '*/*',
  '',
);

const withBodies = jdcloudOperations.filter((operation) => operation.body !== undefined);
const attempt: fc.Arbitrary<Attempt> = fc.constantFrom(...withBodies).chain((operation) =>
  fc.oneof(
    { weight: 6, arbitrary: poisoned(operation) },
    { weight: 2, arbitrary: noJson.map((body) => ({ operation, body })) },
    { weight: 1, arbitrary: noObject.map((value) => ({ operation, body: JSON.stringify(value) })) },
    {
      weight: 1,
      arbitrary: fc.tuple(unlike, fc.constantFrom('{}', 'x')).map(([type, body]) => ({ operation, body, type })),
    },
  ),
);

test(`${bodies} generated bodies: only refusals, nothing changed, seed ${seed}`, { timeout: 240_000 }, async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  await api.operate({ kind: 'modify-account', accountId: red.accountId, requestsPerSecond: 1_000_000 });
  const ids = await estate(api, red, 1);
  const other = await api.done(red, 'POST', '/vpcs', { vpcName: 'other', addressPrefix: '10.2.0.0/16' });
  const { vpcPeering } = await api.done(red, 'POST', '/vpcPeerings', {
    vpcPeeringName: 'p',
    vpcId: ids['vpcId'],
    remoteVpcId: other.vpcId,
  });
  const known: { readonly [name: string]: string } = { ...ids, vpcPeeringId: vpcPeering.vpcPeeringId };
  const pathOf = (operation: Operation): string =>
    operation.path.replace(/\{(\w+)\}/g, (_all, name: string) => known[name] ?? assert.fail(name));
  const before = api.region.state.revision;
  const stored = JSON.stringify([...api.region.state.all('vpc'), ...api.region.state.all('route-table')]);
  const seen = new Map<string, number>();

  await fc.assert(
    fc.asyncProperty(attempt, async ({ operation, body, type }) => {
      const of = type === undefined ? {} : { headers: { 'content-type': type } };
      const answer = await api.call(red, operation.method, pathOf(operation), body, of);
      assert.ok(answer.status >= 400 && answer.status < 500, `${operation.name}: ${answer.status} ${answer.text}`);
      const code = enveloped(answer);
      assert.equal(api.region.state.revision, before, `${operation.name} changed something`);
      seen.set(`${operation.name} ${code}`, (seen.get(`${operation.name} ${code}`) ?? 0) + 1);
    }),
    { numRuns: bodies, seed },
  );
  assert.equal(JSON.stringify([...api.region.state.all('vpc'), ...api.region.state.all('route-table')]), stored);
  const operations = new Set([...seen.keys()].map((both) => both.split(' ')[0]));
  assert.deepEqual([...operations].sort(), withBodies.map(({ name }) => name).sort(), 'every operation was met');
  t.diagnostic([...new Set([...seen.keys()].map((both) => both.split(' ')[1]))].sort().join(', '));
  assert.ok(!api.log.some((line) => line.includes('"level":50')), 'nothing unexpected was logged');
  // Control: what is right is done, on the same wires.
  await api.done(red, 'PATCH', `/vpcs/${ids['vpcId']}`, { vpcName: 'renamed', ['constructor']: 1 });
  assert.equal(api.region.state.revision, before + 1);
});
