/**
 * `isthmus trace`: the way from one place to another and back, everything that blocks it, and the commands that mend it.
 * Owns how it is told; what is in the way is found by the service. `--live` (root) also sends: see trace-live.ts.
 */
import type { Command } from 'commander';
import { isId } from '../model/ids.ts';
import { AdminClient } from './admin.ts';
import { clientFor, type Query, type TenantOptions, tenantOptions } from './client.ts';
import { Failure } from './failure.ts';
import { resolve } from './nouns.ts';
import type { BlockerObject, TraceObject } from './objects.ts';
import { printJson, printText } from './output.ts';
import { type PlaceOptions, placesOf, sockets } from './places.ts';
import { escapeText, type Painter, painterFor } from './terminal.ts';

export interface TraceOptions extends TenantOptions, PlaceOptions {
  readonly operator?: true;
  readonly size?: string;
  readonly live?: true;
  readonly proto: string;
  readonly port?: string;
}
type Pair = TraceObject['pairs'][number] & { readonly probe?: 'answered' | 'lost' };
type Leg = Pair['forward'];
/** What the service found, and with --live what became of a probe. */
type Traced = Omit<TraceObject, 'pairs'> & { readonly pairs: readonly Pair[] };

const isAddress = (text: string): boolean => /^[0-9.]+$/.test(text) || text.includes(':');
const isEndId = (text: string): boolean => (['interface', 'subnet', 'vpc'] as const).some((kind) => isId(kind, text));

/** Asks the service, as tenant or operator. */
export async function ask(options: TraceOptions, source: string, destination: string): Promise<TraceObject> {
  if (options.size !== undefined && !/^[0-9]{1,5}$/.test(options.size)) {
    throw new Failure(2, `--size '${options.size}' is not a number of bytes.`, { remedy: 'Use 20 to 65535.' });
  }
  const query = (from: string, to: string): Query => [
    ['source', from],
    ['destination', to],
    ...(options.size === undefined ? [] : [['size', options.size] as const]),
    ...(options.live === true ? [['plane', 'true'] as const] : []),
  ];
  if (options.operator === true) {
    const admin = new AdminClient({ socket: sockets(placesOf(options).runDir).admin });
    const find = async (text: string): Promise<string> =>
      isAddress(text) || isEndId(text) ? text : interfaceNamed(admin, text);
    const pairs = query(await find(source), await find(destination));
    const search = pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
    return (await admin.call('GET', `/trace?${search}`)) as TraceObject;
  }
  const client = clientFor(options);
  const find = async (text: string): Promise<string> =>
    isAddress(text) || isEndId(text) ? text : (await resolve(client, ['interface', 'subnet', 'vpc'], text)).id;
  return (await client.get('/trace', query(await find(source), await find(destination)))) as TraceObject;
}

async function interfaceNamed(admin: AdminClient, name: string): Promise<string> {
  const { interfaces } = (await admin.call('GET', `/interfaces?name=${encodeURIComponent(name)}`)) as {
    interfaces: readonly { networkInterfaceId: string; accountName: string }[];
  };
  const [only, ...more] = interfaces;
  if (only !== undefined && more.length === 0) return only.networkInterfaceId;
  throw new Failure(more.length > 0 ? 2 : 1, `'${name}' is the name of ${interfaces.length} interfaces.`, {
    lines: interfaces.map((one) => `${one.networkInterfaceId} of ${one.accountName}`),
    remedy: 'Name one by its id, or give an address.',
  });
}

const nameOf = ({ interfaceId, subnetId, vpcId, address }: Pair['from']): string =>
  [address, interfaceId ?? subnetId ?? vpcId].filter((part) => part !== null).join(' of ');

const words = {
  open: ['good', 'open'],
  partly: ['warn', 'open in part'],
  blocked: ['bad', 'blocked'],
  unknown: ['warn', 'not yours to see until both sides have created their halves'],
} as const satisfies { readonly [S in Leg['state']]: readonly ['good' | 'warn' | 'bad', string] };

const hands = { you: 'you', peer: "the peer's owner", operator: 'the operator', owner: 'the owner' } as const;

function legLines(name: string, leg: Leg, paint: Painter): readonly string[] {
  const [tone, word] = words[leg.state];
  return [
    `  ${paint('dim', name.padEnd(6))} ${paint(tone, word)}`,
    ...leg.hops.map(({ hop, object, detail }) =>
      `    ${paint('dim', hop.padEnd(10))} ${object}  ${escapeText(detail)}`.trimEnd(),
    ),
    ...leg.blockers.map(({ text }) => `    ${paint('bad', '✗')} ${escapeText(text)}`),
  ];
}

/** Every remedy once, in the order to carry them out. */
function remedies(found: Traced, paint: Painter): readonly string[] {
  const seen = new Set<string>();
  const lines: string[] = [];
  const blockers = found.pairs.flatMap(({ forward, back }) => [...forward.blockers, ...back.blockers]);
  for (const { by, commands } of [...blockers].sort((a, b) => order(a) - order(b))) {
    for (const command of commands) {
      const key = `${by} ${command}`;
      if (seen.has(key)) continue;
      seen.add(key);
      lines.push(`  ${paint('dim', `${hands[by]}:`.padEnd(18))}${escapeText(command)}`);
    }
  }
  return lines.length === 0 ? [] : [paint('strong', 'To mend it:'), ...lines];
}

/** Halves first: routes lead to them. */
const order = ({ code }: BlockerObject): number => (code === 'no-half' || code === 'not-transitive' ? 0 : 1);

export function render(found: Traced, paint: Painter): string {
  const out: string[] = [];
  for (const pair of found.pairs) {
    const works = pair.forward.state === 'open' && pair.back.state === 'open';
    const mtu = pair.mtu === null ? '' : `, MTU ${pair.mtu}`;
    const probe = pair.probe === undefined ? '' : `; the probe was ${pair.probe}`;
    const sum =
      works && pair.probe !== 'lost' ? paint('good', `works${mtu}${probe}`) : paint('bad', `does not work${probe}`);
    out.push(
      `${paint('strong', `${nameOf(pair.from)} → ${nameOf(pair.to)}`)}  ${sum}`,
      ...legLines('there', pair.forward, paint),
      ...legLines('back', pair.back, paint),
    );
  }
  if (found.omitted > 0) out.push(`… and ${found.omitted} more pairs: name a subnet or an interface.`);
  return [...out, ...remedies(found, paint)].map((line) => `${line}\n`).join('');
}

/** Pairs that are probed, at most. */
const mostProbed = 8;

/** Sends between the workloads of each pair, and adds what that shows. @throws Failure */
async function probed(found: Traced, options: TraceOptions): Promise<Traced> {
  const { proto, port, size } = options;
  if (proto !== 'icmp' && proto !== 'udp' && proto !== 'tcp') {
    throw new Failure(2, `--proto '${proto}' is not known.`, { remedy: 'Use icmp, udp or tcp.' });
  }
  if (proto !== 'icmp' && (port === undefined || !/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535 || port === '0')) {
    throw new Failure(2, `--proto ${proto} needs --port, a number from 1 to 65535.`);
  }
  const { probeLive } = await import('./live/probe.ts');
  const { liveEnds } = await import('./live/ends.ts');
  return liveEnds(sockets(placesOf(options).runDir).host, async (agent, endOf) => {
    const pairs: Pair[] = [];
    for (const pair of found.pairs) {
      const [from, to] = [endOf(pair.from), endOf(pair.to)];
      if (from === null || to === null || pairs.length >= mostProbed) {
        pairs.push(pair);
        continue;
      }
      const seen = await probeLive(agent, from, to, {
        protocol: proto,
        port: Number(port ?? 0),
        size: size === undefined ? null : Number(size),
      });
      const add = (leg: Leg, more: readonly BlockerObject[]): Leg => {
        const fresh = more.filter(
          ({ code, object }) =>
            !leg.blockers.some((one) => one.code === code && one.object === object) &&
            // That the plane drops what is blocked is as it should be.
            !(code === 'plane-drops' && leg.blockers.length > 0),
        );
        const state = leg.state === 'open' && fresh.length > 0 && !seen.answered ? 'blocked' : leg.state;
        return { ...leg, state, blockers: [...leg.blockers, ...fresh] };
      };
      pairs.push({
        ...pair,
        forward: add(pair.forward, seen.forward as readonly BlockerObject[]),
        back: add(pair.back, seen.back as readonly BlockerObject[]),
        probe: seen.answered ? 'answered' : 'lost',
      });
    }
    const works = found.works && pairs.every(({ probe }) => probe !== 'lost');
    return { ...found, works, pairs };
  });
}

export function register(program: Command): void {
  const verb = program
    .command('trace <source> <destination>')
    .description(
      'why packets pass from one place to another and back, or what blocks them, and what mends it.\nA place is an interface, subnet or VPC, by id or name, or an address.',
    );
  tenantOptions(verb)
    .option('--size <bytes>', 'of the IP packet: check MTUs too')
    .option('--live', 'also send real packets between the workloads, and compare (root)')
    .option('--proto <name>', 'with --live: icmp, udp or tcp (default icmp)')
    .option('--port <number>', 'with --live: the destination port of udp or tcp')
    .option('--operator', 'see into every VPC, over the admin socket (root)')
    .option('--instance <name>', 'with --operator or --live: which installation (ISTHMUS_INSTANCE)')
    .option('--run-dir <path>', 'with --operator or --live: its run directory')
    .action(async (source: string, destination: string, options: TraceOptions & { proto?: string }) => {
      if (options.live !== true && (options.proto ?? options.port) !== undefined) {
        throw new Failure(2, '--proto and --port say what --live sends.', {
          remedy: 'Add --live, as root. Routes and halves are the same for all protocols.',
        });
      }
      let found: Traced = await ask(
        options.live === true ? { ...options, operator: true } : options,
        source,
        destination,
      );
      if (options.live === true) found = await probed(found, { ...options, proto: options.proto ?? 'icmp' });
      if (options.json === true) printJson(found);
      else if (options.quiet === true) printText(found.works ? '' : `${codes(found).join('\n')}\n`);
      else printText(render(found, painterFor(process.stdout)));
      process.exitCode = found.works ? 0 : 1;
    });
}

const codes = (found: Traced): readonly string[] => [
  ...new Set(
    found.pairs.flatMap(({ forward, back }) => [...forward.blockers, ...back.blockers].map(({ code }) => code)),
  ),
];
