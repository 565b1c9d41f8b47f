/** On which host an interface may be: on one at a time. What it knows of who is about to attach is this server's alone. */
import type { Logger } from 'pino';
import { DriverError } from '../../dataplane/driver.ts';
import { refuse } from '../../model/errors.ts';
import type { HostName, PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import type { HostsRegion } from './hosts-region.ts';
import { refused } from './refused-host.ts';
import type { Roster } from './roster.ts';
import { SparingLog } from './sparing-log.ts';

/** Between the word that a host may attach an interface and its word that it has, in milliseconds. */
const reservation = 30_000;
/** How long the host that had it may take to let go: less than the one that asks waits for its answer (10 s). */
const letGoPatience = 5_000;

export interface PlacementOptions {
  readonly region: Pick<HostsRegion, 'state' | 'view'>;
  readonly roster: Pick<Roster, 'place' | 'claimants'>;
  /** Takes a workload off. @throws when the host cannot be asked */
  readonly release: (host: HostName, portId: PortId, patience?: number) => Promise<void>;
  readonly log: Logger;
}

interface Reservation {
  readonly host: HostName;
  /** The connection that asked. */
  readonly by: object;
  until: number;
}

export class Placement {
  readonly #options: PlacementOptions;
  readonly #log: SparingLog;
  readonly #reserved = new Map<PortId, Reservation>();
  /** What hosts are still to be asked to let go of. */
  readonly #lost = new Map<HostName, Set<PortId>>();

  constructor(options: PlacementOptions) {
    this.#options = options;
    this.#log = new SparingLog(options.log);
  }

  /**
   * The interface that a host is about to attach. From the question on it is kept for that host, until it says what became
   * of it or the connection ends.
   * @param by the connection @throws DriverError saying why it may not
   */
  async grant(host: HostName, portId: PortId, by: object): Promise<InterfaceSpec> {
    const { roster, release } = this.#options;
    this.#look(host, portId);
    const mine: Reservation = { host, by, until: performance.now() + reservation };
    this.#reserved.set(portId, mine);
    try {
      const there = roster.place(portId);
      // What has vanished there would be in the way of what comes here.
      if (there !== undefined && there.host !== host) await release(there.host, portId, letGoPatience).catch(() => {});
      if (this.#reserved.get(portId) !== mine) throw new DriverError('unavailable', `${host} has let go of ${portId}`);
      mine.until = performance.now() + reservation;
      // Anew: that took a while.
      return this.#look(host, portId);
    } catch (error) {
      if (this.#reserved.get(portId) === mine) this.#reserved.delete(portId);
      throw error;
    }
  }

  /** @throws DriverError where it may not have it */
  #look(host: HostName, portId: PortId): InterfaceSpec {
    const { region, roster } = this.#options;
    if (region.state.get('host', host)?.state !== 'active') throw refused(refuse('host-draining', { name: host }));
    const now = performance.now();
    for (const [id, { until }] of this.#reserved) if (until <= now) this.#reserved.delete(id);
    const [there, other] = [roster.place(portId), this.#reserved.get(portId)];
    const elsewhere = there?.state === 'attached' && there.host !== host ? there.host : other?.host;
    if (elsewhere !== undefined && elsewhere !== host) {
      throw refused(refuse('attached-elsewhere', { id: portId, host: elsewhere }), 'already-attached');
    }
    const spec = region.view.interface(portId)?.spec;
    if (spec === undefined) throw new DriverError('unknown-interface', `no interface ${portId} in the network`);
    return spec;
  }

  /** A host has said what became of an interface. */
  told(host: HostName, portId: PortId): void {
    if (this.#reserved.get(portId)?.host === host) this.#reserved.delete(portId);
  }
  /**
   * A connection has ended: nothing is kept for it. Should its host have heard the answer and attach, it tells so when it is
   * back, and `settle` decides.
   */
  ended(by: object): void {
    for (const [portId, one] of this.#reserved) if (one.by === by) this.#reserved.delete(portId);
  }

  /**
   * Two hosts that asked two servers at the same moment may both have been told that they may. The one whose name comes first
   * keeps the interface: the same on every server, whatever it heard first. One that is away is settled when it is back.
   */
  settle(portIds: Iterable<PortId>): void {
    const { roster } = this.#options;
    const lost = new Map<HostName, PortId[]>();
    for (const portId of portIds) {
      for (const host of roster.claimants(portId).slice(1)) {
        const own = lost.get(host);
        if (own === undefined) lost.set(host, [portId]);
        else own.push(portId);
      }
    }
    for (const [host, own] of lost) {
      this.#log.warn({ host, portId: own[0], interfaces: own.length }, 'interfaces are attached on another host too');
      void this.#takeOff(host, own);
    }
  }
  /** One after the other: a host that is asked too much at once ends its connection. */
  async #takeOff(host: HostName, portIds: readonly PortId[]): Promise<void> {
    const { roster, release } = this.#options;
    const waiting = this.#lost.get(host);
    for (const portId of portIds) waiting?.add(portId);
    if (waiting !== undefined) return;
    const own = new Set(portIds);
    this.#lost.set(host, own);
    for (const portId of own) {
      own.delete(portId);
      // Else it has let go already, or is away and will be asked when it is back.
      if (roster.claimants(portId).indexOf(host) > 0) await release(host, portId).catch(() => {});
    }
    this.#lost.delete(host);
  }
}
