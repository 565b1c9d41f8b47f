/**
 * Keeps the health of every Connected half current: recomputed when a change touches one of its two VPCs, a little at a
 * time, so that no command waits for it. Tells whoever listens when it is another than before.
 */
import { type Health, healthMark, healthOf } from '../explain/health.ts';
import type { Knowledge } from '../explain/place.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { PeeringHalf } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';

/** Milliseconds of recomputing at a time, and between two times: a fifth of the process at most. */
const slice = 4;
const pause = 16;

export type HealthListener = (half: PeeringHalf, health: Health | null) => void;

export class HealthBook {
  readonly #state: StateView;
  readonly #knows: (caller: AccountId) => Knowledge;
  readonly #listener: HealthListener;
  readonly #known = new Map<HalfId, Health>();
  readonly #marks = new Map<HalfId, string>();
  readonly #stale = new Set<HalfId>();
  #scheduled: NodeJS.Timeout | undefined;

  constructor(state: StateView, knows: (caller: AccountId) => Knowledge, listener: HealthListener) {
    this.#state = state;
    this.#knows = knows;
    this.#listener = listener;
  }

  /** Takes the health of all halves as it is, telling nobody. */
  start(): void {
    for (const half of this.#state.all('peering')) {
      if (half.state === 'Connected') this.#marks.set(half.id, healthMark(this.#compute(half)));
    }
  }

  /** These VPCs have changed. */
  touch(vpcIds: Iterable<VpcId>): void {
    for (const vpcId of vpcIds) {
      for (const { id } of this.#state.children('peering', vpcId)) {
        this.#stale.add(id);
        this.#known.delete(id);
      }
    }
    if (this.#stale.size > 0) this.#scheduled ??= setTimeout(() => this.#run(), 0);
  }

  /** As `touch`, but whoever listens is told only with the next change. */
  forget(vpcIds: Iterable<VpcId>): void {
    for (const vpcId of vpcIds) for (const { id } of this.#state.children('peering', vpcId)) this.#known.delete(id);
  }

  /** The health of a half now; null while it is not Connected. */
  of(half: PeeringHalf): Health | null {
    return half.state === 'Connected' ? (this.#known.get(half.id) ?? this.#compute(half)) : null;
  }

  #compute(half: PeeringHalf): Health | null {
    const health = healthOf(this.#knows(half.accountId), half);
    if (health === null) this.#known.delete(half.id);
    else this.#known.set(half.id, health);
    return health;
  }

  #run(): void {
    this.#scheduled = undefined;
    const until = performance.now() + slice;
    for (const id of this.#stale) {
      if (performance.now() > until) break;
      this.#stale.delete(id);
      const half = this.#state.get('peering', id);
      const health = half === undefined ? null : this.of(half);
      const mark = healthMark(health);
      if ((this.#marks.get(id) ?? '') === mark) continue;
      if (mark === '') this.#marks.delete(id);
      else this.#marks.set(id, mark);
      if (half === undefined) this.#known.delete(id);
      else this.#listener(half, health);
    }
    if (this.#stale.size > 0) this.#scheduled = setTimeout(() => this.#run(), pause);
  }

  close(): void {
    clearTimeout(this.#scheduled);
    this.#stale.clear();
  }
}
