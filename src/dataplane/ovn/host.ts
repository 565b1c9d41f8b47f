/**
 * What is done on a host of OVN's: proves changes in the datapath of its Open vSwitch, counts what its workloads sent over
 * each half, and puts workloads on the integration bridge. Speaks only to the daemons of its own host.
 */
import { execFile } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual, promisify } from 'node:util';
import * as link from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { inside } from '../../kernel/netns.ts';
import type { PortId } from '../../model/ids.ts';
import { familyOf } from '../../model/ip.ts';
import { gatewayMac, type InterfaceSpec } from '../../model/network-spec.ts';
import { type AttachmentFact, type AttachRequest, DriverError } from '../driver.ts';
import { changeAddresses, configure, openTarget, targetText } from '../workload-end.ts';
import { askDaemon } from './control-socket.ts';
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
/** With more cached decisions than this, forgetting all of them at once is dearer than two rounds of revalidation. */
const manyFlows = 50_000;
/** A purge sends every flow of every tenant through the slow path once: not more often than this, in milliseconds. */
const purgePause = 1_000;
const daemonPatience = 10_000;

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
  readonly #listeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  readonly #told = new Map<PortId, string>();
  #proven = 0;
  #lastPurge = 0;
  #barrier: Promise<number> | null = null;
  #reading: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: OvsHostOptions) {
    this.#options = options;
    this.#directory = options.runDirectory ?? '/run/openvswitch';
    this.#ledger = new MeterLedger(join(options.stateDirectory, 'counts.json'));
    this.#database = new Ovsdb({
      remotes: [`unix:${join(this.#directory, 'db.sock')}`],
      database: 'Open_vSwitch',
      tables: {
        Open_vSwitch: ['external_ids'],
        Bridge: ['name', 'datapath_type', 'external_ids'],
        Interface: ['name', 'link_state', 'external_ids', 'ofport'],
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

  /** See `Hosts.fence`. Rejects when the local daemons do not answer. */
  async fence(number: number, cut: boolean): Promise<number> {
    await this.#reaches(number);
    if (!cut) return this.installed;
    while (this.#proven < number) {
      // One barrier covers all that was installed when it began.
      this.#barrier ??= this.#forget().finally(() => {
        this.#barrier = null;
      });
      await this.#barrier;
    }
    return this.#proven;
  }

  async #reaches(number: number): Promise<void> {
    while (this.installed < number) {
      if (this.#closed) throw new DriverError('unavailable', 'the agent is stopping');
      await this.#change(1000);
    }
  }
  /** Resolves with the next change of the local database, or after so many milliseconds. */
  #change(patience: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#database.off('changed', done);
        resolve();
      };
      const timer = setTimeout(done, patience);
      this.#database.on('changed', done);
    });
  }

  /** Makes the datapath decide everything anew. @returns the configuration for which it does */
  async #forget(): Promise<number> {
    const number = this.installed;
    const socket = this.#controlSocket();
    const cached = /\(current (\d+)\)/.exec(await askDaemon(socket, 'upcall/show', [], daemonPatience));
    const soon = performance.now() - this.#lastPurge < purgePause && this.#lastPurge !== 0;
    if (soon || Number(cached?.[1] ?? 0) > manyFlows) {
      // The first may only end a round that began before the change.
      await askDaemon(socket, 'revalidator/wait', [], daemonPatience);
      await askDaemon(socket, 'revalidator/wait', [], daemonPatience);
    } else {
      this.#lastPurge = performance.now();
      await askDaemon(socket, 'revalidator/purge', [], daemonPatience);
    }
    this.#proven = Math.max(this.#proven, number);
    return number;
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
      return this.#ledger.read(request, flowCounts(stdout));
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
  /** Called with attachments that came, changed or lost their device. */
  onAttachment(listener: (fact: AttachmentFact) => void): void {
    this.#listeners.push(listener);
  }
  /** Called when the workload of an interface was taken off, by whomever. */
  onDetached(listener: (portId: PortId) => void): void {
    this.#detachedListeners.push(listener);
  }
  #look(): void {
    if (!this.#database.connected) return;
    const facts = this.attachments();
    const there = new Set(facts.map(({ portId }) => portId));
    for (const portId of this.#told.keys()) {
      if (there.has(portId)) continue;
      this.#told.delete(portId);
      for (const listener of this.#detachedListeners) listener(portId);
    }
    for (const fact of facts) {
      const text = JSON.stringify(fact);
      if (this.#told.get(fact.portId) === text) continue;
      this.#told.set(fact.portId, text);
      for (const listener of this.#listeners) listener(fact);
    }
  }

  #inHost<T>(work: () => T): T {
    const { namespace } = this.#options;
    if (namespace === undefined) return work();
    const fd = openSync(`/run/netns/${namespace}`, 'r');
    try {
      return inside(fd, work);
    } finally {
      closeSync(fd);
    }
  }

  /** Puts a workload on the bridge. @param spec of the interface, as the region has it @throws DriverError */
  async attach(request: AttachRequest, spec: InterfaceSpec): Promise<AttachmentFact> {
    const { portId, target, device = 'eth0', mtu = this.#options.mtu } = request;
    const there = this.#ours().get(portId);
    if (there !== undefined && factOf(portId, there).state === 'attached') {
      throw new DriverError('already-attached', `${portId} is attached to ${factOf(portId, there).target}`);
    }
    if (!/^[A-Za-z0-9_.-]{1,15}$/.test(device)) throw new DriverError('kernel', `'${device}' is not a device name`);
    if (!Number.isInteger(mtu) || mtu < 1280 || mtu > this.#options.mtu) {
      throw new DriverError('kernel', `MTU ${mtu} is not in 1280–${this.#options.mtu}: more does not fit the tunnels`);
    }
    if (there !== undefined) await this.detach(portId);
    const name = nameOf(portId);
    const text = targetText(target);
    const workload = openTarget(target);
    try {
      if (this.#inHost(() => fstatSync(workload).ino === inodeOfOwn())) {
        throw new DriverError('no-such-target', `${text} is the namespace of the host itself: name the workload's`);
      }
      this.#makePair(name, { workload, device, mtu, spec, text });
      if (this.#bridge()?.['datapath_type'] === 'netdev') await this.#finishFrames(name, target, device);
    } catch (error) {
      this.#deletePair(name);
      throw error;
    } finally {
      closeSync(workload);
    }
    const note: Note = { device, mtu, target: text, spec };
    const ids = { 'iface-id': portId, [ownerKey]: this.#options.installationId, [portKey]: portId };
    try {
      await this.#vsctl(
        ...['--may-exist', 'add-port', bridge, name, '--', 'set', 'Interface', name],
        ...Object.entries(ids).map(([key, value]) => `external_ids:"${key}"="${value}"`),
        `external_ids:"${noteKey}"=${JSON.stringify(JSON.stringify(note))}`,
      );
    } catch (error) {
      this.#deletePair(name);
      throw error;
    }
    return { portId, state: 'attached', target: text, device, mtu, up: true };
  }

  #makePair(
    name: string,
    of: {
      readonly workload: number;
      readonly device: string;
      readonly mtu: number;
      readonly spec: InterfaceSpec;
      readonly text: string;
    },
  ): void {
    const host = this.#inHost(() => new Netlink());
    const net = inside(of.workload, () => new Netlink());
    try {
      if (link.linkNamed(net, of.device) !== undefined) {
        throw new DriverError('device-exists', `${of.text} already has a device ${of.device}: name another`);
      }
      const far = { name: of.device, mac: of.spec.mac, mtu: of.mtu, namespace: of.workload };
      link.createPair(host, { name, mac: gatewayMac, mtu: of.mtu }, far);
      const near = link.linkNamed(host, name);
      if (near === undefined) throw new DriverError('kernel', `device ${name} is gone as soon as it was made`);
      link.setAlias(host, near.ifindex, `isthmus:${this.#options.installationId}:${of.spec.id}`);
      link.setSilent(host, near.ifindex);
      link.setUp(host, near.ifindex);
      configure(net, of.device, of.spec);
      link.settle(host, near.ifindex);
      const eth = link.linkNamed(net, of.device);
      for (const { gateway } of of.spec.addresses) {
        // Who answers for an IPv6 gateway is ovn-controller: without this the workload would depend on its life.
        if (eth !== undefined && familyOf(gateway) === 6) link.addNeighbour(net, eth.ifindex, gateway, gatewayMac);
      }
    } finally {
      net.close();
      host.close();
    }
  }
  /** The datapath in user space forwards frames as they are: no checksum and no segment may be left for a device. */
  async #finishFrames(name: string, target: AttachRequest['target'], device: string): Promise<void> {
    const off = ['tx', 'off', 'gso', 'off', 'tso', 'off', 'gro', 'off'];
    const { namespace } = this.#options;
    const here = namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${namespace}`];
    const there = target.kind === 'netns' ? `--net=/run/netns/${target.name}` : `--net=/proc/${target.pid}/ns/net`;
    for (const [program = '', ...args] of [
      [...here, 'ethtool', '-K', name, ...off],
      ['nsenter', there, 'ethtool', '-K', device, ...off],
    ]) {
      await run(program, args, { timeout: daemonPatience });
    }
  }
  #deletePair(name: string): void {
    const host = this.#inHost(() => new Netlink());
    try {
      const near = link.linkNamed(host, name);
      if (near !== undefined) link.deleteLink(host, near.ifindex);
    } finally {
      host.close();
    }
  }

  /** Resolves once OVN carries what an interface sends and receives. @returns whether it does within that patience */
  async carried(portId: PortId, patience: number): Promise<boolean> {
    const done = (): boolean => idsOf(this.#ours().get(portId))['ovn-installed'] === 'true';
    for (const end = performance.now() + patience; !done(); ) {
      if (this.#closed || performance.now() > end) return false;
      await this.#change(Math.min(500, end - performance.now()));
    }
    return true;
  }

  /** @throws DriverError */
  async detach(portId: PortId): Promise<void> {
    if (!this.#ours().has(portId)) throw new DriverError('not-attached', `${portId} is not attached on this host`);
    await this.#vsctl('--if-exists', 'del-port', bridge, nameOf(portId));
    this.#deletePair(nameOf(portId));
    await askDaemon(this.#controlSocket(), 'revalidator/purge', [], daemonPatience);
  }

  /** Tells an attached workload of its new addresses. */
  async follow(spec: InterfaceSpec): Promise<void> {
    const row = this.#ours().get(spec.id);
    const note = row === undefined ? undefined : noteOf(row);
    if (note === undefined || isDeepStrictEqual(note.spec, spec)) return;
    const host = this.#inHost(() => new Netlink());
    try {
      const near = link.linkNamed(host, nameOf(spec.id));
      if (near === undefined) return;
      changeAddresses(near, note.target, note.spec, spec);
    } finally {
      host.close();
    }
    const text = JSON.stringify(JSON.stringify({ ...note, spec }));
    await this.#vsctl('set', 'Interface', nameOf(spec.id), `external_ids:"${noteKey}"=${text}`);
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
  async purge(): Promise<void> {
    for (const portId of this.#ours().keys()) await this.detach(portId);
  }

  close(): void {
    this.#closed = true;
    this.#database.emit('changed');
    this.#database.close();
  }
}

const nameOf = (portId: PortId): string => `i${portId.slice(-10)}`;
const idsOf = (row: Row | undefined): { readonly [key: string]: string } =>
  (row?.['external_ids'] ?? {}) as { readonly [key: string]: string };
const inodeOfOwn = (): number => {
  const fd = openSync('/proc/thread-self/ns/net', 'r');
  try {
    return fstatSync(fd).ino;
  } finally {
    closeSync(fd);
  }
};

function noteOf(row: Row): Note | undefined {
  try {
    return JSON.parse(idsOf(row)[noteKey] ?? '') as Note;
  } catch {
    return undefined;
  }
}
function factOf(portId: PortId, row: Row): AttachmentFact {
  const note = noteOf(row);
  // A port whose device is gone has the number -1, or none.
  const [number] = (row['ofport'] ?? []) as readonly number[];
  const [state] = (row['link_state'] ?? []) as readonly string[];
  return {
    portId,
    state: number === -1 ? 'vanished' : 'attached',
    target: note?.target ?? '',
    device: note?.device ?? '',
    mtu: note?.mtu ?? 0,
    up: state === undefined ? null : state === 'up',
  };
}

/** Whether Open vSwitch's sockets are where they should be. */
export const hasOpenVSwitch = (runDirectory = '/run/openvswitch'): boolean => existsSync(join(runDirectory, 'db.sock'));
