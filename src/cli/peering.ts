/** `isthmus peering`: your halves of peering connections. The other side creates its own; both together connect. */
import type { Command } from 'commander';
import { behindProperties } from './behind.ts';
import { changeVerb, clientFor, type TenantOptions, tenantVerb } from './client.ts';
import { deleteVerb, demandChange, idOf, type Layout, listVerb, pathOf, present, read, show } from './nouns.ts';
import type { BlockerObject, PeeringObject } from './objects.ts';
import { type Properties, printJson } from './output.ts';
import type { Tone } from './terminal.ts';

type State = PeeringObject['vpcPeeringState'];
const tones = { Initiated: 'warn', Connected: 'good', Disconnected: 'bad' } as const satisfies Record<State, Tone>;

/** What the state means, and what to do next. */
const meanings = {
  Initiated: 'Initiated: the other side has not created its half',
  Connected: 'Connected: carries what the route tables of both sides send',
  Disconnected: 'Disconnected: the other side deleted its half',
} as const satisfies Record<State, string>;

const healthTones: { readonly [health: string]: Tone } = { open: 'good', partly: 'warn', blocked: 'bad' };
const healthWords: { readonly [health: string]: string } = {
  open: 'open: packets flow both ways between all subnets',
  partly: 'open in part',
  blocked: 'blocked: nothing flows',
};

interface HealthObject {
  readonly pairs: readonly {
    readonly direction: 'out' | 'in';
    readonly from: string;
    readonly to: string;
    readonly toRanges: readonly string[];
    readonly state: string;
    readonly blockers: readonly BlockerObject[];
  }[];
  readonly omitted: number;
  readonly lastSent: string | null;
  readonly lastReceived: string | null;
}

/** The health of a half, pair by pair, and what mends it. */
function healthLines(half: PeeringObject, { pairs, omitted, lastSent, lastReceived }: HealthObject): readonly string[] {
  const lines = [healthWords[half.health] ?? '–'];
  for (const { direction, from, to, state, blockers } of pairs.filter((pair) => pair.state !== 'open')) {
    lines.push(`${direction === 'out' ? 'to the peer' : 'from the peer'}, ${from} → ${to}: ${state}`);
    for (const { text, by, commands } of blockers) {
      lines.push(`  ${text}`, ...commands.map((command) => `    ${by === 'you' ? '' : `${by}: `}${command}`));
    }
  }
  if (omitted > 0) lines.push(`and ${omitted} more pairs`);
  if (half.health !== '')
    lines.push(`last sent ${lastSent ?? 'nothing yet'}, last received ${lastReceived ?? 'nothing yet'}`);
  return lines;
}

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
    { title: 'HEALTH', of: (half) => half.health, tone: (half) => healthTones[half.health] },
    { title: 'VPC', of: (half) => half.vpcInfo.vpcId },
    { title: 'REMOTE VPC', of: (half) => half.remoteVpcInfo.vpcId },
  ],
  properties: (half) => [
    ['State', meanings[half.vpcPeeringState]],
    ...behindProperties(half),
    ['VPC', describe(half.vpcInfo)],
    ['Remote VPC', describe(half.remoteVpcInfo)],
    ['Description', half.description],
    ['Created', half.createdTime],
  ],
};

/** Health stands right behind the state. */
const withHealth = ([state, ...rest]: Properties, health: readonly string[]): Properties =>
  state === undefined ? [] : [state, ['Health', health], ...rest];

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
  tenantVerb(noun, 'show <peering>', 'show one half, by id or name, with its health').action(
    async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      const half = await read(client, 'peering', await idOf(client, 'peering', text));
      const { health } = (await client.get(`${pathOf('peering', half.vpcPeeringId)}/health`)) as {
        health: HealthObject;
      };
      if (options.json === true) printJson({ ...half, healthPairs: health.pairs });
      else
        show(
          options,
          { ...layout, properties: (of) => withHealth(layout.properties(of), healthLines(of, health)) },
          half,
        );
    },
  );
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
