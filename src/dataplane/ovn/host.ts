/**
 * What is done on a host of OVN's: proves changes in the datapath of its Open vSwitch, counts what its workloads sent over
 * each half, and puts workloads on the integration bridge. Speaks only to the daemons of its own host.
 */
import { execFile } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual, promisify } from 'node:util';
import type { PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import { type AttachmentFact, type AttachRequest, DriverError } from '../driver.ts';
import { targetText } from '../workload-end.ts';
import { Barrier } from './barrier.ts';
import { askDaemon } from './control-socket.ts';
import { HostPairs, pairName } from './host-pair.ts';
import type { HostReading, MeterRequest } from './hosts.ts';
import { flowCounts, MeterLedger } from './meter-ledger.ts';
import { Ovsdb } from './ovsdb.ts';
import type { Row } from './ovsdb-wire.ts';
import { ownerKey } from './rows.ts';

export interface OvsHostOptions {
  readonly installationId: string;
  /** Directory of Open vSwitch's sockets and pid files; default `/run/openvswitch`. */
  readonly runDirectory?: string;
  /** Where counts are kept over restarts. */
  readonly stateDirectory: string;
  /** Bytes of IP packet that fit into the tunnels: the underlay's MTU less 58 (IPv4) or 78 (IPv6). */
  readonly mtu: number;
  /** Of the network namespace in which Open vSwitch runs; default: our own. */
  readonly namespace?: string;
}

/** The integration bridge, as OVN calls it. */
const bridge = 'br-int';
const numberKey = 'ovn-nb-cfg';
const portKey = 'isthmus:port';
const noteKey = 'isthmus:note';
/** The addresses that the interface's neighbours were told of. */
const announcedKey = 'isthmus:announced';
const daemonPatience = 10_000;
/** Milliseconds from one announcement to its repetition: OVN's own word that it carries a port may be early. */
const announcePause = 1_000;

const run = promisify(execFile);

interface Note {
  readonly device: string;
  readonly mtu: number;
  readonly target: string;
  readonly spec: InterfaceSpec;
}

export class OvsHost {
  readonly #options: OvsHostOptions;
  readonly #directory: string;
  readonly #database: Ovsdb;
  readonly #ledger: MeterLedger;
  readonly #pairs: HostPairs;
  readonly #barrier: Barrier;
  readonly #listeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  readonly #told = new Map<PortId, AttachmentFact>();
  /** Those that are being taken off. */
  readonly #leaving = new Set<PortId>();
  readonly #announcing = new Set<PortId>();
  /** Called after each change of the copy. */
  readonly #waiters = new Set<() => void>();
  /** Ports that are on the bridge; and whether one left since everything was forgotten last. */
  #present: ReadonlySet<string> = new Set();
  #left = true;
  #reading: Promise<unknown> = Promise.resolve();
  #moving: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: OvsHostOptions) {
    this.#options = options;
    this.#directory = options.runDirectory ?? '/run/openvswitch';
    this.#ledger = new MeterLedger(join(options.stateDirectory, 'counts.json'));
    this.#pairs = new HostPairs(options.installationId, options.namespace);
    this.#barrier = new Barrier({
      installed: () => this.installed,
      ask: async (method) => askDaemon(this.#controlSocket(), method, [], daemonPatience),
      now: () => performance.now(),
      pause: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    });
    this.#database = new Ovsdb({
      remotes: [`unix:${join(this.#directory, 'db.sock')}`],
      database: 'Open_vSwitch',
      tables: {
        Open_vSwitch: ['external_ids'],
        Bridge: ['name', 'datapath_type', 'external_ids'],
        Interface: ['name', 'link_state', 'external_ids', 'ofport', 'ifindex'],
      },
    });
    this.#database.on('changed', () => this.#look());
  }

  /** @throws OvsdbError when the local database does not answer */
  async ready(patience = daemonPatience): Promise<void> {
    await this.#database.whenConnected(patience);
  }

  /** The chassis name by which OVN knows this host; undefined when it was not set up. */
  get name(): string | undefined {
    const [row] = this.#database.rows('Open_vSwitch').values();
    return idsOf(row)['system-id'];
  }
  #bridge(): Row | undefined {
    return [...this.#database.rows('Bridge').values()].find(({ name }) => name === bridge);
  }
  /** The configuration that ovn-controller has installed here. */
  get installed(): number {
    return Number(idsOf(this.#bridge())[numberKey] ?? 0);
  }

  /**
   * See `Hosts.fence`. Rejects when the local daemons do not answer. Additions need the barrier as well: the datapath may
   * remember that it dropped a packet that may pass now.
   */
  async fence(number: number): Promise<number> {
    await this.#until(() => this.installed >= number);
    return this.#barrier.prove(number);
  }
  /** Waits until the copy of the local database is so. @param patience milliseconds @throws DriverError */
  #until(holds: () => boolean, patience?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const look = (): void => {
        const over = holds();
        if (!over && !this.#closed) return;
        clearTimeout(timer);
        this.#waiters.delete(look);
        if (over) resolve();
        else reject(new DriverError('unavailable', 'the agent is stopping'));
      };
      this.#waiters.add(look);
      if (patience !== undefined) {
        timer = setTimeout(() => {
          this.#waiters.delete(look);
          reject(new DriverError('unavailable', 'Open vSwitch does not follow its database: does ovs-vswitchd run?'));
        }, patience);
      }
      look();
    });
  }
  #controlSocket(): string {
    const pid = readFileSync(join(this.#directory, 'ovs-vswitchd.pid'), 'utf8').trim();
    return join(this.#directory, `ovs-vswitchd.${pid}.ctl`);
  }

  /** See `Hosts.meter`. */
  meter(request: MeterRequest): Promise<HostReading> {
    const read = this.#reading.then(async () => {
      const target = `unix:${join(this.#directory, `${bridge}.mgmt`)}`;
      const { stdout } = await run('ovs-ofctl', ['dump-flows', target, 'table=65'], {
        timeout: daemonPatience,
        maxBuffer: 256 * 1024 * 1024,
      });
      const reading = this.#ledger.read(request, flowCounts(stdout), uptime());
      await this.#ledger.save();
      return reading;
    });
    this.#reading = read.catch(() => {});
    return read;
  }

  /** Interfaces of this installation on the bridge. */
  #ours(): ReadonlyMap<PortId, Row> {
    const rows = [...this.#database.rows('Interface').values()].filter(
      (row) => idsOf(row)[ownerKey] === this.#options.installationId,
    );
    return new Map(rows.map((row) => [idsOf(row)[portKey] as PortId, row]));
  }
  attachments(): readonly AttachmentFact[] {
    return [...this.#ours()].map(([portId, row]) => factOf(portId, row)).sort((a, b) => (a.portId < b.portId ? -1 : 1));
  }
  /** Called with attachments that came, changed, lost their device or were taken off by other hands. */
  onAttachment(listener: (fact: AttachmentFact) => void): void {
    this.#listeners.push(listener);
  }
  /** Called with the interface when its workload was taken off. */
  onDetached(listener: (portId: PortId) => void): void {
    this.#detachedListeners.push(listener);
  }
  #look(): void {
    // Of a database that is away nothing is known.
    if (!this.#database.connected && !this.#closed) return;
    const present = new Set(
      [...this.#database.rows('Interface').values()].filter(isPresent).map(({ name }) => String(name)),
    );
    if ([...this.#present].some((name) => !present.has(name))) this.#left = true;
    this.#present = present;
    const now = new Map(this.attachments().map((fact) => [fact.portId, fact]));
    for (const [portId, fact] of this.#told) {
      if (now.has(portId)) continue;
      this.#told.delete(portId);
      const ours = this.#leaving.has(portId) || fact.state === 'vanished';
      if (!ours) this.#tell({ ...fact, state: 'vanished', up: null });
      else for (const listener of this.#detachedListeners) listener(portId);
    }
    for (const [portId, fact] of now) {
      if (this.#leaving.has(portId) || isDeepStrictEqual(this.#told.get(portId), fact)) continue;
      this.#told.set(portId, fact);
      this.#tell(fact);
    }
    for (const portId of now.keys()) if (this.#isUnannounced(portId)) void this.#announce(portId);
    for (const waiter of [...this.#waiters]) waiter();
  }
  #tell(fact: AttachmentFact): void {
    for (const listener of this.#listeners) listener(fact);
  }

  /** One after the other: two that want the same interface must see each other. */
  #serially<T>(work: () => Promise<T>): Promise<T> {
    const moved = this.#moving.then(work, work);
    this.#moving = moved.catch(() => {});
    return moved;
  }

  /** Puts a workload on the bridge. @param spec of the interface, as the region has it @throws DriverError */
  attach(request: AttachRequest, spec: InterfaceSpec): Promise<AttachmentFact> {
    return this.#serially(() => this.#attach(request, spec));
  }
  async #attach(request: AttachRequest, spec: InterfaceSpec): Promise<AttachmentFact> {
    const { portId, target, device = 'eth0', mtu = this.#options.mtu } = request;
    const there = this.#ours().get(portId);
    if (there !== undefined && factOf(portId, there).state === 'attached') {
      throw new DriverError('already-attached', `${portId} is attached to ${factOf(portId, there).target}`);
    }
    if (!/^(?!\.{1,2}$)[A-Za-z0-9_.-]{1,15}$/.test(device)) {
      throw new DriverError('kernel', `'${device}' is not a device name`);
    }
    if (!Number.isInteger(mtu) || mtu < 1280 || mtu > this.#options.mtu) {
      throw new DriverError('kernel', `MTU ${mtu} is not in 1280–${this.#options.mtu}: more does not fit the tunnels`);
    }
    const datapath = this.#bridge()?.['datapath_type'];
    if (datapath === undefined) {
      throw new DriverError('unavailable', `this host has no bridge ${bridge} yet: does ovn-controller run?`);
    }
    const workload = this.#pairs.open(target, device);
    try {
      if (there !== undefined) await this.#detach([portId]);
      this.#pairs.make(workload, spec, mtu);
      try {
        if (datapath === 'netdev') await this.#pairs.sendWholeFrames(workload, portId);
        await this.#plug(portId, { device, mtu, target: targetText(target), spec });
        this.#pairs.raise(workload, spec);
      } catch (error) {
        await this.#vsctl('--no-wait', '--if-exists', 'del-port', bridge, pairName(portId)).catch(() => {});
        this.#pairs.delete(portId);
        throw error;
      }
    } finally {
      closeSync(workload.namespace);
    }
    return { portId, state: 'attached', target: targetText(target), device, mtu, up: true };
  }
  async #plug(portId: PortId, note: Note): Promise<void> {
    const name = pairName(portId);
    const ids = { 'iface-id': portId, [ownerKey]: this.#options.installationId, [portKey]: portId };
    await this.#vsctl(
      ...['--may-exist', 'add-port', bridge, name, '--', 'set', 'Interface', name],
      ...Object.entries(ids).map(([key, value]) => `external_ids:"${key}"="${value}"`),
      noteArgument(note),
    );
    await this.#until(() => {
      const row = this.#ours().get(portId);
      return row !== undefined && isPresent(row);
    }, daemonPatience);
    if (this.#left) await this.#forget();
  }

  /** OVN carries it, and its neighbours may still send to the MAC of who had an address of it before. */
  #isUnannounced(portId: PortId): boolean {
    const row = this.#ours().get(portId);
    const note = row === undefined ? undefined : noteOf(row);
    const ids = idsOf(row);
    return note !== undefined && ids['ovn-installed'] === 'true' && ids[announcedKey] !== addressesText(note.spec);
  }
  /** @returns the interface as it was told, if it is here */
  #tellNeighbours(portId: PortId): InterfaceSpec | undefined {
    const row = this.#closed ? undefined : this.#ours().get(portId);
    const note = row === undefined ? undefined : noteOf(row);
    if (note !== undefined) this.#pairs.announce(note.target, note.spec);
    return note?.spec;
  }
  async #announce(portId: PortId): Promise<void> {
    if (this.#announcing.has(portId)) return;
    this.#announcing.add(portId);
    try {
      await this.#serially(async () => {
        if (!this.#isUnannounced(portId)) return;
        const spec = this.#tellNeighbours(portId);
        if (spec === undefined) return;
        const told = `external_ids:"${announcedKey}"=${JSON.stringify(addressesText(spec))}`;
        await this.#vsctl('--if-exists', 'set', 'Interface', pairName(portId), told);
        await this.#until(() => !this.#isUnannounced(portId), daemonPatience);
        setTimeout(() => this.#tellNeighbours(portId), announcePause).unref();
      });
    } catch {
      // The local database is away: with the next change of it.
    } finally {
      this.#announcing.delete(portId);
    }
  }

  /**
   * Resolves once OVN carries what an interface sends and receives, and its neighbours know.
   * @returns whether that is so within the patience
   */
  carried(portId: PortId, patience: number): Promise<boolean> {
    const done = (): boolean => {
      const row = this.#ours().get(portId);
      return row !== undefined && idsOf(row)['ovn-installed'] === 'true' && !this.#isUnannounced(portId);
    };
    return this.#until(done, patience).then(
      () => true,
      () => false,
    );
  }

  /** Takes a workload off the bridge. Its device is gone then, and with it every way to it. @throws DriverError */
  detach(portId: PortId): Promise<void> {
    return this.#serially(async () => {
      if (!this.#ours().has(portId)) throw new DriverError('not-attached', `${portId} is not attached on this host`);
      await this.#detach([portId]);
    });
  }
  async #detach(portIds: readonly PortId[]): Promise<void> {
    try {
      for (const portId of portIds) {
        this.#leaving.add(portId);
        await this.#vsctl('--if-exists', 'del-port', bridge, pairName(portId));
        this.#pairs.delete(portId);
      }
      await this.#until(() => portIds.every((portId) => !this.#ours().has(portId)), daemonPatience);
    } finally {
      this.#leaving.clear();
      this.#look();
    }
    if (portIds.length > 0) await this.#forget();
  }
  /**
   * The datapath numbers its ports, and takes the number of one that left for the next that comes: what was decided for
   * the one must not be carried to the other.
   */
  async #forget(): Promise<void> {
    this.#left = false;
    try {
      await this.#barrier.forget();
    } catch (error) {
      this.#left = true;
      throw error;
    }
  }

  /** Tells an attached workload of its new addresses. */
  follow(spec: InterfaceSpec): Promise<void> {
    return this.#serially(async () => {
      const row = this.#ours().get(spec.id);
      const note = row === undefined ? undefined : noteOf(row);
      if (note === undefined || isDeepStrictEqual(note.spec, spec)) return;
      this.#pairs.follow(note.target, note.spec, spec);
      await this.#vsctl('set', 'Interface', pairName(spec.id), noteArgument({ ...note, spec }));
    });
  }

  async #vsctl(...args: readonly string[]): Promise<void> {
    const database = `unix:${join(this.#directory, 'db.sock')}`;
    try {
      await run('ovs-vsctl', [`--db=${database}`, '--timeout=10', ...args], { timeout: 2 * daemonPatience });
    } catch (error) {
      const { stderr = '', message = '' } = error as { stderr?: string; message?: string };
      throw new DriverError('kernel', `ovs-vsctl: ${stderr.trim() || message}`, { cause: error });
    }
  }

  /** Takes every workload of this installation off the bridge. */
  purge(): Promise<void> {
    return this.#serially(() => this.#detach([...this.#ours().keys()]));
  }

  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) waiter();
    this.#database.close();
  }
}

const noteArgument = (note: Note): string => `external_ids:"${noteKey}"=${JSON.stringify(JSON.stringify(note))}`;
/** Whether a port's device died: it then has the number -1 or, where Open vSwitch held it open, the device number 0. */
const isGone = (row: Row): boolean => {
  const [port] = (row['ofport'] ?? []) as readonly number[];
  const [device] = (row['ifindex'] ?? []) as readonly number[];
  return port === -1 || device === 0;
};
/** Whether a port has its device, and its number in the datapath. */
const isPresent = (row: Row): boolean => ((row['ofport'] ?? []) as readonly number[]).length > 0 && !isGone(row);
const idsOf = (row: Row | undefined): { readonly [key: string]: string } =>
  (row?.['external_ids'] ?? {}) as { readonly [key: string]: string };
const addressesText = ({ addresses }: InterfaceSpec): string => addresses.map(({ address }) => address).join(' ');
function noteOf(row: Row): Note | undefined {
  try {
    return JSON.parse(idsOf(row)[noteKey] ?? '') as Note;
  } catch {
    return undefined;
  }
}
function factOf(portId: PortId, row: Row): AttachmentFact {
  const note = noteOf(row);
  const [state] = (row['link_state'] ?? []) as readonly string[];
  return {
    portId,
    state: isGone(row) ? 'vanished' : 'attached',
    target: note?.target ?? '',
    device: note?.device ?? '',
    mtu: note?.mtu ?? 0,
    up: state === undefined ? null : state === 'up',
  };
}
