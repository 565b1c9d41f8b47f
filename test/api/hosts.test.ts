/** The gateway of the hosts, against real TLS clients: who may join, who may speak, and what ends a connection. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import pino from 'pino';
import { findRegion, fingerprintOf, join } from '../../src/agent/join.ts';
import { type Credentials, dial, gatewayName, RegionCaller } from '../../src/agent/region-caller.ts';
import { tokenHashOf } from '../../src/api/hosts/admission.ts';
import { certifyHost, makeAuthority } from '../../src/api/hosts/certificates.ts';
import { HostGateway } from '../../src/api/hosts/gateway.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { LinkToRegion } from '../../src/dataplane/ovn/host-link.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { HostName } from '../../src/model/ids.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Ending } from '../wire/lab.ts';

const operator = { principal: { kind: 'operator' }, requestId: 'test' } as const;
const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

async function start(t: Ending) {
  const store = new SqliteStore(':memory:');
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store, plane });
  const gateway = new HostGateway();
  const options = { host: '127.0.0.1', installationId: store.installationId, southbound: ['tcp:10.0.0.1:6642'] };
  await gateway.open(region, { ...options, port: 0, log: pino({ level: 'silent' }) });
  t.after(async () => {
    await gateway.close();
    await region.close();
  });
  const address = `127.0.0.1:${gateway.port}`;
  const authority = region.state.get('host-authority', 'host-authority')?.certificate ?? '';
  const invite = async (name: string, expires = '2999-01-01T00:00:00Z'): Promise<string> => {
    const token = `token-of-${name}-${Math.random()}`;
    await region.submit(
      { kind: 'invite-host', name: name as HostName, tokenHash: tokenHashOf(token), expires },
      operator,
    );
    return token;
  };
  const admit = async (name: string): Promise<Credentials> => {
    const { key, certificate } = await join(address, await invite(name), authority);
    return { key, certificate, authority };
  };
  /** A connection that has said hello. */
  const connected = async (credentials: Credentials): Promise<LinkToRegion> => {
    const link = linkOn(await dial(address, credentials));
    await link.call('hello', { attachments: [] });
    return link;
  };
  return { region, gateway, address, authority, invite, admit, connected, installationId: store.installationId };
}
const linkOn = (socket: TLSSocket): LinkToRegion =>
  new LinkToRegion({ socket, serve: async () => ({}), onEnd: () => {} });
/** Whether the other end ends it. */
const isCut = (socket: TLSSocket): Promise<true> =>
  new Promise((done) => {
    socket.once('close', () => done(true));
    socket.resume();
  });
async function until(ready: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !ready(); await pause(10)) {
    assert.ok(performance.now() < end, `gave up waiting until ${ready}`);
  }
}

test('a token admits once, and only who has seen the authority of the invitation shows it', async (t) => {
  const { address, authority, invite, region } = await start(t);
  const fingerprint = fingerprintOf(new X509Certificate(authority));
  assert.equal((await findRegion(address, fingerprint)).authority.trim(), authority.trim());
  const other = fingerprintOf(new X509Certificate(makeAuthority().certificate));
  await assert.rejects(findRegion(address, other), /nothing was told to it/);
  const token = await invite('h1');
  const joined = await join(address, token, authority);
  assert.equal(joined.host, 'h1');
  assert.deepEqual(joined.southbound, ['tcp:10.0.0.1:6642']);
  assert.equal(region.state.get('host', 'h1')?.state, 'active');
  await assert.rejects(join(address, token, authority), /unknown, has expired, or was used/);
  const journal = JSON.stringify(await region.journal({ afterRevision: 0, limit: 100 }));
  assert.ok(journal.includes(tokenHashOf(token)) && !journal.includes(token), 'the journal has its hash alone');
  assert.ok(!journal.includes('PRIVATE KEY'));
});

test('an expired token and a foreign one admit nobody', async (t) => {
  const { address, authority, invite, region } = await start(t);
  await assert.rejects(join(address, await invite('h1', '2001-01-01T00:00:00Z'), authority), /has expired/);
  await assert.rejects(join(address, 'guessed', authority), /unknown/);
  assert.equal(region.state.get('host', 'h1')?.state, 'invited');
});

test('one connection tries one token, and a refused one ends it', async (t) => {
  const { address, authority, invite, region } = await start(t);
  const token = await invite('h1');
  const line = (id: number, of: string): string => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const proof = sign('sha256', Buffer.from(of), privateKey).toString('base64');
    const params = { token: of, publicKey: publicKey.export({ type: 'spki', format: 'pem' }), proof };
    return `${JSON.stringify({ id, call: 'join', params })}\n`;
  };
  /** What comes back for these lines, sent at once, until the other end closes. */
  const answers = async (...lines: readonly string[]): Promise<string> => {
    const socket = await dial(address, { authority });
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.write(lines.join(''));
    await isCut(socket);
    return text;
  };
  // A connection that is kept would be asked for a sign of life before it ends.
  assert.match(await answers(line(1, 'guessed')), /^\{"id":1,"error".*was used.*\n$/, 'it is told why, and cut');
  assert.doesNotMatch(await answers(line(1, 'guessed'), line(2, token)), /"id":2/);
  assert.equal(region.state.get('host', 'h1')?.state, 'invited', 'the second was not tried');
  assert.match(await answers(line(1, token), line(2, 'guessed')), /^$/, 'who asks twice is not answered');
  const other = await invite('h2');
  assert.match(await answers(line(1, other)), /^\{"id":1,"result".*"host":"h2".*\n$/, 'the control: the first is');
});

test('a source whose joins fail is held off, with a good token too; another is not', async (t) => {
  const { gateway, address, authority, invite } = await start(t);
  const token = await invite('h1');
  for (let n = 0; n < 10; n++) await assert.rejects(join(address, 'guessed', authority), /unknown/);
  await assert.rejects(join(address, token, authority), /too many joins from this address have failed/);
  const from = { localAddress: '127.0.0.2', host: '127.0.0.1', port: gateway.port };
  const elsewhere = connect({ ...from, servername: gatewayName, ca: authority, minVersion: 'TLSv1.3' });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const proof = sign('sha256', Buffer.from(token), privateKey).toString('base64');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const { host } = await linkOn(elsewhere).call('join', { token, publicKey: pem, proof });
  assert.equal(host, 'h1');
});

test('a key whose owner has not signed the token is not certified, and the token stays good', async (t) => {
  const { address, authority, invite } = await start(t);
  const token = await invite('h1');
  const link = linkOn(await dial(address, { authority }));
  const [one, two] = [0, 1].map(() => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }));
  assert.ok(one !== undefined && two !== undefined);
  const publicKey = one.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const proof = sign('sha256', Buffer.from(token), two.privateKey).toString('base64');
  await assert.rejects(link.call('join', { token, publicKey, proof }), /not its own/);
  link.close('');
  assert.equal((await join(address, token, authority)).host, 'h1');
});

test('who has no certificate may only ask to join', async (t) => {
  const { address, authority } = await start(t);
  const link = linkOn(await dial(address, { authority }));
  await assert.rejects(link.call('hello', { attachments: [] }), /certificate is needed/);
  await assert.rejects(link.call('interface', { portId: 'port-aaaaaaaaaa' }), /certificate is needed/);
  link.close('');
});

test('certificates of another authority, of another key and of a removed host are turned away', async (t) => {
  const { region, gateway, address, authority, admit, connected } = await start(t);
  const good = await admit('h1');
  const link = await connected(good);
  assert.deepEqual([...gateway.connected()], ['h1']);
  const forged = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = forged.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const own = { certificate: region.state.get('host-authority', 'host-authority')?.certificate ?? '', privateKey: '' };
  const real = { ...own, privateKey: region.secretOf('host-authority') ?? '' };
  for (const by of [makeAuthority(), real]) {
    // The second is of the right authority and name: only the key is not the one that was admitted.
    const certificate = certifyHost(by, 'h1', forged.publicKey);
    assert.ok(await isCut(await dial(address, { key, certificate, authority })));
  }
  assert.ok(!link.closed, 'the host itself stays');
  await region.submit({ kind: 'remove-host', name: 'h1' as HostName, attached: null, lost: true }, operator);
  await until(() => link.closed);
  assert.deepEqual([...gateway.connected()], []);
  assert.ok(await isCut(await dial(address, good)));
});

test('a second connection of the same host replaces the first, and a host tells of itself alone', async (t) => {
  const { gateway, admit, connected } = await start(t);
  const [one, two] = [await admit('h1'), await admit('h2')];
  const [first, other] = [await connected(one), await connected(two)];
  const fact = {
    portId: 'port-aaaaaaaaaa',
    state: 'attached',
    target: 'netns:a',
    device: 'eth0',
    mtu: 1442,
    up: true,
  } as const;
  await first.call('attachment', { portId: fact.portId, fact });
  await other.call('attachment', { portId: fact.portId, fact: null });
  assert.deepEqual(
    gateway.attachments().map(({ host, portId }) => [host, portId]),
    [['h1', fact.portId]],
    'what h2 says is of h2',
  );
  const second = await connected(one);
  await until(() => first.closed);
  assert.deepEqual([...gateway.connected()].sort(), ['h1', 'h2']);
  assert.ok(!second.closed);
  assert.deepEqual(gateway.attachments(), [], 'it told everything anew: nothing');
});

test('what is not of the protocol ends the connection, and no other', async (t) => {
  const { address, authority, admit, connected } = await start(t);
  const credentials = await admit('h1');
  const bystander = await connected(await admit('h2'));
  for (const line of [
    'garbage',
    '{"id":1,"call":"nonsense","params":{}}',
    '{"id":1,"call":"hello","params":{"host":"h2"}}',
  ]) {
    const socket = await dial(address, credentials);
    socket.write(`${line}\n`);
    assert.ok(await isCut(socket), line);
  }
  const stranger = await dial(address, { authority });
  stranger.write('x'.repeat(8192));
  assert.ok(await isCut(stranger), 'a line without end');
  await bystander.call('ping', {});
});

test('an agent connects again when the region is back, and tells what it has', async (t) => {
  const { region, gateway, address, admit, installationId } = await start(t);
  const credentials = await admit('h1');
  const states: string[] = [];
  const fact = { portId: 'port-aaaaaaaaaa', state: 'attached', target: 'netns:a', device: 'eth0', mtu: 1442, up: true };
  const caller = new RegionCaller({
    address,
    credentials,
    installationId,
    hello: () => ({ attachments: [{ ...fact, state: 'attached' }] }),
    serve: async () => ({}),
    onChange: (state) => states.push(state),
  });
  t.after(() => caller.close());
  await until(() => gateway.connected().has('h1'));
  const port = gateway.port;
  await gateway.close();
  await until(() => states.includes('away'));
  const again = new HostGateway();
  t.after(() => again.close());
  await again.open(region, { host: '127.0.0.1', port, installationId, southbound: [], log: pino({ level: 'silent' }) });
  await until(() => again.connected().has('h1'));
  assert.deepEqual(
    again.attachments().map(({ host, portId }) => [host, portId]),
    [['h1', fact.portId]],
  );
});

test('a connection that waited with its hello ends with the host’s removal, and cannot speak for its successor', async (t) => {
  const { region, gateway, address, admit, connected } = await start(t);
  const [waiting, silent] = [await admit('h1'), await admit('h2')];
  const sockets = [await dial(address, waiting), await dial(address, silent)] as const;
  const cut = isCut(sockets[0]);
  await region.submit({ kind: 'remove-host', name: 'h1' as HostName, attached: null, lost: true }, operator);
  assert.equal(await cut, true);
  await assert.rejects(connected(waiting));
  // The same name, another machine.
  const successor = await admit('h1');
  const link = await connected(successor);
  await assert.rejects(connected(waiting));
  assert.deepEqual([...gateway.connected()], ['h1']);
  assert.equal(link.closed, false);
  const other = linkOn(sockets[1]);
  await assert.rejects(other.call('interface', { portId: 'port-aaaaaaaaaa' }), /hello comes first/);
  await other.call('hello', { attachments: [] });
  assert.equal(gateway.connected().has('h2'), true, 'the control: a host that is none the worse for it');
});

test('what a host tells of one interface is not filed under another', async (t) => {
  const { gateway, admit, connected } = await start(t);
  const link = await connected(await admit('h1'));
  const fact = { state: 'attached', target: 'netns:x', device: 'eth0', mtu: 1400, up: true } as const;
  const [one, two] = ['port-aaaaaaaaaa', 'port-bbbbbbbbbb'] as const;
  await assert.rejects(link.call('attachment', { portId: one, fact: { ...fact, portId: two } }), /another interface/);
  assert.deepEqual(gateway.attachments(), []);
  await link.call('attachment', { portId: one, fact: { ...fact, portId: one } });
  assert.deepEqual(
    gateway.attachments().map(({ portId, host }) => [portId, host]),
    [[one, 'h1']],
  );
});

test('one address that says nothing keeps nobody else out', async (t) => {
  const { gateway, address, admit, connected } = await start(t);
  const credentials = await admit('h1');
  const silent = await Promise.allSettled(Array.from({ length: 40 }, () => dial(address, { believe: 'anybody' })));
  const held = silent.filter(({ status }) => status === 'fulfilled').length;
  assert.ok(held <= 16, `${held} are held`);
  for (const one of silent) if (one.status === 'fulfilled') one.value.destroy();
  await pause(50);
  await connected(credentials);
  assert.equal(gateway.connected().has('h1'), true);
});

test('of two hosts that have one interface the first by name keeps it, whoever told of it first', async (t) => {
  const { gateway, address, admit } = await start(t);
  const fact = { state: 'attached', target: 'netns:x', device: 'eth0', mtu: 1400, up: true } as const;
  const portId = 'port-aaaaaaaaaa';
  const asked: string[] = [];
  const host = async (name: string): Promise<LinkToRegion> => {
    const socket = await dial(address, await admit(name));
    const serve = async (what: string): Promise<object> => {
      asked.push(`${name} ${what}`);
      return {};
    };
    const link = new LinkToRegion({ socket, serve, onEnd: () => {} });
    await link.call('hello', { attachments: [] });
    return link;
  };
  const away = await host('h0');
  await away.call('attachment', { portId, fact: { ...fact, portId } });
  away.close('');
  await until(() => !gateway.connected().has('h0'));
  const [second, first] = [await host('h2'), await host('h1')];
  await second.call('attachment', { portId, fact: { ...fact, portId } });
  assert.deepEqual(asked, [], 'the control: of those that are there one alone keeps it');
  await first.call('attachment', { portId, fact: { ...fact, portId } });
  await until(() => asked.length > 0);
  assert.deepEqual(asked, ['h2 release']);
  await second.call('attachment', { portId, fact: null });
  assert.deepEqual(
    gateway
      .attachments()
      .map((one) => one.host)
      .sort(),
    ['h0', 'h1'],
  );
});
