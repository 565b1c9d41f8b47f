/** Subnets. Source: JD Cloud "Subnet Features", "Restrictions". */
import { isRefusal, refuse } from '../model/errors.ts';
import { contains, overlaps } from '../model/ip.ts';
import type { TenantCommand } from './commands.ts';
import { type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { checkQuota } from './quotas.ts';
import { checkGrowth } from './vpcs.ts';

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

export function createSubnet(command: Of<'create-subnet'>, context: RuleContext): Decision {
  const { state } = context;
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  const table = owned(context, 'route-table', command.routeTableId ?? vpc.defaultRouteTableId);
  if (isRefusal(table)) return table;
  if (table.vpcId !== vpc.id) {
    return refuse('not-same-vpc', { object: `VPC ${vpc.id}`, theirs: vpc.id, table: table.id, ours: table.vpcId });
  }
  const over = checkQuota(state, vpc.accountId, 'subnet', vpc.id, state.count('subnet', vpc.id));
  if (over !== null) return over;
  for (const cidr of command.cidrs) {
    if (vpc.cidrs.length > 0 && !vpc.cidrs.some((range) => contains(range, cidr))) {
      return refuse('subnet-outside-vpc', { cidr, vpc: vpc.id, cidrs: vpc.cidrs.join(', ') });
    }
    for (const sibling of state.children('subnet', vpc.id)) {
      const other = sibling.cidrs.find((own) => overlaps(own, cidr));
      if (other !== undefined) return refuse('subnet-overlap', { cidr, other, subnet: sibling.id });
    }
  }
  // Inside a preset CIDR a subnet adds nothing to what the VPC occupies; an unlimited VPC grows by it.
  const growth = vpc.cidrs.length > 0 ? null : checkGrowth(context, vpc, command.cidrs);
  if (growth !== null) return growth;
  const draft = new Draft(state);
  const id = context.ids.fresh('subnet');
  draft.put({
    kind: 'subnet',
    id,
    accountId: vpc.accountId,
    vpcId: vpc.id,
    name: command.name,
    description: command.description,
    cidrs: command.cidrs,
    routeTableId: table.id,
    createdTime: context.now,
  });
  return draft.done({ id });
}

export function modifySubnet(command: Of<'modify-subnet'>, context: RuleContext): Decision {
  const subnet = owned(context, 'subnet', command.subnetId);
  if (isRefusal(subnet)) return subnet;
  const draft = new Draft(context.state);
  const { name = subnet.name, description = subnet.description } = command;
  if (name !== subnet.name || description !== subnet.description) draft.put({ ...subnet, name, description });
  return draft.done({ id: subnet.id });
}

/** Refused while an interface is in it. Peering rules do not matter: they belong to its table (docs/jdcloud-api.md). */
export function deleteSubnet(command: Of<'delete-subnet'>, context: RuleContext): Decision {
  const subnet = owned(context, 'subnet', command.subnetId);
  if (isRefusal(subnet)) return subnet;
  const port = context.state.children('interface', subnet.id)[0];
  if (port !== undefined) return refuse('subnet-in-use', { subnet: subnet.id, interface: port.id });
  const draft = new Draft(context.state);
  draft.delete('subnet', subnet.id);
  return draft.done({ id: subnet.id });
}
