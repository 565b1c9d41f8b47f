/**
 * Which host has proven what. A change is over when every host that has an interface of a VPC it touched has installed it
 * and forgotten what it had decided before. A host that cannot be reached is named, not waited for for ever; what it owes
 * is remembered until it has caught up.
 */
import type { VpcId } from '../../model/ids.ts';
import type { Owed } from '../driver.ts';
import type { Hosts } from './hosts.ts';

/** How long a change waits for hosts that can be asked, in milliseconds. */
const defaultPatience = 5_000;
/** How long for one that is not connected: its agent may just be starting again. */
const defaultGrace = 500;
/** Pauses between two tries of a host that refuses. */
const firstPause = 100;
const longestPause = 2_000;

/** Whether something was taken away, or only added. */
type Kind = 'cut' | 'add';
const kinds = ['cut', 'add'] as const;
type PerKind<T> = { readonly [K in Kind]: T };

interface HostState {
  /** The configuration that it has proven. */
  proven: number;
  /** What it is asked to prove. */
  target: number;
  /** What a change did not get from it in time, by VPC: the newest configuration of each. */
  readonly debts: PerKind<Map<VpcId, number>>;
  /** What it failed to prove in time last: until it has, nobody waits for it. */
  late: number;
  /** Which of the loops that ask it is the one that counts. */
  turn: number;
  asking: boolean;
  /** Why it did not prove what it was asked for last; '': it has, or has not answered yet. */
  problem: string;
}

const fresh = (): HostState => ({
  proven: 0,
  target: 0,
  debts: { cut: new Map(), add: new Map() },
  late: 0,
  turn: 0,
  asking: false,
  problem: '',
});
const isLate = ({ late, proven }: HostState): boolean => proven < late;

export class Fences {
  readonly #hosts: Pick<Hosts, 'connected' | 'fence' | 'onConnected'>;
  readonly #patience: number;
  readonly #grace: number;
  readonly #states = new Map<string, HostState>();
  /** Removed, and not there again. OVN may count on one a while longer: what it says then would be owed for ever. */
  readonly #removed = new Set<string>();
  readonly #waiters = new Set<() => void>();
  readonly #listeners: (() => void)[] = [];
  #closed = false;
  count = 0;
  seconds = 0;

  /**
   * @param patience milliseconds that a change waits for hosts that can be asked
   * @param grace the same for one that is not connected
   */
  constructor(
    hosts: Pick<Hosts, 'connected' | 'fence' | 'onConnected'>,
    patience = defaultPatience,
    grace = defaultGrace,
  ) {
    this.#hosts = hosts;
    this.#patience = patience;
    this.#grace = Math.min(grace, patience);
    hosts.onConnected((host) => {
      this.#removed.delete(host);
      const state = this.#states.get(host);
      if (state === undefined) return;
      // A question that went out over the lost connection may never be answered.
      state.asking = false;
      void this.#ask(host, state);
    });
  }

  #state(host: string): HostState {
    const state = this.#states.get(host) ?? fresh();
    this.#states.set(host, state);
    return state;
  }

  /** Called after a change of what is owed. */
  onOwedChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** A debt of which nobody waits for the end: what an earlier process may have left open. */
  owe(vpcIds: Iterable<VpcId>, number: number, named: ReadonlySet<string>): void {
    const vpcs = [...vpcIds];
    const hosts = named.difference(this.#removed);
    for (const host of hosts) {
      const state = this.#state(host);
      if (state.proven < number) this.#record(state, vpcs, number, 'cut');
    }
    this.#aim(number, hosts);
    if (hosts.size > 0) this.#tell();
  }

  #record(state: HostState, vpcIds: Iterable<VpcId>, number: number, kind: Kind): void {
    const debts = state.debts[kind];
    for (const vpcId of vpcIds) debts.set(vpcId, Math.max(number, debts.get(vpcId) ?? 0));
  }

  #aim(number: number, hosts: Iterable<string>): void {
    for (const host of hosts) {
      const state = this.#state(host);
      state.target = Math.max(state.target, number);
      void this.#ask(host, state);
    }
  }

  /**
   * Resolves when the hosts have proven it, or patience is at its end; then `owed` names those that have not.
   * @param concerned of each VPC the hosts that must
   * @param number the configuration (`nb_cfg`)
   * @param cut the VPCs from which it takes something away
   */
  async wait(
    concerned: ReadonlyMap<VpcId, ReadonlySet<string>>,
    number: number,
    cut: ReadonlySet<VpcId>,
  ): Promise<void> {
    const began = performance.now();
    const hosts = new Set([...concerned.values()].flatMap((of) => [...of.difference(this.#removed)]));
    this.#aim(number, hosts);
    // A host that is removed meanwhile has no state any more, and owes nothing.
    const missing = (): readonly (readonly [string, HostState])[] =>
      [...hosts].flatMap((host) => {
        const state = this.#states.get(host);
        return state === undefined || state.proven >= number ? [] : [[host, state] as const];
      });
    while (!this.#closed) {
      const connected = this.#hosts.connected();
      const patiences = missing().map(([host, state]) => {
        if (isLate(state)) return 0;
        return connected.has(host) ? this.#patience : this.#grace;
      });
      const left = began + Math.max(0, ...patiences) - performance.now();
      if (left <= 0) break;
      await this.#progress(left);
    }
    const still = missing();
    for (const [host, state] of still) {
      // Of those alone that have something there: whose changes shared the transaction is nobody's business.
      const vpcs = new Set([...concerned].filter(([, of]) => of.has(host)).map(([vpcId]) => vpcId));
      this.#record(state, vpcs.intersection(cut), number, 'cut');
      this.#record(state, vpcs.difference(cut), number, 'add');
      // The first number that it failed at stands: else one that follows slowly would be late for ever.
      if (!isLate(state)) state.late = number;
    }
    this.count++;
    this.seconds += (performance.now() - began) / 1000;
    if (still.length > 0) this.#tell();
  }

  #progress(patience: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, patience);
      this.#waiters.add(done);
    });
  }
  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }
  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Asks a host until it has proven all that it shall; ends when it is away. */
  async #ask(host: string, state: HostState): Promise<void> {
    if (state.asking) return;
    state.asking = true;
    const turn = ++state.turn;
    const mine = (): boolean => !this.#closed && state.turn === turn && this.#states.get(host) === state;
    let pause = firstPause;
    while (mine() && this.#hosts.connected().has(host)) {
      const { target } = state;
      if (state.proven >= target) break;
      try {
        this.#prove(state, await this.#hosts.fence(host, target));
        pause = firstPause;
      } catch (error) {
        this.#note(state, error instanceof Error ? error.message : String(error));
        await new Promise((resolve) => setTimeout(resolve, pause).unref());
        pause = Math.min(longestPause, pause * 2);
      }
    }
    if (state.turn === turn) state.asking = false;
  }

  #note(state: HostState, problem: string): void {
    if (state.problem === problem) return;
    state.problem = problem;
    if (kinds.some((kind) => state.debts[kind].size > 0)) this.#tell();
  }

  #prove(state: HostState, number: number): void {
    let paid = state.problem !== '' && kinds.some((kind) => state.debts[kind].size > 0);
    state.problem = '';
    state.proven = Math.max(state.proven, number);
    for (const kind of kinds) {
      for (const [vpcId, debt] of state.debts[kind]) {
        if (debt <= state.proven) paid = state.debts[kind].delete(vpcId) || paid;
      }
    }
    this.#wake();
    if (paid) this.#tell();
  }

  /** Of a host that was removed: it owes nothing any more, and nobody waits for it until it is there again. */
  forget(host: string): void {
    this.#removed.add(host);
    const state = this.#states.get(host);
    if (state === undefined) return;
    this.#states.delete(host);
    this.#wake();
    if (kinds.some((kind) => state.debts[kind].size > 0)) this.#tell();
  }

  /** What hosts still owe, by VPC. A change that is still waited for is not owed yet. */
  owed(): readonly Owed[] {
    const owed = new Map<VpcId, PerKind<string[]>>();
    const problems = new Map<VpcId, Record<string, string>>();
    for (const [host, { debts, problem }] of [...this.#states].sort(([a], [b]) => (a < b ? -1 : 1))) {
      for (const kind of kinds) {
        for (const vpcId of debts[kind].keys()) {
          const of = owed.get(vpcId) ?? { cut: [], add: [] };
          owed.set(vpcId, of);
          of[kind].push(host);
          if (problem !== '') problems.set(vpcId, { ...problems.get(vpcId), [host]: problem });
        }
      }
    }
    return [...owed]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([vpcId, { cut, add }]) => {
        const of = problems.get(vpcId);
        const notInstalledOn = add.filter((host) => !cut.includes(host));
        return { vpcId, notFencedOn: cut, notInstalledOn, ...(of === undefined ? {} : { problems: of }) };
      });
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }
}
