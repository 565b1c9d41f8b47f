/** The vendor's envelope is around every answer, whatever was sent. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Api, enveloped } from './api.ts';

/** What a server says to bytes that it may not understand, until it closes. */
const raw = (api: Api, bytes: string | Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    const [host = '', port = ''] = api.host.split(':');
    const socket = connect(Number(port), host, () => socket.write(bytes));
    let said = '';
    socket.setEncoding('utf8').on('data', (part) => {
      said += part;
    });
    socket.on('error', reject).on('close', () => resolve(said));
    socket.setTimeout(3000, () => socket.end());
  });

test('every refusal on the way to an operation has the envelope, its status and its name', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const big = Buffer.alloc(1024 * 1024 + 1, 0x20);
  const cases = [
    ['GET', '/nothing', undefined, {}, 404, 'no-such-operation'],
    ['GET', '/v1/regions/elsewhere-1/vpcs', undefined, {}, 404, 'unknown-region'],
    ['GET', '/v1/', undefined, {}, 404, 'no-such-operation'],
    ['DELETE', '/vpcs', undefined, {}, 405, 'method-not-allowed'],
    ['POST', '/vpcs', big, {}, 413, 'body-too-large'],
    [
      'POST',
      '/vpcs',
      'a=b',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'unsupported-media-type',
    ],
    ['POST', '/vpcs', '{"vpcName":', {}, 400, 'malformed-json'],
    ['POST', '/vpcs', '[]', {}, 400, 'malformed-json'],
    ['POST', '/vpcs', Buffer.from([0x7b, 0xff, 0x7d]), {}, 400, 'malformed-json'],
    ['POST', '/vpcs', '{}', {}, 400, 'missing-argument'],
    ['GET', '/vpcs/vpc-0000000000', undefined, {}, 404, 'not-found'],
    ['GET', '/vpcs?pageSize=1000', undefined, {}, 400, 'page-out-of-range'],
    ['GET', '/vpcs?filters.1.name=colour&filters.1.values.1=red', undefined, {}, 400, 'unknown-filter'],
    ['GET', '/vpcs', undefined, { region: 'elsewhere-1' }, 401, 'unauthenticated'],
  ] as const;
  for (const [method, path, body, of, status, code] of cases) {
    const answer = await api.call(red, method, path, body as string | undefined, of);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(enveloped(answer), code, `${method} ${path}`);
  }
  const allowed = await api.call(red, 'DELETE', '/vpcs');
  assert.equal(allowed.headers['allow'], 'GET, POST');
  const control = await api.call(red, 'GET', '/vpcs');
  assert.equal(enveloped(control), '');
  assert.deepEqual(control.json.result, { vpcs: [], totalCount: 0 });
});

test('what is not HTTP is answered in the envelope too, and the server goes on', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const head = 'GET /v1/regions/test-1/vpcs HTTP/1.1\r\nhost: h\r\n';
  for (const bytes of [
    'nonsense\r\n\r\n',
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), // a TLS hello
    `${head}x: ${'y'.repeat(70_000)}\r\n\r\n`,
    `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${head}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!`,
    `${head}content-length: -1\r\n\r\n`,
    `${head} folded: header\r\n\r\n`,
    'GET /v1/regions/test-1/vpcs HTTP/9.9\r\n\r\n',
  ]) {
    const said = await raw(api, bytes);
    assert.match(said, /^HTTP\/1\.1 4\d\d /, said.slice(0, 100));
    const { requestId, error } = JSON.parse(said.slice(said.indexOf('\r\n\r\n') + 4));
    assert.match(requestId, /^[0-9a-f-]{36}$/);
    assert.ok(error.code >= 400 && error.details.length === 1);
  }
  assert.equal((await api.call(red, 'GET', '/vpcs')).status, 200, 'control');
});

test('a second request smuggled behind a first is one of its own, and signed by nobody', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const { headers, path } = api.signed(red, 'GET', '/vpcs');
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const one = `GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n`;
  const said = await raw(
    api,
    `${one}content-length: 0\r\n\r\nDELETE ${path}/vpc-aaaaaaaaaa HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n`,
  );
  const statuses = [...said.matchAll(/HTTP\/1\.1 (\d\d\d)/g)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '401']);
});

test('paths are matched as they are decoded, and a doubled or encoded slash is no other path', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const vpcId = (await api.done(red, 'POST', '/vpcs', { vpcName: 'v', addressPrefix: '10.1.0.0/16' })).vpcId as string;
  const status = async (path: string): Promise<number> => (await api.call(red, 'GET', path)).status;
  assert.equal(await status(`/vpcs/${vpcId}`), 200);
  assert.equal(await status(`/vpcs/${vpcId}/`), 200, 'the vendor’s clients send either');
  assert.equal(await status(`/vpcs/${vpcId.replace('-', '%2D')}`), 200);
  for (const path of [
    `//vpcs/${vpcId}`,
    `/vpcs%2F${vpcId}`,
    `/vpcs/../vpcs/${vpcId}`,
    `/vpcs/${vpcId}%00`,
    `/VPCS/${vpcId}`,
  ]) {
    assert.equal(await status(path), 404, path);
  }
  // A client of ours cannot sign this; sent as if it had.
  const good = api.signed(red, 'GET', '/vpcs/x');
  assert.equal((await api.send({ ...good, path: good.path.replace(/x$/, '%zz') })).status, 400);
  const { routeTables } = await api.done(red, 'GET', '/routeTables');
  const table = routeTables[0].routeTableId as string;
  for (const colon of [':', '%3A', '%3a']) {
    const answer = await api.call(red, 'POST', `/routeTables/${table}${colon}removeRouteTableRules`, { ruleIds: [] });
    assert.equal(answer.status, 200, colon);
  }
});
