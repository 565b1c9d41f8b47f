/** Two services on one store in PostgreSQL, each with its own processes and address, as a tenant meets them. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { revisionHeader } from '../../src/api/app.ts';
import { signRequest } from '../../src/api/auth/sign.ts';
import { Client } from '../../src/cli/client.ts';
import { Failure } from '../../src/cli/failure.ts';
import { startPostgres, until } from '../store/postgres-server.ts';
import { cannotRun } from '../wire/lab.ts';
import { House } from './house.ts';

const options = { skip: cannotRun, timeout: 120_000 } as const;

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}
interface Answer {
  readonly status: number;
  readonly headers: { readonly [name: string]: string | string[] | undefined };
  readonly text: string;
}
type Headers = { readonly [name: string]: string };
const root = '/v1/regions/test-1';
const host = 'isthmus.test';
const signed = (key: Key, method: string, path: string, body = ''): Headers =>
  signRequest({ method, path: root + path, host, body, region: 'test-1', ...key });
function send(house: House, method: string, path: string, headers: Headers, body = ''): Promise<Answer> {
  const { hostname, port } = new URL(house.service.ready.url);
  return new Promise((resolve, reject) => {
    const length = { 'content-length': String(Buffer.byteLength(body)) };
    const sent = request({ hostname, port, method, path: root + path, headers: { ...headers, ...length } });
    sent.on('error', reject);
    sent.on('response', (response) => {
      let text = '';
      response.on('data', (part) => {
        text += String(part);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    sent.end(body);
  });
}

test(
  'a tenant may ask either: one key, one nonce, what was written is read; one is killed and nothing is lost',
  options,
  async (t) => {
    const postgres = await startPostgres(t);
    if (postgres === null) return;
    const store = await postgres.database('region');
    const houses = [
      await House.start(t, { driver: 'fake', store }),
      await House.start(t, { driver: 'fake', store }),
    ] as const;
    const [a, b] = houses;
    const { accountId } = (await a.admin.call('POST', '/accounts', { name: 'red' })) as { accountId: string };
    await a.admin.call('PATCH', `/accounts/${accountId}`, { requestsPerSecond: 10_000 });
    await a.admin.call('PUT', `/accounts/${accountId}/quotas/vpc`, { maxLimit: 1000 });
    const key = (await a.admin.call('POST', `/accounts/${accountId}/keys`, {})) as Key;

    const made = await send(a, 'POST', '/vpcs/', signedJson(key, '/vpcs/', vpc(0)), vpc(0));
    assert.equal(made.status, 200, made.text);
    const revision = String(made.headers[revisionHeader]);
    const { vpcId } = (JSON.parse(made.text) as { result: { vpcId: string } }).result;
    const read = await send(b, 'GET', `/vpcs/${vpcId}`, {
      ...signed(key, 'GET', `/vpcs/${vpcId}`),
      [revisionHeader]: revision,
    });
    assert.equal(read.status, 200, read.text);
    const later = await send(b, 'GET', '/vpcs/', { ...signed(key, 'GET', '/vpcs/'), [revisionHeader]: '99999' });
    assert.equal(later.status, 503);
    assert.equal(later.headers['retry-after'], '1');

    const once = signed(key, 'GET', '/vpcs/');
    assert.equal((await send(a, 'GET', '/vpcs/', once)).status, 200);
    const again = await send(b, 'GET', '/vpcs/', once);
    assert.equal(again.status, 401, again.text);
    assert.match(again.text, /nonce was used before/);

    // Commands to both while one is killed: the other's go on, and what was acknowledged is there.
    const acknowledged: string[] = [];
    let failed = 0;
    let killed = false;
    const clients = Array.from({ length: 8 }, async (_, client) => {
      for (let n = 0; n < 12; n++) {
        const house = houses[client % 2] ?? a;
        const api = new Client({ endpoint: house.service.ready.url, region: 'test-1', ...key });
        const body = { vpcName: `c${client}-${n}`, addressPrefix: `10.${client * 12 + n}.0.0/16` };
        try {
          acknowledged.push(((await api.post('/vpcs/', body)) as { vpcId: string }).vpcId);
        } catch {
          failed++;
        }
        if (acknowledged.length > 20 && !killed) {
          killed = true;
          a.kill('region');
        }
      }
    });
    await Promise.all(clients);
    assert.ok(failed > 0, 'the control: some were on the server that was killed');
    for (const house of houses) {
      await until('it is there', () =>
        send(house, 'GET', '/vpcs/', signed(key, 'GET', '/vpcs/')).then(
          ({ status }) => status === 200,
          () => false,
        ),
      );
      for (const id of acknowledged) {
        const { status } = await send(house, 'GET', `/vpcs/${id}`, signed(key, 'GET', `/vpcs/${id}`));
        assert.equal(status, 200, id);
      }
    }
    const journal = (await b.admin.call('GET', '/journal?afterRevision=0&limit=1000')) as {
      entries: readonly { revision: number }[];
    };
    assert.deepEqual(
      journal.entries.map((entry) => entry.revision),
      journal.entries.map((_, n) => n + 1),
    );
    t.diagnostic(`${acknowledged.length} acknowledged, ${failed} cut off`);

    await postgres.kill();
    const reading = await send(b, 'GET', `/vpcs/${vpcId}`, signed(key, 'GET', `/vpcs/${vpcId}`));
    assert.equal(reading.status, 200, 'without the store reads go on');
    const writing = await send(b, 'POST', '/vpcs/', signedJson(key, '/vpcs/', vpc(200)), vpc(200));
    assert.deepEqual([writing.status, writing.headers['retry-after']], [503, '1'], writing.text);
    assert.match(writing.text, /nothing was changed/);
    await postgres.up();
    await until('writes go on', async () => {
      return (await send(b, 'POST', '/vpcs/', signedJson(key, '/vpcs/', vpc(200)), vpc(200))).status === 200;
    });
  },
);

test('a network in one host’s kernel is one server’s: another on the same store is refused', options, async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const store = await postgres.database('one');
  const house = await House.start(t, { store });
  await house.peered();
  await assert.rejects(
    House.start(t, { store }),
    (error) => error instanceof Failure && /another region runs on this store/.test(JSON.stringify(error.detail)),
  );
  assert.deepEqual(await house.live(), [true, true]);
});

const vpc = (n: number): string => JSON.stringify({ vpcName: `v${n}`, addressPrefix: `10.${n}.0.0/16` });
const signedJson = (key: Key, path: string, body: string): Headers => ({
  ...signed(key, 'POST', path, body),
  'content-type': 'application/json',
});
