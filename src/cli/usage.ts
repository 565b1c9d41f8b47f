/** `isthmus usage`: what peering connections carried, in exact bytes on the wire, and what it costs: nothing. */
import type { Command } from 'commander';
import { clientFor, type TenantOptions, tenantOptions } from './client.ts';
import { idOf, list, pathOf, read } from './nouns.ts';
import type { PeeringObject } from './objects.ts';
import { printList } from './output.ts';

interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}
interface UsageObject {
  readonly sent: Traffic;
  /** null while the other side has no half. */
  readonly received: Traffic | null;
  readonly price: string;
}

const number = (value: number | undefined): string => (value === undefined ? '' : value.toLocaleString('en'));

export function register(program: Command): void {
  const usage = program.command('usage').description('what your peering connections carried, and its price');
  tenantOptions(usage.argument('[peering...]', 'your halves, by id or name; all when left out')).action(
    async (texts: readonly string[], options: TenantOptions) => {
      const client = clientFor(options);
      const halves: readonly PeeringObject[] =
        texts.length === 0
          ? await list(client, 'peering')
          : await Promise.all(texts.map(async (text) => read(client, 'peering', await idOf(client, 'peering', text))));
      const rows = await Promise.all(
        halves.map(async ({ vpcPeeringId, vpcPeeringName }) => {
          const carried = (await client.get(`${pathOf('peering', vpcPeeringId)}/usage`)) as UsageObject;
          return { vpcPeeringId, vpcPeeringName, ...carried };
        }),
      );
      printList(options, rows, {
        columns: [
          { title: 'ID', of: (row) => row.vpcPeeringId },
          { title: 'NAME', of: (row) => row.vpcPeeringName, flexible: true },
          { title: 'BYTES SENT', of: (row) => number(row.sent.bytes), align: 'right' },
          { title: 'BYTES RECEIVED', of: (row) => number(row.received?.bytes), align: 'right' },
          { title: 'PRICE', of: (row) => row.price, align: 'right' },
        ],
        id: (row) => row.vpcPeeringId,
        none: 'No peering half here.',
      });
    },
  );
}
