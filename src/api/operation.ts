/**
 * One operation of an API as a value: where it is, what it takes and gives, and what it does. Server, OpenAPI document
 * and tests all read the same list; nothing is routed that is not in it.
 */
import type { ServerResponse } from 'node:http';
import Type, { type Static, type TObject, type TSchema } from 'typebox';
import { isRefusal, refuse } from '../model/errors.ts';
import type { AccountId } from '../model/ids.ts';
import type { CommandResult, ResourceOf } from '../model/resources.ts';
import type { OwnedKind } from '../model/state.ts';
import { type Behind, notBehind, together } from '../region/owed-book.ts';
import type { Outcome, Plan, Principal, RegionService } from '../region/service.ts';
import type { Command } from '../rules/commands.ts';
import { budget } from './budget.ts';
import { pageLimits } from './listing.ts';
import type { Query } from './query.ts';
import { Refused, reject } from './refused.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** One request on its way through an operation. */
export interface Call<B = unknown> {
  readonly region: RegionService;
  readonly requestId: string;
  readonly principal: Principal;
  /** Path parameters, decoded. */
  readonly params: { readonly [name: string]: string };
  readonly query: Query;
  readonly body: B;
  /** From the header; a body may carry one of its own. */
  readonly clientToken: string | undefined;
  /** Where a follower of events left off. */
  readonly lastEventId: string | undefined;
  /** Only say what the change would do. */
  readonly planOnly: boolean;
  /** Revision that the data plane has not confirmed, once a command was left pending. */
  pendingRevision: number | null;
  /** Hosts that have not proven what a command changed. */
  behind: Behind;
}

/** Carries a plan from where the change would have been made to the one place that answers it. */
export class Planned extends Error {
  readonly plan: Plan;
  constructor(plan: Plan) {
    super('a plan, not a change');
    this.name = 'Planned';
    this.plan = plan;
  }
}

/** An answer that goes on: written into the response itself, without an envelope. */
export class Stream {
  readonly start: (response: ServerResponse) => void;
  constructor(start: (response: ServerResponse) => void) {
    this.start = start;
  }
}

export interface Operation {
  /** The vendor's name for it, or ours for an extension. */
  readonly name: string;
  readonly method: Method;
  /** Below the API's root, parameters in braces: `/vpcs/{vpcId}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly body?: TObject;
  readonly query?: TObject;
  /** Schema of `result`; absent when nothing but the requestId is answered. */
  readonly result?: TSchema;
  readonly handle: (call: Call) => Promise<unknown>;
}

type Spec = Omit<Operation, 'body' | 'handle'>;

/** Defines an operation that takes a body; the handler sees it typed and checked. */
export const withBody = <S extends TObject>(
  spec: Spec,
  body: S,
  handle: (call: Call<Static<S>>) => Promise<unknown>,
): Operation => ({ ...spec, body, handle: (call) => handle(call as Call<Static<S>>) });

export const withoutBody = (spec: Spec, handle: (call: Call) => Promise<unknown>): Operation => ({ ...spec, handle });

/**
 * Gives a command to the region.
 * @returns what it made; @throws Refused
 */
export async function submit(call: Call, command: Command, clientToken?: string): Promise<CommandResult> {
  return (await submitWhole(call, command, clientToken)).result;
}

/** As `submit`, with everything that the region answers. */
export async function submitWhole(
  call: Call,
  command: Command,
  clientToken?: string,
): Promise<Exclude<Outcome, { kind: 'refusal' }>> {
  if (call.planOnly) {
    const caller = call.principal.kind === 'tenant' ? call.principal.accountId : null;
    const plan = budget.spend(caller, () => call.region.plan(command, call.principal));
    if (isRefusal(plan)) throw new Refused(plan);
    throw new Planned(plan);
  }
  const token = clientToken ?? call.clientToken;
  const outcome = await call.region.submit(command, {
    principal: call.principal,
    requestId: call.requestId,
    ...(token === undefined ? {} : { clientToken: token }),
  });
  if (isRefusal(outcome)) throw new Refused(outcome);
  if (!outcome.applied) call.pendingRevision = outcome.revision;
  call.behind = together(call.behind, outcome.behind ?? notBehind);
  return outcome;
}

/** The tenant who calls. @throws Refused for the operator, who owns nothing */
export function tenantOf(call: Call): { readonly accountId: AccountId } {
  return call.principal.kind === 'tenant' ? call.principal : reject('forbidden', {});
}

/** The caller's object. @throws Refused alike for one that does not exist and one of somebody else */
export function own<K extends OwnedKind>(call: Call, kind: K, id: string): ResourceOf<K> {
  const found = call.region.state.get(kind, id);
  const owner = (found as { readonly accountId: AccountId } | undefined)?.accountId;
  if (found === undefined || owner !== tenantOf(call).accountId) {
    throw new Refused(refuse('not-found', { id: id.slice(0, 64) }));
  }
  return found;
}

/** Every object of that kind that the caller owns, in no particular order. */
export const owned = <K extends OwnedKind>(call: Call, kind: K): readonly ResourceOf<K>[] =>
  call.region.state.children(kind, tenantOf(call).accountId);

export const Text = Type.String();
/** A list of texts. @param most how many it may hold */
export const Texts = (description: string, most: number) => Type.Array(Type.String(), { maxItems: most, description });
export const Name = Type.String({ description: "1 to 32 letters, digits, Chinese characters, '_' or '-'" });
export const Description = Type.String({ description: 'At most 256 characters' });
export const ClientToken = Type.Optional(
  Type.String({ description: 'A retry with the same token answers with the same object (extension)' }),
);

/** Query parameters of a list. @param filters the names it can be filtered by */
export const listQuery = (filters: readonly string[]): TObject =>
  Type.Object({
    pageNumber: Type.Optional(Type.Integer({ minimum: 1, default: 1 })),
    pageSize: Type.Optional(
      Type.Integer({ minimum: pageLimits.min, maximum: pageLimits.max, default: pageLimits.fallback }),
    ),
    'filters.1.name': Type.Optional(
      Type.String({ description: `One of: ${filters.join(', ')}; further ones at 2, 3, …` }),
    ),
    'filters.1.operator': Type.Optional(Type.String({ description: 'eq (default), in, ne, like' })),
    'filters.1.values.1': Type.Optional(Type.String({ description: 'Further values at 2, 3, …: any of them' })),
  });
