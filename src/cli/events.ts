/**
 * `isthmus events`: what happened to one's objects, and with `--follow` what happens. A lost connection is opened again
 * from the last event that was seen, so that none is missed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { FeedEvent } from '../region/feed.ts';
import { AdminClient } from './admin.ts';
import { clientFor, type Query, type TenantOptions, tenantOptions } from './client.ts';
import { Failure } from './failure.ts';
import { printNote, printText } from './output.ts';
import { onEnd } from './places.ts';
import { escapeJson, escapeText, type Painter, painterFor, type Tone } from './terminal.ts';

interface EventOptions extends TenantOptions {
  readonly follow?: true;
  readonly after?: string;
  readonly limit: string;
  readonly operator?: true;
  readonly instance?: string;
  readonly socket?: string;
}

const stateTones: { readonly [state: string]: Tone } = {
  open: 'good',
  Connected: 'good',
  attached: 'good',
  partly: 'warn',
  Initiated: 'warn',
};

/** One event as a line, or a few. */
export function eventLines(event: FeedEvent, paint: Painter): readonly string[] {
  const head = `${paint('dim', event.time)}  ${event.id.padEnd(8)}`;
  const tone = (state: string): string => paint(stateTones[state] ?? 'bad', state);
  switch (event.event) {
    case 'change': {
      const who =
        event.by === 'you'
          ? (event.operation ?? '')
          : event.by === 'peer'
            ? 'by the peer'
            : `${event.operation} by the operator`;
      const what = event.objects.map(({ op, kind, id, name, state }) =>
        [kind, id, escapeText(name), op === 'delete' ? paint('bad', 'gone') : state === undefined ? '' : tone(state)]
          .filter((part) => part !== '')
          .join(' '),
      );
      return [`${head}  ${who}  ${what.join(', ')}`];
    }
    case 'health': {
      const state = event.health === null ? paint('bad', 'not Connected') : tone(event.health);
      return [
        `${head}  health  ${event.vpcPeeringId}  ${state}`,
        ...event.reasons.map((text) => `    ${escapeText(text)}`),
      ];
    }
    case 'attachment':
      return [`${head}  workload  ${event.networkInterfaceId}  ${tone(event.state)}`];
    case 'fence': {
      const of = event.vpcPeeringId ?? event.vpcId;
      const behind = [
        ...(event.notFencedOn.length === 0 ? [] : [`not fenced on ${event.notFencedOn.join(', ')}`]),
        ...(event.notInstalledOn.length === 0 ? [] : [`not installed on ${event.notInstalledOn.join(', ')}`]),
      ];
      const said =
        behind.length === 0 ? paint('good', 'all hosts have caught up') : paint('bad', escapeText(behind.join(', ')));
      return [`${head}  hosts  ${of}  ${said}`];
    }
    case 'reset':
      return [`${head}  ${paint('warn', 'Some events were missed: look at the state itself.')}`];
  }
}

/** Reads server-sent events. @param take called with each event's data */
export function eventReader(take: (data: string) => void): (text: string) => void {
  let rest = '';
  return (text) => {
    rest += text;
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const lines = rest.slice(0, end).split('\n');
      rest = rest.slice(end + 2);
      const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
      if (data.length > 0) take(data.join('\n'));
    }
  };
}

/** Pause before a lost stream is opened again, in milliseconds. */
const pause = 1000;

export function register(program: Command): void {
  const verb = program
    .command('events')
    .description('what happened to your networks, oldest first; with --follow, what happens');
  tenantOptions(verb)
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--after <id>', 'from this event on: the id that was seen last')
    .option('--limit <number>', 'how many of the newest, up to 1000', '20')
    .option('--operator', 'those of every account, over the admin socket (root)')
    .option('--instance <name>', 'with --operator: which installation (ISTHMUS_INSTANCE)')
    .option('--socket <path>', 'with --operator: its admin socket (ISTHMUS_SOCKET)')
    .action(async (options: EventOptions) => {
      if (!/^[0-9]{1,4}$/.test(options.limit)) throw new Failure(2, `--limit '${options.limit}' is not a number.`);
      const paint = painterFor(process.stdout);
      const admin = options.operator === true ? new AdminClient(options) : null;
      const client = admin === null ? clientFor(options) : null;
      let last = options.after;
      const show = (event: FeedEvent): void => {
        last = event.id;
        if (options.json === true) printText(`${escapeJson(JSON.stringify(event))}\n`);
        else if (options.quiet === true) printText(`${event.id}\n`);
        else
          printText(
            eventLines(event, paint)
              .map((line) => `${line}\n`)
              .join(''),
          );
      };
      const get = async (query: Query): Promise<readonly FeedEvent[]> => {
        const search = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
        const answer =
          client === null ? await admin?.call('GET', `/events?${search}`) : await client.get('/events', query);
        return (answer as { events: readonly FeedEvent[] }).events;
      };
      const since: Query = last === undefined ? [] : [['after', last]];
      for (const event of await get([['pageSize', options.limit], ...since])) show(event);
      if (options.follow !== true) return;
      let ended = false;
      onEnd(() => {
        ended = true;
        process.exit(0);
      });
      for (let failures = 0; !ended; ) {
        const query: Query = [['follow', 'true'], ...(last === undefined ? [] : [['after', last] as const])];
        const search = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
        const reader = eventReader((data) => show(JSON.parse(data) as FeedEvent));
        try {
          await (client === null
            ? admin?.follow(`/events?${search}`, reader)
            : client.follow('/events', query, reader));
          failures = 0;
        } catch (error) {
          // A refusal will not become an answer; a service that is away comes back.
          if (!(error instanceof Failure) || error.exitCode === 1) throw error;
          if (failures++ === 0) printNote(`${error.message} Trying again.`);
        }
        await sleep(pause);
      }
    });
}
