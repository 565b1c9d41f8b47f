/**
 * What the hosts must be told of their workloads: that an interface is gone, or has other addresses. No host waits for
 * another; one that is away, or fails, is told later. Knows nothing of OVN.
 */
import { isDeepStrictEqual } from 'node:util';
import type { PortId } from '../../model/ids.ts';
import type { InterfaceSpec, VpcSpec } from '../../model/network-spec.ts';
import { HostWords } from './host-words.ts';
import type { Hosts } from './hosts.ts';

/** A database that was lost knows no interface until the network is written anew: long enough for that. */
const defaultStrayPatience = 60_000;
/** How long a change waits until workloads are told, in milliseconds. */
const defaultPatience = 2_000;

export type Interfaces = ReadonlyMap<PortId, InterfaceSpec>;
export const interfacesOf = (specs: Iterable<VpcSpec>): Interfaces =>
  new Map([...specs].flatMap(({ interfaces }) => interfaces.map((spec) => [spec.id, spec] as const)));

type Asked = Pick<Hosts, 'attachments' | 'connected' | 'follow' | 'release'>;

export class Workloads {
  readonly #hosts: Asked;
  readonly #strayPatience: number;
  readonly #patience: number;
  readonly #words = new Map<string, HostWords>();
  /** Workloads on interfaces that nobody knows, and since when. */
  readonly #strays = new Map<string, number>();

  /**
   * @param strayPatience milliseconds after which a workload on an interface that nobody knows is taken off
   * @param patience milliseconds that a change waits until workloads are told
   */
  constructor(hosts: Asked, strayPatience = defaultStrayPatience, patience = defaultPatience) {
    this.#hosts = hosts;
    this.#strayPatience = strayPatience;
    this.#patience = patience;
  }

  #for(host: string): HostWords {
    const words = this.#words.get(host) ?? new HostWords(host, this.#hosts);
    this.#words.set(host, words);
    return words;
  }

  /**
   * After a change of the network; to be called in the order of the changes.
   * @param before interfaces that it touches, as they were @param now as they are
   * @returns resolves once their workloads were told, but for those on hosts that do not answer
   */
  async changed(before: Interfaces, now: Interfaces): Promise<void> {
    const told: Promise<void>[] = [];
    const concerned = new Set<HostWords>();
    for (const { host, portId } of this.#hosts.attachments()) {
      const [was, is] = [before.get(portId), now.get(portId)];
      const words = this.#for(host);
      // What is still to be told may be old by now.
      const open = words.has(portId) && (was ?? is) !== undefined;
      if (!open && (was === undefined || isDeepStrictEqual(was.addresses, is?.addresses))) continue;
      concerned.add(words);
      const tried = words.add(portId, is ?? null);
      if (words.answers(this.#patience)) told.push(tried);
    }
    for (const words of concerned) void words.tell();
    if (told.length > 0) await this.#within(Promise.all(told));
  }
  #within(told: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#patience);
      void told.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** A host is there again: what changed meanwhile it does not know. */
  returned(host: string, now: Interfaces): void {
    const words = this.#for(host);
    for (const { host: of, portId } of this.#hosts.attachments()) {
      const spec = now.get(portId);
      if (of === host && spec !== undefined) void words.add(portId, spec);
    }
    void words.tell();
  }
  /** What is still to be told; and takes workloads off interfaces that went while their host was away. */
  look(now: Interfaces): void {
    const attachments = this.#hosts.attachments();
    const strays = attachments.filter(({ portId }) => !now.has(portId));
    const names = new Set(strays.map(({ host, portId }) => `${host} ${portId}`));
    for (const name of this.#strays.keys()) if (!names.has(name)) this.#strays.delete(name);
    for (const { host, portId } of strays) {
      const since = this.#strays.get(`${host} ${portId}`) ?? performance.now();
      this.#strays.set(`${host} ${portId}`, since);
      if (performance.now() - since >= this.#strayPatience) void this.#for(host).add(portId, null);
    }
    for (const [host, words] of this.#words) {
      words.keep(new Set(attachments.flatMap((fact) => (fact.host === host ? [fact.portId] : []))));
      void words.tell();
    }
  }
  async releaseAll(): Promise<void> {
    const told = this.#hosts.attachments().map(({ host, portId }) => this.#for(host).add(portId, null));
    for (const words of this.#words.values()) void words.tell();
    await Promise.all(told);
  }
}
