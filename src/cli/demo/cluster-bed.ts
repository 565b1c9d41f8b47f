/**
 * Many hosts on one machine, each a network namespace: on each Open vSwitch and ovn-controller; and OVN's databases as a
 * cluster with northd, each member in a namespace of its own, so that a host that is cut off takes none along. Two networks join them: one for management (the databases) and one for the tunnels, so that a
 * partition can cut the one and leave the other. Every daemon is a child of this process, works in the bed's folder, and
 * ends with this process, however that ends. The datapath runs in user space: no kernel module is needed.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ovsdb } from '../../dataplane/ovn/ovsdb.ts';
import type { OvsdbPki } from '../../dataplane/ovn/ovsdb-tls.ts';
import { Daemons, lastLines } from './daemons.ts';

const run = promisify(execFile);

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
const patience = 30_000;
/** Bytes of a unix socket's path. */
const longestPath = 107;
const commandPatience = 30_000;

const databases = [
  ['nb', 'OVN_Northbound', 6643],
  ['sb', 'OVN_Southbound', 6644],
] as const;
const tunnelMac = (host: number): string => `0a:77:00:00:00:${host.toString(16).padStart(2, '0')}`;

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
  /** Paths of PEM files: the databases are reached by TLS, and all show this certificate. */
  readonly pki?: OvsdbPki | null;
}

export class ClusterBed {
  readonly #options: Required<BedOptions>;
  readonly #daemons = new Daemons();
  readonly #namespaces: string[] = [];
  readonly #atExit = (): void => this.#deleteNamespaces();

  private constructor(options: BedOptions) {
    this.#options = { hosts: 3, alone: false, pki: null, ...options };
    process.once('exit', this.#atExit);
  }

  /** Resolves once every host has OVN's rules. @throws Error naming what did not start; nothing is left then */
  static async start(options: BedOptions): Promise<ClusterBed> {
    const bed = new ClusterBed(options);
    try {
      await bed.#build();
    } catch (error) {
      await bed.stop().catch(() => {});
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
  /** Of the machine with a member of the databases and northd. */
  #central(member: number): string {
    return `${this.#options.mark}-c${member}`;
  }
  #memberAddress(member: number): string {
    return `${management}.${100 + member}`;
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
  /** Addresses on the management network for the namespace of this process, once it has joined. */
  readonly control: readonly string[] = [`${management}.250`, `${management}.251`];
  /** Puts the namespace of this process on the management network. What it gets there goes with the bed. */
  joinManagement(): void {
    const ends = ['mtu', String(underlayMtu), 'type', 'veth', 'peer', 'name', 'mgmt0', 'netns', String(process.pid)];
    this.ip(this.#switch, 'link', 'add', 'm250', ...ends);
    this.ip(this.#switch, 'link', 'set', 'm250', 'master', 'mgmt', 'up');
    const own = (...args: readonly string[]): void => {
      execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: commandPatience });
    };
    own('link', 'set', 'lo', 'up');
    own('link', 'set', 'mgmt0', 'up');
    for (const address of this.control) own('addr', 'add', `${address}/24`, 'dev', 'mgmt0');
  }
  /** Remotes of the members on the management network. */
  get remotes(): { readonly northbound: string; readonly southbound: string } {
    return { northbound: this.#remotes(6641), southbound: this.#remotes(6642) };
  }
  /** The host's address in the tunnels. */
  tunnelAddress(host: number): string {
    return `${underlay}.${host}`;
  }
  /** The same as hosts reach them over the management network. */
  #remotes(port: number): string {
    return this.#members.map((member) => `${this.#kind}:${this.#memberAddress(member)}:${port}`).join(',');
  }
  get #kind(): 'tcp' | 'ssl' {
    return this.#options.pki === null ? 'tcp' : 'ssl';
  }
  /** For daemons that open or make connections to the databases. */
  get #tls(): readonly string[] {
    const { pki } = this.#options;
    if (pki === null) return [];
    return [`--private-key=${pki.key}`, `--certificate=${pki.certificate}`, `--ca-cert=${pki.authority}`];
  }

  async #build(): Promise<void> {
    const [socket = ''] = this.northbound;
    if (socket.length - 'unix:'.length > longestPath) {
      throw new Error(`the bed did not start: ${this.#options.folder} is too long for sockets in it`);
    }
    const machines = [
      ...this.hosts.map((host) => this.namespace(host)),
      ...this.#members.map((one) => this.#central(one)),
    ];
    for (const name of [this.#switch, ...machines]) {
      execFileSync('ip', ['netns', 'add', name], { stdio: ['ignore', 'ignore', 'pipe'], timeout: commandPatience });
      this.#namespaces.push(name);
    }
    this.#wire();
    await Promise.all(
      this.hosts.map(async (host) => {
        mkdirSync(this.folder(host), { recursive: true });
        if (this.#members.includes(host)) {
          await Promise.all(
            databases.map(([name, database, raft]) => this.#createDatabase(host, name, database, raft)),
          );
          for (const [name] of databases) this.startDaemon(name, host);
        }
        await this.#openVSwitch(host);
      }),
    );
    for (const host of this.hosts) this.knowNeighbours(host);
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
      await this.#startNorthd(south);
      for (const host of this.hosts) this.startDaemon('controller', host);
      const mutations = [['nb_cfg', '+=', 1]];
      await north.transact([{ op: 'mutate', table: 'NB_Global', where: [], mutations }]);
      await this.#until('the hosts', () => {
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

  /** Resolves when it has made its first row: a controller that starts before that crashes. */
  async #startNorthd(south: Ovsdb): Promise<void> {
    const made = (): boolean => south.rows('SB_Global').size > 0;
    for (let tries = 1; !made(); tries++) {
      for (const host of this.#members) this.startDaemon('northd', host);
      // While a cluster forms it may meet no leader, and then waits longer and longer between two looks: once more, then.
      if (tries === 3) return this.#until('northd', made);
      await this.#until('northd', made, 5_000).catch(() => {});
      if (!made()) for (const host of this.#members) await this.killDaemon('northd', host);
    }
  }

  /** @throws Error when it takes too long, or a daemon falls meanwhile */
  async #until(what: string, ready: () => boolean, limit = patience): Promise<void> {
    for (const end = performance.now() + limit; !ready(); ) {
      const [fallen] = this.#daemons.fallen;
      if (fallen !== undefined) throw new Error(`the bed did not start: ${fallen}`);
      if (performance.now() > end) throw new Error(`the bed did not start: gave up waiting for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Two bridges: each host is plugged into both, a member of the databases into that of management. */
  #wire(): void {
    const mtu = `mtu ${underlayMtu}`;
    this.#batch(
      this.#switch,
      ...['mgmt', 'under'].flatMap((name) => [`link add ${name} ${mtu} type bridge`, `link set ${name} up`]),
      ...this.hosts.flatMap((host) =>
        [
          ['mgmt0', `m${host}`, 'mgmt'],
          ['phys0', `p${host}`, 'under'],
        ].flatMap(([device, end, bridge]) => [
          `link add ${end} ${mtu} type veth peer name ${device} ${mtu} netns ${this.namespace(host)}`,
          `link set ${end} master ${bridge} up`,
        ]),
      ),
      ...this.#members.flatMap((member) => [
        `link add c${member} ${mtu} type veth peer name mgmt0 ${mtu} netns ${this.#central(member)}`,
        `link set c${member} master mgmt up`,
      ]),
    );
    for (const member of this.#members) {
      const up = ['lo', 'mgmt0'].map((device) => `link set ${device} up`);
      this.#batch(this.#central(member), ...up, `addr add ${this.#memberAddress(member)}/24 dev mgmt0`);
    }
    for (const host of this.hosts) {
      const up = ['lo', 'mgmt0', 'phys0'].map((device) => `link set ${device} up`);
      this.#batch(this.namespace(host), ...up, `addr add ${management}.${host}/24 dev mgmt0`);
    }
  }
  /** Lines of `ip`, in a namespace, by one process. */
  #batch(namespace: string, ...lines: readonly string[]): void {
    const args = [`--net=/run/netns/${namespace}`, 'ip', '-batch', '-'];
    execFileSync('nsenter', args, { input: lines.join('\n'), stdio: 'pipe', timeout: commandPatience });
  }

  async #createDatabase(host: number, name: 'nb' | 'sb', database: string, raft: number): Promise<void> {
    const file = join(this.folder(host), `${name}.db`);
    const schema = `/usr/share/ovn/ovn-${name}.ovsschema`;
    const own = `${this.#kind}:${this.#memberAddress(host)}:${raft}`;
    const args = this.#options.alone
      ? ['create', file, schema]
      : host === 1
        ? ['create-cluster', file, schema, own]
        : ['join-cluster', file, database, own, `${this.#kind}:${this.#memberAddress(1)}:${raft}`];
    await run('ovsdb-tool', args, { timeout: commandPatience });
  }

  async #openVSwitch(host: number): Promise<void> {
    const folder = this.folder(host);
    const namespace = this.namespace(host);
    const schema = '/usr/share/openvswitch/vswitch.ovsschema';
    await Promise.all([
      run('ovsdb-tool', ['create', join(folder, 'conf.db'), schema], { timeout: commandPatience }),
      this.#whole(namespace, 'phys0'),
      this.#whole(this.#switch, `p${host}`),
    ]);
    this.startDaemon('ovsdb', host);
    await this.#until(`ovsdb-server of h${host}`, () => existsSync(join(folder, 'db.sock')));
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
    await this.#vsctl(host, '--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', ...ids);
    const { pki } = this.#options;
    if (pki !== null) await this.#vsctl(host, '--no-wait', 'set-ssl', pki.key, pki.certificate, pki.authority);
    this.startDaemon('vswitchd', host);
    await this.#vsctl(
      host,
      ...['--', 'add-br', 'br-phys', '--', 'set', 'Bridge', 'br-phys', 'datapath_type=netdev'],
      ...['fail_mode=standalone', `other_config:hwaddr="${tunnelMac(host)}"`, '--', 'add-port', 'br-phys', 'phys0'],
      ...['--', 'set', 'Interface', 'br-phys', `mtu_request=${underlayMtu}`],
      ...['--', '--may-exist', 'add-br', 'br-int', '--', 'set', 'Bridge', 'br-int', 'datapath_type=netdev'],
      'fail_mode=secure',
    );
    const address = `addr add ${underlay}.${host}/24 dev br-phys`;
    this.#batch(namespace, address, `link set br-phys mtu ${underlayMtu} up`);
    await this.#whole(namespace, 'br-phys');
  }
  /** The datapath in user space forwards frames as they are: none may be left for a device to finish. */
  async #whole(namespace: string, device: string): Promise<void> {
    const off = 'tx off gso off tso off gro off'.split(' ');
    const args = [`--net=/run/netns/${namespace}`, 'ethtool', '-K', device, ...off];
    await run('nsenter', args, { timeout: commandPatience });
  }

  /** Says where the other tunnel ends are: the first packet would be lost while that is asked. */
  knowNeighbours(host: number): void {
    for (const other of this.hosts) {
      if (other === host) continue;
      const args = ['tnl/neigh/set', 'br-phys', `${underlay}.${other}`, tunnelMac(other)];
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
      `--remote=p${this.#kind}:${port}:${this.#memberAddress(host)}`,
      `--unixctl=${at(`${name}.ctl`)}`,
      ...this.#tls,
    ];
    switch (name) {
      case 'nb':
        return member(6641);
      case 'sb':
        return member(6642);
      case 'ovsdb':
        return ['ovsdb-server', at('conf.db'), `--remote=punix:${at('db.sock')}`, `--unixctl=${at('ovsdb.ctl')}`];
      case 'vswitchd':
        return ['ovs-vswitchd', `unix:${at('db.sock')}`, '--pidfile'];
      case 'controller':
        return ['ovn-controller', `unix:${at('db.sock')}`, '--pidfile'];
      case 'northd':
        return [
          ...['ovn-northd', '--pidfile', `--ovnnb-db=${this.#remotes(6641)}`, `--ovnsb-db=${this.#remotes(6642)}`],
          ...this.#tls,
        ];
    }
  }

  /** @throws Error when it runs already */
  startDaemon(name: DaemonName, host: number): void {
    const [program = '', ...args] = this.#command(name, host);
    this.#daemons.start(`${name}${host}`, {
      namespace: ['nb', 'sb', 'northd'].includes(name) ? this.#central(host) : this.namespace(host),
      environment: this.#environment(host),
      log: join(this.folder(host), `${name}.log`),
      program,
      args: [...args, '--no-chdir'],
    });
  }
  /** Ends a daemon as a crash does. Resolves when it is gone. */
  killDaemon(name: DaemonName, host: number): Promise<void> {
    return this.#daemons.kill(`${name}${host}`);
  }
  /** Ends ovn-controller as an upgrade does: it leaves what it has installed. Resolves when it is gone. */
  async dismissController(host: number): Promise<void> {
    this.appctl(host, 'ovn-controller', 'exit', '--restart');
    await this.#daemons.gone(`controller${host}`);
  }
  /** Whether it runs. */
  runs(name: DaemonName, host: number): boolean {
    return this.#daemons.runs(`${name}${host}`);
  }
  /** The last lines of a daemon's log. */
  log(name: DaemonName, host: number): string {
    return lastLines(join(this.folder(host), `${name}.log`));
  }
  /** The number of the member that leads; null while there is none. */
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
  #vsctlArgs(host: number, args: readonly string[]): readonly string[] {
    return [`--db=unix:${join(this.folder(host), 'db.sock')}`, '--timeout=20', ...args];
  }
  async #vsctl(host: number, ...args: readonly string[]): Promise<void> {
    const env = this.#environment(host);
    await run('ovs-vsctl', this.#vsctlArgs(host, args), { env, timeout: commandPatience });
  }
  vsctl(host: number, ...args: readonly string[]): string {
    const env = this.#environment(host);
    return execFileSync('ovs-vsctl', this.#vsctlArgs(host, args), { env }).toString();
  }
  /** @param target a program's name, or the path of its control socket */
  appctl(host: number, target: string, ...args: readonly string[]): string {
    const env = this.#environment(host);
    return execFileSync('ovs-appctl', ['--timeout=20', '-t', target, ...args], { env }).toString();
  }

  /** Ends all of it. The folder is the caller's. */
  async stop(): Promise<void> {
    await this.#daemons.killAll();
    this.#deleteNamespaces();
    process.off('exit', this.#atExit);
  }
  #deleteNamespaces(): void {
    for (const name of this.#namespaces.splice(0).reverse()) {
      spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore', timeout: 10_000 });
    }
  }
}
