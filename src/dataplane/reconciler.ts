/**
 * Keeps a driver's plane equal to what is wanted: observe → diff → apply, one at a time. It assumes nothing after a
 * failure, but observes again; damage by other hands is healed and reported as drift. Before the first full sync it
 * touches nothing: a restarted agent finds a running network and leaves it so.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Packet, Verdict } from '../explain/explain.ts';
import type { VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import { describe, diff, isEmpty } from './diff.ts';
import {
  type AttachmentFact,
  type AttachRequest,
  type Counters,
  type Driver,
  DriverError,
  type MeterReading,
  type Observed,
  type Owed,
  type Plan,
  type Step,
} from './driver.ts';
import type { OwedListener, Plane, SyncResult, SyncUpdate } from './plane.ts';

export interface ReconcilerOptions {
  /** Milliseconds between drift checks; 0 switches them off. Default 10 000. */
  readonly driftInterval?: number;
}

export class Reconciler implements Plane {
  readonly #driver: Driver;
  readonly #wanted = new Map<VpcId, VpcSpec>();
  /** What the plane holds as of the last successful apply; null when it must be observed. */
  #known: Map<VpcId, VpcSpec> | null = null;
  #synced = false;
  #revision = 0;
  #failed = new Map<VpcId, string>();
  /** How often the plane was given up, and how often it had been when what is under way was asked for. */
  #rests = 0;
  #begun = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #attachmentListeners: ((portId: string, fact: AttachmentFact | null) => void)[] = [];
  readonly #driftListeners: ((what: string) => void)[] = [];
  readonly #owedListeners: OwedListener[] = [];
  /** What was said last of what hosts owe, and whether somebody is about to look again. */
  #owed: readonly Owed[] = [];
  #looking = false;

  constructor(driver: Driver, options: ReconcilerOptions = {}) {
    this.#driver = driver;
    driver.onAttachmentChange((fact) => this.#tell(fact.portId, fact));
    driver.onOwedChange?.(() => this.#lookAtOwed());
    driver.onDetached?.((portId) => this.#tell(portId, null));
    const interval = options.driftInterval ?? 10_000;
    if (interval > 0) {
      this.#timer = setInterval(() => void this.checkDrift().catch(() => {}), interval);
      this.#timer.unref();
    }
  }

  get driver(): Driver['name'] {
    return this.#driver.name;
  }

  /** One piece of work at a time: a plan is made from what the last one left. */
  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work, work);
    this.#queue = run.catch(() => {});
    return run;
  }

  async #observe(): Promise<Observed> {
    const observed = await this.#driver.observe();
    this.#known = new Map(observed.network.vpcs.map((vpc) => [vpc.vpcId, vpc]));
    return observed;
  }

  sync(update: SyncUpdate): Promise<SyncResult> {
    const rests = this.#rests;
    return this.#serially(async () => {
      this.#begun = rests;
      if (!update.full && !this.#synced) throw new DriverError('unavailable', 'a full sync is needed first');
      if (update.full) this.#wanted.clear();
      for (const spec of update.vpcs) this.#wanted.set(spec.vpcId, spec);
      for (const vpcId of update.removed) this.#wanted.delete(vpcId);
      this.#synced = true;
      this.#revision = update.revision;
      if (update.owed !== undefined) await this.#driver.inherit?.(update.owed);
      if (this.#known === null || update.full) await this.#observe();
      const touched = new Set<VpcId>(update.full ? [...this.#wanted.keys(), ...(this.#known?.keys() ?? [])] : []);
      for (const spec of update.vpcs) touched.add(spec.vpcId);
      for (const vpcId of update.removed) touched.add(vpcId);
      for (const vpcId of this.#failed.keys()) touched.add(vpcId);
      await this.#converge(touched);
      this.#demandKept();
      return this.#result();
    });
  }

  #result(): SyncResult {
    this.#owed = this.#driver.owed?.() ?? [];
    return {
      owed: this.#owed,
      revision: this.#revision,
      failed: [...this.#failed].map(([vpcId, problem]) => ({ vpcId, problem })),
    };
  }

  /** Behind whatever is under way: what a change still waits for is not owed yet. */
  #lookAtOwed(): void {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    void this.#serially(async () => {
      this.#looking = false;
      this.#tellOwed();
    });
  }
  #tellOwed(): void {
    const owed = this.#driver.owed?.() ?? [];
    if (!this.#synced || isDeepStrictEqual(owed, this.#owed)) return;
    this.#owed = owed;
    for (const listener of this.#owedListeners) listener(owed, this.#revision);
  }

  #planFor(vpcIds: Iterable<VpcId>): Plan {
    const known = this.#known ?? new Map<VpcId, VpcSpec>();
    return diff(
      [...vpcIds].map((vpcId) => ({
        vpcId,
        observed: known.get(vpcId) ?? null,
        wanted: this.#wanted.get(vpcId) ?? null,
      })),
    );
  }

  #remember(vpcIds: Iterable<VpcId>): void {
    for (const vpcId of vpcIds) {
      const spec = this.#wanted.get(vpcId);
      if (spec === undefined) this.#known?.delete(vpcId);
      else this.#known?.set(vpcId, spec);
      this.#failed.delete(vpcId);
    }
  }

  /** One plan for all; when it fails, VPC by VPC, so that one with bad data does not stop the others. */
  async #converge(vpcIds: ReadonlySet<VpcId>): Promise<void> {
    const plan = this.#planFor(vpcIds);
    try {
      if (!isEmpty(plan)) await this.#apply(plan);
      this.#remember(vpcIds);
      return;
    } catch (error) {
      if (this.#rested) throw error;
      if (vpcIds.size === 1) return this.#fail(vpcIds, error);
    }
    await this.#observe();
    // A live half needs the VPC it leads to: once more for those that may find it now, and on while it helps.
    let left = [...vpcIds];
    for (
      let pass = 1, tried = left.length;
      left.length > 0 && !this.#rested && (pass <= 2 || left.length < tried);
      pass++
    ) {
      tried = left.length;
      const failed: VpcId[] = [];
      for (const vpcId of left) if (!(await this.#alone(vpcId))) failed.push(vpcId);
      left = failed;
    }
  }

  /** One VPC by itself. @returns whether it could follow */
  async #alone(vpcId: VpcId): Promise<boolean> {
    const alone = new Set([vpcId]);
    try {
      const plan = this.#planFor(alone);
      if (!isEmpty(plan)) await this.#apply(plan);
      this.#remember(alone);
      return true;
    } catch (error) {
      await this.#fail(alone, error);
      return false;
    }
  }

  async #fail(vpcIds: Iterable<VpcId>, error: unknown): Promise<void> {
    const problem = error instanceof Error ? error.message : String(error);
    for (const vpcId of vpcIds) this.#failed.set(vpcId, problem);
    this.#known = null;
    await this.#observe();
    await this.#disconnect(vpcIds);
  }

  /**
   * The disconnects of VPCs that cannot follow, by themselves: whatever else does not fit, and a tenant can bring that
   * about, a peering that the other side has broken must not live on (P4 in docs/architecture.md).
   */
  async #disconnect(vpcIds: Iterable<VpcId>): Promise<void> {
    const kills = this.#planFor(vpcIds).break.flatMap((step): Step[] =>
      step.step === 'kill-half' || step.step === 'remove-half'
        ? [{ step: 'kill-half', vpcId: step.vpcId, halfId: step.halfId }]
        : [],
    );
    if (kills.length === 0) return;
    // When this fails too, no more can be said than is said already: these VPCs have failed.
    await this.#apply({ make: [], break: kills }).catch(() => {});
    await this.#observe();
  }

  /** See `Plane`. What another server changes would be drift, to be undone. */
  rest(): void {
    this.#rests++; // from now on nothing is written that was asked for before
    void this.#serially(async () => {
      this.#synced = false;
      this.#known = null;
      this.#wanted.clear();
      this.#failed.clear();
    });
  }
  get #rested(): boolean {
    return this.#begun !== this.#rests;
  }
  /** The only way to write. */
  async #apply(plan: Plan): Promise<void> {
    this.#demandKept();
    await this.#driver.apply(plan);
  }
  #demandKept(): void {
    if (this.#rested) throw new DriverError('unavailable', 'another server keeps the network now');
  }

  /** Compares the plane with what is wanted and heals it. Resolves with what had drifted, a line each. */
  checkDrift(): Promise<readonly string[]> {
    const asked = this.#rests;
    return this.#serially(async () => {
      this.#begun = asked;
      if (!this.#synced || this.#closed || this.#rested) return [];
      const before = this.#known;
      const observed = await this.#observe();
      const lines: string[] = [];
      if (observed.damage.length > 0 && !this.#rested) {
        lines.push(...observed.damage, ...(await this.#driver.repair()));
        await this.#observe();
      }
      if (this.#rested) return [];
      const touched = new Set<VpcId>([...this.#wanted.keys(), ...(this.#known?.keys() ?? [])]);
      for (const vpcId of touched) {
        const expected = before?.get(vpcId) ?? null;
        const found = this.#known?.get(vpcId) ?? null;
        // After a failure nothing was assumed of the plane, so nothing can have drifted.
        if (before === null || this.#failed.has(vpcId) || isDeepStrictEqual(expected, found)) continue;
        const steps = diff([{ vpcId, observed: found, wanted: this.#wanted.get(vpcId) ?? null }]);
        lines.push(...[...steps.make, ...steps.break].map((step) => `healed: ${describe(step)}`));
      }
      await this.#converge(touched);
      this.#tellOwed();
      for (const line of lines) for (const listener of this.#driftListeners) listener(line);
      return lines;
    });
  }

  counters(): Promise<Counters> {
    return this.#driver.counters();
  }
  meter(booked: readonly string[]): Promise<MeterReading> {
    return this.#driver.meter(booked);
  }
  trace(packet: Packet): Promise<Verdict> {
    return this.#driver.trace(packet);
  }
  probe(): ReturnType<Driver['probe']> {
    return this.#driver.probe();
  }
  async attachments(): Promise<readonly AttachmentFact[]> {
    return (await this.#driver.observe()).attachments;
  }

  /** Root's business, never a tenant's: serialised with every apply. */
  attach(request: AttachRequest): Promise<AttachmentFact> {
    return this.#serially(async () => {
      const fact = await this.#driver.attach(request);
      this.#tell(fact.portId, fact);
      return fact;
    });
  }
  detach(portId: AttachmentFact['portId']): Promise<void> {
    return this.#serially(async () => {
      await this.#driver.detach(portId);
      this.#tell(portId, null);
    });
  }

  #tell(portId: string, fact: AttachmentFact | null): void {
    for (const listener of this.#attachmentListeners) listener(portId, fact);
  }
  onAttachment(listener: (portId: string, fact: AttachmentFact | null) => void): void {
    this.#attachmentListeners.push(listener);
  }
  onDrift(listener: (what: string) => void): void {
    this.#driftListeners.push(listener);
  }
  onOwed(listener: OwedListener): void {
    this.#owedListeners.push(listener);
  }
  onNeedSync(_listener: () => void): void {
    // In one process the wanted specs cannot be lost without the region.
  }
  onLost(_listener: (problem: string) => void): void {
    // Nor can the plane itself.
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#queue;
    await this.#driver.close();
  }
}
