/**
 * A common ground for tests of many hosts: a bed of hosts with OVN, an agent for each of them in this process, a driver,
 * workloads on chosen hosts, packets between them, and a certain end: nothing of it is left behind, also after a failure.
 * Making a bed takes seconds, so one serves all tests of a file, with `clear` between them.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bedMissing, bedMtu, bedPackages, ClusterBed } from '../../src/cli/demo/cluster-bed.ts';
import { type AttachmentFact, type AttachRequest, DriverError, type Plan } from '../../src/dataplane/driver.ts';
import { OvnDriver, type OvnOptions } from '../../src/dataplane/ovn/driver.ts';
import { OvsHost } from '../../src/dataplane/ovn/host.ts';
import { type Operation, Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import { PacketSocket } from '../../src/kernel/socket.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, parseMac } from '../../src/model/ip.ts';
import type { NetworkSpec } from '../../src/model/network-spec.ts';
import { seen, udpFrame } from '../wire/frame.ts';
import { type Ending, cannotRun as noRoot } from '../wire/lab.ts';
import { planFor } from '../wire/plan-for.ts';
import { byHand, probePort, Workload } from '../wire/workload.ts';
import { LocalHosts } from './local-hosts.ts';
import { OvnTrace } from './ovn-trace.ts';

const missing = noRoot === false && process.env['CI'] !== 'true' ? bedMissing() : [];
/** Why a bed cannot be made here, for `test`'s option `skip`; never a reason under CI. */
export const cannotRun: string | false =
  missing.length > 0 ? `without ${missing.join(', ')}: apt-get install ${bedPackages.join(' ')}` : noRoot;

/** Who received the very payload; null: nobody did. */
export type Received = PortId | null;
export interface Shot {
  readonly from: PortId;
  readonly to: Address;
  /** Whether it is worth waiting for. One that arrives unexpectedly, and late, is a stray and fails the test at its end. */
  readonly awaited: boolean;
  /** Whether who is handed it counts too, though it is for somebody else. */
  readonly handed?: boolean;
  /** A source of another's, put into a frame by hand. */
  readonly source?: Address;
}

/** How long an awaited packet may take, and how long the others are given after the last one, in milliseconds. */
const awaitedPatience = 5_000;
const quiet = 60;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

type Timings = Pick<OvnOptions, 'fencePatience' | 'strayPatience'>;
interface Placed {
  readonly host: number;
  readonly workload: Workload;
  readonly device: string;
}

export class Ground {
  readonly bed: ClusterBed;
  readonly installationId: string;
  readonly #folder: string;
  readonly #timings: Timings;
  readonly #agents = new Map<string, OvsHost>();
  readonly #placed = new Map<PortId, Placed>();
  readonly #workloads: Workload[] = [];
  readonly #north: Ovsdb;
  readonly #south: Ovsdb;
  #hosts: LocalHosts;
  #driver: OvnDriver;
  /** Attached, and not yet known to be reachable. */
  readonly #fresh = new Set<PortId>();
  #trace: Promise<OvnTrace> | undefined;
  #next = 0;
  #shots = 0;
  /** Probes that somebody received whom nobody expected to; empty at the end, or the test fails. */
  readonly strays: string[] = [];

  private constructor(bed: ClusterBed, folder: string, timings: Timings) {
    this.bed = bed;
    this.#folder = folder;
    this.#timings = timings;
    this.installationId = `ground-${randomBytes(4).toString('hex')}`;
    for (const host of bed.hosts) this.#agents.set(bed.hostName(host), this.#makeAgent(host));
    this.#north = new Ovsdb({
      remotes: bed.northbound,
      database: 'OVN_Northbound',
      tables: { NB_Global: ['nb_cfg'] },
    });
    this.#south = new Ovsdb({
      remotes: bed.southbound,
      database: 'OVN_Southbound',
      tables: { Port_Binding: ['logical_port', 'chassis'] },
    });
    this.#hosts = new LocalHosts(this.#agents);
    this.#driver = this.#makeDriver(this.#hosts);
  }

  /** Makes a ground that ends with the test. @param of.alone databases without a cluster */
  static async start(
    t: Ending,
    of: Timings & { readonly alone?: boolean; readonly hosts?: number } = {},
  ): Promise<Ground> {
    const { alone = false, hosts = 3, ...timings } = of;
    const folder = mkdtempSync(join(tmpdir(), 'ic-'));
    let ground: Ground | undefined;
    t.after(() => (ground === undefined ? rmSync(folder, { recursive: true, force: true }) : ground.#end()));
    const mark = `ic${randomBytes(3).toString('hex')}`;
    const bed = await ClusterBed.start({ folder, mark, alone, hosts });
    ground = new Ground(bed, folder, timings);
    for (const agent of ground.#agents.values()) await agent.ready();
    await Promise.all([ground.#north, ground.#south].map((client) => client.whenConnected(awaitedPatience)));
    return ground;
  }

  #makeAgent(host: number): OvsHost {
    const stateDirectory = join(this.#folder, `agent${host}`);
    mkdirSync(stateDirectory, { recursive: true });
    return new OvsHost({
      installationId: this.installationId,
      runDirectory: this.bed.folder(host),
      stateDirectory,
      mtu: bedMtu,
      namespace: this.bed.namespace(host),
    });
  }
  #makeDriver(hosts: LocalHosts): OvnDriver {
    return new OvnDriver({
      installationId: this.installationId,
      northbound: this.bed.northbound,
      southbound: this.bed.southbound,
      hosts,
      ...this.#timings,
    });
  }

  /** OVN's own tracer; started when first asked for. */
  ovnTrace(): Promise<OvnTrace> {
    this.#trace ??= OvnTrace.start(this.bed);
    return this.#trace;
  }
  get driver(): OvnDriver {
    return this.#driver;
  }
  get hosts(): LocalHosts {
    return this.#hosts;
  }
  /** The agent of a host: 1, 2, 3. */
  agent(host: number): OvsHost {
    const agent = this.#agents.get(this.bed.hostName(host));
    if (agent === undefined) throw new Error(`no host ${host}`);
    return agent;
  }
  /** Ends the driver as a restart of its process would, and opens it again; the agents live on. */
  async reopen(): Promise<OvnDriver> {
    await this.#driver.close();
    this.#hosts = new LocalHosts(this.#agents);
    this.#driver = this.#makeDriver(this.#hosts);
    return this.#driver;
  }
  /** Another server of the same installation, with the same agents. The caller closes it. */
  anotherDriver(): OvnDriver {
    return this.#makeDriver(new LocalHosts(this.#agents));
  }
  /** The same with a host's agent. The driver gets to know of it with the next `reopen`. */
  async reopenAgent(host: number): Promise<OvsHost> {
    this.agent(host).close();
    const agent = this.#makeAgent(host);
    this.#agents.set(this.bed.hostName(host), agent);
    await agent.ready();
    return agent;
  }

  /** observe → diff → apply. @returns the plan that was carried out */
  async become(wanted: NetworkSpec): Promise<Plan> {
    const plan = await planFor(this.#driver, wanted);
    await this.#driver.apply(plan);
    return plan;
  }

  /** A namespace without a network; deleted at the end. */
  namespace(label = 'w'): Workload {
    const workload = new Workload(label);
    this.#workloads.push(workload);
    return workload;
  }
  #nextHost(): number {
    return this.bed.hosts[this.#next++ % this.bed.hosts.length] ?? 1;
  }
  /** What the agent of the host does when root asks it to. @throws DriverError */
  async request(request: AttachRequest, host = this.#nextHost()): Promise<AttachmentFact> {
    const { portId } = request;
    const spec = new PlaneView((await this.#driver.observe()).network).interface(portId)?.spec;
    if (spec === undefined) throw new DriverError('unknown-interface', `no interface ${portId} in the network`);
    const there = this.#hosts.attachments().find((fact) => fact.portId === portId && fact.state === 'attached');
    if (there !== undefined) throw new DriverError('already-attached', `${portId} is attached on ${there.host}`);
    const fact = await this.agent(host).attach(request, spec);
    this.#fresh.add(portId);
    return fact;
  }
  /** Resolves once the workloads that were attached last are known everywhere. */
  async #placesKnown(): Promise<void> {
    if (this.#fresh.size === 0) return;
    const fresh = [...this.#fresh];
    this.#fresh.clear();
    await this.until(`${fresh.join(', ')} are bound`, () => fresh.every((portId) => this.#isBound(portId)));
    await this.settled();
    for (const portId of fresh) {
      const placed = this.#placed.get(portId);
      if (placed === undefined) continue;
      assert.ok(await this.agent(placed.host).carried(portId, awaitedPatience), `OVN carries ${portId}`);
      // The kernel tells IPv6 of a carrier with up to a second's delay, and until then it receives nothing.
      await this.until('IPv6 is ready', () => placed.workload.link(placed.device).carrier);
    }
  }
  #isBound(portId: PortId): boolean {
    const rows = [...this.#south.rows('Port_Binding').values()];
    return rows.some((row) => row['logical_port'] === portId && (row['chassis'] as readonly string[]).length > 0);
  }
  /**
   * A workload on the interface.
   * @param of.host by default the next one
   * @param of.soon it need not be reachable before the next probe
   */
  async attach(
    portId: PortId,
    of: Partial<Pick<AttachRequest, 'device' | 'mtu'>> & {
      readonly host?: number;
      readonly workload?: Workload;
      readonly soon?: boolean;
    } = {},
  ): Promise<Workload> {
    const { workload = this.namespace(portId.slice(5)), host = this.#nextHost(), soon = false, ...rest } = of;
    await this.request({ portId, target: { kind: 'netns', name: workload.name }, ...rest }, host);
    this.#placed.set(portId, { host, workload, device: rest.device ?? 'eth0' });
    void workload.probe; // listens from now on
    if (!soon) await this.#placesKnown();
    return workload;
  }
  async detach(portId: PortId): Promise<void> {
    const name = this.#hosts.attachments().find((fact) => fact.portId === portId)?.host;
    const agent = this.#agents.get(name ?? '');
    if (agent === undefined) throw new DriverError('not-attached', `${portId} is not attached anywhere`);
    await agent.detach(portId);
    this.forget(portId);
  }
  /** After a detach or a death. */
  forget(portId: PortId): void {
    this.#placed.delete(portId);
    this.#fresh.delete(portId);
  }
  workload(portId: PortId): Workload {
    const placed = this.#placed.get(portId);
    if (placed === undefined) throw new Error(`${portId} has no workload here`);
    return placed.workload;
  }
  /** On which host it is. */
  hostOf(portId: PortId): number {
    const placed = this.#placed.get(portId);
    if (placed === undefined) throw new Error(`${portId} has no workload here`);
    return placed.host;
  }

  /** What workloads remember of their IPv6 neighbours, as time would have it forgotten; gateways stay. */
  forgetNeighbours(): void {
    for (const { workload, device } of this.#placed.values()) {
      byHand('ip', workload.name, '-6', 'neigh', 'flush', 'dev', device);
    }
  }

  /** Resolves once every host has what the databases have now, the places of workloads too: no driver waits for those. */
  settled(): Promise<void> {
    return this.edit([]);
  }
  /** Writes to the northbound database as another hand could. Resolves once every host has it. */
  async edit(operations: readonly Operation[]): Promise<void> {
    const results = await this.#north.transact([
      ...operations,
      { op: 'mutate', table: 'NB_Global', where: [], mutations: [['nb_cfg', '+=', 1]] },
      { op: 'select', table: 'NB_Global', where: [], columns: ['nb_cfg'] },
    ]);
    const [row] = (results[operations.length + 1]?.['rows'] ?? []) as readonly { readonly nb_cfg?: number }[];
    await Promise.all([...this.#agents.values()].map((agent) => agent.fence(row?.nb_cfg ?? 0)));
  }
  /** Resolves once what was sent is in the counts: forgetting a decision books what it has carried. */
  async counted(): Promise<void> {
    for (const host of this.bed.hosts) this.bed.appctl(host, 'ovs-vswitchd', 'revalidator/purge');
  }
  /** The newest configuration: it grows with each write. */
  get configuration(): number {
    return Number([...this.#north.rows('NB_Global').values()][0]?.['nb_cfg'] ?? 0);
  }

  /** One UDP packet through the workload's own stack. @returns who received it */
  async sendProbe(from: PortId, to: Address, of: Omit<Partial<Shot>, 'from' | 'to'> = {}): Promise<Received> {
    const [received = null] = await this.sendAll([{ from, to, awaited: true, ...of }]);
    return received;
  }
  /** All of them at once. @returns for each who received it */
  async sendAll(shots: readonly Shot[]): Promise<readonly Received[]> {
    await this.#placesKnown();
    const received: Received[] = shots.map(() => null);
    const flying = new Map<string, number>();
    const wires = shots.some(({ handed = false }) => handed) ? this.#wires() : [];
    for (const [at, { from, to, handed = false, source }] of shots.entries()) {
      const payload = `${this.installationId} ${++this.#shots}`;
      flying.set(payload, at);
      if (handed) for (const wire of wires) wire.wanted.set(payload, at);
      if (source === undefined) this.workload(from).probe.send(to, probePort, Buffer.from(payload));
      else this.#forge(from, source, to, Buffer.from(payload));
      this.#receive(flying, received);
    }
    const end = performance.now() + awaitedPatience;
    const open = (): boolean => shots.some(({ awaited }, at) => awaited && received[at] === null);
    while (open() && performance.now() < end) {
      await pause(1);
      this.#receive(flying, received);
      for (const wire of wires) wire.look(received);
    }
    for (const wire of wires) wire.frames.close();
    if (received.includes(null)) {
      await pause(quiet);
      this.#receive(flying, received);
    }
    return received;
  }
  #forge(from: PortId, source: Address, destination: Address, payload: Buffer): void {
    const workload = this.workload(from);
    const { ifindex, mac } = workload.link();
    const sourceMac = parseMac(mac);
    if (!sourceMac.ok) throw new Error(sourceMac.problem);
    const frames = new PacketSocket(workload.namespace, ifindex);
    const ports = { from: probePort, to: probePort };
    try {
      frames.send(udpFrame({ sourceMac: sourceMac.value, source, destination }, ports, payload));
    } finally {
      frames.close();
    }
  }
  /** Sees the frames that arrive at each workload, whoever they are for. */
  #wires() {
    return [...this.#placed].map(([portId, { workload }]) => {
      const frames = new PacketSocket(workload.namespace, workload.link().ifindex);
      const wanted = new Map<string, number>();
      const look = (received: Received[]): void => {
        for (let frame = frames.receive(); frame !== undefined; frame = frames.receive()) {
          const { payload } = seen(frame);
          const at = wanted.get(payload.subarray(8).toString('latin1'));
          if (at !== undefined) received[at] = portId;
        }
      };
      return { frames, wanted, look };
    });
  }
  #receive(flying: Map<string, number>, received: Received[]): void {
    for (const [portId, { workload }] of this.#placed) {
      for (let got = workload.probe.receive(); got !== undefined; got = workload.probe.receive()) {
        const payload = got.payload.toString('latin1');
        const at = flying.get(payload);
        if (at === undefined) this.strays.push(`${portId} received '${payload.slice(0, 60)}'`);
        else received[at] = portId;
        flying.delete(payload);
      }
    }
  }

  /** Waits until it holds, looking every 5 ms. @throws after `patience` ms */
  async until(what: string, holds: () => boolean | Promise<boolean>, patience = 20_000): Promise<void> {
    for (const end = performance.now() + patience; ; await pause(5)) {
      if (await holds()) return;
      if (performance.now() > end) throw new Error(`waited ${patience} ms in vain until ${what}`);
    }
  }

  /** Takes the network, the workloads and what was counted away; the bed stays. */
  async clear(): Promise<void> {
    this.#receive(new Map(), []); // what came late is a stray
    await Promise.all([...this.#agents.values()].map((agent) => agent.purge()));
    this.#placed.clear();
    this.#fresh.clear();
    for (const workload of this.#workloads.splice(0)) workload.close();
    await this.#driver.purge();
    await this.reopen();
    this.#next = 0;
  }

  async #end(): Promise<void> {
    const names = this.#workloads.map(({ name }) => name);
    const hosts = this.bed.hosts.map((host) => this.bed.namespace(host));
    this.#receive(new Map(), []);
    try {
      (await this.#trace)?.stop();
      for (const workload of this.#workloads) workload.close();
      await this.#driver.close();
      for (const agent of this.#agents.values()) agent.close();
      this.#north.close();
      this.#south.close();
    } finally {
      await this.bed.stop();
      rmSync(this.#folder, { recursive: true, force: true });
    }
    const left = readdirSync('/run/netns').filter((name) => names.includes(name) || hosts.includes(name));
    assert.deepEqual(left, [], 'namespaces left behind');
    assert.deepEqual(this.strays, [], 'somebody received what was not meant for him');
  }
}
