/** `isthmus usage` and `isthmus top` against a region with traffic, the live table in a terminal of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { PortId } from '../../src/model/ids.ts';
import type { Address, Mac } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { startService, type TestService } from './service.ts';
import { speaker, tenant } from './speaker.ts';

let service: TestService;
const speak = speaker(() => service);
const { as, id, json, done, fails } = speak;
interface Side {
  readonly portId: PortId;
  readonly mac: Mac;
  readonly address: Address;
}
const sides = new Map<string, Side>();
let half = '';

async function side(name: string, cidr: string): Promise<string> {
  await tenant(speak, name);
  const vpcId = await id(name, 'vpc', 'create', name, '--cidr', cidr);
  await as(name, 'subnet', 'create', name, '--vpc', name, '--cidr', cidr);
  const portId = (await id(name, 'interface', 'create', `${name}-a`, '--subnet', name)) as PortId;
  await service.driver.attach({ portId, target: { kind: 'netns', name } });
  const { network } = await service.driver.observe();
  const spec = network.vpcs.flatMap(({ interfaces }) => interfaces).find((one) => one.id === portId);
  assert.ok(spec?.addresses[0] !== undefined);
  sides.set(name, { portId, mac: spec.mac, address: spec.addresses[0].address });
  return vpcId;
}
/** Packets of 100 bytes on the wire. */
function send(from: string, to: string | Address, times: number): void {
  const source = sides.get(from);
  assert.ok(source !== undefined);
  for (let n = 0; n < times; n++) {
    service.driver.send({
      from: source.portId,
      sourceMac: source.mac,
      destinationMac: gatewayMac,
      source: source.address,
      destination: sides.get(to)?.address ?? (to as Address),
      ttl: 64,
      length: 86,
      protocol: 'udp',
    });
  }
}

before(async () => {
  service = await startService();
  const red = await side('red', '10.0.0.0/24');
  const blue = await side('blue', '10.1.0.0/24');
  half = await id('red', 'peering', 'create', 'to-blue', '--vpc', 'red', '--remote', blue);
  await as('blue', 'peering', 'create', 'to-red', '--vpc', 'blue', '--remote', red);
  await as('red', 'route', 'add', 'red', '10.1.0.0/24', '--via', 'to-blue');
  await as('blue', 'route', 'add', 'blue', '10.0.0.0/24', '--via', 'to-red');
});
after(() => service.stop());

test('usage in all, in a range, hour by hour, for one half or for the region', async () => {
  send('red', 'blue', 20);
  send('blue', 'red', 3);
  const row = /vpcpr-\S+ +to-blue +2,000 +300 +0\.00\n/;
  assert.match(await as('red', 'usage'), row);
  assert.match(await as('red', 'usage', 'to-blue', '--hours', '2'), row);
  assert.match(await as('red', 'usage', half, '--from', '2020-01-01T00', '--to', '2999-01-01T00:00:00Z'), row);
  assert.match(await as('red', 'usage', '--by-hour'), /^HOUR +ID .*\n\d{4}-\d\d-\d\dT\d\d:00:00Z +vpcpr-/);
  assert.equal(await as('red', 'usage', '--from', '2020-01-01T00', '--to', '2020-01-01T05'), '');
  const [shown] = await json<{ vpcPeeringId: string; sent: object; price: string }[]>('red', 'usage');
  assert.deepEqual([shown?.vpcPeeringId, shown?.sent, shown?.price], [half, { packets: 20, bytes: 2000 }, '0.00']);
  const region = await done('usage', '--operator');
  assert.match(region, /^ACCOUNT +ID +NAME/);
  assert.equal(region.trim().split('\n').length, 3);
  assert.equal((await done('usage', '--operator', half, '-q')).trim(), half);
  const { stderr } = await service.run(['usage', '--profile', 'red']);
  assert.match(stderr, /Peering within one region carries no charge \(JD Cloud: Price\)\. Counted until \d{4}-/);
});

test('usage refuses what it cannot answer, and says what to give', async () => {
  for (const [args, says] of [
    [['--hours', '0'], /--hours '0' is not a number of hours/],
    [['--hours', '3', '--from', '2020-01-01T00'], /--hours goes with neither/],
  ] as const) {
    assert.match((await fails(2, 'usage', ...args, '--profile', 'red')).stderr, says);
  }
  assert.match(
    (await fails(1, 'usage', '--from', 'noon', '--profile', 'red')).stderr,
    /from: 'noon' is not a full hour/,
  );
  assert.match((await fails(2, 'usage', 'to-blue', '--operator')).stderr, /'to-blue' is not the id/);
});

test('top --once gives rates from two looks, to a tenant and to the operator', async () => {
  const going = setInterval(() => {
    send('red', 'blue', 10);
    send('red', '192.0.2.1' as Address, 2);
  }, 20);
  try {
    type Rates = {
      seconds: number;
      halves: { vpcPeeringId: string; sent: { packetsPerSecond: number; bytesPerSecond: number } }[];
      drops: { reason: string; packetsPerSecond: number; interface: string | null }[];
    };
    const mine = await json<Rates>('red', 'top', '--once', '--interval', '0.5');
    const [only, ...others] = mine.halves;
    assert.deepEqual([only?.vpcPeeringId, others], [half, []]);
    assert.ok(mine.seconds >= 0.4);
    assert.ok((only?.sent.packetsPerSecond ?? 0) > 0);
    const { packetsPerSecond = 0, bytesPerSecond = 0 } = only?.sent ?? {};
    assert.ok(Math.abs(bytesPerSecond / packetsPerSecond - 100) < 1e-6, 'a hundred bytes each');
    assert.deepEqual([mine.drops[0]?.interface, mine.drops.length], ['red-a', 1]);
    const all = JSON.parse(await done('top', '--operator', '--once', '--json', '--interval', '0.5')) as Rates;
    assert.equal(all.halves.length, 2);
    assert.ok((all.drops[0]?.packetsPerSecond ?? 0) > 0);
    const table = await as('red', 'top', '--once', '--interval', '0.2');
    assert.match(table, /^isthmus top · .* · 1 of 1 halves Connected\n\nPEERING +STATE +SENT PKT\/S/);
  } finally {
    clearInterval(going);
  }
});

test('a live table needs a terminal, and says what scripts use', async () => {
  for (const args of [[], ['--json']]) {
    const { stderr } = await fails(2, 'top', ...args, '--profile', 'red');
    assert.match(stderr, /isthmus top --once --json/);
  }
  assert.match((await fails(2, 'top', '--interval', '0', '--profile', 'red')).stderr, /--interval '0'/);
});

const program = resolve(import.meta.dirname, '../../src/cli/main.ts');
/** `isthmus top` in a pseudo-terminal of 20 lines. @param end what ends it, once it has drawn twice */
async function inTerminal(end: (child: ReturnType<typeof spawn>, pid: number) => void) {
  const node = `${process.execPath} --disable-warning=ExperimentalWarning ${program}`;
  // The shell says its settings before and after, and passes on how the command ended.
  const top = `sh -c 'echo pid $$; exec ${node} top --profile red --interval 0.1'`;
  const line = `stty cols 90 rows 20; stty -g; ${top}; code=$?; stty -g; exit $code`;
  const env = { PATH: process.env['PATH'], TERM: 'xterm', XDG_CONFIG_HOME: join(service.folder, 'config') };
  const child = spawn('script', ['--quiet', '--return', '--flush', '--command', line, '/dev/null'], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 30_000,
  });
  let text = '';
  let ended = false;
  child.stdout?.on('data', (part: Buffer) => {
    text += part.toString();
    if (ended || text.split('\u001b[H').length < 5) return;
    ended = true;
    end(child, Number(/pid (\d+)/.exec(text)?.[1]));
  });
  const [code] = (await once(child, 'close')) as [number];
  const [opened, closed] = [text.indexOf('\u001b[?1049h'), text.lastIndexOf('\u001b[?1049l')];
  const settings = [...text.matchAll(/[0-9a-f]+(?::[0-9a-f]+){20,}/g)].map(([found]) => found);
  return { code, text, opened, closed, settings };
}

for (const [how, end] of [
  ['q', (child) => child.stdin?.write('q')],
  ['Ctrl-C', (child) => child.stdin?.write('\u0003')],
] as const satisfies readonly (readonly [string, (child: ReturnType<typeof spawn>) => void])[]) {
  test(`the live table ends with ${how} and leaves the terminal as it was`, async () => {
    const { code, text, opened, closed, settings } = await inTerminal(end);
    assert.equal(code, 0, text);
    assert.ok(opened >= 0 && closed > opened, 'another screen, and back');
    assert.ok(text.lastIndexOf('\u001b[?25h') > text.lastIndexOf('\u001b[?25l'), 'with its cursor');
    assert.match(text.slice(opened, closed), /to-blue/);
    assert.equal(settings.length, 2, text);
    assert.equal(settings[0], settings[1], 'modes as before');
  });
}

test('the live table leaves the terminal as it was when it is told to end', async () => {
  const { code, opened, closed, settings } = await inTerminal((_child, pid) => process.kill(pid, 'SIGTERM'));
  assert.equal(code, 0);
  assert.ok(opened >= 0 && closed > opened);
  assert.deepEqual([settings.length, settings[0]], [2, settings[1]]);
});
