/** `isthmus peering`: your halves of peering connections. The other side creates its own; both together connect. */
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
import type { PeeringObject } from './objects.ts';
import type { Tone } from './terminal.ts';

type State = PeeringObject['vpcPeeringState'];
const tones = { Initiated: 'warn', Connected: 'good', Disconnected: 'bad' } as const satisfies Record<State, Tone>;

/** What the state means, and what to do next. */
const meanings = {
  Initiated: 'Initiated: the other side has not created its half',
  Connected: 'Connected: carries what the route tables of both sides send',
  Disconnected: 'Disconnected: the other side deleted its half',
} as const satisfies Record<State, string>;

const describe = ({ vpcId, vpcName, addressPrefix }: PeeringObject['vpcInfo']): readonly string[] => [
  `${vpcId}  ${vpcName}`.trimEnd(),
  ...addressPrefix,
];

const layout: Layout<'peering'> = {
  kind: 'peering',
  columns: [
    { title: 'ID', of: (half) => half.vpcPeeringId },
    { title: 'NAME', of: (half) => half.vpcPeeringName, flexible: true },
    { title: 'STATE', of: (half) => half.vpcPeeringState, tone: (half) => tones[half.vpcPeeringState] },
    { title: 'VPC', of: (half) => half.vpcInfo.vpcId },
    { title: 'REMOTE VPC', of: (half) => half.remoteVpcInfo.vpcId },
  ],
  properties: (half) => [
    ['State', meanings[half.vpcPeeringState]],
    ['VPC', describe(half.vpcInfo)],
    ['Remote VPC', describe(half.remoteVpcInfo)],
    ['Description', half.description],
    ['Created', half.createdTime],
  ],
};

interface CreateOptions extends TenantOptions {
  readonly vpc: string;
  readonly remote: string;
  readonly description?: string;
  readonly token?: string;
}

export function register(program: Command): void {
  const noun = program.command('peering').description('your halves of peering connections');
  changeVerb(noun, 'create <name>', "create your half; with the other side's half it is Connected")
    .requiredOption('--vpc <vpc>', 'your VPC, by id or name')
    .requiredOption('--remote <vpc>', 'the VPC to peer with: the id its owner gave you, or the name of one of yours')
    .option('--description <text>', 'free text, at most 256 characters')
    .option('--token <text>', 'client token: a retry with the same one answers with the same half')
    .action(async (name: string, options: CreateOptions) => {
      const client = clientFor(options);
      const { description, token: clientToken } = options;
      const [vpcId, remoteVpcId] = await Promise.all([
        idOf(client, 'vpc', options.vpc),
        idOf(client, 'vpc', options.remote),
      ]);
      const body = present({ vpcPeeringName: name, vpcId, remoteVpcId, description, clientToken });
      const { vpcPeering } = (await client.post('/vpcPeerings/', body)) as { vpcPeering: PeeringObject };
      show(options, layout, vpcPeering);
    });
  listVerb(noun, layout, ['vpc']);
  showVerb(noun, layout);
  changeVerb(noun, 'modify <peering>', 'rename or describe your half')
    .option('--name <name>', 'a new name')
    .option('--description <text>', 'free text, at most 256 characters')
    .action(async (text: string, options: TenantOptions & { name?: string; description?: string }) => {
      const client = clientFor(options);
      const body = present({ vpcPeeringName: options.name, description: options.description });
      demandChange(body);
      const id = await idOf(client, 'peering', text);
      await client.put(pathOf('peering', id), body);
      show(options, layout, await read(client, 'peering', id));
    });
  deleteVerb(noun, 'peering');
}
