/**
 * Where the hosts of a region call in. A host speaks for itself alone: its name is that of its certificate, and its
 * certificate that which the store knows it by. To the driver this is the hosts (`Hosts`).
 */
import type { Logger } from 'pino';
import { type AttachmentFact, DriverError } from '../../dataplane/driver.ts';
import type { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import type { HostReading, Hosts, MeterRequest } from '../../dataplane/ovn/hosts.ts';
import { type PlainReading, readingFrom } from '../../dataplane/wire.ts';
import { isHostName, type PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import type { Change, Host } from '../../model/resources.ts';
import { Admission } from './admission.ts';
import { Door } from './door.ts';
import { authorityOf, type HostsRegion, isKeyOf } from './hosts-region.ts';
import { Placement } from './placement.ts';
import { Roster } from './roster.ts';
import { Session } from './session.ts';
import { SparingLog } from './sparing-log.ts';

export interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  readonly installationId: string;
  /** The southbound database as hosts reach it. */
  readonly southbound: readonly string[];
  readonly log: Logger;
}

const callPatience = 15_000;
const meterPatience = 60_000;

export class HostGateway implements Hosts {
  readonly #roster: Roster;
  readonly #connectedListeners: ((host: string) => void)[] = [];
  readonly #attachmentListeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  #door: Door | null = null;

  constructor() {
    this.#roster = new Roster({
      changed: (fact) => {
        for (const listener of this.#attachmentListeners) listener(fact);
      },
      detached: (portId) => {
        for (const listener of this.#detachedListeners) listener(portId);
      },
    });
  }

  get roster(): Pick<Roster, 'connected' | 'since' | 'of' | 'place'> {
    return this.#roster;
  }

  /** Begins to listen. @throws ListenError */
  async open(region: HostsRegion, options: GatewayOptions): Promise<void> {
    const { host, port, installationId, southbound, log } = options;
    const roster = this.#roster;
    const known = isKeyOf.bind(null, region);
    const admission = new Admission({ region, installationId, southbound, log });
    const placement = new Placement({ region, roster, release: (...of) => this.#release(...of), log });
    const onConnected = (name: string): void => {
      for (const listener of this.#connectedListeners) listener(name);
    };
    const refusals = new SparingLog(log);
    const session = { installationId, roster, placement, isKeyOf: known, onConnected, log, refusals };
    const door = await Door.open({
      installationId,
      ...{ host, port, log, authority: await authorityOf(region), isKeyOf: known },
      onHost: (caller) => void new Session(caller, session),
      onStranger: (socket) => admission.receive(socket),
    });
    this.#door = door;
    region.onChanges((changes) => this.#look(door, changes));
  }

  /** The port that was taken. */
  get port(): number {
    return this.#door?.port ?? 0;
  }

  /** A host that was removed, or has another key now, is cut at once. */
  #look(door: Door, changes: readonly Change[]): void {
    for (const change of changes) {
      const before = change.op === 'delete' && change.kind === 'host' ? change.id : null;
      const now: Host | null = change.op === 'put' && change.resource.kind === 'host' ? change.resource : null;
      const host = now?.id ?? before ?? '';
      if (!isHostName(host)) continue;
      const gone = now === null || now.state === 'invited';
      door.cut(host, gone ? null : now.keyHash);
      if (gone) {
        this.#roster.link(host)?.close('it was removed');
        this.#roster.forget(host);
      }
    }
  }

  // What the driver asks.

  #link(host: string): LinkToHost {
    const link = isHostName(host) ? this.#roster.link(host) : undefined;
    if (link === undefined) throw new DriverError('unavailable', `the agent of host ${host} is not connected`);
    return link;
  }
  connected(): ReadonlySet<string> {
    return this.#roster.connected;
  }
  async fence(host: string, number: number): Promise<number> {
    const { proven } = await this.#link(host).call('fence', { number });
    return proven;
  }
  async meter(host: string, { epoch, halves, booked }: MeterRequest): Promise<HostReading> {
    const params = { epoch, halves: halves.map(([id, cookie]): [string, string] => [id, cookie]), booked: [...booked] };
    const answer: unknown = await this.#link(host).call('meter', params, meterPatience);
    // Checked against the schema of the answer.
    return readingFrom(answer as PlainReading);
  }
  attachments(): readonly (AttachmentFact & { readonly host: string })[] {
    return this.#roster.all();
  }
  async follow(host: string, spec: InterfaceSpec): Promise<void> {
    const plain = { ...spec, addresses: spec.addresses.map((one) => ({ ...one })) };
    await this.#link(host).call('follow', { spec: plain }, callPatience);
  }
  release(host: string, portId: PortId): Promise<void> {
    return this.#release(host, portId);
  }
  async #release(host: string, portId: PortId, patience = callPatience): Promise<void> {
    await this.#link(host).call('release', { portId }, patience);
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
    const door = this.#door;
    this.#door = null;
    await door?.close();
  }
}
