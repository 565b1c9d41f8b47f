/**
 * The agent's process on a host of OVN's. Privileged, so it faces the network only as one who calls: it dials the region's
 * servers and listens on nothing but a unix socket of root's. Runs in the network namespace of Open vSwitch.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pino from 'pino';
import { OvsHost } from '../dataplane/ovn/host.ts';
import { lockFile } from '../store/lock.ts';
import { HostAgent } from './host-agent.ts';
import { defaultHome, readHome } from './host-home.ts';
import { ovnDirectoryOf, probeHost, workloadMtu } from './host-setup.ts';
import { DoorServer } from './server.ts';
import { probeConnection } from './southbound.ts';
import { upUntilStopped } from './stopping.ts';

const { values } = parseArgs({
  options: {
    'run-dir': { type: 'string' },
    state: { type: 'string' },
  },
});
const runDir = values['run-dir'] ?? '/run/isthmus';
const folder = values.state ?? defaultHome;
const log = pino({ name: 'host' }, pino.destination({ fd: 2, sync: true }));

/** Ends with a reason for the operator. */
function fail(reason: string): never {
  log.fatal(reason);
  process.exit(2);
}

// Before anything is made: whatever is, is root's alone.
process.umask(0o077);
const home = readHome(folder) ?? fail(`this machine has not joined a region: there is nothing in ${folder}`);
mkdirSync(runDir, { recursive: true, mode: 0o700 });
if (!lockFile(join(runDir, 'agent.lock'))) fail(`another agent runs in ${runDir}: stop it first`);
if (!lockFile(join(folder, 'lock'))) fail(`another agent runs on the state in ${folder}: stop it first`);
writeFileSync(join(runDir, 'agent.pid'), `${process.pid}\n`);
const mtu = await workloadMtu(home.encapsulation).catch((error: Error) => fail(error.message));

const host = new OvsHost({
  installationId: home.installationId,
  runDirectory: home.runDirectory,
  stateDirectory: folder,
  mtu,
});
await host.ready(30_000).catch((error: Error) => fail(`Open vSwitch does not answer: ${error.message}`));
if (host.name !== home.name) {
  fail(`Open vSwitch calls this host '${host.name ?? ''}', the region '${home.name}': join again, or set system-id`);
}
const doors: DoorServer[] = [];
const agent = new HostAgent({
  name: home.name,
  installationId: home.installationId,
  regions: home.regions,
  credentials: home,
  host,
  log,
  onEvent: (event) => {
    for (const door of doors) door.broadcast(event);
  },
  probe: async () => [
    ...(await probeHost(home.runDirectory, home.encapsulation)),
    await probeConnection(home.runDirectory, ovnDirectoryOf(home.runDirectory)),
  ],
});
doors.push(await DoorServer.open({ kind: 'host', path: join(runDir, 'host.sock'), uid: 0, gid: 0 }, agent.handle));
log.info({ host: home.name, regions: home.regions, mtu }, 'listening');
upUntilStopped({ log, doors, agent });
