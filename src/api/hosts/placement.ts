/** On which host an interface may be: on one at a time. */
import type { Logger } from 'pino';
import { DriverError } from '../../dataplane/driver.ts';
import { refuse } from '../../model/errors.ts';
import type { HostName, PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import type { HostsRegion } from './hosts-region.ts';
import { refused } from './refused-host.ts';
import type { Roster } from './roster.ts';

/** Between the word that a host may attach an interface and its word that it has, in milliseconds. */
const reservation = 30_000;

export interface PlacementOptions {
  readonly region: Pick<HostsRegion, 'state' | 'view'>;
  readonly roster: Pick<Roster, 'place' | 'all' | 'connected'>;
  /** Takes a workload off. @throws when the host cannot be asked */
  readonly release: (host: HostName, portId: PortId) => Promise<void>;
  readonly log: Logger;
}

export class Placement {
  readonly #options: PlacementOptions;
  readonly #reserved = new Map<PortId, { readonly host: HostName; readonly until: number }>();

  constructor(options: PlacementOptions) {
    this.#options = options;
  }

  /** The interface that a host is about to attach. @throws DriverError saying why it may not */
  async grant(host: HostName, portId: PortId): Promise<InterfaceSpec> {
    const { region, roster, release } = this.#options;
    if (region.state.get('host', host)?.state !== 'active') throw refused(refuse('host-draining', { name: host }));
    const there = roster.place(portId);
    if (there !== undefined && there.host !== host) {
      if (there.state === 'attached') {
        throw refused(refuse('attached-elsewhere', { id: portId, host: there.host }), 'already-attached');
      }
      // What has vanished there would be in the way of what comes here.
      await release(there.host, portId).catch(() => {});
    }
    const spec = region.view.interface(portId)?.spec;
    if (spec === undefined) throw new DriverError('unknown-interface', `no interface ${portId} in the network`);
    const now = performance.now();
    const other = this.#reserved.get(portId);
    if (other !== undefined && other.host !== host && other.until > now) {
      throw refused(refuse('attached-elsewhere', { id: portId, host: other.host }), 'already-attached');
    }
    for (const [id, { until }] of this.#reserved) if (until <= now) this.#reserved.delete(id);
    this.#reserved.set(portId, { host, until: now + reservation });
    return spec;
  }

  /** A host has said what became of an interface. */
  told(host: HostName, portId: PortId): void {
    if (this.#reserved.get(portId)?.host === host) this.#reserved.delete(portId);
  }

  /**
   * Two hosts that asked two servers at the same moment may both have been told that they may. The one whose name comes first
   * keeps the interface: the same on every server, whatever it heard first.
   */
  settle(portId: PortId): void {
    const { roster, release, log } = this.#options;
    const [keeper, ...others] = roster
      .all()
      // What one that is away told last may no longer be so; it is settled when it is back.
      .filter((one) => one.portId === portId && one.state === 'attached' && roster.connected.has(one.host))
      .map(({ host }) => host)
      .sort();
    for (const host of others) {
      log.warn({ portId, keeper, host }, 'an interface is attached on two hosts');
      release(host, portId).catch(() => {}); // it has let go already, or is away and will be asked when it is back
    }
  }
}
