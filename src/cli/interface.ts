/** `isthmus interface`: network interfaces. Putting a workload on one is the operator's `isthmus attach`. */
import type { Command } from 'commander';
import { changeVerb, clientFor, type TenantOptions } from './client.ts';
import { Failure } from './failure.ts';
import { registerObservations } from './interface-observations.ts';
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
import type { InterfaceObject } from './objects.ts';

const primaryOf = (port: InterfaceObject): readonly string[] =>
  [port.primaryIp.privateIpAddress, port.primaryIpv6Address].filter((address) => address !== '');
const secondaryOf = (port: InterfaceObject): readonly string[] => port.secondaryIps.map((ip) => ip.privateIpAddress);
const isAttached = (port: InterfaceObject): boolean => port.attachmentStatus === 'attached';

const layout: Layout<'interface'> = {
  kind: 'interface',
  columns: [
    { title: 'ID', of: (port) => port.networkInterfaceId },
    { title: 'NAME', of: (port) => port.networkInterfaceName, flexible: true },
    { title: 'ADDRESSES', of: (port) => [...primaryOf(port), ...secondaryOf(port)] },
    { title: 'SUBNET', of: (port) => port.subnetId },
    { title: 'STATUS', of: (port) => port.attachmentStatus, tone: (port) => (isAttached(port) ? 'good' : undefined) },
  ],
  properties: (port) => [
    ['Status', port.attachmentStatus],
    ['Primary', primaryOf(port)],
    ['Secondary', secondaryOf(port)],
    ['MAC', port.macAddress],
    ['Subnet', port.subnetId],
    ['VPC', port.vpcId],
    ['Source check', port.sanityCheck === 1 ? 'on' : 'off: may send from foreign addresses inside its VPC'],
    ['Description', port.description],
    ['Created', port.createdTime],
  ],
};

interface CreateOptions extends TenantOptions {
  readonly subnet: string;
  readonly address?: readonly string[];
  readonly secondary?: readonly string[];
  readonly secondaryCount?: string;
  readonly sourceCheck: boolean;
  readonly description?: string;
  readonly token?: string;
}
interface ModifyOptions extends TenantOptions {
  readonly name?: string;
  readonly description?: string;
  readonly sourceCheck?: string;
}

function countOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,4}$/.test(text)) throw new Failure(2, `'${text}' is not a number of addresses.`);
  return Number(text);
}

/** The vendor's field holds the IPv4 address, or the only one; ours the IPv6 address beside it. */
function primaryIn(addresses: readonly string[]): object {
  const [main, other, ...more] = [...addresses].sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')));
  if (more.length > 0) throw new Failure(2, 'An interface has at most one primary address of each family.');
  return { primaryIpAddress: main, primaryIpv6Address: other };
}

export function register(program: Command): void {
  const noun = program.command('interface').description('network interfaces');
  changeVerb(noun, 'create [name]', 'create a network interface')
    .requiredOption('--subnet <subnet>', 'the subnet, by id or name')
    .option('--address <address>', 'its primary address, one of each family; picked when left out', collect)
    .option('--secondary <address>', 'a secondary address, repeatable', collect)
    .option('--secondary-count <number>', 'how many secondary addresses to pick')
    .option('--no-source-check', 'let it send from foreign source addresses inside its VPC (a router or firewall)')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--token <text>', 'client token: a retry with the same one answers with the same interface')
    .action(async (name: string | undefined, options: CreateOptions) => {
      const client = clientFor(options);
      const body = present({
        networkInterfaceName: name,
        ...primaryIn(options.address ?? []),
        secondaryIpAddresses: options.secondary,
        secondaryIpCount: countOf(options.secondaryCount),
        sanityCheck: options.sourceCheck ? undefined : 0,
        description: options.description,
        clientToken: options.token,
        subnetId: await idOf(client, 'subnet', options.subnet),
      });
      const made = (await client.post('/networkInterfaces/', body)) as { networkInterfaceId: string };
      show(options, layout, await read(client, 'interface', made.networkInterfaceId));
    });
  listVerb(noun, layout, ['vpc', 'subnet']);
  showVerb(noun, layout);
  changeVerb(noun, 'modify <interface>', 'rename or describe an interface, or switch its source check')
    .option('--name <name>', 'a new name')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--source-check <on|off>', 'whether foreign source addresses are dropped')
    .action(async (text: string, options: ModifyOptions) => {
      const client = clientFor(options);
      const check = options.sourceCheck;
      if (check !== undefined && check !== 'on' && check !== 'off') {
        throw new Failure(2, `--source-check is on or off, not '${check}'.`);
      }
      const body = present({
        networkInterfaceName: options.name,
        description: options.description,
        sanityCheck: check === undefined ? undefined : check === 'on' ? 1 : 0,
      });
      demandChange(body);
      const id = await idOf(client, 'interface', text);
      await client.patch(pathOf('interface', id), body);
      show(options, layout, await read(client, 'interface', id));
    });
  changeVerb(noun, 'assign <interface> [address...]', 'give an interface secondary addresses')
    .option('--count <number>', 'how many to pick, instead of naming them')
    .action(async (text: string, addresses: readonly string[], options: TenantOptions & { count?: string }) => {
      const client = clientFor(options);
      const secondaryIps = addresses.length === 0 ? undefined : addresses;
      const body = present({ secondaryIps, secondaryIpCount: countOf(options.count) });
      demandChange(body);
      const id = await idOf(client, 'interface', text);
      await client.post(pathOf('interface', id, 'assignSecondaryIps'), body);
      show(options, layout, await read(client, 'interface', id));
    });
  changeVerb(noun, 'unassign <interface> <address...>', 'take secondary addresses away').action(
    async (text: string, addresses: readonly string[], options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'interface', text);
      await client.post(pathOf('interface', id, 'unassignSecondaryIps'), { secondaryIps: addresses });
      show(options, layout, await read(client, 'interface', id));
    },
  );
  registerObservations(noun);
  deleteVerb(noun, 'interface');
}
