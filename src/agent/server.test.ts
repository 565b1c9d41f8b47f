/** The privilege line in one process: a door of the agent with a plane that only remembers, and the region's side of it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AgentClient } from '../dataplane/agent-client.ts';
import { DriverError } from '../dataplane/driver.ts';
import { RemotePlane } from '../dataplane/remote.ts';
import type { Method } from '../dataplane/wire.ts';
import { type Door, DoorServer, type Handler } from './server.ts';

const installation = 'aaaaaaaaaa';
const fact = (portId: string) => ({
  portId,
  state: 'attached',
  target: 'netns:x',
  device: 'eth0',
  mtu: 1500,
  up: true,
});

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 1000) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** An agent whose plane is a list of what it was asked. */
function agentAt(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'door-'));
  const path = join(folder, 'agent.sock');
  const asked: Method[] = [];
  const state = { installation, attached: [] as string[] };
  const handle: Handler = async (method, params) => {
    asked.push(method);
    if (method === 'hello' && (params as { installationId: string }).installationId !== state.installation) {
      throw new DriverError('unavailable', `this plane belongs to installation ${state.installation}`);
    }
    if (method === 'attachments') return state.attached.map(fact);
    return method === 'sync' ? { revision: 1, failed: [] } : {};
  };
  let door: DoorServer | null = null;
  const open = async (kind: Door['kind'] = 'region'): Promise<DoorServer> => {
    door = await DoorServer.open({ kind, path, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }, handle);
    return door;
  };
  const close = async (): Promise<void> => {
    await door?.close();
    door = null;
  };
  t.after(async () => {
    await close();
    rmSync(folder, { recursive: true });
  });
  return { path, asked, state, open, close };
}

/** Says lines as they are. @returns the answers, one for each */
async function say(path: string, lines: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const socket: Socket = connect(path);
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  socket.write(lines.map((line) => `${line}\n`).join(''));
  await until('every line is answered', () => text.split('\n').length > lines.length);
  socket.destroy();
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a door opens for its owner only, and does what belongs to it and nothing else', async (t) => {
  const agent = agentAt(t);
  await agent.open('region');
  assert.equal(statSync(agent.path).mode & 0o777, 0o600);
  const portId = 'port-aaaaaaaaaa';
  const hostCalls = [
    { id: 1, method: 'attach', params: { portId, target: { kind: 'pid', pid: 1 } } },
    { id: 2, method: 'detach', params: { portId } },
    { id: 3, method: 'observe', params: {} },
  ].map((call) => JSON.stringify(call));
  for (const answer of await say(agent.path, hostCalls)) {
    assert.match(JSON.stringify(answer), /not for this socket/);
  }
  assert.deepEqual(agent.asked, []);
  await agent.close();
  await agent.open('host');
  for (const answer of await say(agent.path, hostCalls)) assert.ok('result' in answer, 'control');
  const full = { revision: 1, full: true, vpcs: [], removed: [] };
  const [sync] = await say(agent.path, [JSON.stringify({ id: 4, method: 'sync', params: full })]);
  assert.match(JSON.stringify(sync), /not for this socket/);
  assert.deepEqual(agent.asked, ['attach', 'detach', 'observe']);
});

test('lines that are no request are answered with their fault and reach nothing', async (t) => {
  const agent = agentAt(t);
  await agent.open();
  const deep = `{"id":1,"method":"probe","params":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  const bad = [
    '',
    'GET / HTTP/1.1',
    'null',
    '[]',
    '{"id":"1","method":"probe","params":{}}',
    '{"id":1.5,"method":"probe","params":{}}',
    '{"id":1,"method":"__proto__","params":{}}',
    '{"id":1,"method":"constructor","params":{}}',
    '{"id":1,"method":"probe"}',
    '{"id":1,"method":"probe","params":{},"more":1}',
    '{"id":1,"method":"probe","params":{"__proto__":{}}}',
    '{"id":1,"method":"hello","params":{"installationId":"../../../x"}}',
    '{"id":1,"method":"sync","params":{"revision":-1,"full":true,"vpcs":[],"removed":[]}}',
    deep,
  ];
  for (const answer of await say(agent.path, bad)) assert.match(JSON.stringify(answer), /"the request is not right: /);
  assert.deepEqual(agent.asked, []);
  const [good] = await say(agent.path, ['{"id":9,"method":"probe","params":{}}']);
  assert.deepEqual(good, { id: 9, result: {} }, 'control');
});

test('a region that lost its agent says so, comes back by itself, and asks for a full sync', async (t) => {
  const agent = agentAt(t);
  agent.state.attached = ['port-aaaaaaaaaa', 'port-bbbbbbbbbb'];
  await agent.open();
  const plane = await RemotePlane.open(agent.path, installation);
  t.after(() => plane.close());
  const heard: string[] = [];
  plane.onLost((problem) => heard.push(`lost: ${problem}`));
  plane.onNeedSync(() => heard.push('need sync'));
  plane.onAttachment((portId, is) => heard.push(`${portId} ${is?.state ?? 'detached'}`));
  const update = { revision: 1, full: true, vpcs: [], removed: [] };
  assert.equal((await plane.sync(update)).revision, 1);

  await agent.close();
  await until('the loss is noticed', () => heard.length > 0);
  assert.match(heard[0] ?? '', /^lost: the host agent at .* went away$/);
  await assert.rejects(plane.sync(update), { name: 'DriverError', code: 'unavailable' });
  agent.state.attached = ['port-bbbbbbbbbb'];
  await agent.open();
  await until('it is back', () => heard.includes('need sync'));
  assert.ok(heard.includes('port-aaaaaaaaaa detached'), 'what was detached meanwhile is told');
  assert.ok(heard.includes('port-bbbbbbbbbb attached'));
  assert.equal((await plane.sync(update)).revision, 1);
});

test("an agent with another installation's plane is not used, its reason is passed on, and no connection piles up", async (t) => {
  const agent = agentAt(t);
  agent.state.installation = 'bbbbbbbbbb';
  await agent.open();
  const before = process.getActiveResourcesInfo().filter((name) => name === 'PipeWrap').length;
  const plane = await RemotePlane.open(agent.path, installation);
  t.after(() => plane.close());
  await assert.rejects(plane.counters(), /belongs to installation bbbbbbbbbb/);
  await until('it tried three times more', () => agent.asked.length > 3);
  // A connection has two ends here, and the last one may still be closing.
  const now = process.getActiveResourcesInfo().filter((name) => name === 'PipeWrap').length;
  assert.ok(now <= before + 2, `${now - before} pipes are open`);
  let back = false;
  plane.onNeedSync(() => {
    back = true;
  });
  agent.state.installation = installation;
  await until('it is used once it is ours', () => back);
  assert.deepEqual(await plane.probe(), {});
});

test('an event that follows an answer is heard after whoever waited for the answer', async (t) => {
  const { path } = agentAt(t);
  // Both in one write, so that they are read in one turn.
  const server = createServer((socket) =>
    socket.on('data', () => socket.write('{"id":1,"result":0}\n{"event":"drift","data":0}\n')),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  const heard: string[] = [];
  const client = await AgentClient.connect(path, ({ event }) => heard.push(event));
  t.after(() => client.close());
  const asking = (async () => {
    await client.call('probe', {});
    heard.push('answer');
  })();
  await asking;
  await until('both are heard', () => heard.length === 2);
  assert.deepEqual(heard, ['answer', 'drift']);
});
