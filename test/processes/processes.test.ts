import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { purge } from '../../src/cli/down.ts';
import { sockets } from '../../src/cli/places.ts';
import { startService } from '../../src/cli/up.ts';
import { cannotRun } from '../wire/lab.ts';
import type { Stream } from '../wire/stream.ts';
import { House, type Site } from './house.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** A process that does not come back would otherwise hold the whole run up. */
const options = { skip: cannotRun, timeout: 400_000 };

const statusOf = (pid: number): ReadonlyMap<string, string> =>
  new Map(
    readFileSync(`/proc/${pid}/status`, 'utf8')
      .split('\n')
      .map((line) => line.split(':\t') as [string, string]),
  );
const pidOf = (house: House, part: 'agent' | 'region'): number => house.service.pids()[part] ?? 0;
/** Sockets of TCP and UDP in a process's own namespace, loopback included: rows of /proc/PID/net. */
const internetSockets = (pid: number): number =>
  ['tcp', 'tcp6', 'udp', 'udp6'].reduce((sum, name) => {
    const rows = readFileSync(`/proc/${pid}/net/${name}`, 'utf8').trim().split('\n');
    return sum + rows.length - 1;
  }, 0);

const streams = async (house: House, red: Site, blue: Site): Promise<readonly Stream[]> => [
  await house.stream(red, blue),
  await house.stream(blue, red),
];

test('the region holds no privilege, the agent few, and only the region speaks TCP', options, async (t) => {
  const house = await House.start(t);
  const region = statusOf(pidOf(house, 'region'));
  assert.match(region.get('Uid') ?? '', /^([1-9][0-9]*)\t\1\t\1\t\1$/, 'not root, and no way back');
  for (const name of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) assert.equal(Number(`0x${region.get(name)}`), 0, name);
  assert.equal(region.get('NoNewPrivs'), '1');
  const agent = statusOf(pidOf(house, 'agent'));
  const rawSockets = 1n << 13n; // CAP_NET_RAW, as one of those that it must not have
  assert.equal(BigInt(`0x${agent.get('CapBnd')}`) & rawSockets, 0n);
  assert.equal(internetSockets(pidOf(house, 'agent')), 0);
  assert.ok(internetSockets(pidOf(house, 'region')) > 0, 'control: the region does listen');
});

test(
  '43. agent or region killed alone: no packet lost, and on return they agree without a write',
  options,
  async (t) => {
    const house = await House.start(t);
    const { red, blue } = await house.peered();
    const running = await streams(house, red, blue);
    for (const part of ['agent', 'region', 'agent', 'region'] as const) {
      await pause(300);
      const before = house.syncs().length;
      house.kill(part);
      await house.met(before);
      assert.deepEqual(
        house
          .syncs(before)
          .map(({ writes }) => writes)
          .filter((writes) => writes !== 0),
        [],
        `${part}: no write`,
      );
    }
    const { sent, lost: gone } = await house.lost(running);
    assert.ok(sent > 1000, `control: ${sent} datagrams were sent`);
    assert.equal(gone, 0);
  },
);

test('kill -9 at 50 random instants: no packet and no acknowledged command is lost', options, async (t) => {
  const house = await House.start(t);
  const { red, blue } = await house.peered();
  const running = await streams(house, red, blue);
  const acknowledged: { readonly site: Site; readonly vpcId: string; readonly name: string }[] = [];
  let stop = false;
  let refused = 0;
  const commands = [red, blue].map(async (site, which) => {
    for (let n = 0; !stop; n++) {
      const name = `kept-${which}-${n}`;
      try {
        const { vpcId } = (await site.client.post('/vpcs/', { vpcName: name })) as { vpcId: string };
        acknowledged.push({ site, vpcId, name });
      } catch {
        refused++; // nobody was there to answer
        await pause(20);
      }
      await pause(20);
    }
  });
  let random = 20_260_101;
  t.diagnostic(`seed ${random}`);
  const next = (below: number): number => {
    random = (random * 1_103_515_245 + 12_345) % 2_147_483_648;
    return random % below;
  };
  for (let kill = 0; kill < 50; kill++) {
    await pause(200 + next(500));
    const which = next(3);
    if (which !== 0) house.kill('region');
    if (which !== 1) house.kill('agent');
    if (kill % 10 === 9) await house.settled();
  }
  stop = true;
  await Promise.all(commands);
  await house.settled();
  assert.ok(acknowledged.length > 50, `control: ${acknowledged.length} commands were acknowledged`);
  assert.ok(refused > 0, 'control: some met nobody');
  for (const site of [red, blue]) {
    const there = new Map(
      (await site.client.all<{ vpcId: string; vpcName: string }>('vpcs', 'vpcs')).map((vpc) => [
        vpc.vpcId,
        vpc.vpcName,
      ]),
    );
    for (const one of acknowledged) if (one.site === site) assert.equal(there.get(one.vpcId), one.name);
  }
  const { sent, lost: gone } = await house.lost(running);
  assert.ok(sent > 10_000, `control: ${sent} datagrams were sent`);
  assert.equal(gone, 0);
});

test('42. killed between commit and data plane, the plane equals the store after the restart', options, async (t) => {
  const house = await House.start(t);
  const { red, blue, blueHalf } = await house.peered();
  assert.deepEqual(await house.live(), [true, true]);
  const before = house.syncs().length;
  // The agent stands still: what is committed now cannot reach the plane.
  process.kill(pidOf(house, 'agent'), 'SIGSTOP');
  const pending = blue.client.delete(`/vpcPeerings/${blueHalf}`).catch(() => 'nobody answered');
  await pause(500);
  house.kill('region');
  house.kill('agent');
  await pending;
  await house.met(before);
  const { vpcPeerings } = (await red.client.get('/vpcPeerings/')) as { vpcPeerings: { vpcPeeringState: string }[] };
  assert.deepEqual(
    vpcPeerings.map(({ vpcPeeringState }) => vpcPeeringState),
    ['Disconnected'],
    'committed',
  );
  assert.deepEqual(await house.live(), [false, false]);
});

test('49. a second service on the same store or plane is refused, and the first goes on', options, async (t) => {
  const house = await House.start(t);
  const { red, blue } = await house.peered();
  const elsewhere = { ...house.options, listen: '127.0.0.1:0' };
  await assert.rejects(
    startService(elsewhere, () => {}),
    /did not start/,
  );
  await house.settled();
  const stream = await house.stream(red, blue);
  await pause(200);
  const { sent, lost } = await house.lost([stream]);
  assert.ok(sent > 50 && lost === 0, `${lost} of ${sent} lost`);
});

test('hostile lines at the agent are refused, change nothing, and leave it well', options, async (t) => {
  const house = await House.start(t);
  await house.peered();
  const before = await house.observe();
  const socket = connect(sockets(house.options.runDir).agent);
  const answers: string[] = [];
  createInterface({ input: socket }).on('line', (line) => answers.push(line));
  const spec = {
    vpcId: 'vpc-aaaaaaaaaa',
    interfaces: [],
    routeTables: [{ id: 'rtb-aaaaaaaaaa', routes: [] as object[] }],
    halves: [],
  };
  const foreignHalf = { destination: '10.9.0.0/16', target: { kind: 'peering', halfId: 'vpcpr-aaaaaaaaaa' } };
  const hostBits = { destination: '10.9.0.1/16', target: { kind: 'local' } };
  const sync = (vpcs: readonly object[]) => ({ revision: 1e9, full: false, vpcs, removed: [] });
  const params: readonly (readonly [string, unknown])[] = [
    ['sync', sync([{ ...spec, vpcId: '../../etc' }])],
    ['sync', sync([{ ...spec, routeTables: [{ ...spec.routeTables[0], routes: [foreignHalf] }] }])],
    ['sync', sync([{ ...spec, routeTables: [{ ...spec.routeTables[0], routes: [hostBits] }] }])],
    ['sync', sync([spec, spec])],
    ['sync', { ...sync([]), removed: ['vpc-1'] }],
    ['sync', { ...sync([]), more: 1 }],
    ['attach', { portId: 'port-aaaaaaaaaa', target: { kind: 'pid', pid: 1 } }],
    ['detach', { portId: 'port-aaaaaaaaaa' }],
    ['observe', {}],
    ['hello', { installationId: '0000000000' }],
    ['hello', { installationId: '; rm -rf /' }],
    ['exec', { command: 'id' }],
  ];
  const lines = params.map(([method, of], at) => JSON.stringify({ id: at + 1, method, params: of }));
  const noise = ['{', 'null', '[]', '{"id":1}', '{"id":-1,"method":"probe","params":{}}', '\u0000', '"x"'];
  const all = [...lines, ...noise];
  for (let round = 0; round < 50; round++) for (const line of all) socket.write(`${line}\n`);
  while (answers.length < 50 * all.length) await pause(20);
  socket.destroy();
  for (const answer of answers) assert.ok('error' in (JSON.parse(answer) as object), answer);
  assert.deepEqual(await house.observe(), before);
  await house.settled();
});

test('a stop leaves the network running, and purge leaves nothing', options, async (t) => {
  const house = await House.start(t);
  const { red, blue } = await house.peered();
  const running = await streams(house, red, blue);
  await pause(200);
  await house.down();
  await pause(500);
  const { sent, lost: gone } = await house.lost(running);
  assert.ok(sent > 500);
  assert.equal(gone, 0);
  assert.ok(existsSync(`/run/netns/${house.places.namespace}`), 'control: the network is there');
  await purge(house.places);
  assert.equal(existsSync(`/run/netns/${house.places.namespace}`), false);
  assert.equal(existsSync(house.places.runDir), false);
  assert.equal(existsSync(house.places.data), false);
  await pause(200);
  assert.deepEqual(
    red.workload.links().map(({ name }) => name),
    ['lo'],
    'the device went with it',
  );
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(join(house.home, 'run')), false);
});
