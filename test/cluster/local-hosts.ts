/** The hosts of a bed for a driver in the same process: no network stands between it and their agents. */
import type { AttachmentFact } from '../../src/dataplane/driver.ts';
import type { OvsHost } from '../../src/dataplane/ovn/host.ts';
import type { HostReading, Hosts, MeterRequest } from '../../src/dataplane/ovn/hosts.ts';
import type { PortId } from '../../src/model/ids.ts';
import type { InterfaceSpec } from '../../src/model/network-spec.ts';

/** Calls of one name that a host does not answer until it may. */
interface Held {
  readonly host: string;
  readonly call: 'meter' | 'follow';
  /** How many there were. */
  asked: number;
  readonly answered: Promise<void>;
  readonly answer: () => void;
}

export class LocalHosts implements Hosts {
  readonly #agents: ReadonlyMap<string, OvsHost>;
  readonly #away = new Set<string>();
  readonly #connectedListeners: ((host: string) => void)[] = [];
  readonly #attachmentListeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  readonly #held = new Set<Held>();
  #closed = false;

  /** @param agents by the names that OVN has for their hosts; they stay open when this is closed */
  constructor(agents: ReadonlyMap<string, OvsHost>) {
    this.#agents = agents;
    for (const agent of agents.values()) {
      agent.onAttachment((fact) => {
        if (!this.#closed) for (const listener of this.#attachmentListeners) listener(fact);
      });
      agent.onDetached((portId) => {
        if (!this.#closed) for (const listener of this.#detachedListeners) listener(portId);
      });
    }
  }

  /** As if the connection to a host's agent were lost. */
  lose(host: string): void {
    this.#away.add(host);
  }
  regain(host: string): void {
    this.#away.delete(host);
    for (const listener of this.#connectedListeners) listener(host);
  }

  /** As if a host hung over calls of that name. */
  hold(host: string, call: Held['call']): Held {
    const { promise, resolve } = Promise.withResolvers<void>();
    const held = { host, call, asked: 0, answered: promise, answer: resolve };
    this.#held.add(held);
    void promise.then(() => this.#held.delete(held));
    return held;
  }
  async #wait(host: string, call: Held['call']): Promise<void> {
    for (const held of this.#held) {
      if (held.host !== host || held.call !== call) continue;
      held.asked++;
      await held.answered;
    }
  }

  #agent(host: string): OvsHost {
    const agent = this.#agents.get(host);
    if (agent === undefined || this.#closed || this.#away.has(host)) throw new Error(`${host} is away`);
    return agent;
  }
  connected(): ReadonlySet<string> {
    return new Set([...this.#agents.keys()].filter((host) => !this.#away.has(host)));
  }
  async fence(host: string, number: number): Promise<number> {
    return this.#agent(host).fence(number);
  }
  async meter(host: string, request: MeterRequest): Promise<HostReading> {
    await this.#wait(host, 'meter');
    return this.#agent(host).meter(request);
  }
  attachments(): readonly (AttachmentFact & { readonly host: string })[] {
    return [...this.#agents].flatMap(([host, agent]) => agent.attachments().map((fact) => ({ ...fact, host })));
  }
  async follow(host: string, spec: InterfaceSpec): Promise<void> {
    await this.#wait(host, 'follow');
    await this.#agent(host).follow(spec);
  }
  async release(host: string, portId: PortId): Promise<void> {
    await this.#agent(host).detach(portId);
  }
  onConnected(listener: (host: string) => void): void {
    this.#connectedListeners.push(listener);
  }
  onAttachment(listener: (fact: AttachmentFact) => void): void {
    this.#attachmentListeners.push(listener);
  }
  onDetached(listener: (portId: PortId) => void): void {
    this.#detachedListeners.push(listener);
  }
  async close(): Promise<void> {
    this.#closed = true;
  }
}
