/** Where the API listens: plain HTTP on loopback only, TLS elsewhere, certificates that are replaced while it runs. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from 'node:tls';
import pino from 'pino';
import { ListenError, listen } from '../../src/api/listen.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';

const log = pino({ level: 'silent' });

async function house(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'tls-'));
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store: new SqliteStore(':memory:'), plane });
  t.after(async () => {
    await region.close();
    rmSync(directory, { recursive: true });
  });
  return { directory, region };
}
function certificate(directory: string, name: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-out', cert, '-keyout', key], {
    timeout: 20_000,
    stdio: 'pipe',
  });
  return { cert, key };
}
/** The name in the certificate that a server shows. */
const shownBy = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
const until = async (holds: () => Promise<boolean>): Promise<void> => {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < 200, 'waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
};

test('plain HTTP is for loopback; elsewhere it takes a certificate or the word insecure', async (t) => {
  const { region } = await house(t);
  for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:0', 'example.org:0']) {
    await assert.rejects(listen({ region, log, address }), (error: Error) => {
      assert.ok(error instanceof ListenError);
      assert.match(`${error.message} ${error.remedy}`, /Plain HTTP on .*--tls-cert.*--insecure/);
      return true;
    });
  }
  for (const address of ['127.0.0.1:0', '[::1]:0', 'localhost:0', '127.8.9.1:0']) {
    const server = await listen({ region, log, address });
    assert.equal((await fetch(`${server.url}/openapi.json`)).status, 200, address);
    await server.close();
  }
  const open = await listen({ region, log, address: '0.0.0.0:0', insecure: true });
  assert.equal((await fetch(`http://127.0.0.1:${new URL(open.url).port}/openapi.json`)).status, 200);
  await open.close();
  for (const address of ['', '127.0.0.1', ':80', '127.0.0.1:99999', '::1:80']) {
    await assert.rejects(listen({ region, log, address }), /is not a listen address/, address);
  }
});

test('with a certificate it speaks TLS, and nothing else', async (t) => {
  const { region, directory } = await house(t);
  const { cert, key } = certificate(directory, 'one');
  const server = await listen({ region, log, address: '0.0.0.0:0', tlsCert: cert, tlsKey: key });
  t.after(() => server.close());
  const port = Number(new URL(server.url).port);
  assert.match(server.url, /^https:/);
  const status = await new Promise((resolve, reject) => {
    const ca = readFileSync(cert);
    const sent = request({ port, host: '127.0.0.1', path: '/openapi.json', ca, agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    sent.on('error', reject).end();
  });
  assert.equal(status, 200);
  await assert.rejects(fetch(`http://127.0.0.1:${port}/openapi.json`));
});

test('what cannot be a certificate and its key is refused at the start, and named', async (t) => {
  const { region, directory } = await house(t);
  const [one, two] = [certificate(directory, 'one'), certificate(directory, 'two')];
  const wrong = join(directory, 'wrong.pem');
  writeFileSync(wrong, 'nonsense');
  const at = { region, log, address: '127.0.0.1:0' };
  await assert.rejects(listen({ ...at, tlsCert: one.cert }), /Only one of certificate and key/);
  await assert.rejects(listen({ ...at, tlsCert: one.cert, tlsKey: two.key }), /certificate cannot be used/);
  await assert.rejects(listen({ ...at, tlsCert: wrong, tlsKey: one.key }), /certificate cannot be used/);
  await assert.rejects(listen({ ...at, tlsCert: join(directory, 'none'), tlsKey: one.key }), /ENOENT/);
});

test('a new certificate is taken up without a restart, and a bad one leaves the old in force', async (t) => {
  const { region, directory } = await house(t);
  const [one, two] = [certificate(directory, 'one'), certificate(directory, 'two')];
  const [tlsCert, tlsKey] = [join(directory, 'live.pem'), join(directory, 'live.key')];
  writeFileSync(tlsCert, readFileSync(one.cert));
  writeFileSync(tlsKey, readFileSync(one.key));
  const server = await listen({ region, log, address: '127.0.0.1:0', tlsCert, tlsKey });
  t.after(() => server.close());
  const port = Number(new URL(server.url).port);
  assert.equal(await shownBy(port), 'one');
  renameSync(two.cert, tlsCert); // as a renewal does it, one file after the other
  renameSync(two.key, tlsKey);
  await until(async () => (await shownBy(port)) === 'two');
  writeFileSync(tlsCert, 'nonsense');
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(await shownBy(port), 'two');
  writeFileSync(tlsCert, readFileSync(one.cert));
  writeFileSync(tlsKey, readFileSync(one.key));
  await until(async () => (await shownBy(port)) === 'one');
});
