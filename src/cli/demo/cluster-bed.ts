/**
 * Many hosts on one machine, each a network namespace: OVN's databases as a cluster, northd, and on each host Open vSwitch
 * and ovn-controller. Two networks join them: one for management (the databases) and one for the tunnels, so that a
 * partition can cut the one and leave the other. Every daemon is a child of this process, works in the bed's folder, and
 * ends with this process, however that ends. The datapath runs in user space: no kernel module is needed.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ovsdb } from '../../dataplane/ovn/ovsdb.ts';

const needed = [
  ...['ovsdb-tool', 'ovsdb-server', 'ovs-vswitchd', 'ovs-vsctl', 'ovs-ofctl', 'ovs-appctl'],
  ...['ovn-northd', 'ovn-controller', 'ethtool', 'setpriv', 'nsenter', 'ip'],
];
/** The Debian packages that a bed needs. */
export const bedPackages = ['openvswitch-switch', 'ovn-central', 'ovn-host', 'ethtool', 'iproute2'] as const;
/** Programs of them that this machine does not have. */
export const bedMissing = (): readonly string[] =>
  needed.filter((program) => spawnSync('which', [program], { stdio: 'ignore' }).status !== 0);

/** Of the underlay, and what is left of it for a workload: less 20 IPv4, 8 UDP, 8 geneve, 8 its option, 14 Ethernet. */
const underlayMtu = 1600;
export const bedMtu = underlayMtu - 58;
const management = '10.99.0';
const underlay = '192.168.77';
const patience = 60_000;

export type DaemonName = 'nb' | 'sb' | 'northd' | 'controller' | 'vswitchd' | 'ovsdb';

export interface BedOptions {
  /** An empty directory; short, for there are sockets in it. */
  readonly folder: string;
  /** Begins the names of its namespaces: at most 10 characters. */
  readonly mark: string;
  /** default 3 */
  readonly hosts?: number;
  /** Another layout of the databases: one server each instead of a cluster. Starts faster. */
  readonly alone?: boolean;
}

export class ClusterBed {
  readonly #options: Required<BedOptions>;
  readonly #daemons = new Map<string, ChildProcess>();
  readonly #namespaces: string[] = [];

  private constructor(options: BedOptions) {
    this.#options = { hosts: 3, alone: false, ...options };
  }

  /** Resolves once every host has OVN's rules. @throws Error naming what did not start; nothing is left then */
  static async start(options: BedOptions): Promise<ClusterBed> {
    const bed = new ClusterBed(options);
    try {
      await bed.#build();
    } catch (error) {
      await bed.stop();
      throw error;
    }
    return bed;
  }

  get hosts(): readonly number[] {
    return Array.from({ length: this.#options.hosts }, (_, at) => at + 1);
  }
  get #members(): readonly number[] {
    return this.#options.alone ? [1] : this.hosts;
  }
  /** The name by which OVN knows a host. */
  hostName(host: number): string {
    return `h${host}`;
  }
  /** Its network namespace. */
  namespace(host: number): string {
    return `${this.#options.mark}-h${host}`;
  }
  get #switch(): string {
    return `${this.#options.mark}-ul`;
  }
  /** Directory of the host's sockets, databases and logs. */
  folder(host: number): string {
    return join(this.#options.folder, `h${host}`);
  }
  /** Remotes of the members, as processes outside the hosts reach them. */
  get northbound(): readonly string[] {
    return this.#members.map((host) => `unix:${join(this.folder(host), 'nb.sock')}`);
  }
  get southbound(): readonly string[] {
    return this.#members.map((host) => `unix:${join(this.folder(host), 'sb.sock')}`);
  }
  /** The same as hosts reach them over the management network. */
  #remotes(port: number): string {
    return this.#members.map((host) => `tcp:${management}.${host}:${port}`).join(',');
  }

  async #build(): Promise<void> {
    const ip = (...args: readonly string[]): void => {
      execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 10_000 });
    };
    const add = (name: string): void => {
      ip('netns', 'add', name);
      this.#namespaces.push(name);
    };
    add(this.#switch);
    for (const name of ['mgmt', 'under']) {
      this.ip(this.#switch, 'link', 'add', name, 'mtu', String(underlayMtu), 'type', 'bridge');
      this.ip(this.#switch, 'link', 'set', name, 'up');
    }
    for (const host of this.hosts) {
      add(this.namespace(host));
      this.#wire(host);
      mkdirSync(this.folder(host), { recursive: true });
    }
    for (const host of this.#members) this.#createDatabases(host);
    for (const host of this.#members) for (const name of ['nb', 'sb'] as const) this.startDaemon(name, host);
    await Promise.all(this.hosts.map((host) => this.#openVSwitch(host)));
    for (const host of this.#members) this.startDaemon('northd', host);
    const south = new Ovsdb({
      remotes: this.southbound,
      database: 'OVN_Southbound',
      tables: { SB_Global: ['nb_cfg'], Chassis_Private: ['nb_cfg'] },
    });
    const north = new Ovsdb({
      remotes: this.northbound,
      database: 'OVN_Northbound',
      tables: { NB_Global: ['nb_cfg'] },
    });
    try {
      await Promise.all([south, north].map((client) => client.whenConnected(patience)));
      // A controller that starts before northd has made this row crashes.
      await until('northd', () => south.rows('SB_Global').size > 0);
      for (const host of this.hosts) this.startDaemon('controller', host);
      const mutations = [['nb_cfg', '+=', 1]];
      await north.transact([{ op: 'mutate', table: 'NB_Global', where: [], mutations }]);
      await until('the hosts', () => {
        const proven = [...south.rows('Chassis_Private').values()].filter((row) => Number(row['nb_cfg']) > 0);
        return proven.length === this.hosts.length;
      });
    } finally {
      south.close();
      north.close();
    }
    for (const host of this.hosts) {
      // Without it a controller that restarts takes all flows away before it has the new ones. At the very first start
      // there are none, and nothing to wait for.
      this.vsctl(host, 'set', 'Open_vSwitch', '.', 'external_ids:ovn-ofctrl-wait-before-clear="5000"');
    }
  }

  #wire(host: number): void {
    const namespace = this.namespace(host);
    this.ip(namespace, 'link', 'set', 'lo', 'up');
    for (const [device, end, bridge] of [
      ['mgmt0', `m${host}`, 'mgmt'],
      ['phys0', `p${host}`, 'under'],
    ] as const) {
      const mtu = ['mtu', String(underlayMtu)];
      this.ip(
        this.#switch,
        ...['link', 'add', end, ...mtu, 'type', 'veth', 'peer', 'name', device, ...mtu, 'netns', namespace],
      );
      this.ip(this.#switch, 'link', 'set', end, 'master', bridge, 'up');
      this.ip(namespace, 'link', 'set', device, 'up');
    }
    this.ip(namespace, 'addr', 'add', `${management}.${host}/24`, 'dev', 'mgmt0');
    for (const [where, device] of [
      [namespace, 'phys0'],
      [this.#switch, `p${host}`],
    ] as const) {
      this.#in(where, 'ethtool', '-K', device, ...'tx off gso off tso off gro off'.split(' '));
    }
  }

  #createDatabases(host: number): void {
    for (const [name, database, raft] of [
      ['nb', 'OVN_Northbound', 6643],
      ['sb', 'OVN_Southbound', 6644],
    ] as const) {
      const file = join(this.folder(host), `${name}.db`);
      const schema = `/usr/share/ovn/ovn-${name}.ovsschema`;
      const own = `tcp:${management}.${host}:${raft}`;
      const args = this.#options.alone
        ? ['create', file, schema]
        : host === 1
          ? ['create-cluster', file, schema, own]
          : ['join-cluster', file, database, own, `tcp:${management}.1:${raft}`];
      execFileSync('ovsdb-tool', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    }
  }

  async #openVSwitch(host: number): Promise<void> {
    const folder = this.folder(host);
    execFileSync('ovsdb-tool', ['create', join(folder, 'conf.db'), '/usr/share/openvswitch/vswitch.ovsschema']);
    this.startDaemon('ovsdb', host);
    await until(`ovsdb-server of h${host}`, () => existsSync(join(folder, 'db.sock')));
    const settings = {
      'system-id': this.hostName(host),
      'ovn-remote': this.#remotes(6642),
      'ovn-encap-type': 'geneve',
      'ovn-encap-ip': `${underlay}.${host}`,
      'ovn-bridge-datapath-type': 'netdev',
      'ovn-monitor-all': 'false',
      'ovn-remote-probe-interval': '30000',
      'ovn-openflow-probe-interval': '30',
    };
    const ids = Object.entries(settings).map(([key, value]) => `external_ids:${key}="${value}"`);
    this.vsctl(host, '--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', ...ids);
    this.startDaemon('vswitchd', host);
    const mac = `0a:77:00:00:00:0${host}`;
    this.vsctl(
      host,
      ...['--', 'add-br', 'br-phys', '--', 'set', 'Bridge', 'br-phys', 'datapath_type=netdev'],
      ...['fail_mode=standalone', `other_config:hwaddr="${mac}"`, '--', 'add-port', 'br-phys', 'phys0'],
      ...['--', 'set', 'Interface', 'br-phys', `mtu_request=${underlayMtu}`],
      ...['--', '--may-exist', 'add-br', 'br-int', '--', 'set', 'Bridge', 'br-int', 'datapath_type=netdev'],
      'fail_mode=secure',
    );
    const namespace = this.namespace(host);
    this.ip(namespace, 'addr', 'add', `${underlay}.${host}/24`, 'dev', 'br-phys');
    this.ip(namespace, 'link', 'set', 'br-phys', 'mtu', String(underlayMtu), 'up');
    this.#in(namespace, 'ethtool', '-K', 'br-phys', ...'tx off gso off tso off gro off'.split(' '));
    this.knowNeighbours(host);
  }

  /** Says where the other tunnel ends are: the first packet would be lost while that is asked. */
  knowNeighbours(host: number): void {
    for (const other of this.hosts) {
      if (other === host) continue;
      const args = ['tnl/neigh/set', 'br-phys', `${underlay}.${other}`, `0a:77:00:00:00:0${other}`];
      this.appctl(host, 'ovs-vswitchd', ...args);
    }
  }

  #environment(host: number): NodeJS.ProcessEnv {
    const folder = this.folder(host);
    const own = ['RUNDIR', 'LOGDIR', 'DBDIR', 'SYSCONFDIR'].flatMap((name) => [
      [`OVS_${name}`, folder],
      [`OVN_${name}`, folder],
    ]);
    return { ...process.env, ...Object.fromEntries(own) };
  }

  #command(name: DaemonName, host: number): readonly string[] {
    const at = (file: string): string => join(this.folder(host), file);
    const member = (port: number): readonly string[] => [
      'ovsdb-server',
      at(`${name}.db`),
      `--remote=punix:${at(`${name}.sock`)}`,
      `--remote=ptcp:${port}:${management}.${host}`,
      `--unixctl=${at(`${name}.ctl`)}`,
    ];
    switch (name) {
      case 'nb':
        return member(6641);
      case 'sb':
        return member(6642);
      case 'ovsdb':
        return ['ovsdb-server', at('conf.db'), `--remote=punix:${at('db.sock')}`, `--unixctl=${at('ovsdb.ctl')}`];
      case 'vswitchd':
        return ['ovs-vswitchd', `unix:${at('db.sock')}`, `--pidfile=${at('ovs-vswitchd.pid')}`];
      case 'controller':
        return ['ovn-controller', `unix:${at('db.sock')}`];
      case 'northd':
        return ['ovn-northd', `--ovnnb-db=${this.#remotes(6641)}`, `--ovnsb-db=${this.#remotes(6642)}`];
    }
  }

  startDaemon(name: DaemonName, host: number): void {
    const log = openSync(join(this.folder(host), `${name}.log`), 'a');
    const [program = '', ...args] = this.#command(name, host);
    const enter = ['--pdeathsig', 'KILL', 'nsenter', `--net=/run/netns/${this.namespace(host)}`];
    const child = spawn('setpriv', [...enter, program, ...args, '--no-chdir'], {
      env: this.#environment(host),
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#daemons.set(`${name}${host}`, child);
  }

  /** Ends a daemon as a crash does. Resolves when it is gone. */
  async killDaemon(name: DaemonName, host: number): Promise<void> {
    const child = this.#daemons.get(`${name}${host}`);
    this.#daemons.delete(`${name}${host}`);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  /** Whether it runs. */
  runs(name: DaemonName, host: number): boolean {
    const child = this.#daemons.get(`${name}${host}`);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }
  /** The last lines of a daemon's log. */
  log(name: DaemonName, host: number): string {
    const file = join(this.folder(host), `${name}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(-20).join('\n') : '';
  }
  /** The host on which the database's leader is; null while there is none. */
  leader(name: 'nb' | 'sb'): number | null {
    const database = name === 'nb' ? 'OVN_Northbound' : 'OVN_Southbound';
    for (const host of this.#members) {
      if (!this.runs(name, host)) continue;
      if (this.#options.alone) return host;
      const control = join(this.folder(host), `${name}.ctl`);
      const { stdout } = spawnSync('ovs-appctl', ['-t', control, 'cluster/status', database], { timeout: 5000 });
      if (/^Role: leader$/m.test(stdout?.toString() ?? '')) return host;
    }
    return null;
  }

  /** Takes a host off the management network; its tunnels stay. */
  cut(host: number): void {
    this.ip(this.#switch, 'link', 'set', `m${host}`, 'nomaster');
  }
  heal(host: number): void {
    this.ip(this.#switch, 'link', 'set', `m${host}`, 'master', 'mgmt');
  }

  #in(namespace: string, program: string, ...args: readonly string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${namespace}`, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    }).toString();
  }
  /** `ip` in a namespace. */
  ip(namespace: string, ...args: readonly string[]): string {
    return this.#in(namespace, 'ip', ...args);
  }
  vsctl(host: number, ...args: readonly string[]): string {
    const [database, limit] = [`--db=unix:${join(this.folder(host), 'db.sock')}`, '--timeout=20'];
    return execFileSync('ovs-vsctl', [database, limit, ...args], { env: this.#environment(host) }).toString();
  }
  appctl(host: number, target: string, ...args: readonly string[]): string {
    const env = this.#environment(host);
    return execFileSync('ovs-appctl', ['--timeout=20', '-t', target, ...args], { env }).toString();
  }

  /** Ends all of it. The folder is the caller's. */
  async stop(): Promise<void> {
    const children = [...this.#daemons.values()];
    this.#daemons.clear();
    await Promise.all(
      children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }),
    );
    for (const name of this.#namespaces.splice(0).reverse()) {
      execFileSync('ip', ['netns', 'delete', name], { timeout: 10_000 });
    }
  }
}

async function until(what: string, ready: () => boolean): Promise<void> {
  for (const end = performance.now() + patience; !ready(); ) {
    if (performance.now() > end) throw new Error(`gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
