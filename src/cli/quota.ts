/** `isthmus quota`: how much an account may own. Tenants look, the operator sets. */
import type { Command } from 'commander';
import { type QuotaType, quotas, quotaTypes } from '../model/quota.ts';
import { AdminClient, type AdminOptions, accountPath, adminChangeVerb } from './admin.ts';
import { type Client, clientFor, type Query, type TenantOptions, tenantVerb } from './client.ts';
import { Failure } from './failure.ts';
import { idOf } from './nouns.ts';
import { printJson, printList, printNote } from './output.ts';

interface QuotaObject {
  readonly type: string;
  readonly parentResourceId: string;
  readonly maxLimit: number;
  readonly count: number;
}
interface ListOptions extends TenantOptions {
  readonly vpc?: string;
  readonly routeTable?: string;
  readonly interface?: string;
}

/** The id of the thing that a quota counts in, for those that the options name; undefined for the others. */
async function parentFor(client: Client, type: QuotaType, options: ListOptions): Promise<string | undefined> {
  const { vpc, routeTable, interface: port } = options;
  switch (quotas[type].per) {
    case 'account':
      return '';
    case 'vpc':
      return vpc === undefined ? undefined : idOf(client, 'vpc', vpc);
    case 'route-table':
      return routeTable === undefined ? undefined : idOf(client, 'route-table', routeTable);
    case 'interface':
      return port === undefined ? undefined : idOf(client, 'interface', port);
  }
}

function typeOf(text: string): QuotaType {
  const type = quotaTypes.find((known) => known === text);
  if (type === undefined) {
    throw new Failure(2, `'${text}' is not a quota.`, { remedy: `Use one of: ${quotaTypes.join(', ')}.` });
  }
  return type;
}

export function register(program: Command): void {
  const noun = program.command('quota').description('how much an account may own');
  tenantVerb(noun, 'list', 'list your quotas and what is used of them')
    .alias('ls')
    .option('--vpc <vpc>', 'with those that count in this VPC')
    .option('--route-table <route-table>', 'with those that count in this route table')
    .option('--interface <interface>', 'with those that count on this interface')
    .action(async (options: ListOptions) => {
      const client = clientFor(options);
      const rows: QuotaObject[] = [];
      for (const type of quotaTypes) {
        const parent = await parentFor(client, type, options);
        if (parent === undefined) continue;
        const query: Query = [['type', type], ...(parent === '' ? [] : [['parentResourceId', parent] as const])];
        rows.push(((await client.get('/quotas/', query)) as { quota: QuotaObject }).quota);
      }
      printList(options, rows, {
        columns: [
          { title: 'QUOTA', of: ({ type }) => type },
          { title: 'IN', of: ({ parentResourceId }) => parentResourceId },
          { title: 'USED', of: ({ count }) => String(count), align: 'right' },
          { title: 'LIMIT', of: ({ maxLimit }) => String(maxLimit), align: 'right' },
          { title: 'OF', of: ({ type }) => quotas[typeOf(type)].noun, flexible: true },
        ],
        id: ({ type }) => type,
        none: 'No quota.',
      });
    });
  adminChangeVerb(
    noun,
    'set <account> <quota> <limit>',
    'give an account its own limit (operator); "default" takes it back',
  )
    .addHelpText('after', `\nQuotas: ${quotaTypes.join(', ')}.`)
    .action(async (text: string, type: string, limit: string, options: AdminOptions) => {
      if (limit !== 'default' && !/^[0-9]{1,7}$/.test(limit)) {
        throw new Failure(2, `'${limit}' is neither a number nor 'default'.`);
      }
      const client = new AdminClient(options);
      const path = accountPath((await client.account(text)).accountId, `/quotas/${typeOf(type)}`);
      await client.call('PUT', path, { maxLimit: limit === 'default' ? null : Number(limit) });
      if (options.json === true)
        printJson({ account: text, type, maxLimit: limit === 'default' ? null : Number(limit) });
      else printNote(`Quota ${type} of ${text} is ${limit}.`);
    });
}
