/**
 * The data plane of many hosts: OVN. The northbound database holds the network and is all the memory there is; a change
 * is one transaction, from which OVN computes what each host does. Its acknowledgement is no fence, so the hosts' agents
 * prove each change in their datapath (`fences.ts`).
 */
import { randomUUID } from 'node:crypto';
import { explain, type Packet, type Verdict } from '../../explain/explain.ts';
import { PlaneView } from '../../explain/plane-view.ts';
import type { HalfId, PortId, VpcId } from '../../model/ids.ts';
import { contains } from '../../model/ip.ts';
import type { NetworkSpec, VpcSpec } from '../../model/network-spec.ts';
import { afterStep } from '../after-step.ts';
import {
  type AttachmentFact,
  type Counters,
  type Driver,
  DriverError,
  type MeterReading,
  type Observed,
  type Owed,
  type Plan,
  type ProbeRow,
  type Step,
} from '../driver.ts';
import { contentsOf, operationsFor } from './contents.ts';
import { Counts } from './counts.ts';
import { Fences } from './fences.ts';
import { HostCounts } from './host-counts.ts';
import type { Hosts, MeterRequest } from './hosts.ts';
import { type Operation, Ovsdb, OvsdbError, type OvsdbPki } from './ovsdb.ts';
import type { Row } from './ovsdb-wire.ts';
import { probeOvn } from './probe.ts';
import { mostNumber, peerPortOf, rowsOf, type TableName, type WantedRow } from './rows.ts';
import { UnsuitableSpecError } from './segments.ts';
import { together, Whereabouts } from './whereabouts.ts';
import { interfacesOf, Workloads } from './workloads.ts';

export interface OvnOptions {
  readonly installationId: string;
  /** `unix:PATH`, `tcp:HOST:PORT` or `ssl:HOST:PORT` of each member. */
  readonly northbound: readonly string[];
  readonly southbound: readonly string[];
  /** For `ssl:`. */
  readonly pki?: OvsdbPki;
  readonly hosts: Hosts;
  /** Milliseconds that a change waits for the hosts; default 5000. */
  readonly fencePatience?: number;
  /** Milliseconds after which a workload on an interface that nobody knows is taken off; default 60 000. */
  readonly strayPatience?: number;
}

const northboundTables = {
  NB_Global: ['nb_cfg', 'sb_cfg', 'external_ids'],
  Logical_Router: ['name', 'ports', 'static_routes', 'policies', 'options', 'external_ids'],
  Logical_Router_Port: ['name', 'mac', 'networks', 'peer', 'options', 'external_ids'],
  Logical_Router_Static_Route: ['route_table', 'ip_prefix', 'nexthop', 'output_port', 'policy', 'external_ids'],
  Logical_Router_Policy: ['priority', 'match', 'action', 'external_ids'],
  Logical_Switch: ['name', 'ports', 'other_config', 'external_ids'],
  Logical_Switch_Port: ['name', 'type', 'addresses', 'port_security', 'options', 'external_ids'],
  Port_Group: ['name', 'ports', 'acls', 'external_ids'],
  ACL: ['direction', 'priority', 'match', 'action', 'external_ids'],
  Address_Set: ['name', 'addresses', 'external_ids'],
} as const satisfies { readonly [T in TableName | 'NB_Global']: readonly string[] };
const southboundTables = {
  Chassis: ['name', 'hostname'],
  Chassis_Private: ['name', 'nb_cfg', 'nb_cfg_timestamp'],
  Port_Binding: ['logical_port', 'chassis'],
};

/** How long a call waits for the databases, in milliseconds. */
const databasePatience = 3_000;
const empty = (vpcId: VpcId): VpcSpec => ({ vpcId, interfaces: [], routeTables: [], halves: [] });

/** What is true of the network as a whole, kept between two changes. */
interface Held {
  /** Of the database, as this was read or written. */
  readonly generation: number;
  readonly specs: Map<VpcId, VpcSpec>;
  readonly numbers: Map<VpcId, number>;
}

export class OvnDriver implements Driver {
  readonly name = 'ovn';
  readonly #installationId: string;
  readonly #hosts: Hosts;
  readonly #north: Ovsdb;
  readonly #south: Ovsdb;
  readonly #fences: Fences;
  readonly #whereabouts: Whereabouts;
  readonly #workloads: Workloads;
  readonly #hostCounts: HostCounts;
  readonly #counts: Counts;
  #held: Held | null = null;
  #queue: Promise<unknown> = Promise.resolve();
  /** The newest state of the network of which this driver knows what hosts have proven. */
  #generation: number | null = null;

  constructor(options: OvnOptions) {
    this.#installationId = options.installationId;
    this.#hosts = options.hosts;
    const pki = options.pki === undefined ? {} : { pki: options.pki };
    const { northbound, southbound } = options;
    this.#north = new Ovsdb({ remotes: northbound, database: 'OVN_Northbound', tables: northboundTables, ...pki });
    this.#south = new Ovsdb({ remotes: southbound, database: 'OVN_Southbound', tables: southboundTables, ...pki });
    this.#whereabouts = new Whereabouts(options.hosts, this.#south);
    this.#fences = new Fences(options.hosts, options.fencePatience);
    this.#workloads = new Workloads(options.hosts, options.strayPatience);
    this.#hostCounts = new HostCounts(options.hosts);
    this.#counts = new Counts({ hosts: this.#hostCounts, request: () => this.#meterRequest() });
    options.hosts.onConnected((host) => {
      void this.#serially(async () => {
        if (this.#north.connected) this.#workloads.returned(host, interfacesOf(this.#hold().specs.values()));
      }).catch(() => {});
    });
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work, work);
    this.#queue = run.catch(() => {});
    return run;
  }

  get #generationKey(): string {
    return `isthmus:generation:${this.#installationId}`;
  }
  get #epochKey(): string {
    return `isthmus:epoch:${this.#installationId}`;
  }
  #global(): Row | undefined {
    return [...this.#north.rows('NB_Global').values()][0];
  }
  #globalValue(key: string): string | undefined {
    return (this.#global()?.['external_ids'] as { readonly [key: string]: string } | undefined)?.[key];
  }

  /** Both databases answer, and ours has a generation and an epoch in the one. Enough for who only reads. */
  async #open(): Promise<void> {
    try {
      await Promise.all([this.#north.whenConnected(databasePatience), this.#south.whenConnected(databasePatience)]);
      if (this.#globalValue(this.#generationKey) === undefined || this.#globalValue(this.#epochKey) === undefined) {
        if (this.#global() === undefined) await this.#north.transact([{ op: 'insert', table: 'NB_Global', row: {} }]);
        const fresh = { [this.#generationKey]: '0', [this.#epochKey]: randomUUID() };
        // What is there already stays: another server may be first.
        const mutations = [['external_ids', 'insert', ['map', Object.entries(fresh)]]];
        await this.#north.transact([{ op: 'mutate', table: 'NB_Global', where: [], mutations }]);
      }
    } catch (error) {
      throw asDriverError(error);
    }
  }
  /** The same, and nothing of what was written before is unproven without being owed. In the queue only. */
  async #ready(): Promise<void> {
    await this.#open();
    await this.#inherit();
  }

  /**
   * What another process wrote, an earlier one or the server that led before, hosts may not have proven, and nobody else
   * remembers that. So all of them prove it anew; those that are there do so before anything is said of what is owed.
   */
  async #inherit(): Promise<void> {
    const generation = this.#currentGeneration();
    if (generation === this.#generation) return;
    this.#generation = generation;
    const { network } = this.#contents();
    const number = this.#config();
    const specs = new Map(network.vpcs.map((spec) => [spec.vpcId, spec]));
    const concerned = this.#whereabouts.of(specs, specs.keys());
    for (const [vpcId, hosts] of concerned) this.#fences.owe([vpcId], number, hosts);
    await this.#fences.wait(concerned, number, new Set(concerned.keys()));
  }
  #currentGeneration(): number {
    return Number(this.#globalValue(this.#generationKey) ?? 0);
  }
  /** The newest configuration, as the copy has it. */
  #config(): number {
    return Number(this.#global()?.['nb_cfg'] ?? 0);
  }

  #contents(): ReturnType<typeof contentsOf> {
    return contentsOf(this.#installationId, this.#north);
  }
  #hold(): Held {
    const generation = this.#currentGeneration();
    // Another writer of this installation: what was kept is not what is there.
    if (this.#held === null || this.#held.generation !== generation) {
      const { network, numbers } = this.#contents();
      const specs = new Map(network.vpcs.map((spec) => [spec.vpcId, spec]));
      this.#held = { generation, specs, numbers: new Map(numbers) };
    }
    return this.#held;
  }

  observe(): Promise<Observed> {
    return this.#serially(async () => {
      await this.#ready();
      this.#held = null;
      const { network, damage, foreign } = this.#contents();
      this.#workloads.look(interfacesOf(network.vpcs));
      return {
        network,
        attachments: this.#attachments(network),
        foreign,
        damage: damage.map(({ what }) => what),
      };
    });
  }

  #attachments(network: NetworkSpec): readonly AttachmentFact[] {
    const known = new Set(network.vpcs.flatMap(({ interfaces }) => interfaces.map(({ id }) => id)));
    return this.#hosts
      .attachments()
      .filter(({ portId }) => known.has(portId))
      .map(({ host: _, ...fact }) => fact)
      .sort((a, b) => (a.portId < b.portId ? -1 : 1));
  }

  async apply(plan: Plan): Promise<void> {
    const { told } = await this.#serially(async () => {
      await this.#ready();
      try {
        return await this.#carryOut([...plan.make, ...plan.break]);
      } catch (error) {
        this.#held = null;
        throw asDriverError(error);
      }
    });
    // The next change need not wait for that.
    await told;
  }

  /** @returns told resolves once the workloads were told; not waited for here */
  async #carryOut(steps: readonly Step[]): Promise<{ readonly told: Promise<void> }> {
    const held = this.#hold();
    const after = new Map<VpcId, VpcSpec | null>();
    const cut = new Set<VpcId>();
    for (const step of steps) {
      const before = after.has(step.vpcId) ? (after.get(step.vpcId) ?? null) : (held.specs.get(step.vpcId) ?? null);
      for (const vpcId of losersBy(step, before)) cut.add(vpcId);
      after.set(step.vpcId, afterStep(before ?? empty(step.vpcId), step));
    }
    if (after.size === 0) return { told: Promise.resolve() };
    const touched = this.#touched(held, after);
    const next = { specs: new Map(held.specs), numbers: new Map(held.numbers) };
    for (const [vpcId, spec] of after) {
      if (spec === null) {
        next.specs.delete(vpcId);
        next.numbers.delete(vpcId);
      } else next.specs.set(vpcId, spec);
    }
    for (const vpcId of after.keys()) {
      if (!next.specs.has(vpcId) || next.numbers.has(vpcId)) continue;
      next.numbers.set(vpcId, freeNumber(held, next));
    }
    const wanted = [...touched].flatMap((vpcId) => this.#rowsOf(next, vpcId));
    const kept = new Set(wanted.map(({ uuid }) => uuid));
    const unwanted = [...touched].flatMap((vpcId) => this.#rowsOf(held, vpcId)).filter(({ uuid }) => !kept.has(uuid));
    // What is in flight to be counted is read before the rules that count it go.
    const ending = steps.filter(({ step }) => step === 'kill-half' || step === 'remove-half');
    const counting = this.#whereabouts.of(held.specs, new Set(ending.map(({ vpcId }) => vpcId)));
    await this.#counts.beforeCut(new Set([...counting.values()].flatMap((hosts) => [...hosts])));
    const operations = operationsFor(this.#north, wanted, unwanted);
    // Of what goes, nothing will be known afterwards.
    const before = this.#whereabouts.of(held.specs, after.keys());
    const number = operations.length === 0 ? this.#config() : await this.#commit(held.generation, operations);
    this.#held = { ...next, generation: held.generation + (operations.length === 0 ? 0 : 1) };
    const now = this.#whereabouts.of(next.specs, after.keys());
    await this.#fences.wait(together(before, now), number, cut);
    const touchedOf = (specs: Held['specs']) => interfacesOf([...touched].flatMap((vpcId) => specs.get(vpcId) ?? []));
    return { told: this.#workloads.changed(touchedOf(held.specs), touchedOf(next.specs)) };
  }

  /** The VPCs of the plan, and those whose rows depend on them. */
  #touched(held: Held, after: ReadonlyMap<VpcId, VpcSpec | null>): ReadonlySet<VpcId> {
    const touched = new Set(after.keys());
    for (const [vpcId, spec] of after) {
      for (const { remoteVpcId } of [...(spec?.halves ?? []), ...(held.specs.get(vpcId)?.halves ?? [])]) {
        const remote = after.get(remoteVpcId) ?? held.specs.get(remoteVpcId);
        if (remote?.halves.some((half) => half.remoteVpcId === vpcId) === true) touched.add(remoteVpcId);
      }
    }
    return touched;
  }

  #rowsOf({ specs, numbers }: Pick<Held, 'specs' | 'numbers'>, vpcId: VpcId): readonly WantedRow[] {
    const spec = specs.get(vpcId);
    if (spec === undefined) return [];
    const numberOf = (id: VpcId): number => numbers.get(id) ?? 0;
    return rowsOf({ installationId: this.#installationId, spec, numberOf, remote: (id) => specs.get(id) });
  }

  /** All of it, if nobody of this installation has written since that generation. @returns its configuration's number */
  async #commit(generation: number, operations: readonly Operation[]): Promise<number> {
    const mine = ['map', [[this.#generationKey, String(generation)]]];
    const next = ['map', [[this.#generationKey, String(generation + 1)]]];
    // A database that came back from a backup counts on from there, but hosts remember what they have proven since: so
    // the numbers follow the clock, and none is ever given twice.
    const step = Math.max(1, Date.now() - this.#config());
    const table = 'NB_Global';
    const where = [['external_ids', 'includes', mine]];
    const results = await this.#north.transact([
      { op: 'wait', table, timeout: 0, where, columns: ['nb_cfg'], until: '!=', rows: [] },
      ...operations,
      {
        op: 'mutate',
        table,
        where: [],
        mutations: [
          ['nb_cfg', '+=', step],
          ['external_ids', 'delete', mine],
          ['external_ids', 'insert', next],
        ],
      },
      { op: 'select', table, where: [], columns: ['nb_cfg'] },
      { op: 'comment', comment: `isthmus ${this.#installationId}` },
    ]);
    const [selected] = (results[operations.length + 2]?.['rows'] ?? []) as readonly { readonly nb_cfg?: number }[];
    if (selected?.nb_cfg === undefined) throw new DriverError('unavailable', 'OVN did not tell the configuration');
    // Otherwise somebody else wrote just before: that is still to be inherited.
    if (generation === this.#generation) this.#generation = generation + 1;
    return selected.nb_cfg;
  }

  repair(): Promise<readonly string[]> {
    return this.#serially(async () => {
      await this.#ready();
      const generation = this.#currentGeneration();
      const { damage, network } = this.#contents();
      const wanted = damage.flatMap((one) => one.wanted ?? []);
      const unwanted = damage.filter((one) => one.kind === 'unwanted');
      this.#held = null;
      const operations = operationsFor(this.#north, wanted, unwanted);
      if (operations.length === 0) return [];
      try {
        const number = await this.#commit(generation, operations);
        const specs = new Map(network.vpcs.map((spec) => [spec.vpcId, spec]));
        await this.#fences.wait(this.#whereabouts.of(specs, specs.keys()), number, new Set(specs.keys()));
      } catch (error) {
        throw asDriverError(error);
      }
      return [`${operations.filter(({ op }) => op !== 'wait').length} operations mended the northbound database`];
    });
  }

  /** What hosts owe, by VPC: for who must say that a change is not carried out everywhere. */
  owed(): readonly Owed[] {
    return this.#fences.owed();
  }
  inherit(owed: readonly Owed[]): Promise<void> {
    return this.#serially(async () => {
      await this.#ready();
      // Whatever configuration it was that they owe, this one comes after it.
      const number = this.#config();
      const concerned = new Map(
        owed.map(({ vpcId, notFencedOn, notInstalledOn }) => [vpcId, new Set([...notFencedOn, ...notInstalledOn])]),
      );
      for (const [vpcId, hosts] of concerned) this.#fences.owe([vpcId], number, hosts);
      await this.#fences.wait(concerned, number, new Set(concerned.keys()));
    });
  }
  onOwedChange(listener: () => void): void {
    this.#fences.onOwedChange(listener);
  }
  /** Of a host that was removed for good: nothing is owed by it any more. */
  forgetHost(host: string): void {
    this.#fences.forget(host);
  }

  #meterRequest(): Omit<MeterRequest, 'booked'> {
    const bindings = this.#whereabouts.bindings();
    this.#hostCounts.look(this.#hold().specs, bindings);
    const halves = [...this.#hold().specs.values()].flatMap(({ vpcId, halves: own }) =>
      own.map(({ id }): readonly [HalfId, string] => [id, bindings.get(peerPortOf(vpcId, id))?.cookie ?? '']),
    );
    return { epoch: this.#globalValue(this.#epochKey) ?? '', halves };
  }

  async meter(booked: readonly string[]): Promise<MeterReading> {
    await this.#open();
    return this.#counts.read(booked);
  }

  async counters(): Promise<Counters> {
    await this.#open();
    return {
      halves: await this.#counts.sums(),
      epoch: this.#globalValue(this.#epochKey) ?? '',
      exits: new Map(),
      unowned: new Map(),
      fences: { count: this.#fences.count, seconds: this.#fences.seconds },
    };
  }

  async trace(packet: Packet): Promise<Verdict> {
    await this.#open();
    const { network } = this.#contents();
    const mtus = new Map(this.#hosts.attachments().map(({ portId, mtu }) => [portId, mtu]));
    const verdict = explain(new PlaneView(asCarried(network)), (portId) => mtus.get(portId) ?? null, packet);
    if (verdict.kind !== 'delivered') return verdict;
    // Each router takes one: the sender's VPC's, and the peer's.
    const routers = verdict.over === null ? 1 : 2;
    if (packet.ttl > routers) return { ...verdict, ttl: packet.ttl - routers };
    return { kind: 'dropped', reason: 'TtlExpired', object: packet.from, path: verdict.path };
  }

  async attach(): Promise<never> {
    throw new DriverError('not-supported', 'attach on the host that has the workload: isthmus attach asks its agent');
  }
  async detach(_portId: PortId): Promise<never> {
    throw new DriverError('not-supported', 'detach on the host that has the workload: isthmus detach asks its agent');
  }
  onAttachmentChange(listener: (fact: AttachmentFact) => void): void {
    this.#hosts.onAttachment(listener);
  }
  onDetached(listener: (portId: PortId) => void): void {
    this.#hosts.onDetached(listener);
  }

  probe(): Promise<readonly ProbeRow[]> {
    return probeOvn({ north: this.#north, south: this.#south, hosts: this.#hosts });
  }

  async close(): Promise<void> {
    await this.#queue;
    this.#fences.close();
    this.#north.close();
    this.#south.close();
    await this.#hosts.close();
  }

  purge(): Promise<void> {
    return this.#serially(async () => {
      await this.#ready();
      await this.#workloads.releaseAll();
      const operations: Operation[] = [];
      for (const table of Object.keys(northboundTables) as (TableName | 'NB_Global')[]) {
        if (!['Logical_Router', 'Logical_Switch', 'Port_Group', 'Address_Set'].includes(table)) continue;
        const ours = ['external_ids', 'includes', ['map', [['isthmus:owner', this.#installationId]]]];
        operations.push({ op: 'delete', table, where: [ours] });
      }
      const keys = ['set', [this.#generationKey, this.#epochKey]];
      const mutations = [
        ['nb_cfg', '+=', 1],
        ['external_ids', 'delete', keys],
      ];
      operations.push({ op: 'mutate', table: 'NB_Global', where: [], mutations });
      try {
        await this.#north.transact(operations);
      } catch (error) {
        throw asDriverError(error);
      }
      this.#held = null;
    });
  }
}

/** The VPCs that may lose by a step what was possible before it: of a half both sides. */
function losersBy(step: Step, before: VpcSpec | null): readonly VpcId[] {
  if (!takesAway(step, before)) return [];
  const of = (half: VpcSpec['halves'][number]): boolean => {
    switch (step.step) {
      case 'put-half':
        return half.id === step.half.id;
      case 'kill-half':
      case 'remove-half':
        return half.id === step.halfId;
      default:
        return step.step === 'remove-vpc';
    }
  };
  return [step.vpcId, ...(before?.halves ?? []).filter(of).map(({ remoteVpcId }) => remoteVpcId)];
}

/** Whether a step may end what was possible before it. */
function takesAway(step: Step, before: VpcSpec | null): boolean {
  switch (step.step) {
    case 'put-vpc':
    case 'put-route-table':
      return false;
    case 'put-half':
      return !step.half.live;
    case 'put-interface':
      return step.before !== null;
    case 'put-route': {
      // A longer prefix takes packets away from a shorter one.
      const table = before?.routeTables.find(({ id }) => id === step.routeTableId);
      return (table?.routes ?? []).some(
        ({ destination, target }) => target.kind !== 'black-hole' && contains(destination, step.route.destination),
      );
    }
    default:
      return true;
  }
}

/** One after the greatest, so that what a host has not forgotten yet does not meet another VPC; then the smallest free. */
function freeNumber(...helds: readonly Pick<Held, 'numbers'>[]): number {
  const taken = new Set(helds.flatMap(({ numbers }) => [...numbers.values()]));
  const greatest = Math.max(0, ...taken);
  if (greatest < mostNumber) return greatest + 1;
  for (let number = 1; number <= mostNumber; number++) if (!taken.has(number)) return number;
  throw new DriverError('does-not-fit', `the plan needs more VPCs than ${mostNumber}`);
}

/** With OVN a peering is a pair of ports: where one half is dead, so is the other. */
const asCarried = ({ vpcs }: NetworkSpec): NetworkSpec => {
  const specs = new Map(vpcs.map((spec) => [spec.vpcId, spec]));
  return {
    vpcs: vpcs.map((spec) => ({
      ...spec,
      halves: spec.halves.map((half) => {
        const mirror = specs
          .get(half.remoteVpcId)
          ?.halves.some(({ remoteVpcId, live }) => live && remoteVpcId === spec.vpcId);
        return { ...half, live: half.live && mirror === true };
      }),
    })),
  };
};

function asDriverError(error: unknown): DriverError {
  if (error instanceof DriverError) return error;
  if (error instanceof UnsuitableSpecError) return new DriverError('does-not-fit', error.message, { cause: error });
  if (error instanceof OvsdbError) {
    if (error.code === 'overtaken') {
      const message = 'somebody else has written to the northbound database at the same time: it is read anew';
      return new DriverError('unavailable', message, { cause: error });
    }
    const code = error.code === 'unavailable' ? 'unavailable' : 'kernel';
    return new DriverError(code, error.message, { cause: error });
  }
  return new DriverError('kernel', error instanceof Error ? error.message : String(error), { cause: error });
}
