/** `isthmus route`: the rules of a route table. */
import type { Command } from 'commander';
import { type Client, changeVerb, clientFor, type TenantOptions, tenantVerb } from './client.ts';
import { Failure } from './failure.ts';
import { demandChange, list, pathOf, present, read, resolve } from './nouns.ts';
import type { RouteRuleObject } from './objects.ts';
import { printList } from './output.ts';
import type { Column } from './table.ts';

/** The next hop that a text means: `internet`, or a peering half or network interface by id or name. */
async function nextHop(client: Client, text: string): Promise<{ nextHopType: string; nextHopId: string }> {
  if (text === 'internet') return { nextHopType: 'internet', nextHopId: 'internet' };
  const { kind, id } = await resolve(client, ['peering', 'interface'], text);
  return { nextHopType: kind === 'peering' ? 'vpc_peering' : 'elastic_network_interface', nextHopId: id };
}

/** The table that a text means: one by id or name, or the default table of a VPC by the VPC's. */
async function tableIn(client: Client, text: string): Promise<string> {
  const { kind, id } = await resolve(client, ['route-table', 'vpc'], text);
  if (kind === 'route-table') return id;
  const tables = await list(client, 'route-table', [{ name: 'vpcId', values: [id] }]);
  const found = tables.find(({ routeTableType }) => routeTableType === 'default');
  if (found === undefined)
    throw new Failure(1, `There is no VPC '${text}'.`, { remedy: 'List them with: isthmus vpc list' });
  return found.routeTableId;
}

type Judge = (rule: RouteRuleObject) => string;

async function printRules(client: Client, options: TenantOptions, tableId: string): Promise<void> {
  const { routeTableRules, vpcId } = await read(client, 'route-table', tableId);
  const plain = options.json === true || options.quiet === true;
  const carries: Judge = plain ? () => '' : await judge(client, vpcId, routeTableRules);
  const columns: readonly Column<RouteRuleObject>[] = [
    { title: 'RULE', of: (rule) => rule.ruleId },
    { title: 'DESTINATION', of: (rule) => rule.addressPrefix },
    { title: 'NEXT HOP', of: (rule) => rule.nextHopId },
    { title: 'CARRIES', of: carries, tone: (rule) => (carries(rule) === 'yes' ? 'good' : 'warn') },
    { title: 'DESCRIPTION', of: (rule) => rule.description, flexible: true },
  ];
  printList(options, routeTableRules, { columns, id: (rule) => rule.ruleId, none: 'No rule.' });
}

/** Whether a rule leads anywhere now: a half that is not Connected, and the internet, are black holes. */
async function judge(client: Client, vpcId: string, rules: readonly RouteRuleObject[]): Promise<Judge> {
  const inVpc = [{ name: 'vpcId', values: [vpcId] }];
  const uses = (type: string): boolean => rules.some((rule) => rule.nextHopType === type);
  const [halves, interfaces] = await Promise.all([
    uses('vpc_peering') ? list(client, 'peering', inVpc) : [],
    uses('elastic_network_interface') ? list(client, 'interface', inVpc) : [],
  ]);
  const states = new Map<string, string>([
    ...halves.map(({ vpcPeeringId, vpcPeeringState: state }): [string, string] => [
      vpcPeeringId,
      state === 'Connected' ? 'yes' : `no: ${state}`,
    ]),
    ...interfaces.map((port): [string, string] => [port.networkInterfaceId, 'yes']),
    ['local', 'yes'],
    ['internet', 'no: no egress'],
  ]);
  return (rule) => states.get(rule.nextHopId) ?? 'no: gone';
}

/** The rules that texts mean: rule ids, or destinations. */
async function ruleIds(client: Client, tableId: string, texts: readonly string[]): Promise<readonly string[]> {
  const { routeTableRules } = await read(client, 'route-table', tableId);
  return texts.map((text) => {
    const rule = routeTableRules.find(({ ruleId, addressPrefix }) => ruleId === text || addressPrefix === text);
    if (rule !== undefined) return rule.ruleId;
    throw new Failure(1, `Route table ${tableId} has no rule '${text}'.`, {
      remedy: `List them with: isthmus route list ${tableId}`,
    });
  });
}

interface RuleOptions extends TenantOptions {
  readonly to?: string;
  readonly via?: string;
  readonly priority?: string;
  readonly description?: string;
}

function priorityOf(options: RuleOptions): number | undefined {
  if (options.priority === undefined) return undefined;
  if (!/^[0-9]{1,6}$/.test(options.priority)) throw new Failure(2, `--priority '${options.priority}' is not a number.`);
  return Number(options.priority);
}

export function register(program: Command): void {
  const noun = program
    .command('route')
    .description("the rules of a route table; a VPC's name or id stands for its default table");
  changeVerb(noun, 'add <route-table> <destination>', 'add a rule')
    .requiredOption('--via <next-hop>', 'a peering half or network interface, by id or name, or: internet')
    .option('--priority <number>', '1 to 255')
    .option('--description <text>', 'free text, at most 256 characters')
    .action(async (text: string, addressPrefix: string, options: RuleOptions & { via: string }) => {
      const client = clientFor(options);
      const id = await tableIn(client, text);
      const more = present({ priority: priorityOf(options), description: options.description });
      const rule = { addressPrefix, ...(await nextHop(client, options.via)), ...more };
      await client.post(pathOf('route-table', id, 'addRouteTableRules'), { routeTableRuleSpecs: [rule] });
      await printRules(client, options, id);
    });
  tenantVerb(noun, 'list <route-table>', 'list the rules of a table, and whether each leads anywhere now')
    .alias('ls')
    .action(async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      await printRules(client, options, await tableIn(client, text));
    });
  changeVerb(
    noun,
    'modify <route-table> <rule>',
    'change a rule, named by its id or destination, without losing a packet',
  )
    .option('--to <destination>', 'another destination')
    .option('--via <next-hop>', 'another peering half or network interface, by id or name, or: internet')
    .option('--priority <number>', '1 to 255')
    .option('--description <text>', 'free text, at most 256 characters')
    .action(async (text: string, which: string, options: RuleOptions) => {
      const client = clientFor(options);
      const { to: addressPrefix, via, description } = options;
      const hop = via === undefined ? {} : await nextHop(client, via);
      const change = { ...hop, ...present({ addressPrefix, priority: priorityOf(options), description }) };
      demandChange(change);
      const id = await tableIn(client, text);
      const [ruleId] = await ruleIds(client, id, [which]);
      const body = { modifyRouteTableRuleSpecs: [{ ruleId, ...change }] };
      await client.post(pathOf('route-table', id, 'modifyRouteTableRules'), body);
      await printRules(client, options, id);
    });
  changeVerb(noun, 'remove <route-table> <rule...>', 'remove rules, named by id or destination')
    .alias('rm')
    .action(async (text: string, which: readonly string[], options: TenantOptions) => {
      const client = clientFor(options);
      const id = await tableIn(client, text);
      const body = { ruleIds: await ruleIds(client, id, which) };
      await client.post(pathOf('route-table', id, 'removeRouteTableRules'), body);
      await printRules(client, options, id);
    });
}
