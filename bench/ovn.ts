/**
 * Two logical routers joined by their ports, as OVN joins two VPCs, on one host with the userspace datapath of Open
 * vSwitch: what is compared with where its packages are installed. Every daemon is a child of this process, works in
 * the sandbox's folder and in a namespace of its own, and ends with this process, however that ends.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress } from '../src/model/ip.ts';
import type { Path } from './paths.ts';
import type { Sandbox } from './sandbox.ts';

const commands = [
  'ovsdb-tool',
  'ovsdb-server',
  'ovs-vswitchd',
  'ovs-vsctl',
  'ovn-northd',
  'ovn-controller',
  'ovn-nbctl',
  'ethtool',
  'setpriv',
];

/** What of it is missing on this machine; null: nothing. */
export function ovnMissing(): string | null {
  const absent = commands.filter((command) => spawnSync('which', [command], { stdio: 'ignore' }).status !== 0);
  if (absent.length === 0) return null;
  return `OVN and Open vSwitch to compare with (${absent.join(', ')}): apt-get install openvswitch-switch ovn-central ovn-host ethtool`;
}

async function until(what: string, ready: () => boolean): Promise<void> {
  for (let tries = 0; !ready(); tries++) {
    if (tries === 300) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Builds it, and waits until its flows are installed. */
export async function ovnPath(sandbox: Sandbox): Promise<Path> {
  const folder = join(sandbox.folder, 'ovn');
  mkdirSync(folder);
  const host = sandbox.namespace('ovn-h');
  const inFolder = (name: string): string => join(folder, name);
  const env = {
    ...process.env,
    OVS_RUNDIR: folder,
    OVN_RUNDIR: folder,
    OVS_LOGDIR: folder,
    OVN_LOGDIR: folder,
    OVS_DBDIR: folder,
    OVN_DBDIR: folder,
    OVN_NB_DB: `unix:${inFolder('nb.sock')}`,
  };
  const log = openSync(inFolder('log'), 'a');
  const enter = ['nsenter', `--net=/run/netns/${host}`];
  const run = (...command: readonly string[]): void => {
    const [program = '', ...args] = [...enter, ...command];
    execFileSync(program, args, { env, timeout: 60_000, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const children: ChildProcess[] = [];
  const daemon = (...command: readonly string[]): number => {
    const args = ['--pdeathsig', 'KILL', ...enter, ...command];
    const child = spawn('setpriv', args, { env, stdio: ['ignore', log, log] });
    children.push(child);
    sandbox.atEnd(() => child.kill('SIGKILL'));
    return child.pid ?? 0;
  };
  const database = async (name: string, schema: string): Promise<string> => {
    execFileSync('ovsdb-tool', ['create', inFolder(`${name}.db`), schema]);
    const socket = inFolder(`${name}.sock`);
    daemon('ovsdb-server', inFolder(`${name}.db`), `--remote=punix:${socket}`, `--unixctl=${inFolder(`${name}.ctl`)}`);
    await until(`the database ${name}`, () => existsSync(socket));
    return socket;
  };

  const db = await database('db', '/usr/share/openvswitch/vswitch.ovsschema');
  const nb = await database('nb', '/usr/share/ovn/ovn-nb.ovsschema');
  const sb = await database('sb', '/usr/share/ovn/ovn-sb.ovsschema');
  const vsctl = (...args: readonly string[]): void => run('ovs-vsctl', `--db=unix:${db}`, ...args);
  vsctl(
    ...['--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', 'external_ids:system-id=h1'],
    ...[`external_ids:ovn-remote=unix:${sb}`, 'external_ids:ovn-encap-type=geneve'],
    ...['external_ids:ovn-encap-ip=127.0.0.1', 'external_ids:ovn-bridge-datapath-type=netdev'],
  );
  const vswitchd = daemon('ovs-vswitchd', `unix:${db}`);
  vsctl('add-br', 'br-int', '--', 'set', 'Bridge', 'br-int', 'datapath_type=netdev', 'fail_mode=secure');
  daemon('ovn-northd', `--ovnnb-db=unix:${nb}`, `--ovnsb-db=unix:${sb}`);
  daemon('ovn-controller', `unix:${db}`);

  const ends = [
    { vpc: 'a', other: 'b', net: '10.3.0', port: '169.254.0.1/32', next: '169.254.0.2', n: 1 },
    { vpc: 'b', other: 'a', net: '10.4.0', port: '169.254.0.2/32', next: '169.254.0.1', n: 2 },
  ] as const;
  const namespaces: string[] = [];
  for (const { vpc, other, net, port, n } of ends) {
    const mac = `0a:00:00:00:00:0${n}`;
    run(
      ...['ovn-nbctl', 'lr-add', `lr-${vpc}`],
      ...['--', 'lrp-add', `lr-${vpc}`, `pcx-${vpc}`, `0a:fe:00:00:00:0${n}`, port, `peer=pcx-${other}`],
      ...['--', 'ls-add', `ls-${vpc}`],
      ...['--', 'lrp-add', `lr-${vpc}`, `rp-${vpc}`, `0a:01:00:00:00:0${n}`, `${net}.1/24`],
      ...['--', 'lsp-add', `ls-${vpc}`, `sp-${vpc}`, '--', 'lsp-set-type', `sp-${vpc}`, 'router'],
      ...['--', 'lsp-set-addresses', `sp-${vpc}`, 'router'],
      ...['--', 'lsp-set-options', `sp-${vpc}`, `router-port=rp-${vpc}`],
      ...['--', 'lsp-add', `ls-${vpc}`, vpc, '--', 'lsp-set-addresses', vpc, `${mac} ${net}.2`],
      ...['--', 'lsp-set-port-security', vpc, `${mac} ${net}.2`],
    );
    const end = sandbox.namespace(`ovn-${vpc}`);
    namespaces.push(end);
    sandbox.ip('-n', host, 'link', 'add', `w-${vpc}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', end);
    sandbox.ip('-n', end, 'link', 'set', 'eth0', 'address', mac);
    sandbox.ip('-n', end, 'addr', 'add', `${net}.2/24`, 'dev', 'eth0');
    // This datapath forwards frames as they are: neither checksums nor segments may be left for a device to finish.
    for (const [namespace, device] of [
      [end, 'eth0'],
      [host, `w-${vpc}`],
    ] as const) {
      sandbox.ip('-n', namespace, 'link', 'set', device, 'up');
      const off = ['-K', device, 'tx', 'off', 'gso', 'off', 'tso', 'off', 'gro', 'off'];
      execFileSync('nsenter', [`--net=/run/netns/${namespace}`, 'ethtool', ...off], { stdio: 'ignore' });
    }
    sandbox.ip('-n', end, 'route', 'add', 'default', 'via', `${net}.1`);
    vsctl('add-port', 'br-int', `w-${vpc}`, '--', 'set', 'Interface', `w-${vpc}`, `external_ids:iface-id=${vpc}`);
  }
  for (const { vpc, other, net, next } of ends) {
    const remote = ends.find((end) => end.vpc === other)?.net ?? net;
    run('ovn-nbctl', 'lr-route-add', `lr-${vpc}`, `${remote}.0/24`, next, `pcx-${vpc}`);
  }
  run('ovn-nbctl', '--timeout=30', '--wait=hv', 'sync');
  const address = parseAddress('10.4.0.2');
  if (!address.ok) throw new Error(address.problem);
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => () => {
    for (const child of children) child.kill(name);
  };
  const forwarder = { pid: vswitchd, pause: signal('SIGSTOP'), resume: signal('SIGCONT') };
  const [from = '', to = ''] = namespaces;
  const ping = ['ping', '-c1', '-W1', '10.4.0.2'];
  await until('the first packet through OVN', () => {
    return spawnSync('nsenter', [`--net=/run/netns/${from}`, ...ping], { stdio: 'ignore' }).status === 0;
  });
  return { name: 'ovs', from, to, address: address.value, forwarder };
}
