/**
 * The region's process: store, rules, APIs. Faces the network, so it holds no privilege: started as root it loads all its
 * modules, then becomes an unprivileged user for good, and only then opens the store and listens. Nothing is imported
 * afterwards: the checkout may be unreadable to that user.
 */
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import type { Owed } from '../dataplane/driver.ts';
import { FakeDriver } from '../dataplane/fake/driver.ts';
import { ChassisBook } from '../dataplane/ovn/chassis.ts';
import { OvnDriver } from '../dataplane/ovn/driver.ts';
import type { OvsdbPki } from '../dataplane/ovn/ovsdb.ts';
import type { Plane } from '../dataplane/plane.ts';
import { Reconciler } from '../dataplane/reconciler.ts';
import { RemotePlane } from '../dataplane/remote.ts';
import { Region } from '../region/region.ts';
import { lockFile } from '../store/lock.ts';
import { PostgresStore } from '../store/postgres.ts';
import { SqliteStore } from '../store/sqlite.ts';
import type { Store } from '../store/store.ts';
import { advertisedFor, checkHostsAddress } from './address.ts';
import { listenAdmin } from './admin.ts';
import type { HostsOfRegion } from './admin-hosts.ts';
import { HostGateway } from './hosts/gateway.ts';
import { ListenError, listen } from './listen.ts';
import { listenMetrics } from './metrics/listen.ts';
import { Metrics } from './metrics/metrics.ts';
import { createServer } from './server.ts';

const { values } = parseArgs({
  options: {
    'run-dir': { type: 'string' },
    data: { type: 'string' },
    listen: { type: 'string' },
    region: { type: 'string' },
    driver: { type: 'string' },
    uid: { type: 'string' },
    gid: { type: 'string' },
    'tls-cert': { type: 'string' },
    'tls-key': { type: 'string' },
    insecure: { type: 'boolean' },
    metrics: { type: 'string' },
    'usage-retention': { type: 'string' },
    'ovn-nb': { type: 'string' },
    'ovn-sb': { type: 'string' },
    'ovn-ca': { type: 'string' },
    'ovn-cert': { type: 'string' },
    'ovn-key': { type: 'string' },
    'hosts-listen': { type: 'string' },
    'hosts-advertise': { type: 'string' },
  },
});
const version = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
const runDir = values['run-dir'] ?? '/run/isthmus';
const data = values.data ?? '/var/lib/isthmus';
const log = pino({ name: 'region' }, pino.destination({ fd: 2, sync: true }));

/** Ends with a reason for the operator. */
function fail(reason: string): never {
  log.fatal(reason);
  process.exit(2);
}

/** Whom root is to become; undefined when there is nothing to give up. */
const user =
  process.geteuid?.() === 0 && values.uid !== undefined && values.uid !== '0'
    ? { uid: Number(values.uid), gid: Number(values.gid ?? values.uid) }
    : undefined;

/** Does something as the user: in a directory of the user's, root could be led astray by a link. */
function asUser<T>(work: () => T): T {
  if (user === undefined) return work();
  process.setegid?.(user.gid);
  process.seteuid?.(user.uid);
  try {
    return work();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** Becomes the user, with no way back. */
function dropPrivileges(uid: number, gid: number): void {
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
  let back = true;
  try {
    process.setuid?.(0);
  } catch {
    back = false;
  }
  if (back || process.getuid?.() !== uid || process.geteuid?.() !== uid) fail('privileges could not be given up');
}

/** Serves one request from an empty region in memory: libraries load some of their files only when first needed. */
async function rehearse(): Promise<void> {
  const store = new SqliteStore(':memory:');
  const region = await Region.start({ name: 'none', version, store, plane: new Reconciler(new FakeDriver()) });
  const app = await createServer({ region, log: pino({ level: 'silent' }) });
  await app.inject('/openapi.json');
  if (values.metrics !== undefined) await new Metrics({ region, storeSize: () => store.size() }).text();
  await app.close();
  await region.close();
}

/** How long a server waits to lead that must, in milliseconds. */
const leadPatience = 10_000;

/** @throws with a sentence for the operator */
async function openStore(): Promise<Store> {
  const url = process.env['ISTHMUS_STORE'];
  if (url === undefined) return new SqliteStore(join(data, 'region.db'));
  const store = await PostgresStore.open(url);
  if (values.driver !== 'ebpf') return store;
  // The network is in this host's kernel: nobody else can keep it.
  for (const until = Date.now() + leadPatience; !store.leadership.leads; ) {
    if (Date.now() > until) throw new Error('another region runs on this store: stop it first');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return store;
}

const commas = (text: string | undefined): readonly string[] => text?.split(',').filter((one) => one !== '') ?? [];

/** The certificates of OVN's databases, which may be root's. */
function ovnPki(): OvsdbPki | undefined {
  const { 'ovn-ca': authority, 'ovn-cert': certificate, 'ovn-key': key } = values;
  if (authority === undefined || certificate === undefined || key === undefined) return undefined;
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      return fail(`the certificates of OVN's databases cannot be read: ${(error as Error).message}`);
    }
  };
  return { authority: read(authority), certificate: read(certificate), key: read(key) };
}

/** Everything that a network of many hosts needs besides the region. */
function openHosts(installationId: string, pki: OvsdbPki | undefined) {
  const southbound = commas(values['ovn-sb']);
  const gateway = new HostGateway();
  const ovn = { northbound: commas(values['ovn-nb']), southbound, ...(pki === undefined ? {} : { pki }) };
  const driver = new OvnDriver({ installationId, hosts: gateway, ...ovn });
  return { installationId, gateway, driver, chassis: new ChassisBook(southbound, pki), southbound };
}

/** Begins to listen for hosts. @throws ListenError */
async function hostsOf(region: Region, many: ReturnType<typeof openHosts>): Promise<HostsOfRegion> {
  const { gateway, chassis, driver } = many;
  const address = checkHostsAddress(values['hosts-listen'] ?? '127.0.0.1:7790');
  // Sockets are of no use to other machines.
  const southbound = many.southbound.filter((remote) => !remote.startsWith('unix:'));
  await gateway.open(region, { ...address, installationId: many.installationId, southbound, log });
  const given = commas(values['hosts-advertise']);
  const advertised = given.length > 0 ? given : advertisedFor(address.host, gateway.port);
  log.info({ addresses: advertised }, 'hosts may call');
  // On every server: whoever leads next must not wait for it either.
  region.onChanges((changes) => {
    for (const change of changes) if (change.op === 'delete' && change.kind === 'host') driver.forgetHost(change.id);
  });
  // As the server that leads says, of at most 20 VPCs for each host.
  const owed = (): readonly Owed[] =>
    [...new Set(region.status().owed.flatMap(({ vpcIds }) => vpcIds))].map((vpcId) => ({
      vpcId,
      ...region.behind(vpcId),
    }));
  const problemOf = (host: string): string | null =>
    region.status().owed.find((one) => one.host === host)?.problem ?? null;
  return { gateway, chassis, owed, problemOf, advertised, southbound };
}

process.umask(0o077);
// First of all the locks: whoever does not get them leaves what belongs to the other region as it is.
if (!lockFile(join(runDir, 'region.lock'))) fail(`another region runs in ${runDir}: stop it first, with isthmus down`);
if (!asUser(() => lockFile(join(data, 'lock')))) fail(`another region runs on the store in ${data}: stop it first`);
// The operator's path is fixed; the socket itself lies where the region's user may make it.
const adminLink = join(runDir, 'admin.sock');
rmSync(adminLink, { force: true });
symlinkSync('region/admin.sock', adminLink);
writeFileSync(join(runDir, 'region.pid'), `${process.pid}\n`);
const pki = ovnPki();
if (user !== undefined) {
  await rehearse();
  dropPrivileges(user.uid, user.gid);
}

try {
  const store = await openStore();
  const many = values.driver === 'ovn' ? openHosts(store.installationId, pki) : null;
  const plane: Plane =
    values.driver === 'fake'
      ? new Reconciler(new FakeDriver())
      : many !== null
        ? new Reconciler(many.driver)
        : await RemotePlane.open(join(runDir, 'agent.sock'), store.installationId);
  const retention = values['usage-retention'];
  const region = await Region.start({
    name: values.region ?? 'local-1',
    version,
    store,
    plane,
    ...(retention === undefined ? {} : { metering: { retention: Number(retention) * 24 } }),
  });
  const hosts = many === null ? null : await hostsOf(region, many);
  const metrics = values.metrics === undefined ? null : new Metrics({ region, storeSize: () => store.size() });
  plane.onDrift(() => metrics?.driftHealed());
  const measured = metrics === null ? region : metrics.measured(region);
  const tenants = await listen({
    region: measured,
    onAnswer: (status) => metrics?.answered('tenant', status),
    log,
    address: values.listen ?? '127.0.0.1:7788',
    ...(values['tls-cert'] === undefined ? {} : { tlsCert: values['tls-cert'] }),
    ...(values['tls-key'] === undefined ? {} : { tlsKey: values['tls-key'] }),
    insecure: values.insecure === true,
    auth: { nonceDirectory: data },
  });
  const adminPath = join(runDir, 'region', 'admin.sock');
  const admin = await listenAdmin(adminPath, {
    region: measured,
    log,
    endpoint: tenants.url,
    onAnswer: (status) => metrics?.answered('operator', status),
    hosts,
  });
  const scraped =
    metrics === null || values.metrics === undefined ? null : await listenMetrics(values.metrics, metrics);
  if (scraped !== null) log.info({ url: scraped.url }, 'serving metrics');
  log.info({ url: tenants.url, uid: process.getuid?.(), revision: region.state.revision }, 'listening');
  process.send?.({
    url: tenants.url,
    admin: join(runDir, 'admin.sock'),
    metrics: scraped?.url,
    hosts: hosts?.advertised.join(','),
  });
  process.channel?.unref();

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping; the network stays as it is');
    await Promise.all([tenants.close(), admin.close(), scraped?.close()]);
    await region.close();
    many?.chassis.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(signal));
} catch (error) {
  fail(error instanceof ListenError ? `${error.message} ${error.remedy}` : `${(error as Error).message}`);
}
