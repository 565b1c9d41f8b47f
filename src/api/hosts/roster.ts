/**
 * Which hosts are connected to this server, and what they told: the workloads that each of them has. A host that is away
 * keeps what it told last. Knows no socket.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AttachmentFact } from '../../dataplane/driver.ts';
import type { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import { mostWorkloads } from '../../dataplane/ovn/host-wire.ts';
import type { HostName, PortId } from '../../model/ids.ts';

export type HostFact = AttachmentFact & { readonly host: HostName };

interface Listener {
  readonly changed: (fact: AttachmentFact) => void;
  readonly detached: (portId: PortId) => void;
}

export class Roster {
  readonly #links = new Map<HostName, { readonly link: LinkToHost; readonly since: number }>();
  readonly #facts = new Map<HostName, Map<PortId, AttachmentFact>>();
  /** The same by interface: which hosts told of it. */
  readonly #tellers = new Map<PortId, Set<HostName>>();
  readonly #listener: Listener;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  get connected(): ReadonlySet<HostName> {
    return new Set(this.#links.keys());
  }
  link(host: HostName): LinkToHost | undefined {
    return this.#links.get(host)?.link;
  }
  /** When it connected, in milliseconds since the epoch. */
  since(host: HostName): number | undefined {
    return this.#links.get(host)?.since;
  }

  /** A host has told all that it has. An earlier connection of the same host ends. */
  connect(host: HostName, link: LinkToHost, facts: readonly AttachmentFact[]): void {
    const before = this.#links.get(host)?.link;
    this.#links.set(host, { link, since: Date.now() });
    if (before !== link) before?.close('the same host has connected anew');
    const now = new Set(facts.map(({ portId }) => portId));
    for (const portId of this.#facts.get(host)?.keys() ?? []) if (!now.has(portId)) this.tell(host, portId, null);
    for (const fact of facts) this.tell(host, fact.portId, fact);
  }
  /** @returns whether this was the connection that counts */
  disconnect(host: HostName, link: LinkToHost): boolean {
    return this.#links.get(host)?.link === link && this.#links.delete(host);
  }

  /** @param fact null: the workload was taken off */
  tell(host: HostName, portId: PortId, fact: AttachmentFact | null): void {
    let own = this.#facts.get(host);
    if (own === undefined) {
      own = new Map();
      this.#facts.set(host, own);
    }
    const before = own.get(portId);
    if (fact === null) {
      if (before === undefined) return;
      own.delete(portId);
      this.#unname(host, portId);
      // It may have come up on another host before this one told that it has gone.
      const elsewhere = this.place(portId);
      if (elsewhere === undefined) this.#listener.detached(portId);
      else this.#listener.changed(bare(elsewhere));
      return;
    }
    own.set(portId, fact);
    const tellers = this.#tellers.get(portId);
    if (tellers === undefined) this.#tellers.set(portId, new Set([host]));
    else tellers.add(host);
    if (!isDeepStrictEqual(before, fact)) this.#listener.changed(fact);
  }

  #unname(host: HostName, portId: PortId): void {
    const tellers = this.#tellers.get(portId);
    tellers?.delete(host);
    if (tellers?.size === 0) this.#tellers.delete(portId);
  }

  /** Of a host that is no more. */
  forget(host: HostName): void {
    for (const portId of [...(this.#facts.get(host)?.keys() ?? [])]) this.tell(host, portId, null);
    this.#facts.delete(host);
  }

  /** Where an interface has its workload: a whole one rather than one that has vanished. */
  place(portId: PortId): HostFact | undefined {
    let found: HostFact | undefined;
    for (const host of this.#tellers.get(portId) ?? []) {
      const fact = this.#facts.get(host)?.get(portId);
      if (fact !== undefined && found?.state !== 'attached') found = { ...fact, host };
    }
    return found;
  }
  /** Hosts that are connected and say that an interface is attached there, by name. */
  claimants(portId: PortId): readonly HostName[] {
    // What one that is away told last may no longer be so.
    return [...(this.#tellers.get(portId) ?? [])]
      .filter((host) => this.#links.has(host) && this.#facts.get(host)?.get(portId)?.state === 'attached')
      .sort();
  }
  /** Whether a host has told of as many workloads as one can have, and not of this one. */
  isFull(host: HostName, portId: PortId): boolean {
    const facts = this.#facts.get(host);
    return facts !== undefined && facts.size >= mostWorkloads && !facts.has(portId);
  }
  /** What a host told; null when it has told nothing yet. */
  of(host: HostName): readonly AttachmentFact[] | null {
    const facts = this.#facts.get(host);
    return facts === undefined ? null : [...facts.values()];
  }
  all(): readonly HostFact[] {
    return [...this.#facts].flatMap(([host, facts]) => [...facts.values()].map((fact) => ({ ...fact, host })));
  }
}

const bare = ({ host: _, ...fact }: HostFact): AttachmentFact => fact;
