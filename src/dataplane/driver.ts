/**
 * What every data plane promises, whatever carries the packets. `test/contract` holds each driver to it.
 *
 * - `observe` reads what is there now; it never answers from memory.
 * - `apply` makes before it breaks, ends with one fence, and may be called again with the same plan: when it resolves
 *   with `ok`, no packet that was admitted by what the plan removed enters any interface again (P4 in
 *   docs/architecture.md). When it fails it throws a `DriverError`; the caller observes again and never assumes.
 * - A plan that does not fit is refused before its first write (`DriverError.code === 'does-not-fit'`, naming the table).
 * - A break step never takes an address that the same plan gave to another interface (an address that moves).
 * - Objects that are not ours are reported by `observe`, never touched.
 */

import type { Packet, Verdict } from '../explain/explain.ts';
import type { Exit } from '../model/drop-reason.ts';
import type { HalfId, PortId, RouteTableId, VpcId } from '../model/ids.ts';
import type { Address, Prefix } from '../model/ip.ts';
import type { HalfSpec, InterfaceSpec, NetworkSpec, RouteSpec } from '../model/network-spec.ts';

/** One step of a plan. `make` steps only add or replace; `break` steps only remove or kill. */
export type Step =
  | { readonly step: 'put-vpc'; readonly vpcId: VpcId }
  | { readonly step: 'put-route-table'; readonly vpcId: VpcId; readonly routeTableId: RouteTableId }
  | { readonly step: 'put-half'; readonly vpcId: VpcId; readonly half: HalfSpec }
  | {
      readonly step: 'put-interface';
      readonly vpcId: VpcId;
      readonly before: InterfaceSpec | null;
      readonly interface: InterfaceSpec;
    }
  | {
      readonly step: 'put-route';
      readonly vpcId: VpcId;
      readonly routeTableId: RouteTableId;
      readonly route: RouteSpec;
    }
  | {
      readonly step: 'remove-route';
      readonly vpcId: VpcId;
      readonly routeTableId: RouteTableId;
      readonly destination: Prefix;
    }
  | { readonly step: 'kill-half'; readonly vpcId: VpcId; readonly halfId: HalfId }
  /** Takes single addresses away from an interface that stays. */
  | {
      readonly step: 'remove-addresses';
      readonly vpcId: VpcId;
      readonly portId: PortId;
      readonly addresses: readonly Address[];
    }
  | { readonly step: 'remove-interface'; readonly vpcId: VpcId; readonly portId: PortId }
  | { readonly step: 'remove-half'; readonly vpcId: VpcId; readonly halfId: HalfId }
  | { readonly step: 'remove-route-table'; readonly vpcId: VpcId; readonly routeTableId: RouteTableId }
  | { readonly step: 'remove-vpc'; readonly vpcId: VpcId };

/** The difference between what is and what is wanted, in the order to carry out. Empty means: nothing to write. */
export interface Plan {
  readonly make: readonly Step[];
  readonly break: readonly Step[];
}

/** Where the workload end of an interface is now, as the kernel shows it. */
export interface AttachmentFact {
  readonly portId: PortId;
  /** 'attached': device pair whole. 'vanished': the workload's end or its namespace died without a detach. */
  readonly state: 'attached' | 'vanished';
  /** What the operator named: `netns:NAME` or `pid:N`. */
  readonly target: string;
  /** Name of the device inside the workload. */
  readonly device: string;
  /** Bytes of IP packet that the workload accepts. */
  readonly mtu: number;
  /** Whether the workload's end is up; null when it cannot be seen. */
  readonly up: boolean | null;
}

/** What is in the plane now. */
export interface Observed {
  readonly network: NetworkSpec;
  readonly attachments: readonly AttachmentFact[];
  /** Names of objects in our places that are not ours. */
  readonly foreign: readonly string[];
  /** Entries of ours that contradict themselves (hand-made damage): described, and healed by `repair`. */
  readonly damage: readonly string[];
}

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}
/** Monotonic while the plane lives; survives restarts of every process. Bytes and packets as on the wire (GSO split). */
export interface Counters {
  /** Another one when the plane began anew (reboot, purge, tables made again), and with it every count. */
  readonly epoch: string;
  /** Packets of this half's direction: local → remote. The mirror half counts the replies. */
  readonly halves: ReadonlyMap<HalfId, Count>;
  /** Every exit of packets that came from this interface. The sum over the exits is what it sent. */
  readonly exits: ReadonlyMap<PortId, ReadonlyMap<Exit, Count>>;
  /** Packets from devices that belong to no interface, and of the host's own stack. */
  readonly unowned: ReadonlyMap<Exit, Count>;
  /** Fences since the driver was opened, and how long was waited for them in all. */
  readonly fences: { readonly count: number; readonly seconds: number };
}

/** What one half carried, local → remote, since its count began. */
export interface HalfReading {
  readonly halfId: HalfId;
  /**
   * Which count this is. A half whose count begins at zero again, with another plane or because the plane had forgotten
   * it, has another life; no two lives ever have the same name. With many hosts it begins with the name of the host
   * that counts, and `/`. At most 128 characters.
   */
  readonly life: string;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Whoever tells it has nothing to do with the half, as far as the driver knows: it counts if its life is known already. */
  readonly doubtful?: true;
}
/** All that a meter must know of the plane. Lives that carried nothing may be left out. */
export interface MeterReading {
  /** Counts that may still grow. */
  readonly running: readonly HalfReading[];
  /** Final counts of halves that the plane no longer holds. Kept, also over restarts, until they are said to be booked. */
  readonly retired: readonly HalfReading[];
  /** The hosts that told theirs: of lives of others nothing is known now. Without: nobody else could. */
  readonly from?: ReadonlySet<string>;
}

export interface AttachRequest {
  readonly portId: PortId;
  readonly target: { readonly kind: 'netns'; readonly name: string } | { readonly kind: 'pid'; readonly pid: number };
  /** Name for the device inside the workload, default `eth0`. */
  readonly device?: string;
  /** Bytes of IP packet, 1280–65535, default 1500. */
  readonly mtu?: number;
}

/** One packet, or one large one that leaves a wire as several. */
export interface FlowRecord {
  /** Grows by one with each record. */
  readonly number: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** The sender's interface, and the half it went over; null for none. */
  readonly portId: string | null;
  readonly halfId: string | null;
  readonly exit: Exit;
  readonly protocol: number;
  /** '' where the packet had none that could be read. */
  readonly source: string;
  readonly destination: string;
  /** 0 for a protocol without ports. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly packets: number;
  readonly bytes: number;
}
export interface FlowPage {
  readonly records: readonly FlowRecord[];
  /** To ask for what comes after these. */
  readonly next: number;
  /** Records lost since sampling was switched on: no room in the ring, or nobody asked in time. */
  readonly lost: number;
}

/** What hosts have not proven yet of the changes to a VPC. */
export interface Owed {
  readonly vpcId: VpcId;
  /** Hosts that may still carry what was taken away. */
  readonly notFencedOn: readonly string[];
  /** Hosts that may not yet carry what was added. */
  readonly notInstalledOn: readonly string[];
  /** Why those hosts did not prove it when they were asked last, by name, as far as is known. */
  readonly problems?: { readonly [host: string]: string };
}

export type ProbeState = 'yes' | 'no' | 'unknown';
/** One feature the driver needs or uses, tried for real. */
export interface ProbeRow {
  readonly feature: string;
  readonly state: ProbeState;
  readonly required: boolean;
  /** What was seen, and if missing what to do about it. */
  readonly detail: string;
}

export type DriverErrorCode =
  | 'does-not-fit'
  | 'unknown-interface'
  | 'already-attached'
  | 'not-attached'
  | 'no-such-target'
  | 'device-exists'
  | 'kernel'
  | 'unavailable'
  | 'not-supported';
export class DriverError extends Error {
  readonly code: DriverErrorCode;
  constructor(code: DriverErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DriverError';
    this.code = code;
  }
}

export interface Driver {
  readonly name: 'fake' | 'ebpf' | 'ovn';
  /** Tries each feature on scratch objects; changes nothing that lasts. */
  probe(): Promise<readonly ProbeRow[]>;
  observe(): Promise<Observed>;
  /** See the head of this file. @throws DriverError */
  apply(plan: Plan): Promise<void>;
  /** Mends contradictions that `observe` reported under `damage`. Returns what was done, a line each. */
  repair(): Promise<readonly string[]>;
  counters(): Promise<Counters>;
  /**
   * The counts of all halves, for the books.
   * @param booked lives of retired counts that are booked for good: the plane may forget them
   */
  meter(booked: readonly string[]): Promise<MeterReading>;
  /** Of a driver whose `apply` does not wait for ever for a host that cannot be reached: what is open now. */
  owed?(): readonly Owed[];
  /** Takes over what another process said was owed when it wrote last. */
  inherit?(owed: readonly Owed[]): Promise<void>;
  /** Called after a change of what is owed. */
  onOwedChange?(listener: () => void): void;
  /** What the plane as observed would do with this packet. */
  trace(packet: Packet): Promise<Verdict>;
  /** Puts the workload's end of an interface into a namespace and configures its addresses there. */
  attach(request: AttachRequest): Promise<AttachmentFact>;
  detach(portId: PortId): Promise<void>;
  /** Called when an attachment changes without a call of ours (its namespace died, its end was deleted). */
  onAttachmentChange(listener: (fact: AttachmentFact) => void): void;
  /** Of a driver that neither attaches nor detaches by itself: called when a workload was taken off. */
  onDetached?(listener: (portId: PortId) => void): void;
  /** Stops watching; leaves the network running. */
  close(): Promise<void>;
  /** Removes every trace of this installation from the plane. */
  purge(): Promise<void>;
}
