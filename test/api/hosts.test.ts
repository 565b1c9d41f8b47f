/** The gateway of the hosts, against real TLS clients: who may speak, for whom, and what ends a connection. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { join, makeKey } from '../../src/agent/join.ts';
import { dial, RegionCaller } from '../../src/agent/region-caller.ts';
import { certifyHost, makeAuthority } from '../../src/api/hosts/certificates.ts';
import { HostGateway } from '../../src/api/hosts/gateway.ts';
import { LinkToRegion } from '../../src/dataplane/ovn/host-link.ts';
import { mostWorkloads } from '../../src/dataplane/ovn/host-wire.ts';
import type { HostName } from '../../src/model/ids.ts';
import { isCut, linkOn, operator, pause, start, until } from '../hosts/gateway.ts';

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

/** Connections that say nothing. @param again they are made again whenever they are ended */
function silence(t: TestContext, port: number, sources: readonly string[], count: number, again: boolean) {
  const open = new Set<Socket>();
  const ended = { count: 0 };
  let over = !again;
  const hold = (localAddress: string): void => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.on('connect', () => open.add(socket));
    socket.on('error', () => {});
    socket.on('close', () => {
      open.delete(socket);
      ended.count++;
      if (!over) setTimeout(hold, 20, localAddress);
    });
  };
  for (let n = 0; n < count; n++) hold(sources[n % sources.length] ?? '');
  t.after(() => {
    over = true;
    for (const socket of open) socket.destroy();
  });
  return { open, ended };
}

test('one address that says nothing keeps nobody out, not even who calls from there', async (t) => {
  const { gateway, admit, connected } = await start(t);
  const credentials = await admit('h1');
  const { open, ended } = silence(t, gateway.port, ['127.0.0.1'], 40, false);
  await until(() => ended.count === 24 && open.size === 16);
  for (let n = 0; n < 10; n++) await connected(credentials);
  assert.equal(gateway.connected().has('h1'), true);
});

test('of those that are turned away the log has a line a second, not one each; and why a host was', async (t) => {
  const lines: { readonly msg: string; readonly why?: string; readonly subject?: string }[] = [];
  const { address, authority, admit } = await start(t, (line) => lines.push(JSON.parse(line)));
  const of = (text: RegExp) => lines.filter(({ msg }) => text.test(msg));
  const credentials = await admit('h1');
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const certificate = certifyHost(makeAuthority(), 'h1', publicKey);
  for (let n = 0; n < 5; n++) {
    await Promise.all(
      Array.from({ length: 8 }, async () => isCut(await dial(address, { key, certificate, authority }))),
    );
  }
  const turnedAway = of(/turned away/);
  assert.ok(turnedAway.length >= 1 && turnedAway.length < 40, `${turnedAway.length} lines`);
  assert.equal(turnedAway[0]?.subject, 'CN=h1');
  const socket = await dial(address, credentials);
  socket.write('garbage\n');
  assert.ok(await isCut(socket));
  await until(() => of(/before it said hello/).length > 0);
  assert.match(of(/before it said hello/)[0]?.why ?? '', /not JSON/);
});

test('two hundred silent connections of twelve addresses keep no host out, and no machine that joins', async (t) => {
  const { gateway, address, authority, admit, connected, invite } = await start(t);
  const credentials = await admit('h1');
  const sources = Array.from({ length: 12 }, (_, n) => `127.0.0.${n + 2}`);
  const { open, ended } = silence(t, gateway.port, sources, 200, true);
  await until(() => ended.count > 200 && open.size >= 100);
  for (let n = 0; n < 15; n++) {
    await connected(credentials);
    await pause(20);
  }
  const joined = await join(address, { token: await invite('h2'), authority, key: makeKey() });
  assert.equal(joined.host, 'h2');
  assert.ok(ended.count > 200, 'the control: they were made again all the while');
});

test('a host’s connections that say nothing make each other go, and keep no other host out', async (t) => {
  const { address, admit, connected } = await start(t);
  const [mute, other] = [await admit('h1'), await admit('h2')];
  const sockets = await Promise.all(Array.from({ length: 40 }, () => dial(address, mute)));
  for (const socket of sockets) socket.resume();
  await until(() => sockets.filter(({ destroyed }) => destroyed).length >= 36);
  await connected(other);
  await connected(mute);
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

test('a host that tells of more workloads than a host can have is cut off, at once or one by one', async (t) => {
  const { gateway, address, admit, connected } = await start(t);
  const credentials = await admit('h1');
  const rest = { state: 'attached', target: 'netns:x', device: 'eth0', mtu: 1400, up: true } as const;
  const fact = (at: number) => ({ ...rest, portId: `port-${String(at).padStart(10, '0')}` });
  const facts = (count: number) => Array.from({ length: count }, (_, at) => fact(at));
  const bystander = await connected(await admit('h2'));
  const tooMany = linkOn(await dial(address, credentials));
  await assert.rejects(tooMany.call('hello', { attachments: facts(mostWorkloads + 1) }));
  assert.equal(gateway.connected().has('h1'), false);
  const link = linkOn(await dial(address, credentials));
  await link.call('hello', { attachments: facts(mostWorkloads) });
  await link.call('attachment', { portId: fact(0).portId, fact: { ...fact(0), up: false } });
  await link.call('attachment', { portId: fact(1).portId, fact: null });
  await link.call('attachment', { portId: fact(mostWorkloads).portId, fact: fact(mostWorkloads) });
  assert.equal(link.closed, false, 'the control: so many it may have');
  await assert.rejects(link.call('attachment', { portId: fact(1).portId, fact: fact(1) }));
  await until(() => link.closed && !gateway.connected().has('h1'));
  assert.equal(gateway.attachments().length, mostWorkloads);
  await bystander.call('ping', {});
});
