/**
 * A data plane in memory on several hosts of which some are away: it carries every change out at once, and says of which
 * VPCs a host that is away has not proven it, as the OVN driver does.
 */
import type { Owed, Plan, Step } from '../../src/dataplane/driver.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import type { VpcId } from '../../src/model/ids.ts';

const vpcIdOf = ({ vpcId }: Step): VpcId => vpcId;

export class OwingDriver extends FakeDriver {
  /** Hosts that are away, and the VPCs with interfaces there; null: all. */
  readonly #away = new Map<string, ReadonlySet<VpcId> | null>();
  readonly #cut = new Map<VpcId, Set<string>>();
  readonly #add = new Map<VpcId, Set<string>>();
  readonly #listeners: (() => void)[] = [];

  /** A host goes; what it has proven stays proven. */
  leave(host: string, vpcIds: readonly VpcId[] | null = null): void {
    this.#away.set(host, vpcIds === null ? null : new Set(vpcIds));
  }
  /** It is back, and proves all that it owes. */
  comeBack(host: string): void {
    this.#away.delete(host);
    for (const debts of [this.#cut, this.#add]) {
      for (const [vpcId, hosts] of debts) {
        hosts.delete(host);
        if (hosts.size === 0) debts.delete(vpcId);
      }
    }
    for (const listener of this.#listeners) listener();
  }

  override async apply(plan: Plan): Promise<void> {
    await super.apply(plan);
    const touched = new Set([...plan.make, ...plan.break].map(vpcIdOf));
    const debts = plan.break.length > 0 ? this.#cut : this.#add;
    for (const [host, there] of this.#away) {
      if (there !== null && ![...touched].some((vpcId) => there.has(vpcId))) continue;
      for (const vpcId of touched) debts.set(vpcId, new Set([...(debts.get(vpcId) ?? []), host]));
    }
    for (const listener of this.#listeners) listener();
  }

  owed(): readonly Owed[] {
    return [...new Set([...this.#cut.keys(), ...this.#add.keys()])].sort().map((vpcId) => {
      const cut = [...(this.#cut.get(vpcId) ?? [])].sort();
      const add = [...(this.#add.get(vpcId) ?? [])].filter((host) => !cut.includes(host)).sort();
      return { vpcId, notFencedOn: cut, notInstalledOn: add };
    });
  }
  onOwedChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}
