/** What `/metrics` says: names by convention, bounded labels, sums that never go back; and what in deploy/ is built on it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { checkMetricsAddress, ListenError } from '../../src/api/address.ts';
import { createAdminServer } from '../../src/api/admin.ts';
import { listen } from '../../src/api/listen.ts';
import { ExitSums } from '../../src/api/metrics/exit-sums.ts';
import { HalfSeries } from '../../src/api/metrics/half-series.ts';
import { listenMetrics } from '../../src/api/metrics/listen.ts';
import { Metrics } from '../../src/api/metrics/metrics.ts';
import type { Count } from '../../src/dataplane/driver.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { Exit } from '../../src/model/drop-reason.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, HalfId, KeyId, PortId, VpcId } from '../../src/model/ids.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { BookedHalf } from '../../src/store/store.ts';
import { OwingDriver } from '../hosts/owing-driver.ts';

const deploy = (name: string): string =>
  readFileSync(join(resolve(import.meta.dirname, '../..'), 'deploy', name), 'utf8');

async function service(t: TestContext, driver = new FakeDriver()) {
  const store = new SqliteStore(':memory:');
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const region = await Region.start({ name: 'm-1', version: '9', store, plane });
  const metrics = new Metrics({ region, storeSize: () => store.size() });
  const measured = metrics.measured(region);
  const log = pino({ level: 'silent' });
  const tenants = await listen({
    region: measured,
    log,
    address: '127.0.0.1:0',
    onAnswer: (status) => metrics.answered('tenant', status),
  });
  const admin = await createAdminServer({
    region: measured,
    log,
    onAnswer: (status) => metrics.answered('operator', status),
  });
  const scraped = await listenMetrics('127.0.0.1:0', metrics);
  t.after(async () => {
    await Promise.all([tenants.close(), admin.close(), scraped.close()]);
    await region.close();
  });
  const scrape = async (): Promise<string> => (await fetch(scraped.url)).text();
  return { region: measured, metrics, tenants, admin, scraped, scrape };
}

/** A sample's value; undefined when there is none. */
function value(text: string, name: string, labels: { readonly [name: string]: string } = {}): number | undefined {
  for (const line of text.split('\n')) {
    const [, found = '', inside = '', number = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (found !== name) continue;
    if (Object.entries(labels).every(([key, wanted]) => inside.includes(`${key}="${wanted}"`))) return Number(number);
  }
  return undefined;
}
/** Names of all metrics, as queries may use them. */
const namesIn = (text: string): ReadonlySet<string> =>
  new Set(
    [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name = '', type]) =>
      type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    ),
  );

test('commands, requests, resources and revisions are told as they are', async (t) => {
  const { region, tenants, admin, scrape } = await service(t);
  const context = { principal: { kind: 'operator' }, requestId: 'r' } as const;
  await region.submit({ kind: 'create-account', name: 'red' }, context);
  await region.submit({ kind: 'create-account', name: 'red' }, context);
  assert.equal((await fetch(`${tenants.url}/v1/regions/m-1/vpcs`)).status, 401);
  assert.equal((await admin.inject('/status')).statusCode, 200);
  const text = await scrape();
  const command = { operation: 'create-account' };
  assert.equal(value(text, 'isthmus_commands_total', { ...command, outcome: 'done' }), 1);
  assert.equal(value(text, 'isthmus_commands_total', { ...command, outcome: 'refused' }), 1);
  assert.equal(value(text, 'isthmus_command_duration_seconds_count', command), 2);
  assert.equal(value(text, 'isthmus_requests_total', { door: 'tenant', status: '4xx' }), 1);
  assert.equal(value(text, 'isthmus_requests_total', { door: 'operator', status: '2xx' }), 1);
  assert.equal(value(text, 'isthmus_revision'), 1);
  assert.equal(value(text, 'isthmus_plane_problem'), 0);
  assert.equal(value(text, 'isthmus_resources', { kind: 'account' }), 1);
  assert.equal(value(text, 'isthmus_journal_entries'), 1);
  assert.equal(value(text, 'isthmus_build_info', { version: '9', driver: 'fake', region: 'm-1' }), 1);
  assert.equal(value(text, 'isthmus_exit_packets_total', { exit: 'Internal', drop: 'true' }), 0);
  assert.ok((value(text, 'process_resident_memory_bytes') ?? 0) > 0);
});

test('only /metrics is served there, to readers only', async (t) => {
  const { scraped } = await service(t);
  const answer = await fetch(scraped.url);
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  assert.equal((await fetch(scraped.url, { method: 'POST' })).status, 405);
  for (const path of ['/', '/v1/regions/m-1/vpcs', '/accounts', '/metrics/x']) {
    assert.equal((await fetch(new URL(path, scraped.url))).status, 404, path);
  }
});

test('metrics listen on loopback or on an address that is named, never on all', () => {
  for (const good of ['127.0.0.1:7789', '[::1]:7789', 'localhost:0', '10.1.2.3:80', '[fd00::1]:7789']) {
    assert.ok(checkMetricsAddress(good).host !== '', good);
  }
  for (const bad of ['0.0.0.0:7789', '[::]:7789', '7789', 'example.com:7789', '127.0.0.1:99999', '']) {
    assert.throws(() => checkMetricsAddress(bad), ListenError, bad);
  }
});

test('hosts that are behind have series, at most 64 of them, until they have caught up', async (t) => {
  const driver = new OwingDriver();
  const { region, scrape } = await service(t, driver);
  const operator = { principal: { kind: 'operator' }, requestId: 'r' } as const;
  const account = await region.submit({ kind: 'create-account', name: 'red' }, operator);
  assert.ok(!isRefusal(account));
  const principal = { kind: 'tenant', accountId: account.result.id as AccountId, keyId: 'k' as KeyId } as const;
  const hosts = Array.from({ length: 66 }, (_, n) => `h${String(n).padStart(2, '0')}`);
  for (const host of hosts) driver.leave(host);
  const made = await region.submit(
    { kind: 'create-vpc', name: 'v', description: '', cidrs: [] },
    { principal, requestId: 'r' },
  );
  assert.ok(!isRefusal(made) && !made.applied);
  const text = await scrape();
  assert.equal(value(text, 'isthmus_owed_vpcs'), 1);
  assert.equal(value(text, 'isthmus_host_owed_vpcs', { host: 'h63', owes: 'install' }), 1);
  assert.equal(value(text, 'isthmus_host_owed_vpcs', { host: 'h63', owes: 'fence' }), 0);
  assert.equal(value(text, 'isthmus_host_owed_vpcs', { host: 'h64' }), undefined);
  assert.equal(value(text, 'isthmus_host_owed_vpcs', { host: 'other', owes: 'install' }), 2);
  assert.equal(value(text, 'isthmus_commands_total', { operation: 'create-vpc', outcome: 'pending' }), 1);
  for (const host of hosts) driver.comeBack(host);
  for (let tries = 0; tries < 500 && region.status().owedVpcs > 0; tries++) await sleep(10);
  const later = await scrape();
  assert.equal(value(later, 'isthmus_owed_vpcs'), 0);
  assert.equal(value(later, 'isthmus_host_owed_vpcs'), undefined, 'none is left');
});

test('names follow the convention: isthmus_, base units, _total for what counts', async (t) => {
  const { scrape } = await service(t);
  const types = [...(await scrape()).matchAll(/^# TYPE (isthmus_\w+) (\w+)$/gm)];
  assert.ok(types.length > 20);
  for (const [, name = '', type] of types) {
    assert.equal(type === 'counter', name.endsWith('_total'), name);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|percent)(_|$)/);
  }
});

test('every metric that the dashboard and the alerts ask for is exported', async (t) => {
  const { region, scrape } = await service(t);
  await region.submit({ kind: 'create-account', name: 'red' }, { principal: { kind: 'operator' }, requestId: 'r' });
  const exported = namesIn(await scrape());
  const asked = (text: string): readonly string[] => [
    ...new Set([...text.matchAll(/\b(?:isthmus|process|nodejs)_\w+/g)].map(([name]) => name)),
  ];
  const dashboard = JSON.parse(deploy('isthmus.dashboard.json')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  const titles = dashboard.panels.map(({ title }) => title);
  for (const wanted of ['Traffic by peering', 'Drops by reason', 'Command latency', 'Applied lag', 'Plane problem']) {
    assert.ok(titles.includes(wanted), wanted);
  }
  const exprs = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const rules = [...deploy('isthmus.rules.yml').matchAll(/^ +expr: (.*)$/gm)].map(([, expr = '']) => expr);
  assert.ok(exprs.length >= 15 && rules.length >= 4);
  for (const expr of [...exprs, ...rules]) {
    assert.ok(asked(expr).length > 0, expr);
    for (const name of asked(expr)) assert.ok(exported.has(name), `${name} in ${expr}`);
  }
  assert.ok(!exported.has('isthmus_no_such_thing'), 'control');
});

const halfOf = (id: string, bytes: number): BookedHalf => ({
  halfId: id as HalfId,
  accountId: 'a' as AccountId,
  localVpcId: 'l' as VpcId,
  remoteVpcId: 'r' as VpcId,
  sent: { packets: 1n, bytes: BigInt(bytes) },
  received: { packets: 0n, bytes: 0n },
});

test('at most so many halves have series, the largest; no series goes back when others take their place', async () => {
  const books = new Map<string, number>([
    ['a', 100],
    ['b', 50],
    ['c', 10],
  ]);
  const gone = new Set<string>();
  const half = (id: HalfId) => (books.has(id) ? halfOf(id, books.get(id) ?? 0) : undefined);
  const series = new HalfSeries(2, {
    half,
    totals: (limit) =>
      [...books]
        .sort(([, x], [, y]) => y - x)
        .slice(0, limit)
        .map(([id, bytes]) => halfOf(id, bytes)),
    exists: (id) => !gone.has(id),
  });
  let now = 0;
  const last = new Map<string, bigint>();
  const names = async (): Promise<readonly string[]> => {
    await series.review(now);
    const shown = new Map((await series.named()).map(({ halfId, sent }) => [halfId as string, sent.bytes]));
    shown.set('other', series.other.sent.bytes);
    for (const [name, bytes] of shown) assert.ok(bytes >= (last.get(name) ?? 0n), `${name} went back`);
    for (const [name, bytes] of shown) last.set(name, bytes);
    return [...shown.keys()].sort();
  };
  const send = (id: string, bytes: number): void => {
    books.set(id, (books.get(id) ?? 0) + bytes);
    series.add(id as HalfId, 'sent', { packets: 1n, bytes: BigInt(bytes) });
  };
  assert.deepEqual(await names(), ['a', 'b', 'other']);
  send('c', 1000);
  send('a', 1);
  assert.deepEqual([await names(), last.get('other')], [['a', 'b', 'other'], 1000n], 'not before the next review');
  now += 600_000;
  assert.deepEqual([await names(), last.get('other')], [['a', 'c', 'other'], 1000n]);
  send('c', 5);
  send('b', 7);
  assert.deepEqual([await names(), last.get('c'), last.get('other')], [['a', 'c', 'other'], 1015n, 1007n]);
  gone.add('a');
  assert.deepEqual(await names(), ['c', 'other']);
  send('d', 3);
  assert.deepEqual(
    [await names(), last.get('d'), last.get('other')],
    [['c', 'd', 'other'], 3n, 1007n],
    'there is room',
  );
});

test('sums of exits never go back: interfaces that go, a plane that begins anew', () => {
  const sums = new ExitSums();
  const counters = (epoch: string, ports: { readonly [port: string]: number }) => ({
    epoch,
    fences: { count: 0, seconds: 0 },
    halves: new Map(),
    unowned: new Map<Exit, Count>([['NoPort', { packets: 1, bytes: 60 }]]),
    exits: new Map(
      Object.entries(ports).map(([port, packets]) => [
        port as PortId,
        new Map<Exit, Count>([['NoRoute', { packets, bytes: packets * 60 }]]),
      ]),
    ),
  });
  const look = (...of: Parameters<typeof counters>) => sums.look(counters(...of)).get('NoRoute')?.packets;
  assert.equal(look('1', { a: 5, b: 2 }), 7);
  assert.equal(look('1', { a: 6 }), 8);
  assert.equal(look('1', { a: 6, b: 1 }), 9, 'another b');
  assert.equal(look('2', { a: 4 }), 13);
  assert.equal(sums.look(counters('2', { a: 4 })).get('NoPort')?.packets, 2, 'one in each plane');
});
