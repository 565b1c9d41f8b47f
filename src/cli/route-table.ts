/** `isthmus route-table`: which rules apply to which subnets. The rules themselves are `isthmus route`. */
import type { Command } from 'commander';
import { changeVerb, clientFor, type TenantOptions } from './client.ts';
import {
  deleteVerb,
  demandChange,
  idOf,
  type Layout,
  listVerb,
  pathOf,
  present,
  read,
  show,
  showVerb,
} from './nouns.ts';

const layout: Layout<'route-table'> = {
  kind: 'route-table',
  columns: [
    { title: 'ID', of: (table) => table.routeTableId },
    { title: 'NAME', of: (table) => table.routeTableName, flexible: true },
    { title: 'TYPE', of: (table) => table.routeTableType },
    { title: 'VPC', of: (table) => table.vpcId },
    { title: 'RULES', of: (table) => String(table.routeTableRules.length), align: 'right' },
    { title: 'SUBNETS', of: (table) => String(table.subnetIds.length), align: 'right' },
  ],
  properties: (table) => [
    ['VPC', table.vpcId],
    ['Type', table.routeTableType],
    ['Rules', table.routeTableRules.map((rule) => `${rule.ruleId}  ${rule.addressPrefix} → ${rule.nextHopId}`)],
    ['Subnets', table.subnetIds],
    ['Description', table.description],
    ['Created', table.createdTime],
  ],
};

export function register(program: Command): void {
  const noun = program.command('route-table').description('which rules apply to which subnets');
  changeVerb(noun, 'create <name>', 'create a custom route table, with the Local rule only')
    .requiredOption('--vpc <vpc>', 'the VPC, by id or name')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--token <text>', 'client token: a retry with the same one answers with the same table')
    .action(async (name: string, options: TenantOptions & { vpc: string; description?: string; token?: string }) => {
      const client = clientFor(options);
      const { description, token: clientToken } = options;
      const vpcId = await idOf(client, 'vpc', options.vpc);
      const body = present({ vpcId, routeTableName: name, description, clientToken });
      const { routeTableId } = (await client.post('/routeTables/', body)) as { routeTableId: string };
      show(options, layout, await read(client, 'route-table', routeTableId));
    });
  listVerb(noun, layout, ['vpc']);
  showVerb(noun, layout);
  changeVerb(noun, 'modify <route-table>', 'rename or describe a route table')
    .option('--name <name>', 'a new name')
    .option('--description <text>', 'free text, at most 256 characters')
    .action(async (text: string, options: TenantOptions & { name?: string; description?: string }) => {
      const client = clientFor(options);
      const body = present({ routeTableName: options.name, description: options.description });
      demandChange(body);
      const id = await idOf(client, 'route-table', text);
      await client.patch(pathOf('route-table', id), body);
      show(options, layout, await read(client, 'route-table', id));
    });
  changeVerb(noun, 'associate <route-table> <subnet...>', 'bind subnets to a table; they leave their old one').action(
    async (text: string, subnets: readonly string[], options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'route-table', text);
      const subnetIds = await Promise.all(subnets.map((subnet) => idOf(client, 'subnet', subnet)));
      await client.post(pathOf('route-table', id, 'associateRouteTable'), { subnetIds });
      show(options, layout, await read(client, 'route-table', id));
    },
  );
  changeVerb(noun, 'disassociate <route-table> <subnet>', 'put a subnet back on the default table of its VPC').action(
    async (text: string, subnet: string, options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'route-table', text);
      const subnetId = await idOf(client, 'subnet', subnet);
      await client.post(pathOf('route-table', id, 'disassociateRouteTable'), { subnetId });
      show(options, layout, await read(client, 'route-table', id));
    },
  );
  deleteVerb(noun, 'route-table');
}
