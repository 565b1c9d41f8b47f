/**
 * A data plane as the region sees it: wanted specs in, the truth out. `Reconciler` is one in the same process, the
 * agent's client (`remote.ts`) one across the privilege line. The region cannot tell them apart.
 */
import type { Packet, Verdict } from '../explain/explain.ts';
import type { VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import type { AttachmentFact, Counters, MeterReading, Owed, ProbeRow } from './driver.ts';

/** What changed since the last sync, or everything. */
export interface SyncUpdate {
  readonly revision: number;
  /** true: `vpcs` is all there is; whatever else the plane holds of ours is removed. */
  readonly full: boolean;
  readonly vpcs: readonly VpcSpec[];
  readonly removed: readonly VpcId[];
  /** What hosts owed when another process wrote last; absent when that is nothing, or not known. */
  readonly owed?: readonly Owed[];
}

export interface SyncResult {
  /** The revision that is now true in the plane, for every VPC but the failed ones. */
  readonly revision: number;
  /** VPCs that could not follow, and why. They are tried again with every drift check. */
  readonly failed: readonly { readonly vpcId: VpcId; readonly problem: string }[];
  /** VPCs of which hosts have not proven that revision, nor what came before it. */
  readonly owed: readonly Owed[];
}

/** Called with all that is owed at a revision. */
export type OwedListener = (owed: readonly Owed[], revision: number) => void;

export interface Plane {
  readonly driver: 'fake' | 'ebpf' | 'ovn';
  /** Resolves after the fence of this revision. @throws DriverError when the plane cannot be reached or written at all */
  sync(update: SyncUpdate): Promise<SyncResult>;
  counters(): Promise<Counters>;
  /** See `Driver`. */
  meter(booked: readonly string[]): Promise<MeterReading>;
  trace(packet: Packet): Promise<Verdict>;
  probe(): Promise<readonly ProbeRow[]>;
  attachments(): Promise<readonly AttachmentFact[]>;
  /** Attached, vanished, or (null) detached. */
  onAttachment(listener: (portId: string, fact: AttachmentFact | null) => void): void;
  /** Damage by other hands that was found and healed, a line each. */
  onDrift(listener: (what: string) => void): void;
  /** What is owed changed without a sync: hosts have caught up, or fallen behind. */
  onOwed(listener: OwedListener): void;
  /** The plane lost its memory of what is wanted (the agent restarted): a full sync is needed. */
  onNeedSync(listener: () => void): void;
  /** The plane cannot be reached, and why; when it can be again, `onNeedSync` says so. */
  onLost(listener: (problem: string) => void): void;
  /**
   * Another server keeps the plane from now on: what was wanted is forgotten, and nothing is touched until the next full
   * sync. Of a plane that only one server can keep there is none.
   */
  rest?(): void;
  close(): Promise<void>;
}
