/**
 * Makes the data plane follow the state. Changes are gathered while an apply is under way, so that a thousand
 * disconnects cost one fence and not a thousand; whoever waits is answered once a sync that includes his revision is done.
 */
import type { OwedListener, Plane, SyncResult } from '../dataplane/plane.ts';
import type { VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import { type Behind, behindOn, isBehind, notBehind, owedByVpc } from './owed-book.ts';

export interface FollowerSource {
  readonly revision: () => number;
  readonly compile: (vpcId: VpcId) => VpcSpec | undefined;
  readonly all: () => readonly VpcSpec[];
  /** Told all that hosts owe at a revision, whenever the plane says it. */
  readonly owed: OwedListener;
}

/** What became of a change. */
export interface Followed extends Behind {
  /** Whether the plane holds it, on every host. */
  readonly applied: boolean;
}
const pending: Followed = { applied: false, ...notBehind };

interface Waiter {
  readonly revision: number;
  readonly touched: ReadonlySet<VpcId>;
  readonly settle: (followed: Followed) => void;
}

/** How long a reply waits for the plane before it says "pending", in milliseconds. */
export const replyPatience = 10_000;
/** Pause before another try after a failure, in milliseconds. */
const retryPause = 500;
/** Pause before VPCs that could not follow are tried again, in milliseconds. */
const failedPause = 5_000;

export class Follower {
  readonly #plane: Plane;
  readonly #source: FollowerSource;
  #dirty = new Set<VpcId>();
  #full = true;
  #running = false;
  #waiters: Waiter[] = [];
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  appliedRevision = 0;
  problem: string | null = null;
  #failed: ReadonlyMap<VpcId, string> = new Map();

  constructor(plane: Plane, source: FollowerSource) {
    this.#plane = plane;
    this.#source = source;
    plane.onNeedSync(() => {
      this.#full = true;
      this.#wake();
    });
    plane.onOwed(source.owed);
    plane.onLost((problem) => {
      this.problem = problem;
      this.#failed = new Map();
    });
  }

  /**
   * Resolves with whether the plane now holds that revision, on all hosts, and if not on which; not applied after
   * `replyPatience` or on failure.
   */
  follow(revision: number, touched: ReadonlySet<VpcId>): Promise<Followed> {
    for (const vpcId of touched) this.#dirty.add(vpcId);
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(pending), replyPatience);
      const settle = (followed: Followed): void => {
        clearTimeout(timer);
        this.#waiters = this.#waiters.filter((waiter) => waiter !== me);
        resolve(followed);
      };
      const me: Waiter = { revision, touched, settle };
      this.#waiters.push(me);
      this.#wake();
    });
  }

  /** Why a VPC is not as wanted: its own failure, or that of the whole plane; null when it is. */
  problemOf(vpcId: VpcId): string | null {
    if (this.problem === null) return null;
    return this.#failed.size === 0 ? this.problem : (this.#failed.get(vpcId) ?? null);
  }

  /** Writes everything anew, as at the start. */
  start(): Promise<Followed> {
    this.#full = true;
    return this.follow(this.#source.revision(), new Set());
  }

  #wake(): void {
    if (this.#running || this.#closed) return;
    this.#running = true;
    clearTimeout(this.#retry);
    // A turn of the event loop later: what is committed meanwhile shares the fence.
    setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    const full = this.#full;
    const dirty = this.#dirty;
    const revision = this.#source.revision();
    this.#full = false;
    this.#dirty = new Set();
    try {
      const compiled = [...dirty].sort().map((vpcId) => [vpcId, this.#source.compile(vpcId)] as const);
      const result = await this.#plane.sync({
        revision,
        full,
        vpcs: full ? this.#source.all() : compiled.map(([, spec]) => spec).filter((spec) => spec !== undefined),
        removed: full ? [] : compiled.filter(([, spec]) => spec === undefined).map(([vpcId]) => vpcId),
      });
      this.#source.owed(result.owed, result.revision);
      this.#settle(revision, result);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      this.#failed = new Map();
      this.#full ||= full;
      for (const vpcId of dirty) this.#dirty.add(vpcId);
      for (const waiter of this.#waiters) if (waiter.revision <= revision) waiter.settle(pending);
      if (!this.#closed) this.#retry = setTimeout(() => this.#wake(), retryPause);
      return;
    } finally {
      this.#running = false;
    }
    if (this.#full || this.#dirty.size > 0 || this.#waiters.length > 0) this.#wake();
  }

  #settle(revision: number, result: SyncResult): void {
    const failed = new Map(result.failed.map(({ vpcId, problem }) => [vpcId, problem]));
    const owed = owedByVpc(result.owed);
    this.#failed = failed;
    const [first] = failed;
    this.problem = first === undefined ? null : `${first[0]}: ${first[1]}`;
    this.appliedRevision = revision;
    if (failed.size > 0 && !this.#closed) {
      this.#retry = setTimeout(() => {
        for (const vpcId of failed.keys()) this.#dirty.add(vpcId);
        this.#wake();
      }, failedPause);
    }
    for (const waiter of this.#waiters) {
      if (waiter.revision > revision) continue;
      const behind = behindOn(owed, waiter.touched);
      const done = ![...waiter.touched].some((vpcId) => failed.has(vpcId));
      waiter.settle({ applied: done && !isBehind(behind), ...behind });
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    for (const waiter of this.#waiters) waiter.settle(pending);
  }
}
