/**
 * The hosts that carry the packets, as the driver sees them. Behind it stands an agent on each host (`host.ts`), in this
 * process or across the network.
 */
import type { HalfId, PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import type { AttachmentFact, HalfReading } from '../driver.ts';

/** What an agent is asked for when counts are read. */
export interface MeterRequest {
  /** Of the plane: counts of another one are forgotten. */
  readonly epoch: string;
  /** The halves that exist, and the flow cookies of those that carry packets now: 8 hexadecimal digits, or ''. */
  readonly halves: readonly (readonly [HalfId, cookie: string])[];
  /** Lives that are booked for good. */
  readonly booked: readonly string[];
}
export interface HostReading {
  readonly running: readonly HalfReading[];
  readonly retired: readonly HalfReading[];
}

export interface Hosts {
  /** Names of the hosts that can be asked now: the chassis names that OVN knows them by. */
  connected(): ReadonlySet<string>;
  /**
   * Resolves once the host has installed this configuration (`nb_cfg`), and nothing decided before it is remembered in
   * its datapath.
   * @returns the configuration that is proven, this one or a later one
   * @throws when the host cannot be asked any more
   */
  fence(host: string, number: number): Promise<number>;
  /** @throws when the host cannot be asked */
  meter(host: string, request: MeterRequest): Promise<HostReading>;
  /** The workloads of the hosts that have told of theirs. A host that is away keeps what it told last. */
  attachments(): readonly (AttachmentFact & { readonly host: string })[];
  /** Tells the workload of an interface, if the host has one, of its new addresses. @throws when the host cannot be asked */
  follow(host: string, spec: InterfaceSpec): Promise<void>;
  /** Takes the workload off an interface that is no more. @throws when the host cannot be asked */
  release(host: string, portId: PortId): Promise<void>;
  onConnected(listener: (host: string) => void): void;
  onAttachment(listener: (fact: AttachmentFact) => void): void;
  /** Called when a host says that an interface has no workload there any more. */
  onDetached(listener: (portId: PortId) => void): void;
  close(): Promise<void>;
}
