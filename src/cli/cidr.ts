/** `isthmus cidr`: the ranges of a VPC. */
import type { Command } from 'commander';
import { type Client, changeVerb, clientFor, type TenantOptions, tenantVerb } from './client.ts';
import { idOf, pathOf, read } from './nouns.ts';
import { printJson, printList } from './output.ts';

async function printRanges(client: Client, options: TenantOptions, vpcId: string): Promise<void> {
  const vpc = await read(client, 'vpc', vpcId);
  if (options.json === true) return printJson(vpc.addressPrefixes);
  const columns = [{ title: 'CIDR', of: (prefix: string) => prefix }];
  const none = `${vpcId} has no CIDR: its range is that of its subnets.`;
  printList(options, vpc.addressPrefixes, { columns, id: (prefix) => prefix, none });
}

export function register(program: Command): void {
  const noun = program.command('cidr').description('the ranges of a VPC');
  changeVerb(noun, 'add <vpc> <prefix...>', 'add ranges, IPv4 or IPv6, all or none').action(
    async (text: string, addressPrefixes: readonly string[], options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'vpc', text);
      await client.post(pathOf('vpc', id, 'associateCidr'), { addressPrefixes });
      await printRanges(client, options, id);
    },
  );
  tenantVerb(noun, 'list <vpc>', 'list the ranges of a VPC')
    .alias('ls')
    .action(async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      await printRanges(client, options, await idOf(client, 'vpc', text));
    });
  changeVerb(noun, 'remove <vpc> <prefix>', 'remove a range that no subnet uses').action(
    async (text: string, addressPrefix: string, options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'vpc', text);
      await client.post(pathOf('vpc', id, 'disassociateCidr'), { addressPrefix });
      await printRanges(client, options, id);
    },
  );
}
