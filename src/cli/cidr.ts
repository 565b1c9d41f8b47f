/** `isthmus cidr`: the ranges of a VPC. */
import type { Command } from 'commander';
import { type Client, clientFor, type TenantOptions, tenantVerb } from './client.ts';
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
  const change = (verb: string, summary: string, operation: string): void => {
    tenantVerb(noun, `${verb} <vpc> <prefix>`, summary).action(
      async (text: string, prefix: string, options: TenantOptions) => {
        const client = clientFor(options);
        const id = await idOf(client, 'vpc', text);
        await client.post(pathOf('vpc', id, operation), { addressPrefix: prefix });
        await printRanges(client, options, id);
      },
    );
  };
  change('add', 'add a range, IPv4 or IPv6', 'associateCidr');
  tenantVerb(noun, 'list <vpc>', 'list the ranges of a VPC')
    .alias('ls')
    .action(async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      await printRanges(client, options, await idOf(client, 'vpc', text));
    });
  change('remove', 'remove a range that no subnet uses', 'disassociateCidr');
}
