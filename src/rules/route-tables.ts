/** Route tables and their association with subnets. Source: JD Cloud "Route Table Features". */
import { isRefusal, refuse } from '../model/errors.ts';
import type { AccountId, VpcId } from '../model/ids.ts';
import type { Prefix } from '../model/ip.ts';
import type { RouteTable } from '../model/resources.ts';
import type { TenantCommand } from './commands.ts';
import { type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { checkQuota } from './quotas.ts';

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

/** Priority of a static rule ("JD Cloud: RouteTableRule"): 1–255, smaller first. */
export const defaultPriority = 100;

function newTable(
  context: RuleContext,
  of: { accountId: AccountId; vpcId: VpcId; name: string; description: string; type: RouteTable['type'] },
): RouteTable {
  return {
    kind: 'route-table',
    id: context.ids.fresh('route-table'),
    ...of,
    localRuleId: context.ids.fresh('route-rule'),
    rules: [],
    createdTime: context.now,
  };
}

/** The table every VPC is born with: Local, and a rule to the internet that may be modified or removed. */
export function defaultRouteTable(context: RuleContext, accountId: AccountId, vpcId: VpcId): RouteTable {
  const table = newTable(context, { accountId, vpcId, name: 'default', description: '', type: 'default' });
  const internet = {
    id: context.ids.fresh('route-rule'),
    destination: '0.0.0.0/0' as Prefix,
    nextHop: { kind: 'internet' },
    priority: defaultPriority,
    description: '',
  } as const;
  return { ...table, rules: [internet] };
}

export function createRouteTable(command: Of<'create-route-table'>, context: RuleContext): Decision {
  const { state } = context;
  const vpc = owned(context, 'vpc', command.vpcId);
  if (isRefusal(vpc)) return vpc;
  const over = checkQuota(state, vpc.accountId, 'routeTable', vpc.id, state.count('route-table', vpc.id));
  if (over !== null) return over;
  const draft = new Draft(state);
  const { name, description } = command;
  const table = newTable(context, { accountId: vpc.accountId, vpcId: vpc.id, name, description, type: 'custom' });
  draft.put(table);
  return draft.done({ id: table.id });
}

export function modifyRouteTable(command: Of<'modify-route-table'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  const draft = new Draft(context.state);
  const { name = table.name, description = table.description } = command;
  if (name !== table.name || description !== table.description) draft.put({ ...table, name, description });
  return draft.done({ id: table.id });
}

export function deleteRouteTable(command: Of<'delete-route-table'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  if (table.type === 'default') return refuse('default-table', { table: table.id, vpc: table.vpcId });
  const subnet = context.state.children('subnet', table.id)[0];
  if (subnet !== undefined) return refuse('table-in-use', { table: table.id, subnet: subnet.id });
  const draft = new Draft(context.state);
  draft.delete('route-table', table.id);
  return draft.done({ id: table.id });
}

/** Moves subnets to a table, out of the one they had. All of them or none. */
export function associateRouteTable(command: Of<'associate-route-table'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  const draft = new Draft(context.state);
  for (const subnetId of command.subnetIds) {
    const subnet = owned(context, 'subnet', subnetId);
    if (isRefusal(subnet)) return subnet;
    if (subnet.vpcId !== table.vpcId) {
      const object = `Subnet ${subnet.id}`;
      return refuse('not-same-vpc', { object, theirs: subnet.vpcId, table: table.id, ours: table.vpcId });
    }
    if (subnet.routeTableId !== table.id) draft.put({ ...subnet, routeTableId: table.id });
  }
  return draft.done({ id: table.id });
}

/** Puts a subnet back on the default table of its VPC. */
export function disassociateRouteTable(command: Of<'disassociate-route-table'>, context: RuleContext): Decision {
  const { state } = context;
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  const subnet = owned(context, 'subnet', command.subnetId);
  if (isRefusal(subnet)) return subnet;
  if (subnet.routeTableId !== table.id) return refuse('not-found', { id: `${subnet.id} in ${table.id}` });
  const vpc = state.get('vpc', subnet.vpcId);
  const draft = new Draft(state);
  if (vpc !== undefined && vpc.defaultRouteTableId !== table.id) {
    draft.put({ ...subnet, routeTableId: vpc.defaultRouteTableId });
  }
  return draft.done({ id: table.id });
}
