/**
 * What the hosts must be told of their workloads: that an interface is gone, or has other addresses. A host that is away,
 * or fails, is told later. Knows nothing of OVN.
 */
import { isDeepStrictEqual } from 'node:util';
import type { PortId } from '../../model/ids.ts';
import type { InterfaceSpec, VpcSpec } from '../../model/network-spec.ts';
import type { Hosts } from './hosts.ts';

/** A database that was lost knows no interface until the network is written anew: long enough for that. */
const defaultStrayPatience = 60_000;

export type Interfaces = ReadonlyMap<PortId, InterfaceSpec>;
export const interfacesOf = (specs: Iterable<VpcSpec>): Interfaces =>
  new Map([...specs].flatMap(({ interfaces }) => interfaces.map((spec) => [spec.id, spec] as const)));

export class Workloads {
  readonly #hosts: Hosts;
  readonly #strayPatience: number;
  /** Interfaces whose workload does not know its addresses yet. */
  readonly #untold = new Set<PortId>();
  /** Workloads on interfaces that nobody knows, and since when. */
  readonly #strays = new Map<string, number>();

  /** @param strayPatience milliseconds after which a workload on an interface that nobody knows is taken off */
  constructor(hosts: Hosts, strayPatience = defaultStrayPatience) {
    this.#hosts = hosts;
    this.#strayPatience = strayPatience;
  }

  /**
   * After a change of the network.
   * @param before interfaces that it touches, as they were @param now as they are
   * @param all of the whole network: asked for only where somebody is still to be told
   */
  async changed(before: Interfaces, now: Interfaces, all: () => Interfaces): Promise<void> {
    for (const { host, portId } of this.#hosts.attachments()) {
      const [was, is] = [before.get(portId), now.get(portId)];
      if (was === undefined) continue;
      if (is === undefined) await this.#release(host, portId);
      else if (!isDeepStrictEqual(was.addresses, is.addresses)) this.#untold.add(portId);
    }
    if (this.#untold.size > 0) await this.#tell(all());
  }
  /** A host is there again: what changed meanwhile it does not know. */
  async returned(host: string, now: Interfaces): Promise<void> {
    for (const fact of this.#hosts.attachments()) if (fact.host === host) this.#untold.add(fact.portId);
    await this.#tell(now);
  }
  /** What is still to be told; and takes workloads off interfaces that went while their host was away. */
  async look(now: Interfaces): Promise<void> {
    const strays = this.#hosts.attachments().filter(({ portId }) => !now.has(portId));
    const names = new Set(strays.map(({ host, portId }) => `${host} ${portId}`));
    for (const name of this.#strays.keys()) if (!names.has(name)) this.#strays.delete(name);
    for (const { host, portId } of strays) {
      const since = this.#strays.get(`${host} ${portId}`) ?? performance.now();
      this.#strays.set(`${host} ${portId}`, since);
      if (performance.now() - since >= this.#strayPatience) await this.#release(host, portId);
    }
    await this.#tell(now);
  }
  async releaseAll(): Promise<void> {
    for (const { host, portId } of this.#hosts.attachments()) await this.#release(host, portId);
  }

  /** A host that cannot be asked is asked again when it is found to have a stray. */
  async #release(host: string, portId: PortId): Promise<void> {
    if (this.#hosts.connected().has(host)) await this.#hosts.release(host, portId).catch(() => {});
  }
  async #tell(now: Interfaces): Promise<void> {
    if (this.#untold.size === 0) return;
    const places = new Map(this.#hosts.attachments().map(({ portId, host }) => [portId, host]));
    for (const portId of [...this.#untold]) {
      const [spec, host] = [now.get(portId), places.get(portId)];
      try {
        if (spec !== undefined && host !== undefined) await this.#hosts.follow(host, spec);
        this.#untold.delete(portId);
      } catch {
        // Its host is away, or could not: with the next look.
      }
    }
  }
}
