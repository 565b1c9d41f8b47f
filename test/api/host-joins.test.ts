/** Who may join a region, against real TLS clients: with what, how often, and from where. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { findRegion, fingerprintOf, join, joinAny, makeKey } from '../../src/agent/join.ts';
import { dial } from '../../src/agent/region-caller.ts';
import { tokenHashOf } from '../../src/api/hosts/admission.ts';
import { makeAuthority } from '../../src/api/hosts/certificates.ts';
import { gatewayName } from '../../src/dataplane/ovn/host-wire.ts';
import { isCut, linkOn, start } from '../hosts/gateway.ts';
import { Way } from '../hosts/way.ts';

test('a token admits once, and only who has seen the authority of the invitation shows it', async (t) => {
  const { address, authority, invite, region, installationId } = await start(t);
  const fingerprint = fingerprintOf(new X509Certificate(authority));
  const found = await findRegion(address, fingerprint);
  assert.equal(found.authority.trim(), authority.trim());
  assert.equal(found.installationId, installationId);
  const other = fingerprintOf(new X509Certificate(makeAuthority().certificate));
  await assert.rejects(findRegion(address, other), /nothing was told to it/);
  const token = await invite('h1');
  const joined = await join(address, { token: token, authority, key: makeKey() });
  assert.equal(joined.host, 'h1');
  assert.deepEqual(joined.southbound, ['tcp:10.0.0.1:6642']);
  assert.equal(region.state.get('host', 'h1')?.state, 'active');
  await assert.rejects(join(address, { token: token, authority, key: makeKey() }), /unknown, has expired, or was used/);
  const journal = JSON.stringify(await region.journal({ afterRevision: 0, limit: 100 }));
  assert.ok(journal.includes(tokenHashOf(token)) && !journal.includes(token), 'the journal has its hash alone');
  assert.ok(!journal.includes('PRIVATE KEY'));
});

test('an expired token and a foreign one admit nobody', async (t) => {
  const { address, authority, invite, region } = await start(t);
  await assert.rejects(
    join(address, { token: await invite('h1', '2001-01-01T00:00:00Z'), authority, key: makeKey() }),
    /has expired/,
  );
  await assert.rejects(join(address, { token: 'guessed', authority, key: makeKey() }), /unknown/);
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
  for (let n = 0; n < 10; n++)
    await assert.rejects(join(address, { token: 'guessed', authority, key: makeKey() }), /unknown/);
  await assert.rejects(
    join(address, { token: token, authority, key: makeKey() }),
    /too many joins from this address have failed/,
  );
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
  assert.equal((await join(address, { token: token, authority, key: makeKey() })).host, 'h1');
});

test('a lost answer is given again to the key that asked, whom it reaches by whichever way, and to no other', async (t) => {
  const { region, gateway, address, authority, invite, connected } = await start(t);
  const [first, second] = [await invite('h1'), await invite('h2')];
  const way = await Way.open(t, gateway.port);
  // The host is admitted then, and is not told yet.
  region.onChanges(() => way.cut());
  const mine = { token: first, authority, key: makeKey() };
  await assert.rejects(join(way.address, mine), { code: 'unavailable' });
  assert.equal(region.state.get('host', 'h1')?.state, 'active', 'the token is used');
  const { revision } = region.state;
  await assert.rejects(join(address, { ...mine, key: makeKey() }), /was used/);
  const { host, key, certificate } = await join(way.address, mine);
  assert.deepEqual([host, region.state.revision], ['h1', revision], 'nothing was changed by it');
  await connected({ key, certificate, authority });
  assert.ok(gateway.connected().has('h1'));

  const other = { token: second, authority, key: makeKey() };
  assert.equal((await joinAny([way.address, address], other)).host, 'h2', 'the next server is asked by itself');
  await assert.rejects(
    joinAny([address, address], { ...other, key: makeKey() }),
    /was used/,
    'a refusal is the last word',
  );
});
