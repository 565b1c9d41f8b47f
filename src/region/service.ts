/**
 * What a running region offers to its front doors (APIs, admin socket). Reads come from `state`; every write is a
 * command. Nothing here knows HTTP.
 */

import type { AttachmentFact, Counters, ProbeRow } from '../dataplane/driver.ts';
import type { Packet, Verdict } from '../explain/explain.ts';
import type { Health } from '../explain/health.ts';
import type { View } from '../explain/plane-view.ts';
import type { Preview } from '../explain/preview.ts';
import type { Refusal } from '../model/errors.ts';
import type { AccountId, HalfId, KeyId, PortId, VpcId } from '../model/ids.ts';
import type { Change, CommandResult, PeeringHalf } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';
import type { Command, NetworkCommand } from '../rules/commands.ts';
import type { Feed } from './feed.ts';
import type { Meter } from './meter.ts';
import type { Behind } from './owed-book.ts';

/** Who gives a command: a tenant with one of its keys, or the operator at the admin socket. */
export type Principal =
  | { readonly kind: 'tenant'; readonly accountId: AccountId; readonly keyId: KeyId }
  | { readonly kind: 'operator' };

export interface CommandContext {
  readonly principal: Principal;
  readonly requestId: string;
  /** A create repeated with the same token answers with the same object (24 h). 1–64 characters of [A-Za-z0-9_-]. */
  readonly clientToken?: string;
}

/** What a command would do. */
export interface Plan extends Preview {
  /** Of the state that it was made on. */
  readonly revision: number;
}

/** What a declared network lacks. */
export interface NetworkPlan extends Plan {
  readonly steps: number;
  /** The same for two plans exactly when they would do the same to the same objects. */
  readonly basis: string;
}

export type Outcome =
  | {
      readonly kind: 'done';
      readonly result: CommandResult;
      /** The journal's number of this change; the current one when nothing changed. */
      readonly revision: number;
      /** false: committed, but the data plane has not confirmed; the reconciler keeps trying (answer 202). */
      readonly applied: boolean;
      /** Why it is not applied: hosts that have not proven it yet. Absent when none is. */
      readonly behind?: Behind;
      /** Only of create-key, only this once. */
      readonly secret?: string;
    }
  | Refusal;

/** One line of the journal: what happened, never a secret. */
export interface JournalEntry {
  readonly revision: number;
  readonly time: string;
  /** null for the operator's own commands. */
  readonly account: AccountId | null;
  /** Access key id, or 'operator'. */
  readonly principal: string;
  readonly operation: string;
  readonly requestId: string;
  readonly changes: readonly Change[];
}

/** What one host has not proven yet. */
export interface OwedHost {
  readonly host: string;
  /** VPCs of which it may still carry what was taken away, and those of which it may not carry what was added. */
  readonly notFenced: number;
  readonly notInstalled: number;
  /** The oldest of it, as far as this server has seen. */
  readonly since: string;
  /** Some of those VPCs. */
  readonly vpcIds: readonly VpcId[];
  /** Why it did not prove them when it was asked last; null: nothing is known. */
  readonly problem: string | null;
}

export interface RegionStatus {
  readonly region: string;
  readonly version: string;
  readonly driver: 'fake' | 'ebpf' | 'ovn';
  readonly revision: number;
  /** The newest revision that the data plane has confirmed. */
  readonly appliedRevision: number;
  /** null while all is well; else why the data plane does not follow. */
  readonly planeProblem: string | null;
  /** Why nothing can be changed now; null while the store can be reached. */
  readonly storeProblem: string | null;
  /** Whether this server is the one of those on its store that keeps the data plane. */
  readonly leads: boolean;
  /** VPCs of which hosts have not proven the newest changes. */
  readonly owedVpcs: number;
  /** What they owe, host by host. */
  readonly owed: readonly OwedHost[];
  /** Hand-made damage found and healed since the start, newest last, at most 100. */
  readonly drift: readonly { readonly time: string; readonly what: string }[];
}

export interface RegionService {
  /** Region name, e.g. `cn-north-1`. */
  readonly name: string;
  readonly state: StateView & { readonly revision: number };
  /** The compiled network of that state. */
  readonly view: View;
  /** Why the data plane does not hold a VPC as it is wanted; null while it does. */
  planeProblem(vpcId: VpcId): string | null;
  /** Hosts that have not proven the newest changes to a VPC. */
  behind(vpcId: VpcId): Behind;
  /** Hosts that may still carry a peering that ended; none while it is Connected. */
  notFenced(half: PeeringHalf): readonly string[];
  /** Orders, decides, commits and carries out one command. Rejects only when the store fails. */
  submit(command: Command, context: CommandContext): Promise<Outcome>;
  /**
   * Makes sure that reads see at least that revision, which another server on the same store may have answered with.
   * @returns false: they do not, and cannot just now
   */
  reach(revision: number): Promise<boolean>;
  /**
   * Remembers a request's nonce for all servers on the store.
   * @param until milliseconds since the epoch after which it need not be known
   * @returns 'unknown': the store cannot be reached
   */
  admit(keyId: string, nonce: string, until: number): Promise<'new' | 'replayed' | 'unknown'>;
  /** What a command would do, or why it would be refused; nothing is changed. */
  plan(command: Command, principal: Principal): Plan | Refusal;
  /** As `plan`, of all that a declared network lacks, with what tells it from another plan. */
  planNetwork(command: NetworkCommand, principal: Principal): NetworkPlan | Refusal;
  /** The secret of an access key, or of the authority of hosts; undefined when there is no such key. */
  secretOf(keyId: string): string | undefined;
  /** Resolves once this server has looked whether another one has made that key, if it does not know it. */
  lookFor(keyId: string): Promise<void>;
  /** Entries after a revision (null: the newest), oldest first. @param account only this account's; undefined means all (operator). */
  journal(query: {
    readonly afterRevision: number | null;
    readonly limit: number;
    readonly account?: AccountId;
  }): Promise<readonly JournalEntry[]>;
  /** Rejects when the data plane cannot be reached. */
  counters(): Promise<Counters>;
  /** The books of usage. */
  readonly meter: Pick<Meter, 'book' | 'bookedUntil' | 'half' | 'totals' | 'sums' | 'hours' | 'onBooked'>;
  /** The last known fact; an interface without one is detached. */
  attachment(portId: PortId): AttachmentFact | undefined;
  trace(packet: Packet): Promise<Verdict>;
  probe(): Promise<readonly ProbeRow[]>;
  status(): RegionStatus;
  /** Whether packets flow over a half, and if not why, as its owner may see it; null while it is not Connected. */
  health(half: PeeringHalf): Health | null;
  /** When packets of a half were last seen since the start, to about five seconds; null if none were. */
  lastCarried(halfId: HalfId): string | null;
  /** What happens, account by account. */
  readonly feed: Pick<Feed, 'follow' | 'newest'>;
}
