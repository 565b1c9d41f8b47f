/**
 * What the region says of itself in Prometheus' words. Every label has a bounded set of values: operations, statuses,
 * kinds and exits are closed lists, and halves are at most as many as asked for. Changes nothing that it measures.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type LabelValues, Registry } from '@prometheus-io/client';
import { exitNames, exits } from '../../model/drop-reason.ts';
import { isRefusal } from '../../model/errors.ts';
import type { ResourceKind } from '../../model/resources.ts';
import type { Outcome, RegionService } from '../../region/service.ts';
import type { Soon, StoreSize, Traffic } from '../../store/store.ts';
import { ExitSums } from './exit-sums.ts';
import { type Direction, HalfSeries } from './half-series.ts';

export interface MetricsOptions {
  readonly region: RegionService;
  /** Entries of the journal, and bytes of the store. */
  readonly storeSize: () => Soon<StoreSize>;
  /** Halves that have series of their own, default 1000. */
  readonly mostHalves?: number;
}

const kinds = [
  'account',
  'key',
  'vpc',
  'subnet',
  'route-table',
  'peering',
  'interface',
] as const satisfies readonly ResourceKind[];
const states = ['Initiated', 'Connected', 'Disconnected'] as const;
/** Seconds. A command costs about a fence (10 ms); ten seconds is when its reply says "pending". */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
/** The journal is counted by looking at each entry: at most once in so many milliseconds. */
const sizeAge = 60_000;

/** Hosts that are behind and have series of their own. */
const mostHosts = 64;

const outcomeOf = (outcome: Outcome): string => (isRefusal(outcome) ? 'refused' : outcome.applied ? 'done' : 'pending');

export class Metrics {
  readonly #registry = new Registry();
  readonly #options: MetricsOptions;
  readonly #halves: HalfSeries;
  readonly #exitSums = new ExitSums();
  readonly #commands: Counter<'operation' | 'outcome'>;
  readonly #durations: Histogram<'operation'>;
  readonly #requests: Counter<'door' | 'status'>;
  readonly #drift: Counter;
  readonly #shown: ReturnType<typeof shown>;
  #size: { readonly at: number; readonly entries: number; readonly bytes: number } | null = null;

  constructor(options: MetricsOptions) {
    this.#options = options;
    const { region } = options;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#commands = new Counter({
      name: 'isthmus_commands_total',
      help: 'Commands by what they asked for and how they ended: done, pending (committed, not yet applied), refused, failed.',
      labelNames: ['operation', 'outcome'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'isthmus_command_duration_seconds',
      help: 'From the arrival of a command in the region to its reply, fence included.',
      labelNames: ['operation'],
      buckets,
      registers,
    });
    this.#requests = new Counter({
      name: 'isthmus_requests_total',
      help: 'HTTP requests by door (tenant or operator) and class of status.',
      labelNames: ['door', 'status'],
      registers,
    });
    this.#drift = new Counter({
      name: 'isthmus_drift_healed_total',
      help: 'Changes by other hands that were found in the data plane and healed.',
      registers,
    });
    this.#shown = shown(this.#registry);
    const status = region.status();
    this.#shown.build.set({ version: status.version, driver: status.driver, region: status.region }, 1);
    this.#halves = new HalfSeries(options.mostHalves ?? 1000, {
      half: (halfId) => region.meter.half(halfId),
      totals: (limit) => region.meter.totals(limit),
      exists: (halfId) => region.state.get('peering', halfId) !== undefined,
    });
    region.meter.onBooked((bookings) => {
      for (const { halfId, sent } of bookings) {
        this.#halves.add(halfId, 'sent', sent);
        const half = region.state.get('peering', halfId);
        const mirror = half === undefined ? undefined : region.state.half(half.remoteVpcId, half.localVpcId);
        if (mirror !== undefined) this.#halves.add(mirror.id, 'received', sent);
      }
    });
  }

  /** The region, with its commands measured. */
  measured(region: RegionService): RegionService {
    const submit: RegionService['submit'] = async (command, context) => {
      const start = performance.now();
      let outcome = 'failed';
      try {
        const answer = await region.submit(command, context);
        outcome = outcomeOf(answer);
        return answer;
      } finally {
        this.#commands.inc({ operation: command.kind, outcome });
        this.#durations.observe({ operation: command.kind }, (performance.now() - start) / 1000);
      }
    };
    // Everything but this is the region's own.
    return new Proxy(region, {
      get(target, name): unknown {
        if (name === 'submit') return submit;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  /** A request was answered. */
  answered(door: 'tenant' | 'operator', status: number): void {
    this.#requests.inc({ door, status: `${Math.floor(status / 100)}xx` });
  }
  driftHealed(): void {
    this.#drift.inc();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
  /** All of it, as of now, in Prometheus' text form. */
  async text(): Promise<string> {
    await this.#look();
    return this.#registry.metrics();
  }

  async #look(): Promise<void> {
    const { region } = this.#options;
    const { state } = region;
    const of = this.#shown;
    const { revision, appliedRevision, planeProblem } = region.status();
    of.revision.set(revision);
    of.applied.set(appliedRevision);
    of.problem.set(planeProblem === null ? 0 : 1);
    this.#lookAtHosts();
    for (const kind of kinds) of.resources.set({ kind }, [...state.all(kind)].length);
    const peerings = new Map<string, number>(states.map((name) => [name, 0]));
    for (const half of state.all('peering')) peerings.set(half.state, (peerings.get(half.state) ?? 0) + 1);
    for (const [name, n] of peerings) of.peerings.set({ state: name }, n);
    const ports = [...state.all('interface')];
    of.attached.set(ports.filter(({ id }) => region.attachment(id)?.state === 'attached').length);
    await this.#lookAtStore();
    await region.meter.book().catch(() => {}); // a plane out of reach is said above
    const { bookedUntil } = region.meter;
    if (bookedUntil !== null) of.metered.set(bookedUntil / 1000);
    await this.#lookAtHalves();
    const counters = await region.counters().catch(() => null);
    if (counters === null) return;
    for (const [exit, { packets, bytes }] of this.#exitSums.look(counters)) {
      const labels = { exit, drop: String(exits[exit].drop) };
      raise(of.exitPackets, labels, packets);
      raise(of.exitBytes, labels, bytes);
    }
    of.fences.reset();
    of.fences.inc(counters.fences.count);
    of.fenceSeconds.reset();
    of.fenceSeconds.inc(counters.fences.seconds);
  }

  /** Hosts beyond the most are summed up: a region's hosts are many, and those that are behind at once are few. */
  #lookAtHosts(): void {
    const of = this.#shown;
    const { owed, owedVpcs } = this.#options.region.status();
    of.owedVpcs.set(owedVpcs);
    of.hostOwed.reset();
    owed.forEach(({ host, notFenced, notInstalled }, at) => {
      const shown = at < mostHosts ? host : 'other';
      of.hostOwed.inc({ host: shown, owes: 'fence' }, notFenced);
      of.hostOwed.inc({ host: shown, owes: 'install' }, notInstalled);
    });
  }

  async #lookAtStore(): Promise<void> {
    const now = performance.now();
    if (this.#size === null || now - this.#size.at > sizeAge) {
      const size = await Promise.resolve(this.#options.storeSize()).catch(() => null); // out of reach: as before
      if (size !== null) this.#size = { at: now, ...size };
    }
    if (this.#size === null) return;
    this.#shown.entries.set(this.#size.entries);
    this.#shown.storeBytes.set(this.#size.bytes);
  }

  async #lookAtHalves(): Promise<void> {
    const of = this.#shown;
    await this.#halves.review(performance.now());
    const named = await this.#halves.named();
    for (const metric of [of.halfPackets, of.halfBytes, of.halfInfo]) metric.reset(); // whoever has no series any more
    const show = (half: string, direction: Direction, { packets, bytes }: Traffic): void => {
      of.halfPackets.inc({ half, direction }, Number(packets));
      of.halfBytes.inc({ half, direction }, Number(bytes));
    };
    for (const { halfId, sent, received } of named) {
      show(halfId, 'sent', sent);
      show(halfId, 'received', received);
      const half = this.#options.region.state.get('peering', halfId);
      if (half === undefined) continue;
      const { name, accountId: account, localVpcId: local_vpc, remoteVpcId: remote_vpc, state } = half;
      of.halfInfo.set({ half: halfId, name, account, local_vpc, remote_vpc, state }, 1);
    }
    const { sent, received } = this.#halves.other;
    show('other', 'sent', sent);
    show('other', 'received', received);
  }
}

/** Sets a counter that something else counts. */
function raise<L extends string>(counter: Counter<L>, labels: LabelValues<L>, value: number): void {
  counter.remove(labels);
  counter.inc(labels, value);
}

/** What is read when somebody asks. */
function shown(registry: Registry) {
  const registers = [registry];
  const gauge = <L extends string = never>(name: string, help: string, ...labelNames: readonly L[]): Gauge<L> =>
    new Gauge({ name, help, labelNames: [...labelNames], registers });
  const counter = <L extends string = never>(name: string, help: string, ...labelNames: readonly L[]): Counter<L> =>
    new Counter({ name, help, labelNames: [...labelNames], registers });
  const found = {
    build: gauge('isthmus_build_info', 'Always 1.', 'version', 'driver', 'region'),
    revision: gauge('isthmus_revision', 'Revision of the region.'),
    applied: gauge('isthmus_applied_revision', 'The newest revision that the data plane has confirmed.'),
    problem: gauge('isthmus_plane_problem', '1 while the data plane does not follow.'),
    owedVpcs: gauge('isthmus_owed_vpcs', 'VPCs of which a host has not proven the newest changes.'),
    hostOwed: gauge(
      'isthmus_host_owed_vpcs',
      'The same by host, only of hosts that are behind: owing a fence, or what was added; "other" beyond 64 hosts.',
      'host',
      'owes',
    ),
    resources: gauge('isthmus_resources', 'Resources by kind.', 'kind'),
    peerings: gauge('isthmus_peering_halves', 'Peering halves by state.', 'state'),
    attached: gauge('isthmus_attached_interfaces', 'Interfaces with a workload on them.'),
    entries: gauge('isthmus_journal_entries', 'Entries of the journal, at most a minute old.'),
    storeBytes: gauge('isthmus_store_bytes', 'Size of the store, at most a minute old.'),
    metered: gauge('isthmus_metered_timestamp_seconds', 'What was counted until then is booked as usage.'),
    exitPackets: counter(
      'isthmus_exit_packets_total',
      'Packets by how they left the data plane; see docs/drops.md.',
      'exit',
      'drop',
    ),
    exitBytes: counter('isthmus_exit_bytes_total', 'Bytes by how they left the data plane.', 'exit', 'drop'),
    halfPackets: counter(
      'isthmus_half_packets_total',
      'Packets over peering halves, as on the wire; "other" is the sum of those without a series.',
      'half',
      'direction',
    ),
    halfBytes: counter('isthmus_half_bytes_total', 'Bytes over peering halves, as on the wire.', 'half', 'direction'),
    halfInfo: gauge(
      'isthmus_half_info',
      'Whose a half with a series is. Always 1.',
      'half',
      'name',
      'account',
      'local_vpc',
      'remote_vpc',
      'state',
    ),
    fences: counter('isthmus_fences_total', 'Fences of the data plane since the agent was started.'),
    fenceSeconds: counter('isthmus_fence_seconds_total', 'How long was waited for them.'),
  };
  for (const exit of exitNames) {
    found.exitPackets.inc({ exit, drop: String(exits[exit].drop) }, 0);
    found.exitBytes.inc({ exit, drop: String(exits[exit].drop) }, 0);
  }
  return found;
}
