/**
 * A region without store and data plane, for tests of the rules: decides one command after the other and folds what
 * comes out. Everything folded is frozen deeply, so that a rule that writes to what it was given throws.
 */
import assert from 'node:assert/strict';
import { isRefusal, type Refusal } from '../../src/model/errors.ts';
import {
  type AccountId,
  type HalfId,
  type IdKind,
  type IdOf,
  type Ids,
  idPrefixes,
  type PortId,
  type RouteTableId,
  type SubnetId,
  type VpcId,
} from '../../src/model/ids.ts';
import type { PeeringState, ResourceKind, ResourceOf } from '../../src/model/resources.ts';
import { State, type StateView } from '../../src/model/state.ts';
import type { Command } from '../../src/rules/commands.ts';
import { decide } from '../../src/rules/decide.ts';
import type { Decision } from '../../src/rules/draft.ts';
import { prefix } from '../wire/sketch.ts';

export type Of<K extends Command['kind']> = Extract<Command, { kind: K }>;

/** Ids from a counter, the same in every run, but in no order of making: what must sort them is seen to. */
export class CountedIds implements Ids {
  #count: bigint;
  constructor(from = 0) {
    this.#count = BigInt(from);
  }
  get count(): number {
    return Number(this.#count);
  }
  fresh<K extends IdKind>(kind: K): IdOf<K> {
    const hash = (++this.#count * 2_654_435_761_111n) % 36n ** 10n;
    const body =
      kind === 'key' ? hash.toString(16).toUpperCase().padStart(32, '0') : hash.toString(36).padStart(10, '0');
    return `${idPrefixes[kind]}${body}` as IdOf<K>;
  }
  macSeed(): bigint {
    return ++this.#count;
  }
}

export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) freeze(part);
  return Object.freeze(value);
}

/** What a tenant has after `site`: a VPC with one subnet of its whole range, an interface and the default table. */
export interface Site {
  readonly account: AccountId;
  readonly vpcId: VpcId;
  readonly subnetId: SubnetId;
  readonly portId: PortId;
  readonly tableId: RouteTableId;
}

export class Ledger {
  readonly state = new State();
  #ids = new CountedIds();
  #clock = 0;

  /** Only what a rule may see: the state without `apply`. */
  get view(): StateView {
    return this.state;
  }
  get now(): string {
    return new Date(Date.UTC(2030, 0, 1) + this.#clock * 1000).toISOString().replace('.000Z', 'Z');
  }
  /** Decides and changes nothing, so asking again answers the same. @param as null for the operator */
  ask(command: Command, as: AccountId | null): Decision {
    const ids = new CountedIds(this.#ids.count);
    return decide(freeze(command), { state: this.view, accountId: as, now: this.now, ids });
  }
  /** Decides and folds. */
  submit(command: Command, as: AccountId | null): Decision {
    this.#clock++;
    const decision = decide(freeze(command), { state: this.view, accountId: as, now: this.now, ids: this.#ids });
    if (!isRefusal(decision)) this.state.apply(freeze(decision.changes), this.state.revision + 1);
    return decision;
  }
  /** Must be done. @returns the id that it made or changed */
  done(command: Command, as: AccountId | null): string {
    const decision = this.submit(command, as);
    assert.ok(!isRefusal(decision), `${command.kind}: ${JSON.stringify(decision)}`);
    return decision.result.id ?? '';
  }
  /** Must be refused. */
  refused(command: Command, as: AccountId | null): Refusal {
    const decision = this.submit(command, as);
    assert.ok(isRefusal(decision), `${command.kind} was not refused: ${JSON.stringify(decision)}`);
    return decision;
  }
  get<K extends ResourceKind>(kind: K, id: string): ResourceOf<K> {
    const resource = this.state.get(kind, id);
    assert.ok(resource !== undefined, `no ${kind} ${id}`);
    return resource;
  }

  account(name: string): AccountId {
    return this.done({ kind: 'create-account', name }, null) as AccountId;
  }
  vpc(account: AccountId, ...cidrs: readonly string[]): VpcId {
    const command = { kind: 'create-vpc', name: 'v', description: '', cidrs: cidrs.map(prefix) } as const;
    return this.done(command, account) as VpcId;
  }
  subnet(vpcId: VpcId, ...cidrs: readonly string[]): SubnetId {
    const command = { kind: 'create-subnet', vpcId, name: 's', description: '', cidrs: cidrs.map(prefix) } as const;
    return this.done(command, this.get('vpc', vpcId).accountId) as SubnetId;
  }
  port(subnetId: SubnetId, more: Partial<Of<'create-interface'>> = {}): PortId {
    const rest = { primary: [], secondary: [], secondaryCount: 0, sanityCheck: true, ...more } as const;
    const command = { kind: 'create-interface', subnetId, name: 'p', description: '', ...rest } as const;
    return this.done(command, this.get('subnet', subnetId).accountId) as PortId;
  }
  /** A tenant with a VPC, a subnet of its whole range and an interface. */
  site(name: string, ...cidrs: readonly string[]): Site {
    const account = this.account(name);
    const vpcId = this.vpc(account, ...cidrs);
    const subnetId = this.subnet(vpcId, ...cidrs);
    const tableId = this.get('vpc', vpcId).defaultRouteTableId;
    return { account, vpcId, subnetId, tableId, portId: this.port(subnetId) };
  }
  peering(vpcId: VpcId, remoteVpcId: VpcId, name = `${vpcId} to ${remoteVpcId}`): Of<'create-peering'> {
    return { kind: 'create-peering', name, description: '', vpcId, remoteVpcId };
  }
  half(vpcId: VpcId, remoteVpcId: VpcId): HalfId {
    return this.done(this.peering(vpcId, remoteVpcId), this.get('vpc', vpcId).accountId) as HalfId;
  }
  /** The state of the half from one VPC to another, or 'none'. */
  stateOf(local: VpcId, remote: VpcId): PeeringState | 'none' {
    return this.state.half(local, remote)?.state ?? 'none';
  }
}
