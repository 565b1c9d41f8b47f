/**
 * The rules of VPC peering. A connection is two halves, one per owner; there is no accept call: the other side consents
 * by creating its own half. A half's state is derived from what happened, by the table below, and never set by hand.
 * Source: JD Cloud "VPC Peering Connection"; where the vendor is silent, docs/jdcloud-api.md.
 */
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import type { HalfId, VpcId } from '../model/ids.ts';
import { type HalfIdentity, type PeeringHalf, type PeeringState, pairKey } from '../model/resources.ts';
import type { TenantCommand } from './commands.ts';
import { accountOf, type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { effectivePrefixes, findOverlap } from './overlap.ts';
import { checkQuota, quotaUse } from './quotas.ts';

type Mirror = PeeringState | 'none';
type Event = 'create' | 'delete' | 'delete-vpc';

/**
 * What an event on a half means for it and for its mirror (the half from the other VPC back), by the mirror's state.
 * `create` with a Connected mirror cannot be: a half is Connected only while both exist.
 */
export const transitions = {
  create: {
    none: { own: 'Initiated', mirror: 'none' },
    Initiated: { own: 'Connected', mirror: 'Connected' },
    Disconnected: { own: 'Connected', mirror: 'Connected' },
    Connected: { own: 'Connected', mirror: 'Connected' },
  },
  delete: {
    none: { own: 'none', mirror: 'none' },
    Initiated: { own: 'none', mirror: 'Initiated' },
    Disconnected: { own: 'none', mirror: 'Disconnected' },
    Connected: { own: 'none', mirror: 'Disconnected' },
  },
  /** The VPC goes: a half that points at it is Disconnected, whatever it was. */
  'delete-vpc': {
    none: { own: 'none', mirror: 'none' },
    Initiated: { own: 'none', mirror: 'Disconnected' },
    Disconnected: { own: 'none', mirror: 'Disconnected' },
    Connected: { own: 'none', mirror: 'Disconnected' },
  },
} as const satisfies Record<Event, Record<Mirror, { own: Mirror; mirror: Mirror }>>;

/** Ids of deleted halves that a VPC remembers; the oldest is forgotten beyond it, so that memory stays bounded. */
export const rememberedHalves = 32;

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

export function createPeering(command: Of<'create-peering'>, context: RuleContext): Decision {
  const { state } = context;
  const account = accountOf(context);
  if (isRefusal(account)) return account;
  const local = owned(context, 'vpc', command.vpcId);
  if (isRefusal(local)) return local;
  if (command.vpcId === command.remoteVpcId) return refuse('peering-self', { vpc: local.id });
  // The VPC id is the invitation: whoever was given it may point a half at it, so a stranger's VPC is found here.
  const remote = state.get('vpc', command.remoteVpcId);
  if (remote === undefined) return refuse('not-found', { id: command.remoteVpcId });
  const existing = state.half(local.id, remote.id);
  if (existing !== undefined) {
    return refuse('peering-exists', { half: existing.id, local: local.id, remote: remote.id });
  }
  const taken = nameTaken(context, local.accountId, command.name, null);
  if (taken !== null) return taken;
  const have = quotaUse(state, local.accountId, 'vpcpeering', local.id);
  const over = checkQuota(state, local.accountId, 'vpcpeering', local.id, have);
  if (over !== null) return over;

  const mirror = state.half(remote.id, local.id);
  const overlap = findOverlap(effectivePrefixes(state, local), effectivePrefixes(state, remote));
  if (overlap !== null) {
    // Before the other owner has consented its ranges stay hidden, in refusals too.
    const mayName = mirror !== undefined || remote.accountId === local.accountId;
    const where = { ours: overlap.ours, local: local.id, remote: remote.id };
    return mayName
      ? refuse('peering-overlap', { ...where, theirs: overlap.theirs })
      : refuse('peering-overlap-hidden', where);
  }

  const next = transitions.create[mirror?.state ?? 'none'];
  const draft = new Draft(state);
  const identity = state.get('half-identity', pairKey(local.id, remote.id));
  const id: HalfId = identity?.halfId ?? context.ids.fresh('peering');
  draft.put({
    kind: 'half-identity',
    id: pairKey(local.id, remote.id),
    halfId: id,
    localVpcId: local.id,
    remoteVpcId: remote.id,
    deletedTime: null,
  });
  draft.put({
    kind: 'peering',
    id,
    accountId: local.accountId,
    localVpcId: local.id,
    remoteVpcId: remote.id,
    name: command.name,
    description: command.description,
    state: next.own,
    createdTime: context.now,
  });
  if (mirror !== undefined && next.mirror !== 'none') draft.put({ ...mirror, state: next.mirror });
  return draft.done({ id });
}

export function modifyPeering(command: Of<'modify-peering'>, context: RuleContext): Decision {
  const half = owned(context, 'peering', command.halfId);
  if (isRefusal(half)) return half;
  if (command.name !== undefined) {
    const taken = nameTaken(context, half.accountId, command.name, half.id);
    if (taken !== null) return taken;
  }
  const draft = new Draft(context.state);
  const { name = half.name, description = half.description } = command;
  if (name !== half.name || description !== half.description) draft.put({ ...half, name, description });
  return draft.done({ id: half.id });
}

/** Either side may break a peering at any time ("JD Cloud: Usage Restrictions"); routes that name it stay. */
export function deletePeering(command: Of<'delete-peering'>, context: RuleContext): Decision {
  const half = owned(context, 'peering', command.halfId);
  if (isRefusal(half)) return half;
  const draft = new Draft(context.state);
  dropHalf(draft, half, context.now);
  return draft.done({ id: half.id });
}

/** Deletes a half and tells its mirror. The id of the pair is remembered for a later re-creation. */
function dropHalf(draft: Draft, half: PeeringHalf, now: string): void {
  const mirror = draft.half(half.remoteVpcId, half.localVpcId);
  const next = transitions.delete[mirror?.state ?? 'none'];
  draft.delete('peering', half.id);
  if (mirror !== undefined && next.mirror !== 'none' && next.mirror !== mirror.state) {
    draft.put({ ...mirror, state: next.mirror });
  }
  const key = pairKey(half.localVpcId, half.remoteVpcId);
  const identity = draft.get('half-identity', key);
  if (identity !== undefined) draft.put({ ...identity, deletedTime: now });
  forgetOldest(draft, half.localVpcId);
}

/** A route may still name a forgotten half: it then stays a black hole, as for any half that does not exist. */
function forgetOldest(draft: Draft, vpcId: VpcId): void {
  const gone = draft
    .children('half-identity', vpcId)
    .filter(
      (identity): identity is HalfIdentity & { deletedTime: string } =>
        identity.localVpcId === vpcId && identity.deletedTime !== null,
    )
    .sort((a, b) => (a.deletedTime < b.deletedTime ? -1 : a.deletedTime > b.deletedTime ? 1 : a.id < b.id ? -1 : 1));
  for (const identity of gone.slice(0, Math.max(0, gone.length - rememberedHalves))) {
    draft.delete('half-identity', identity.id);
  }
}

/** Everything of peering that goes with a VPC; foreign halves that pointed at it become Disconnected. */
export function dropPeeringsOf(draft: Draft, vpcId: VpcId): void {
  for (const half of draft.children('peering', vpcId)) {
    if (half.localVpcId === vpcId) {
      draft.delete('peering', half.id);
    } else {
      const next = transitions['delete-vpc'][half.state];
      if (next.mirror !== half.state) draft.put({ ...half, state: next.mirror });
    }
  }
  for (const identity of draft.children('half-identity', vpcId)) {
    // The mirror's identity stays while its half does: that half keeps its id, name and place in the quota.
    const half = draft.half(identity.localVpcId, identity.remoteVpcId);
    if (identity.localVpcId === vpcId || half === undefined) draft.delete('half-identity', identity.id);
  }
}

/** The name of a half is unique within its account ("JD Cloud: VpcPeering"). */
function nameTaken(context: RuleContext, accountId: string, name: string, self: HalfId | null): Refusal | null {
  const other = context.state.named('peering', accountId, name);
  return other === undefined || other.id === self ? null : refuse('peering-name-taken', { name, half: other.id });
}
