/** `isthmus interface counters` and `trace`: what became of what an interface sent, and where a packet of it would go. */
import type { Command } from 'commander';
import { type DropReason, dropReasons, exits } from '../model/drop-reason.ts';
import { clientFor, type TenantOptions, tenantVerb } from './client.ts';
import { idOf, pathOf } from './nouns.ts';
import { printList, printObject } from './output.ts';

interface ExitCount {
  readonly exit: string;
  readonly packets: number;
  readonly bytes: number;
}
interface Hop {
  readonly hop: string;
  readonly object: string;
  readonly destination?: string;
  readonly target?: string;
}
interface TraceObject {
  readonly verdict: string;
  readonly reason: string | null;
  readonly object: string | null;
  readonly path: readonly Hop[];
}

const hopLine = ({ hop, object, destination, target }: Hop): string =>
  destination === undefined ? `${hop}  ${object}` : `${hop}  ${object}  ${destination} → ${target ?? ''}`;

const beyond = "whether it arrives, and whether a reply has a route, is the other owner's side";

/** What a reason means and what helps, in the words of the one list. */
function explain(reason: string | null): readonly string[] {
  const known = dropReasons.find((name): name is DropReason => name === reason);
  return known === undefined ? [] : [exits[known].meaning, exits[known].remedy];
}

export function registerObservations(noun: Command): void {
  tenantVerb(noun, 'counters <interface>', 'count what became of the packets it sent').action(
    async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'interface', text);
      const answer = (await client.get(`${pathOf('interface', id)}/counters`)) as { exits: readonly ExitCount[] };
      printList(options, answer.exits, {
        columns: [
          { title: 'EXIT', of: (row) => row.exit },
          { title: 'PACKETS', of: (row) => row.packets.toLocaleString('en'), align: 'right' },
          { title: 'BYTES', of: (row) => row.bytes.toLocaleString('en'), align: 'right' },
        ],
        id: (row) => row.exit,
        none: 'It has sent nothing.',
      });
    },
  );
  tenantVerb(noun, 'trace <interface> <address>', 'where a packet of it to an address would go, and why').action(
    async (text: string, destination: string, options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, 'interface', text);
      const found = (await client.get(pathOf('interface', id, 'trace'), [['destination', destination]])) as TraceObject;
      printObject(options, found, {
        id: ({ verdict, reason }) => reason ?? verdict,
        title: ({ verdict }) => `${id} to ${destination}: ${verdict}`,
        properties: ({ verdict, path, reason, object }) => [
          ['Path', path.map(hopLine)],
          ...(verdict === 'handed-to-peer' ? [['Then', [beyond]] as const] : []),
          ...(reason === null ? [] : [['Reason', [`${reason} ${object ?? ''}`.trim(), ...explain(reason)]] as const]),
        ],
      });
    },
  );
}
