/** The OVSDB client over TLS, against real servers with certificates of `ovs-pki`: both sides show one, or nothing is said. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { connect, rootCertificates } from 'node:tls';
import { Ovsdb, OvsdbError } from '../../src/dataplane/ovn/ovsdb.ts';
import type { OvsdbPki } from '../../src/dataplane/ovn/ovsdb-tls.ts';
import { OvsPki, type PkiFiles, read, serverOptions } from './ovs-pki.ts';
import { cluster, folder, freePort, Server, schema, cannotRun as skip, until } from './ovsdb-server.ts';

const tables = { Address_Set: ['name', 'addresses'] } as const;
function client(t: TestContext, pki: OvsdbPki | undefined, ...remotes: readonly string[]): Ovsdb {
  const own = pki === undefined ? {} : { pki };
  const made = new Ovsdb({ remotes, database: 'OVN_Northbound', tables, probe: 1000, ...own });
  t.after(() => made.close());
  return made;
}
const named = (name: string) => ({ op: 'insert', table: 'Address_Set', row: { name } });
const names = (copy: Ovsdb): readonly unknown[] =>
  [...copy.rows('Address_Set').values()].map(({ name }) => name).sort();
const failing = (code: OvsdbError['code'], words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof OvsdbError);
  assert.equal(error.code, code);
  assert.match(error.message, words);
  return true;
};

/** Resolves once that is why it is not connected. */
async function saying(copy: Ovsdb, words: RegExp): Promise<void> {
  await until(`${words}, instead of ${copy.problem}`, () => words.test(copy.problem));
  await assert.rejects(copy.whenConnected(1), failing('unavailable', words));
}

describe('OVSDB over TLS', { skip, timeout: 120_000 }, () => {
  let place = '';
  let ours: OvsPki;
  let foreign: OvsPki;
  let own: PkiFiles;
  before(() => {
    place = mkdtempSync(join(tmpdir(), 'pki-'));
    ours = new OvsPki(join(place, 'ours'));
    foreign = new OvsPki(join(place, 'foreign'));
    own = ours.files('server-1');
  });
  after(() => rmSync(place, { recursive: true, force: true }));

  /** A server that shows this certificate, and believes its authority. */
  async function secure(t: TestContext, files: PkiFiles): Promise<{ server: Server; remote: string; port: number }> {
    const made = folder(t);
    const port = await freePort();
    const db = join(made, 'nb.db');
    execFileSync('ovsdb-tool', ['create', db, schema]);
    const args = [db, `--remote=pssl:${port}:127.0.0.1`, `--unixctl=${join(made, 'ctl')}`];
    const server = new Server(t, made, [...args, ...serverOptions(files)]);
    server.start();
    return { server, remote: `ssl:127.0.0.1:${port}`, port };
  }

  test('it writes and follows, and a server that comes back is met again', async (t) => {
    const { server, remote } = await secure(t, ours.files('nb'));
    const [copy, other] = [client(t, read(own), remote), client(t, read(own), remote)];
    await Promise.all([copy.whenConnected(5000), other.whenConnected(5000)]);
    await other.transact([named('before')]);
    await until('the other’s change is seen', () => names(copy).includes('before'));
    const lost = once(copy, 'lost');
    await server.kill();
    await lost;
    await assert.rejects(copy.transact([]), failing('unavailable', /no connection/));
    server.start();
    await Promise.all([copy.whenConnected(10_000), other.whenConnected(10_000)]);
    await other.transact([named('after')]);
    await until('it has both', () => names(copy).length === 2);
  });

  test('without certificates it is refused before anything is dialled, naming the remote and the options', async () => {
    const refused = failing('refused', /^ssl:db\.example:6641 needs .*--ovn-ca, --ovn-cert and --ovn-key/);
    const remotes = ['tcp:127.0.0.1:1', 'ssl:db.example:6641'];
    assert.throws(() => new Ovsdb({ remotes, database: 'OVN_Northbound', tables }), refused);
  });

  test('an empty authority is none: the system’s never stand in; nor is a pair taken that does not fit', () => {
    const remotes = ['ssl:127.0.0.1:1'];
    const pki = read(own);
    const opened = (change: Partial<OvsdbPki>) => () =>
      new Ovsdb({ remotes, database: 'OVN_Northbound', tables, pki: { ...pki, ...change } });
    assert.ok(rootCertificates.length > 0, 'control: there are some that could');
    assert.throws(opened({ authority: '' }), failing('refused', /ssl:127\.0\.0\.1:1: --ovn-ca holds no certificate/));
    assert.throws(opened({ authority: pki.key }), failing('refused', /--ovn-ca holds no certificate/));
    assert.throws(opened({ certificate: '\n' }), failing('refused', /--ovn-cert holds no certificate/));
    assert.throws(opened({ key: pki.certificate }), failing('refused', /--ovn-key holds no private key/));
    const another = read(ours.files('another')).key;
    assert.throws(opened({ key: another }), failing('refused', /cannot be used together: .*mismatch/));
    opened({})().close();
  });

  test('a server of another authority is refused, and told nothing', async (t) => {
    // It believes ours, so that only its own certificate is in the way.
    const { remote } = await secure(t, { ...foreign.files('nb'), authority: ours.authority });
    const copy = client(t, read(own), remote);
    const words = /ssl:127\.0\.0\.1:\d+: its certificate is not of the authority in --ovn-ca/;
    await saying(copy, words);
    const believing = client(t, { ...read(own), authority: read(foreign.files('x')).authority }, remote);
    await believing.whenConnected(5000);
  });

  test('a server refuses whose certificate is of another authority, and the client says so', async (t) => {
    const { remote } = await secure(t, ours.files('nb'));
    const pki = { ...read(foreign.files('client')), authority: read(own).authority };
    const copy = client(t, pki, remote);
    const words = /ssl:127\.0\.0\.1:\d+: it does not accept our certificate, --ovn-cert/;
    await saying(copy, words);
  });

  test('a server refuses who shows no certificate: not a database is named', async (t) => {
    const { remote, port } = await secure(t, ours.files('nb'));
    await client(t, read(own), remote).whenConnected(5000); // control
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    let said = '';
    socket.on('data', (chunk) => {
      said += String(chunk);
    });
    socket.on('error', () => {});
    socket.write(JSON.stringify({ method: 'list_dbs', params: [], id: 0 }));
    await new Promise((ended) => socket.once('close', ended));
    assert.equal(said, '');
  });

  test('a remote that speaks no TLS is told apart from one with a wrong certificate', async (t) => {
    const made = folder(t);
    const port = await freePort();
    execFileSync('ovsdb-tool', ['create', join(made, 'nb.db'), schema]);
    const args = [join(made, 'nb.db'), `--remote=ptcp:${port}:127.0.0.1`, `--unixctl=${join(made, 'ctl')}`];
    new Server(t, made, args).start();
    await client(t, undefined, `tcp:127.0.0.1:${port}`).whenConnected(5000);
    const copy = client(t, read(own), `ssl:127.0.0.1:${port}`);
    await saying(copy, /ssl:127\.0\.0\.1:\d+: it ended the TLS handshake: is it a tcp: remote\?/);
  });

  test('of a cluster over TLS the leader is found, and the next one when it is killed', async (t) => {
    const { servers, remotes, leader } = await cluster(t, serverOptions(ours.files('member')));
    const copy = client(t, read(own), ...remotes.toReversed());
    await copy.whenConnected(10_000);
    await copy.transact([named('one')]);
    const lost = once(copy, 'lost');
    await servers[leader()]?.kill();
    await lost;
    await copy.whenConnected(20_000);
    await copy.transact([named('two')]);
    assert.deepEqual(names(copy), ['one', 'two']);
  });
});
