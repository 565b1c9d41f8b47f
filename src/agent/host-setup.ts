/**
 * What Open vSwitch and OVN of a host are told when it joins: who it is, where the southbound database and its own end of
 * the tunnels are. Looks before it touches; says each thing that it does; what is right already stays as it is.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { ProbeRow } from '../dataplane/driver.ts';
import { certificatesInTable, type PkiFiles } from './host-certificates.ts';
import { externalIds, list, vsctl } from './local-ovsdb.ts';

const run = promisify(execFile);
const patience = 15_000;

export const defaultRunDirectory = '/run/openvswitch';

/** Where ovn-controller keeps its pid file. */
export const ovnDirectoryOf = (runDirectory: string): string =>
  runDirectory === defaultRunDirectory ? '/run/ovn' : runDirectory;

export interface Device {
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
}
/** The devices of our network namespace. */
export async function devices(): Promise<readonly Device[]> {
  const { stdout } = await run('ip', ['-json', 'address', 'show'], { timeout: patience });
  const rows = JSON.parse(stdout) as readonly {
    readonly ifname: string;
    readonly mtu: number;
    readonly addr_info: readonly { readonly local?: string; readonly scope?: string }[];
  }[];
  return rows.map(({ ifname, mtu, addr_info }) => ({
    name: ifname,
    mtu,
    addresses: addr_info.filter(({ scope }) => scope === 'global').flatMap(({ local }) => local ?? []),
  }));
}

/** What a tunnel adds to a packet, in bytes: reference figures of geneve with OVN's option. */
export const tunnelCost = (address: string): number => (isIPv6(address) ? 78 : 58);
/** Bytes of IP packet that workloads may send. @throws Error when no device has the address */
export async function workloadMtu(encapsulation: string): Promise<number> {
  const device = (await devices()).find(({ addresses }) => addresses.includes(encapsulation));
  if (device === undefined) throw new Error(`no device of this host has the address ${encapsulation}`);
  return device.mtu - tunnelCost(encapsulation);
}

export interface Setup {
  readonly runDirectory: string;
  readonly name: string;
  /** `tcp:` or `ssl:` remotes of the southbound database. */
  readonly southbound: readonly string[];
  readonly encapsulation: string;
  /** Paths of those that ovn-controller is to use from now on; undefined: it keeps what it has. */
  readonly certificates?: PkiFiles | undefined;
}

const runs = (directory: string, daemon: string): boolean => {
  try {
    const pid = readFileSync(join(directory, `${daemon}.pid`), 'utf8').trim();
    return /^[0-9]+$/.test(pid) && existsSync(`/proc/${pid}`);
  } catch {
    return false;
  }
};
async function version(program: string): Promise<string | null> {
  try {
    const { stdout } = await run(program, ['--version'], { timeout: patience });
    return /([0-9]+\.[0-9]+\.[0-9]+)/.exec(stdout)?.[1] ?? '';
  } catch {
    return null;
  }
}

/** @param ovnDirectory where ovn-controller keeps its pid file */
export async function probeHost(
  runDirectory: string,
  encapsulation?: string,
  ovnDirectory = ovnDirectoryOf(runDirectory),
): Promise<readonly ProbeRow[]> {
  const rows: ProbeRow[] = [];
  for (const [program, install] of [
    ['ovs-vsctl', 'openvswitch-switch'],
    ['ovs-ofctl', 'openvswitch-switch'],
    ['ovn-controller', 'ovn-host'],
  ] as const) {
    const found = await version(program);
    const detail = found === null ? `not installed: apt-get install ${install}` : `version ${found}`;
    rows.push({ feature: program, state: found === null ? 'no' : 'yes', required: true, detail });
  }
  for (const [daemon, directory, service] of [
    ['ovs-vswitchd', runDirectory, 'openvswitch-switch'],
    ['ovn-controller', ovnDirectory, 'ovn-host'],
  ] as const) {
    const up = runs(directory, daemon);
    const detail = up ? 'runs' : `does not run, by ${directory}/${daemon}.pid: systemctl start ${service}`;
    // It waits for its settings, which a host gets when it joins.
    rows.push({ feature: `daemon ${daemon}`, state: up ? 'yes' : 'no', required: daemon === 'ovs-vswitchd', detail });
  }
  if (encapsulation !== undefined) rows.push(await probeTunnel(encapsulation));
  return rows;
}
async function probeTunnel(encapsulation: string): Promise<ProbeRow> {
  try {
    const mtu = await workloadMtu(encapsulation);
    const room = mtu >= 1280;
    const detail = room
      ? `from ${encapsulation}; workloads get an MTU of ${mtu}`
      : `from ${encapsulation}; ${mtu} bytes are left for workloads, IPv6 needs 1280: raise the MTU of its device`;
    return { feature: 'tunnels', state: room ? 'yes' : 'no', required: true, detail };
  } catch (error) {
    return { feature: 'tunnels', state: 'no', required: true, detail: error instanceof Error ? error.message : '' };
  }
}

/** Settings of OVN's on this host. */
const wanted = ({ name, southbound, encapsulation }: Setup): { readonly [key: string]: string } => ({
  'system-id': name,
  'ovn-remote': southbound.join(','),
  'ovn-encap-type': 'geneve',
  'ovn-encap-ip': encapsulation,
  // A controller that restarts keeps the flows until it has computed the new ones: 0 packets lost instead of 40–106 ms.
  'ovn-ofctrl-wait-before-clear': '8000',
  // A server that has died unnoticed is left after this; OVN's own default is never for OpenFlow, 5 s for the database.
  'ovn-remote-probe-interval': '10000',
  'ovn-openflow-probe-interval': '10',
});

/** @returns what has to be changed, a line each, and does so unless it is only asked what it would do */
export async function setUp(setup: Setup, dryRun: boolean): Promise<readonly string[]> {
  const { runDirectory, name, certificates } = setup;
  const [row] = await list(runDirectory, 'Open_vSwitch', ['external_ids']);
  const now = externalIds(row);
  const settings = wanted(setup);
  const changes = Object.entries(settings).filter(([key, value]) => now.get(key) !== value);
  // A setting of this chassis alone would win over the one of all.
  const stale = Object.keys(settings).flatMap((key) => (now.has(`${key}-${name}`) ? [`${key}-${name}`] : []));
  const lines = changes.map(([key, value]) => {
    const before = now.get(key);
    return `Open vSwitch: ${key}=${value}${before === undefined ? '' : ` (was ${before})`}`;
  });
  lines.push(...stale.map((key) => `Open vSwitch: ${key} removed (was ${now.get(key)})`));
  const commands: string[][] = [];
  const ids = changes.map(([key, value]) => `external_ids:${key}="${value}"`);
  if (ids.length > 0) commands.push(['set', 'Open_vSwitch', '.', ...ids]);
  if (stale.length > 0) commands.push(['remove', 'Open_vSwitch', '.', 'external_ids', ...stale]);
  if (certificates !== undefined) {
    const { key, certificate, authority } = certificates;
    const before = await certificatesInTable(runDirectory);
    if (before?.key !== key || before.certificate !== certificate || before.authority !== authority) {
      commands.push(['set-ssl', key, certificate, authority]);
      lines.push(`Open vSwitch: set-ssl ${key} ${certificate} ${authority}`);
    }
  }
  if (commands.length > 0 && !dryRun) await vsctl(runDirectory, ...commands.flatMap((command) => ['--', ...command]));
  if (runDirectory === defaultRunDirectory && existsSync(dirname(nameFile))) {
    if (textOf(nameFile) === setup.name) return lines;
    if (!dryRun) writeFileSync(nameFile, `${setup.name}\n`);
    lines.push(`${nameFile}: ${setup.name}`);
  }
  return lines;
}
/** From here the distributions' start scripts take the name, and would give the old one back with every restart. */
const nameFile = '/etc/openvswitch/system-id.conf';
const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '');
