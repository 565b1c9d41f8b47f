/** `isthmus vpc`: virtual private clouds. */
import type { Command } from 'commander';
import { behindProperties } from './behind.ts';
import { changeVerb, clientFor, type TenantOptions } from './client.ts';
import {
  collect,
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

const rangesOf = (prefixes: readonly string[]): readonly string[] => (prefixes.length === 0 ? ['unlimited'] : prefixes);

const layout: Layout<'vpc'> = {
  kind: 'vpc',
  columns: [
    { title: 'ID', of: (vpc) => vpc.vpcId },
    { title: 'NAME', of: (vpc) => vpc.vpcName, flexible: true },
    { title: 'CIDRS', of: (vpc) => rangesOf(vpc.addressPrefixes) },
    { title: 'SUBNETS', of: (vpc) => String(vpc.subnets.length), align: 'right' },
  ],
  properties: (vpc) => [
    ['CIDRs', rangesOf(vpc.addressPrefixes)],
    ['Subnets', vpc.subnets.map((subnet) => `${subnet.subnetId}  ${subnet.addressPrefix}  ${subnet.subnetName}`)],
    ['Route tables', vpc.routeTableIds],
    ['Description', vpc.description],
    ['Created', vpc.createdTime],
    ...behindProperties(vpc),
  ],
};

interface CreateOptions extends TenantOptions {
  readonly cidr?: readonly string[];
  readonly description?: string;
  readonly token?: string;
}

export function register(program: Command): void {
  const noun = program.command('vpc').description('virtual private clouds');
  changeVerb(noun, 'create <name>', 'create a VPC with its default route table')
    .option(
      '--cidr <prefix>',
      'a range of its own, repeatable, IPv4 or IPv6; none: the range is that of its subnets',
      collect,
    )
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--token <text>', 'client token: a retry with the same one answers with the same VPC')
    .action(async (name: string, options: CreateOptions) => {
      const client = clientFor(options);
      const { cidr: addressPrefixes, description, token: clientToken } = options;
      const body = present({ vpcName: name, addressPrefixes, description, clientToken });
      const { vpcId } = (await client.post('/vpcs/', body)) as { vpcId: string };
      show(options, layout, await read(client, 'vpc', vpcId));
    });
  listVerb(noun, layout, []);
  showVerb(noun, layout);
  changeVerb(noun, 'modify <vpc>', 'rename a VPC, describe it, or drop its CIDRs')
    .option('--name <name>', 'a new name')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--unlimited', 'drop its CIDRs: the range is then that of its subnets')
    .action(
      async (text: string, options: TenantOptions & { name?: string; description?: string; unlimited?: true }) => {
        const client = clientFor(options);
        const { name: vpcName, description, unlimited } = options;
        const body = present({ vpcName, description, addressPrefix: unlimited === true ? '' : undefined });
        demandChange(body);
        const id = await idOf(client, 'vpc', text);
        await client.patch(pathOf('vpc', id), body);
        show(options, layout, await read(client, 'vpc', id));
      },
    );
  const cascade = (options: object): readonly (readonly [string, string])[] =>
    (options as { cascade?: true }).cascade === true ? [['cascade', 'true']] : [];
  deleteVerb(noun, 'vpc', cascade).option('--cascade', 'with its peering halves, subnets, interfaces and route tables');
}
