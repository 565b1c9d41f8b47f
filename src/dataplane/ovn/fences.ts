/**
 * Which host has proven what. A change is over when every host that has an interface of a VPC it touched has installed it
 * and, where it took something away, has forgotten what it had decided before. A host that cannot be reached is named, not
 * waited for for ever; what it owes is remembered until it has caught up.
 */
import type { VpcId } from '../../model/ids.ts';
import type { Owed } from '../driver.ts';
import type { Hosts } from './hosts.ts';

/** How long a change waits for the hosts, in milliseconds. */
const defaultPatience = 5_000;
/** How long for one that was behind already when the change came, or is not connected. */
const shortPatience = 500;
const retryPause = 200;

interface Debt {
  readonly number: number;
  readonly hosts: ReadonlySet<string>;
  readonly cut: boolean;
}

export class Fences {
  readonly #hosts: Hosts;
  readonly #patience: number;
  /** What each host has proven: installed, and forgotten. */
  readonly #installed = new Map<string, number>();
  readonly #fenced = new Map<string, number>();
  /** What each host is asked to prove, and whether it is being asked. */
  readonly #targets = new Map<string, { number: number; cut: number }>();
  readonly #asking = new Set<string>();
  readonly #debts = new Map<string, Debt>();
  #waiters: (() => void)[] = [];
  #closed = false;
  count = 0;
  seconds = 0;

  constructor(hosts: Hosts, patience = defaultPatience) {
    this.#hosts = hosts;
    this.#patience = patience;
    hosts.onConnected((host) => {
      // What it had proven is proven; its datapath may have begun anew, and then remembers nothing.
      void this.#ask(host);
    });
  }

  #paid(host: string, { number, cut }: Debt): boolean {
    return ((cut ? this.#fenced : this.#installed).get(host) ?? 0) >= number;
  }
  #missing(debt: Debt): readonly string[] {
    return [...debt.hosts].filter((host) => !this.#paid(host, debt));
  }

  /** A debt of which nobody waits for the end: what an earlier process may have left open. */
  owe(vpcIds: Iterable<VpcId>, number: number, hosts: ReadonlySet<string>): void {
    for (const vpcId of vpcIds) this.#debts.set(`${vpcId} cut`, { number, hosts, cut: true });
    this.#aim(number, hosts, true);
  }

  #aim(number: number, hosts: ReadonlySet<string>, cut: boolean): void {
    for (const host of hosts) {
      const target = this.#targets.get(host) ?? { number: 0, cut: 0 };
      target.number = Math.max(target.number, number);
      if (cut) target.cut = Math.max(target.cut, number);
      this.#targets.set(host, target);
      void this.#ask(host);
    }
  }

  /**
   * Resolves when the hosts have proven it, or patience is at its end.
   * @param number the configuration (`nb_cfg`)
   * @param cut whether it takes something away
   */
  async wait(vpcIds: Iterable<VpcId>, number: number, hosts: ReadonlySet<string>, cut: boolean): Promise<void> {
    const began = performance.now();
    const behind = new Set([...this.#debts.values()].flatMap((debt) => this.#missing(debt)));
    const debt: Debt = { number, hosts, cut };
    for (const vpcId of vpcIds) {
      const key = `${vpcId} ${cut ? 'cut' : 'add'}`;
      const before = this.#debts.get(key);
      const open = before === undefined ? [] : this.#missing(before);
      this.#debts.set(key, { ...debt, hosts: new Set([...hosts, ...open]) });
    }
    this.#aim(number, hosts, cut);
    for (;;) {
      const missing = this.#missing(debt);
      if (missing.length === 0) break;
      const connected = this.#hosts.connected();
      const late = missing.every((host) => behind.has(host) || !connected.has(host));
      const left = began + (late ? Math.min(shortPatience, this.#patience) : this.#patience) - performance.now();
      if (left <= 0) break;
      await this.#progress(left);
    }
    this.count++;
    this.seconds += (performance.now() - began) / 1000;
  }

  #progress(patience: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patience);
      this.#waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Asks a host until it has proven all that it shall; ends when it is away. */
  async #ask(host: string): Promise<void> {
    if (this.#asking.has(host)) return;
    this.#asking.add(host);
    try {
      for (;;) {
        const target = this.#targets.get(host);
        if (this.#closed || target === undefined || !this.#hosts.connected().has(host)) return;
        const cut = (this.#fenced.get(host) ?? 0) < target.cut;
        if (!cut && (this.#installed.get(host) ?? 0) >= target.number) return;
        try {
          const proven = await this.#hosts.fence(host, cut ? target.cut : target.number, cut);
          this.#installed.set(host, Math.max(proven, this.#installed.get(host) ?? 0));
          if (cut) this.#fenced.set(host, Math.max(proven, this.#fenced.get(host) ?? 0));
        } catch {
          await new Promise((resolve) => setTimeout(resolve, retryPause));
        }
        const waiters = this.#waiters;
        this.#waiters = [];
        for (const waiter of waiters) waiter();
      }
    } finally {
      this.#asking.delete(host);
    }
  }

  /** What hosts still owe, by VPC. */
  owed(): readonly Owed[] {
    const owed = new Map<VpcId, { cut: readonly string[]; add: readonly string[] }>();
    for (const [key, debt] of this.#debts) {
      const missing = this.#missing(debt);
      if (missing.length === 0) {
        this.#debts.delete(key);
        continue;
      }
      const vpcId = key.slice(0, key.indexOf(' ')) as VpcId;
      const of = owed.get(vpcId) ?? { cut: [], add: [] };
      owed.set(vpcId, debt.cut ? { ...of, cut: missing } : { ...of, add: missing });
    }
    return [...owed].map(([vpcId, { cut, add }]) => ({
      vpcId,
      notFencedOn: [...cut].sort(),
      notInstalledOn: add.filter((host) => !cut.includes(host)).sort(),
    }));
  }

  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter();
  }
}
