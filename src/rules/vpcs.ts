/**
 * VPCs and their CIDRs. Source: JD Cloud "VPC Features", "Restrictions". Ranges of different VPCs may overlap; only
 * peering forbids it (see overlap.ts).
 */
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import { contains, overlaps, type Prefix } from '../model/ip.ts';
import type { Vpc } from '../model/resources.ts';
import type { TenantCommand } from './commands.ts';
import { accountOf, type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { overlappingPeer } from './overlap.ts';
import { dropPeeringsOf } from './peering.ts';
import { checkQuota } from './quotas.ts';
import { defaultRouteTable } from './route-tables.ts';

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

export function createVpc(command: Of<'create-vpc'>, context: RuleContext): Decision {
  const account = accountOf(context);
  if (isRefusal(account)) return account;
  const { state, ids, now } = context;
  const over = checkQuota(state, account.id, 'vpc', null, state.count('vpc', account.id));
  if (over !== null) return over;
  const id = ids.fresh('vpc');
  const overCidrs = checkQuota(state, account.id, 'cidr', id, 0, command.cidrs.length);
  if (overCidrs !== null) return overCidrs;
  for (const [at, cidr] of command.cidrs.entries()) {
    const other = command.cidrs.slice(0, at).find((earlier) => overlaps(earlier, cidr));
    if (other !== undefined) return refuse('cidr-overlap', { cidr, other, vpc: command.name });
  }
  const draft = new Draft(state);
  const table = defaultRouteTable(context, account.id, id);
  draft.put({
    kind: 'vpc',
    id,
    accountId: account.id,
    name: command.name,
    description: command.description,
    cidrs: command.cidrs,
    defaultRouteTableId: table.id,
    createdTime: now,
  });
  draft.put(table);
  return draft.done({ id });
}

/** Dropping the CIDRs only shrinks what the VPC occupies, so nothing can come to overlap. */
export function modifyVpc(command: Of<'modify-vpc'>, context: RuleContext): Decision {
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  const draft = new Draft(context.state);
  const { name = vpc.name, description = vpc.description } = command;
  const cidrs = command.unlimited === true ? [] : vpc.cidrs;
  if (name !== vpc.name || description !== vpc.description || cidrs.length !== vpc.cidrs.length) {
    draft.put({ ...vpc, name, description, cidrs });
  }
  return draft.done({ id: vpc.id });
}

export function addCidr(command: Of<'add-cidr'>, context: RuleContext): Decision {
  const { state } = context;
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  const added = [command.cidr, ...(command.more ?? [])];
  const cidrs = [...vpc.cidrs];
  for (const cidr of added) {
    const other = cidrs.find((own) => overlaps(own, cidr));
    if (other !== undefined) return refuse('cidr-overlap', { cidr, other, vpc: vpc.id });
    cidrs.push(cidr);
  }
  const over = checkQuota(state, vpc.accountId, 'cidr', vpc.id, vpc.cidrs.length, added.length);
  if (over !== null) return over;
  for (const subnet of state.children('subnet', vpc.id)) {
    const outside = subnet.cidrs.find((own) => !cidrs.some((range) => contains(range, own)));
    if (outside !== undefined) {
      const cidr = added.join(', ');
      return refuse('cidr-excludes-subnet', { cidr, vpc: vpc.id, subnet: subnet.id, subnetCidr: outside });
    }
  }
  const growth = checkGrowth(context, vpc, added);
  if (growth !== null) return growth;
  const draft = new Draft(state);
  draft.put({ ...vpc, cidrs });
  return draft.done({ id: vpc.id });
}

export function removeCidr(command: Of<'remove-cidr'>, context: RuleContext): Decision {
  const { state } = context;
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  const { cidr } = command;
  if (!vpc.cidrs.includes(cidr)) {
    return refuse('cidr-not-found', { cidr, vpc: vpc.id, cidrs: vpc.cidrs.join(', ') || 'none (unlimited)' });
  }
  for (const subnet of state.children('subnet', vpc.id)) {
    const inside = subnet.cidrs.find((own) => contains(cidr, own));
    if (inside !== undefined) return refuse('cidr-in-use', { cidr, subnet: subnet.id, subnetCidr: inside });
  }
  if (vpc.cidrs.length === 1) return refuse('cidr-last', { cidr, vpc: vpc.id });
  const draft = new Draft(state);
  draft.put({ ...vpc, cidrs: vpc.cidrs.filter((own) => own !== cidr) });
  return draft.done({ id: vpc.id });
}

/** Subnets block; own Initiated and Connected halves block; Disconnected ones go along. `cascade` takes everything. */
export function deleteVpc(command: Of<'delete-vpc'>, context: RuleContext): Decision {
  const { state } = context;
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  if (!command.cascade) {
    const subnet = state.children('subnet', vpc.id)[0];
    if (subnet !== undefined) return refuse('vpc-has-subnets', { vpc: vpc.id, subnet: subnet.id });
    const half = state
      .children('peering', vpc.id)
      .find((candidate) => candidate.localVpcId === vpc.id && candidate.state !== 'Disconnected');
    if (half !== undefined) return refuse('vpc-has-peerings', { vpc: vpc.id, half: half.id, state: half.state });
  }
  const draft = new Draft(state);
  dropVpc(draft, vpc);
  return draft.done({ id: vpc.id });
}

/** Deletes a VPC with all that is in it. */
export function dropVpc(draft: Draft, vpc: Vpc): void {
  dropPeeringsOf(draft, vpc.id);
  for (const port of draft.children('interface', vpc.id)) draft.delete('interface', port.id);
  for (const subnet of draft.children('subnet', vpc.id)) draft.delete('subnet', subnet.id);
  for (const table of draft.children('route-table', vpc.id)) draft.delete('route-table', table.id);
  draft.delete('vpc', vpc.id);
}

/** A VPC may not grow into a peer that is Connected with it. */
export function checkGrowth(context: RuleContext, vpc: Vpc, grown: readonly Prefix[]): Refusal | null {
  const found = overlappingPeer(context.state, vpc.id, grown);
  if (found === null) return null;
  const { half, cidr, theirs } = found;
  return refuse('growth-overlaps-peer', { cidr, theirs, remote: half.remoteVpcId, half: half.id });
}
