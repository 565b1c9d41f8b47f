/**
 * The world of `demo --cluster` on one machine: a bed of three hosts with OVN, PostgreSQL, two API servers on one store, and
 * on each host the agent that joined the region as a machine of its own would. Everything it makes carries one random name
 * and goes with it. Must run in a network namespace of its own (`cluster-room.ts`): that joins the management network.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentClient } from '../../dataplane/agent-client.ts';
import { createNamed, deleteNamed } from '../../kernel/netns.ts';
import { AdminClient } from '../admin.ts';
import { sockets } from '../places.ts';
import { type Service, startService, type UpOptions } from '../up.ts';
import { ClusterBed } from './cluster-bed.ts';
import type { ClusterStage, ClusterWorkload, Fault } from './cluster-story.ts';
import { HostProcess } from './host-process.ts';
import { PostgresBed } from './postgres-bed.ts';
import { ApiRefusal, type Tenant } from './stage.ts';
import { type TenantKey, tenantWith } from './tenant.ts';
import { WorkloadProcess } from './workload-process.ts';

const region = 'demo-1';
const apiPort = 7788;
const hostsPort = 7790;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Server {
  readonly options: UpOptions & { readonly runDir: string; readonly data: string };
  readonly service: Service;
  readonly admin: AdminClient;
  /** Whether its next end is part of the story. */
  readonly ending: { expected: boolean };
}

/** Speaks to one server, and to the next when that one cannot be reached. */
function tenantOfAll(name: string, accountId: string, keys: readonly TenantKey[], first: number): Tenant {
  const doors = keys.map((key) => tenantWith(name, accountId, key));
  let at = first;
  return {
    name,
    accountId,
    async call(method, path, body) {
      for (let tries = 1; ; tries++) {
        try {
          return await (doors[at % doors.length] as Tenant).call(method, path, body);
        } catch (error) {
          if (error instanceof ApiRefusal || tries === doors.length) throw error;
          at++;
        }
      }
    },
  };
}

/** @param say what goes wrong and mends itself */
export async function clusterStage(say: (text: string) => void): Promise<ClusterStage> {
  const mark = randomBytes(3).toString('hex');
  const home = mkdtempSync(join(tmpdir(), 'ic-'));
  chmodSync(home, 0o755); // the region's user must reach its own directories in it
  const started: { text: string; milliseconds: number }[] = [];
  const timed = async <T>(text: string, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    started.push({ text, milliseconds: performance.now() - start });
    return result;
  };

  const namespaces: string[] = [];
  const processes: WorkloadProcess[] = [];
  const servers: Server[] = [];
  const agents: HostProcess[] = [];
  let bed: ClusterBed | undefined;
  let postgres: PostgresBed | undefined;
  const close = async (): Promise<void> => {
    await Promise.all(processes.map((one) => one.close()));
    await Promise.all(agents.map((agent) => agent.close()));
    for (const { service } of [...servers].reverse()) await service.stop();
    for (const name of namespaces) if (existsSync(`/run/netns/${name}`)) deleteNamed(name);
    await postgres?.kill();
    await bed?.stop();
    rmSync(home, { recursive: true, force: true });
  };

  try {
    bed = await timed('OVN: three hosts, each database a cluster of three, three northd', () =>
      ClusterBed.start({ folder: join(home, 'b'), mark: `ic${mark}` }),
    );
    bed.joinManagement();
    postgres = await timed('PostgreSQL, the store', () => PostgresBed.start(join(home, 'pg')));
    const store = await postgres.database('region');
    await timed('two API servers on it', async () => {
      for (const [n, address] of (bed as ClusterBed).control.entries()) {
        servers.push(await startServer(bed as ClusterBed, home, n, address, store, say));
      }
    });
    await timed('three hosts join, each with a token that works once', async () => {
      const [first] = servers;
      if (first === undefined) throw new Error('no server');
      for (const host of (bed as ClusterBed).hosts) {
        agents.push(await HostProcess.join(bed as ClusterBed, host, first.admin, join(home, `a${host}`)));
      }
    });
  } catch (error) {
    await close();
    throw error;
  }
  const made = { bed, postgres };
  const [{ admin }] = servers as [Server, ...Server[]];
  const keys = new Map<string, TenantKey>();

  const workload = (name: string, portId: string, address: string, host: string, of: WorkloadProcess) =>
    ({
      name,
      portId,
      address,
      host,
      ping: (to, patience = 500) => of.ask({ ask: 'ping', address: to, patience }),
      beat: (stream, to) => of.ask({ ask: 'beat', name: stream, address: to }),
      stopBeat: (stream) => of.ask({ ask: 'stop-beat', name: stream }),
      heard: (stream) => of.ask({ ask: 'heard', name: stream }),
      entered: () => of.ask({ ask: 'entered' }),
    }) satisfies ClusterWorkload;
  const hostNumber = (name: string): number => made.bed.hosts.find((host) => made.bed.hostName(host) === name) ?? 0;

  const hosts = async (): Promise<readonly { readonly name: string; readonly connected: boolean }[]> => {
    const answer = (await admin.call('GET', '/hosts')) as {
      hosts: readonly { readonly name: string; readonly connected: boolean }[];
    };
    return answer.hosts;
  };

  return {
    description: 'Three hosts on this machine, each a network namespace with its own Open vSwitch: OVN data plane',
    started,
    hosts,
    async tenant(name) {
      const { accountId } = (await admin.call('POST', '/accounts', { name })) as { accountId: string };
      const key = (await admin.call('POST', `/accounts/${accountId}/keys`, {})) as {
        accessKeyId: string;
        secretAccessKey: string;
      };
      const all = servers.map(({ service }) => ({ endpoint: service.ready.url, region, ...key }));
      const [first] = all;
      if (first !== undefined) keys.set(name, first);
      return tenantOfAll(name, accountId, all, keys.size);
    },
    async workload(name, portId, address, host) {
      const full = `ic${mark}-${name}`;
      createNamed(full);
      namespaces.push(full);
      const client = await AgentClient.connect(sockets(join(home, `a${hostNumber(host)}`, 'run')).host);
      try {
        await client.call('attach', { portId, target: { kind: 'netns', name: full } });
      } finally {
        client.close();
      }
      const process_ = await WorkloadProcess.start(full, name);
      processes.push(process_);
      return workload(name, portId, address, host, process_);
    },
    faults: faultsOf(made.bed, made.postgres, servers),
    switchRestart: {
      what: 'ovs-vswitchd of h2',
      commands: false,
      begin: () => made.bed.killDaemon('vswitchd', 2),
      async end() {
        made.bed.startDaemon('vswitchd', 2);
        await pause(1000);
        made.bed.knowNeighbours(2);
      },
    },
    async cut(host) {
      made.bed.cut(hostNumber(host));
      // Until the region has noticed: only then it does not wait for that host.
      for (let waited = 0; waited < 20_000; waited += 200) {
        const all = await hosts();
        if (all.some(({ name, connected }) => name === host && !connected)) return;
        await pause(200);
      }
    },
    async heal(host) {
      made.bed.heal(hostNumber(host));
    },
    suggestions(tenants, all) {
      const lines: string[] = [];
      for (const { name } of tenants) {
        const key = keys.get(name);
        if (key !== undefined) writeKey(join(home, `${name}.env`), key);
      }
      const room = `nsenter -t ${process.pid} -n`;
      const [red] = all;
      const [server] = servers;
      lines.push(`. ${join(home, 'blue.env')}        # be blue; red and green have theirs`);
      lines.push(
        `${room} bin/isthmus peering list   # in the namespace of the API servers: one that red left, one with green`,
      );
      lines.push(`${room} bin/isthmus host list --socket ${server?.admin.path}`);
      lines.push(`${room} bin/isthmus doctor --run-dir ${server?.options.runDir}`);
      if (red !== undefined) {
        const runDir = join(home, `a${hostNumber(red.host)}`, 'run');
        lines.push(`bin/isthmus exec ${red.portId} --run-dir ${runDir} -- ip addr`);
      }
      lines.push(`ovn-nbctl --no-leader-only --db=${made.bed.northbound[0]} show`);
      return lines;
    },
    close,
  };
}

function writeKey(path: string, key: TenantKey): void {
  const lines = [
    `export ISTHMUS_ENDPOINT=${key.endpoint}`,
    `export ISTHMUS_REGION=${key.region}`,
    `export ISTHMUS_ACCESS_KEY=${key.accessKeyId}`,
    `export ISTHMUS_SECRET_KEY=${key.secretAccessKey}`,
    '',
  ];
  writeFileSync(path, lines.join('\n'), { mode: 0o600 });
}

async function startServer(
  bed: ClusterBed,
  home: string,
  n: number,
  address: string,
  store: string,
  say: (text: string) => void,
): Promise<Server> {
  const runDir = join(home, `s${n + 1}`);
  mkdirSync(runDir, { recursive: true });
  const options = {
    ...{ listen: `${address}:${apiPort}`, insecure: true, region, driver: 'ovn', store },
    ...{ ovnNb: bed.remotes.northbound, ovnSb: bed.remotes.southbound, hostsListen: `${address}:${hostsPort}` },
    hostsAdvertise: bed.control.map((one) => `${one}:${hostsPort}`).join(),
    ...{ runDir, data: join(runDir, 'data') },
  };
  const ending = { expected: false };
  const service = await startService(options, (text) => {
    if (!ending.expected) say(`server ${n + 1}: ${text}`);
    ending.expected = false;
  });
  return { options, service, ending, admin: new AdminClient({ socket: sockets(runDir).admin }) };
}

/** What is killed under traffic, in this order. */
function faultsOf(bed: ClusterBed, postgres: PostgresBed, servers: readonly Server[]): readonly Fault[] {
  const daemon = (what: string, name: 'northd' | 'controller', hosts: readonly number[]): Fault => ({
    what,
    commands: name === 'controller',
    begin: async () => {
      for (const host of hosts) await bed.killDaemon(name, host);
    },
    end: async () => {
      for (const host of hosts) bed.startDaemon(name, host);
    },
  });
  const leader = (what: string, name: 'nb' | 'sb'): Fault => {
    let host: number | null = null;
    return {
      what,
      commands: true,
      begin: async () => {
        host = bed.leader(name);
        if (host !== null) await bed.killDaemon(name, host);
      },
      end: async () => {
        if (host !== null) bed.startDaemon(name, host);
      },
    };
  };
  return [
    daemon('northd, all three', 'northd', bed.hosts),
    leader('leader of the northbound database', 'nb'),
    leader('leader of the southbound database', 'sb'),
    ...bed.hosts.map((host) => daemon(`ovn-controller of h${host}`, 'controller', [host])),
    {
      what: 'one API server',
      commands: true,
      begin: async () => {
        const [server] = servers;
        const pid = server?.service.pids().region;
        if (server === undefined || pid === undefined) return;
        server.ending.expected = true;
        process.kill(pid, 'SIGKILL');
      },
      // Its keeper has started it again by then.
      end: async () => {
        for (let tries = 0; tries < 300; tries++) {
          try {
            await servers[0]?.admin.call('GET', '/status');
            return;
          } catch {
            await pause(100);
          }
        }
      },
    },
    {
      what: 'PostgreSQL',
      commands: false,
      begin: () => postgres.kill(),
      end: () => postgres.up(),
    },
  ];
}
