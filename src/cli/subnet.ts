/** `isthmus subnet`: ranges inside a VPC, each bound to one route table. */
import type { Command } from 'commander';
import { changeVerb, clientFor, type TenantOptions } from './client.ts';
import { Failure } from './failure.ts';
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
import type { SubnetObject } from './objects.ts';

const rangesOf = (subnet: SubnetObject): readonly string[] =>
  // Of an IPv6-only subnet both fields say the same.
  [...new Set([subnet.addressPrefix, subnet.ipv6AddressPrefix])].filter((prefix) => prefix !== '');

/** Nobody counts the addresses of an IPv6 range. */
const freeIn = ({ availableIpCount }: SubnetObject): string =>
  availableIpCount > 1_000_000 ? 'many' : String(availableIpCount);

const layout: Layout<'subnet'> = {
  kind: 'subnet',
  columns: [
    { title: 'ID', of: (subnet) => subnet.subnetId },
    { title: 'NAME', of: (subnet) => subnet.subnetName, flexible: true },
    { title: 'RANGES', of: rangesOf },
    { title: 'ROUTE TABLE', of: (subnet) => subnet.routeTableId },
    { title: 'FREE', of: (subnet) => freeIn(subnet), align: 'right' },
  ],
  properties: (subnet) => [
    ['VPC', subnet.vpcId],
    ['Ranges', rangesOf(subnet)],
    ['Addresses', subnet.startIp === '' ? '' : `${subnet.startIp} – ${subnet.endIp}, ${freeIn(subnet)} free`],
    ['Route table', subnet.routeTableId],
    ['Description', subnet.description],
    ['Created', subnet.createdTime],
  ],
};

interface CreateOptions extends TenantOptions {
  readonly vpc: string;
  readonly cidr: readonly string[];
  readonly routeTable?: string;
  readonly description?: string;
  readonly token?: string;
}

/** One range of each family at most; which is which is told by the colon. */
function byFamily(cidrs: readonly string[]): { addressPrefix?: string; ipv6AddressPrefix?: string } {
  const [v6, v4] = [cidrs.filter((prefix) => prefix.includes(':')), cidrs.filter((prefix) => !prefix.includes(':'))];
  if (v4.length > 1 || v6.length > 1) {
    throw new Failure(2, 'A subnet has at most one IPv4 and one IPv6 range.', {
      remedy: 'Create another subnet for the rest.',
    });
  }
  return {
    ...(v4[0] === undefined ? {} : { addressPrefix: v4[0] }),
    ...(v6[0] === undefined ? {} : { ipv6AddressPrefix: v6[0] }),
  };
}

export function register(program: Command): void {
  const noun = program.command('subnet').description('ranges inside a VPC');
  changeVerb(noun, 'create <name>', 'create a subnet')
    .requiredOption('--vpc <vpc>', 'the VPC, by id or name')
    .requiredOption('--cidr <prefix>', 'its range; give one of each family for dual stack', collect)
    .option('--route-table <route-table>', 'instead of the default table of the VPC')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--token <text>', 'client token: a retry with the same one answers with the same subnet')
    .action(async (name: string, options: CreateOptions) => {
      const client = clientFor(options);
      const { routeTable, description, token: clientToken } = options;
      const vpcId = await idOf(client, 'vpc', options.vpc);
      const routeTableId = routeTable === undefined ? undefined : await idOf(client, 'route-table', routeTable);
      const body = present({
        vpcId,
        subnetName: name,
        ...byFamily(options.cidr),
        routeTableId,
        description,
        clientToken,
      });
      const { subnetId } = (await client.post('/subnets/', body)) as { subnetId: string };
      show(options, layout, await read(client, 'subnet', subnetId));
    });
  listVerb(noun, layout, ['vpc', 'route-table']);
  showVerb(noun, layout);
  changeVerb(noun, 'modify <subnet>', 'rename or describe a subnet')
    .option('--name <name>', 'a new name')
    .option('--description <text>', 'free text, at most 256 characters')
    .action(async (text: string, options: TenantOptions & { name?: string; description?: string }) => {
      const client = clientFor(options);
      const body = present({ subnetName: options.name, description: options.description });
      demandChange(body);
      const id = await idOf(client, 'subnet', text);
      await client.patch(pathOf('subnet', id), body);
      show(options, layout, await read(client, 'subnet', id));
    });
  deleteVerb(noun, 'subnet');
}
