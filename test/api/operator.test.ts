/** The operator's door: accounts, keys, quotas, journal. A secret is answered once, and is nowhere else. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import pino from 'pino';
import { createAdminServer, listenAdmin } from '../../src/api/admin.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { Api } from './api.ts';

const silent = pino({ level: 'silent' });

async function operator(api: Api) {
  const app = await createAdminServer({ region: api.region, log: silent, endpoint: api.url });
  return async (method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE', url: string, body?: object) => {
    const payload =
      body === undefined ? {} : { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const { statusCode, body: text } = await app.inject({ method, url, ...payload });
    return { status: statusCode, text, ...JSON.parse(text) };
  };
}

test('accounts and keys come, change and go; a deleted account needs force and takes all it owns', async (t) => {
  const api = await Api.start(t);
  const ask = await operator(api);
  const { result } = await ask('POST', '/accounts', { name: 'red' });
  const path = `/accounts/${result.accountId}`;
  assert.equal((await ask('POST', '/accounts', { name: 'red' })).status, 409);
  assert.equal((await ask('PATCH', path, { name: 'crimson', requestsPerSecond: 7 })).status, 200);
  assert.deepEqual((await ask('GET', path)).result.account.name, 'crimson');
  const key = (await ask('POST', `${path}/keys`, { description: 'laptop' })).result;
  const tenant = { accountId: result.accountId, ...key };
  assert.equal((await api.call(tenant, 'POST', '/vpcs', { vpcName: 'v' })).status, 200, 'the key works');
  assert.equal((await ask('DELETE', path)).status, 400, 'it owns something');
  assert.equal((await ask('DELETE', `${path}?force=maybe`)).status, 400);
  assert.equal((await ask('DELETE', `${path}?force=true`)).status, 200);
  assert.equal((await ask('GET', path)).status, 404);
  assert.equal((await api.call(tenant, 'GET', '/vpcs')).status, 401);
});

test('a secret is answered once: in no list, journal, log or other answer', async (t) => {
  const api = await Api.start(t);
  const ask = await operator(api);
  const { accountId } = (await ask('POST', '/accounts', { name: 'red' })).result;
  const { accessKeyId, secretAccessKey } = (await ask('POST', `/accounts/${accountId}/keys`, {})).result;
  assert.match(secretAccessKey, /^\S{30,}$/);
  await api.call({ accountId, accessKeyId, secretAccessKey }, 'GET', '/vpcs');
  await api.call({ accountId, accessKeyId, secretAccessKey }, 'GET', '/vpcs', undefined, { region: 'x-1' });
  const pages = [
    '/accounts',
    `/accounts/${accountId}`,
    `/accounts/${accountId}/keys`,
    '/journal',
    '/status',
    '/interfaces',
  ];
  for (const page of pages) {
    const { status, text } = await ask('GET', page);
    assert.equal(status, 200, page);
    assert.ok(!text.includes(secretAccessKey), page);
  }
  assert.ok(api.log.join('').includes('describeVpcs'), 'control: requests are logged');
  assert.ok(!api.log.join('').includes(secretAccessKey));
});

test('quotas are set for one account and go back to the default', async (t) => {
  const api = await Api.start(t);
  const ask = await operator(api);
  const { accountId } = (await ask('POST', '/accounts', { name: 'red' })).result;
  const path = `/accounts/${accountId}/quotas`;
  const limit = async (): Promise<number> =>
    (await ask('GET', path)).result.quotas.find(({ type }: { type: string }) => type === 'vpc').maxLimit;
  assert.equal(await limit(), 10);
  assert.equal((await ask('PUT', `${path}/vpc`, { maxLimit: 3 })).status, 200);
  assert.equal(await limit(), 3);
  assert.equal((await ask('PUT', `${path}/vpc`, {})).status, 200);
  assert.equal(await limit(), 10);
  for (const [type, maxLimit] of [
    ['elephants', 1],
    ['vpc', -1],
    ['vpc', 1.5],
    ['vpc', 1e9],
    ['secondary_ip', 901],
    ['vpcpeering', 1901],
  ] as const) {
    assert.equal((await ask('PUT', `${path}/${type}`, { maxLimit })).status, 400, `${type} ${maxLimit}`);
  }
});

test('the socket is for its owner only; one in use is refused, one left behind is replaced, a file never', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'admin-'));
  const path = join(directory, 'admin.sock');
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store: new SqliteStore(':memory:'), plane });
  t.after(async () => {
    await region.close();
    rmSync(directory, { recursive: true });
  });
  const first = await listenAdmin(path, { region, log: silent });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await assert.rejects(listenAdmin(path, { region, log: silent }), /already answers/);
  await first.close();
  const second = await listenAdmin(path, { region, log: silent });
  await second.close();
  const file = join(directory, 'file');
  writeFileSync(file, 'precious');
  await assert.rejects(listenAdmin(file, { region, log: silent }), /is no socket/);
  assert.equal(readFileSync(file, 'utf8'), 'precious');
});
