/**
 * What hosts have not proven yet, as the region tells of it: by VPC and host, since when, and for which ended peerings. A
 * host that owes a VPC something is no proof that it may still carry a certain peering: that is said of a half only when
 * its peering ended and the hosts that owed it then have not caught up since. So nobody learns from an old half where the
 * other side has its workloads today. Decides nothing; the plane says what is owed.
 */
import type { Owed } from '../dataplane/driver.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { Change, PeeringHalf, Resource } from '../model/resources.ts';

/** Hosts that are behind. A host is in one of the two. */
export interface Behind {
  /** Those that may still carry what was taken away. */
  readonly notFencedOn: readonly string[];
  /** Those that may not carry yet what was added. */
  readonly notInstalledOn: readonly string[];
}
export const notBehind: Behind = { notFencedOn: [], notInstalledOn: [] };
export const isBehind = ({ notFencedOn, notInstalledOn }: Behind): boolean =>
  notFencedOn.length + notInstalledOn.length > 0;

/** Each host once: a cut weighs more than an addition. */
export function together(...all: readonly Behind[]): Behind {
  const cut = new Set(all.flatMap(({ notFencedOn }) => notFencedOn));
  const add = new Set(all.flatMap(({ notInstalledOn }) => notInstalledOn));
  return { notFencedOn: [...cut].sort(), notInstalledOn: [...add].filter((host) => !cut.has(host)).sort() };
}

/** What one host owes. */
export interface OwedByHost {
  readonly host: string;
  /** VPCs of which it may still carry what was taken away, and those of which it may not carry what was added. */
  readonly notFenced: number;
  readonly notInstalled: number;
  /** The oldest of it, in milliseconds since the epoch, as far as this server has seen. */
  readonly since: number;
  /** Some of those VPCs. */
  readonly vpcIds: readonly VpcId[];
  /** Why it did not prove them when it was asked last; null: nothing is known. */
  readonly problem: string | null;
}

/** What is owed of each VPC. */
export type OwedByVpc = ReadonlyMap<VpcId, Owed>;
export const owedByVpc = (owed: readonly Owed[]): OwedByVpc => new Map(owed.map((one) => [one.vpcId, one]));

/** All that is owed of some VPCs. */
export function behindOn(owed: OwedByVpc, vpcIds: ReadonlySet<VpcId>): Behind {
  if (owed.size === 0) return notBehind;
  return together(...[...vpcIds].flatMap((vpcId) => owed.get(vpcId) ?? []));
}

/** Of whom something is said. */
export type OwedSubject =
  | { readonly kind: 'vpc'; readonly vpcId: VpcId; readonly accountId: AccountId | undefined }
  | { readonly kind: 'half'; readonly vpcId: VpcId; readonly accountId: AccountId; readonly halfId: HalfId };
export interface OwedWatcher {
  /** What is owed of a VPC is another than before. @param quiet at the start: nobody need hear of it yet */
  readonly touched: (vpcId: VpcId, quiet: boolean) => void;
  /** … and its owner is to hear of it. */
  readonly news: (subject: OwedSubject, behind: Behind) => void;
}

interface Debt {
  readonly behind: Behind;
  /** By host, in milliseconds since the epoch. */
  readonly since: ReadonlyMap<string, number>;
}
/** A peering that ended. */
interface Cut {
  readonly revision: number;
  readonly sides: readonly Pick<PeeringHalf, 'id' | 'accountId' | 'localVpcId'>[];
  readonly vpcIds: ReadonlySet<VpcId>;
  /** Hosts that have not fenced it; null until the plane has spoken of that revision. */
  readonly hosts: readonly string[] | null;
}

/** VPCs that are named for a host. */
const mostNamed = 20;
/** What a start finds open and is closed within so many milliseconds is no news. */
const startGrace = 10_000;

const pairOf = ({ localVpcId, remoteVpcId }: PeeringHalf): string => [localVpcId, remoteVpcId].sort().join(' ');
const same = (a: readonly string[], b: readonly string[]): boolean => a.join(' ') === b.join(' ');

export class OwedBook {
  readonly #clock: () => number;
  readonly #watcher: OwedWatcher;
  readonly #debts = new Map<VpcId, Debt>();
  readonly #cuts = new Map<string, Cut>();
  /** Whose VPCs were that are gone, and may still be owed. */
  readonly #owners = new Map<VpcId, { readonly accountId: AccountId; readonly revision: number }>();
  readonly #ownerOf: (vpcId: VpcId) => AccountId | undefined;
  /** What was open when this server began to listen: VPCs and pairs. */
  readonly #found = new Set<string>();
  /** Why hosts do not prove, by host. */
  #problems: ReadonlyMap<string, string> = new Map();
  #began: number | null = null;
  #grace: NodeJS.Timeout | undefined;

  constructor(clock: () => number, ownerOf: (vpcId: VpcId) => AccountId | undefined, watcher: OwedWatcher) {
    this.#clock = clock;
    this.#ownerOf = ownerOf;
    this.#watcher = watcher;
  }

  /** Of these halves it is not known whether every host has fenced them. */
  doubt(halves: Iterable<PeeringHalf>, revision: number): void {
    for (const half of halves) if (half.state === 'Disconnected') this.#cut(half, revision);
  }
  #cut(half: PeeringHalf, revision: number): void {
    const key = pairOf(half);
    const known = this.#cuts.get(key);
    const others = known?.revision === revision ? known.sides.filter(({ id }) => id !== half.id) : [];
    const vpcIds = new Set([half.localVpcId, half.remoteVpcId]);
    this.#cuts.set(key, { revision, sides: [...others, half], vpcIds, hosts: null });
  }

  /**
   * A command was carried out.
   * @param before looks a resource up as it was before
   */
  changed(
    changes: readonly Change[],
    before: (kind: Resource['kind'], id: string) => Resource | undefined,
    revision: number,
  ): void {
    for (const change of changes) {
      const [kind, id] = change.op === 'put' ? [change.resource.kind, change.resource.id] : [change.kind, change.id];
      if (kind !== 'peering' && kind !== 'vpc') continue;
      const old = before(kind, id);
      const now = change.op === 'put' ? change.resource : undefined;
      if (old?.kind === 'vpc' && now === undefined) this.#owners.set(old.id, { accountId: old.accountId, revision });
      if (now?.kind === 'peering' && now.state === 'Connected') this.#drop(pairOf(now));
      else if (old?.kind === 'peering' && old.state === 'Connected') this.#cut(old, revision);
    }
  }

  /** Both have consented again: there is nothing to fence any more. */
  #drop(key: string): void {
    const cut = this.#cuts.get(key);
    this.#cuts.delete(key);
    if (cut !== undefined && (cut.hosts ?? []).length > 0) this.#tell(cut, []);
  }

  /** The plane says all that is owed at a revision. */
  take(owed: readonly Owed[], revision: number): void {
    const now = this.#clock();
    const first = this.#began === null;
    this.#began ??= now;
    if (first) this.#grace = setTimeout(() => this.#isLasting(), startGrace).unref();
    const stated = owedByVpc(owed);
    this.#problems = new Map(owed.flatMap(({ problems }) => Object.entries(problems ?? {})));
    for (const vpcId of new Set([...this.#debts.keys(), ...stated.keys()])) {
      const before = this.of(vpcId);
      const after = stated.get(vpcId) ?? notBehind;
      if (same(before.notFencedOn, after.notFencedOn) && same(before.notInstalledOn, after.notInstalledOn)) continue;
      this.#note(vpcId, after, now);
      this.#watcher.touched(vpcId, first);
      if (first) this.#found.add(vpcId);
      const accountId = this.#ownerOf(vpcId) ?? this.#owners.get(vpcId)?.accountId;
      if (this.#isNews(vpcId, first, isBehind(after))) {
        this.#watcher.news({ kind: 'vpc', vpcId, accountId }, this.of(vpcId));
      }
    }
    for (const [vpcId, gone] of this.#owners) {
      if (gone.revision <= revision && !this.#debts.has(vpcId)) this.#owners.delete(vpcId);
    }
    for (const [key, cut] of this.#cuts) if (cut.revision <= revision) this.#settle(key, cut, stated, first);
  }

  /** Hosts that owed the end of a peering when it ended, and still do. */
  #settle(key: string, cut: Cut, owed: OwedByVpc, first: boolean): void {
    const { notFencedOn: open } = behindOn(owed, cut.vpcIds);
    const hosts = cut.hosts === null ? open : cut.hosts.filter((host) => open.includes(host));
    if (hosts.length === 0) this.#cuts.delete(key);
    else this.#cuts.set(key, { ...cut, hosts });
    if (same(cut.hosts ?? [], hosts)) return;
    if (first) this.#found.add(key);
    if (this.#isNews(key, first, hosts.length > 0)) this.#tell(cut, hosts);
  }
  #tell(cut: Cut, hosts: readonly string[]): void {
    for (const { id, accountId, localVpcId } of cut.sides) {
      this.#watcher.news(
        { kind: 'half', halfId: id, accountId, vpcId: localVpcId },
        { notFencedOn: hosts, notInstalledOn: [] },
      );
    }
  }

  /** What the start found open, and still is. */
  #isLasting(): void {
    for (const vpcId of this.#debts.keys()) if (this.#found.has(vpcId)) this.#watcher.touched(vpcId, false);
  }

  #isNews(key: string, first: boolean, open: boolean): boolean {
    if (first) return false;
    const found = this.#found.has(key);
    if (!open) this.#found.delete(key);
    return open || !found || this.#clock() - (this.#began ?? 0) > startGrace;
  }

  #note(vpcId: VpcId, { notFencedOn, notInstalledOn }: Behind, now: number): void {
    const before = this.#debts.get(vpcId)?.since;
    const since = new Map([...notFencedOn, ...notInstalledOn].map((host) => [host, before?.get(host) ?? now]));
    if (since.size === 0) this.#debts.delete(vpcId);
    else this.#debts.set(vpcId, { behind: { notFencedOn, notInstalledOn }, since });
  }

  of(vpcId: VpcId): Behind {
    return this.#debts.get(vpcId)?.behind ?? notBehind;
  }

  /** Hosts that may still carry a peering that ended. */
  ofHalf(half: PeeringHalf): readonly string[] {
    return this.#cuts.get(pairOf(half))?.hosts ?? [];
  }

  close(): void {
    clearTimeout(this.#grace);
  }

  /** VPCs of which something is owed. */
  get vpcs(): number {
    return this.#debts.size;
  }

  byHost(): readonly OwedByHost[] {
    const hosts = new Map<string, OwedByHost>();
    for (const [vpcId, { behind, since }] of this.#debts) {
      for (const [host, began] of since) {
        const known = hosts.get(host) ?? {
          host,
          notFenced: 0,
          notInstalled: 0,
          since: began,
          vpcIds: [],
          problem: null,
        };
        const fence = behind.notFencedOn.includes(host);
        hosts.set(host, {
          host,
          notFenced: known.notFenced + (fence ? 1 : 0),
          notInstalled: known.notInstalled + (fence ? 0 : 1),
          since: Math.min(known.since, began),
          problem: this.#problems.get(host) ?? null,
          vpcIds: known.vpcIds.length < mostNamed ? [...known.vpcIds, vpcId] : known.vpcIds,
        });
      }
    }
    return [...hosts.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
  }
}
