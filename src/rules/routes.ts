/**
 * Rules of route tables. A rule may name a half in any state: unless it is Connected the rule is a black hole that wins
 * by longest prefix and drops. Local is not a rule that anybody can touch. Source: JD Cloud "Route Table Configuration".
 */
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import { contains, type Prefix, parsePrefix } from '../model/ip.ts';
import type { NextHop, RouteRule, RouteTable } from '../model/resources.ts';
import type { TenantCommand } from './commands.ts';
import { type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { localRangeOver } from './overlap.ts';
import { checkQuota } from './quotas.ts';
import { defaultPriority } from './route-tables.ts';

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

/** Destinations no route can lead to. What merely contains one of them (0.0.0.0/0) is fine. */
const reserved = [
  ['0.0.0.0/8', 'the unspecified network'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
  ['::/127', 'unspecified or loopback'],
  ['fe80::/10', 'link-local'],
  ['ff00::/8', 'multicast'],
].map(([text = '', what = '']) => {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return { prefix: parsed.value, what };
});

function checkDestination(context: RuleContext, table: RouteTable, destination: Prefix): Refusal | null {
  const hit = reserved.find(({ prefix }) => contains(prefix, destination));
  if (hit !== undefined) return refuse('destination-reserved', { destination, what: hit.what });
  const vpc = context.state.get('vpc', table.vpcId);
  const local = vpc === undefined ? undefined : localRangeOver(context.state, vpc, destination);
  return local === undefined ? null : refuse('destination-local', { destination, local, vpc: table.vpcId });
}

function checkNextHop(context: RuleContext, table: RouteTable, nextHop: NextHop): Refusal | null {
  if (nextHop.kind === 'internet') return null;
  const object =
    nextHop.kind === 'peering'
      ? owned(context, 'peering', nextHop.halfId)
      : owned(context, 'interface', nextHop.portId);
  if (isRefusal(object)) return object;
  const vpcId = object.kind === 'peering' ? object.localVpcId : object.vpcId;
  if (vpcId === table.vpcId) return null;
  return refuse('not-same-vpc', { object: object.id, theirs: vpcId, table: table.id, ours: table.vpcId });
}

function checkUnique(table: RouteTable, rules: readonly RouteRule[], rule: RouteRule): Refusal | null {
  const other = rules.find(({ id, destination }) => id !== rule.id && destination === rule.destination);
  if (other === undefined) return null;
  return refuse('destination-taken', { table: table.id, rule: other.id, destination: rule.destination });
}

export function addRoutes(command: Of<'add-routes'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  const { state } = context;
  const more = command.routes.length;
  const over = checkQuota(state, table.accountId, 'staticRoute', table.id, table.rules.length, more);
  if (over !== null) return over;
  const rules = [...table.rules];
  const ids: string[] = [];
  for (const draft of command.routes) {
    const rule: RouteRule = {
      id: context.ids.fresh('route-rule'),
      destination: draft.destination,
      nextHop: draft.nextHop,
      priority: draft.priority ?? defaultPriority,
      description: draft.description ?? '',
    };
    const refusal =
      checkDestination(context, table, rule.destination) ??
      checkNextHop(context, table, rule.nextHop) ??
      checkUnique(table, rules, rule);
    if (refusal !== null) return refusal;
    rules.push(rule);
    ids.push(rule.id);
  }
  const draft = new Draft(state);
  if (more > 0) draft.put({ ...table, rules });
  return draft.done({ id: table.id, ids });
}

export function modifyRoutes(command: Of<'modify-routes'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  const rules = [...table.rules];
  for (const { ruleId, ...change } of command.routes) {
    if (ruleId === table.localRuleId) return refuse('local-rule', { rule: ruleId, table: table.id });
    const at = rules.findIndex(({ id }) => id === ruleId);
    const before = rules[at];
    if (before === undefined) return refuse('not-found', { id: ruleId });
    const rule: RouteRule = { ...before, ...change };
    const refusal =
      (change.destination === undefined ? null : checkDestination(context, table, rule.destination)) ??
      (change.nextHop === undefined ? null : checkNextHop(context, table, rule.nextHop));
    if (refusal !== null) return refusal;
    rules[at] = rule;
  }
  // Only when all are in place: two rules of one request may swap their destinations.
  for (const rule of rules) {
    const refusal = checkUnique(table, rules, rule);
    if (refusal !== null) return refusal;
  }
  const draft = new Draft(context.state);
  if (command.routes.length > 0) draft.put({ ...table, rules });
  return draft.done({ id: table.id });
}

export function removeRoutes(command: Of<'remove-routes'>, context: RuleContext): Decision {
  const table = owned(context, 'route-table', command.routeTableId);
  if (isRefusal(table)) return table;
  for (const ruleId of command.ruleIds) {
    if (ruleId === table.localRuleId) return refuse('local-rule', { rule: ruleId, table: table.id });
    if (!table.rules.some(({ id }) => id === ruleId)) return refuse('not-found', { id: ruleId });
  }
  const draft = new Draft(context.state);
  const rules = table.rules.filter(({ id }) => !command.ruleIds.includes(id));
  if (rules.length < table.rules.length) draft.put({ ...table, rules });
  return draft.done({ id: table.id });
}
