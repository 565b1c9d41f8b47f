/** `isthmus journal`: what happened, in order: the whole region for the operator, one's own with `--mine`. */
import type { Command } from 'commander';
import { AdminClient, type AdminOptions, adminOptions } from './admin.ts';
import { Client, profileFor, type Query, type TenantOptions } from './client.ts';
import { Failure } from './failure.ts';
import { printList, printNote } from './output.ts';

type ChangeObject =
  | { readonly op: 'put'; readonly resource: { readonly id: string } }
  | { readonly op: 'delete'; readonly id: string };
interface EntryObject {
  readonly revision: number;
  readonly time: string;
  readonly account: string | null;
  readonly principal: string;
  readonly operation: string;
  readonly requestId: string;
  readonly changes: readonly ChangeObject[];
}
interface JournalOptions extends AdminOptions, TenantOptions {
  readonly mine?: true;
  readonly after?: string;
  readonly limit: string;
}

const numberOf = (text: string, option: string): string => {
  if (!/^[0-9]{1,15}$/.test(text)) throw new Failure(2, `${option} '${text}' is not a number.`);
  return text;
};

const changed = (entry: EntryObject): readonly string[] =>
  entry.changes.map((change) => (change.op === 'put' ? change.resource.id : `${change.id} gone`));

export function register(program: Command): void {
  const journal = program.command('journal').description('what happened, oldest first: in the region, or your account');
  adminOptions(journal)
    .option('--mine', 'only your account, as your profile shows it')
    .option('-p, --profile <name>', 'with --mine: the profile to act as (ISTHMUS_PROFILE)')
    .option('--endpoint <url>', 'with --mine: the region to speak to')
    .option('--region <name>', 'with --mine: its name')
    .option('--after <revision>', 'from this revision on, instead of the newest')
    .option('--limit <number>', 'at most so many entries, up to 1000', '100')
    .action(async (options: JournalOptions) => {
      const query: Query = [
        options.after === undefined ? ['latest', 'true'] : ['afterRevision', numberOf(options.after, '--after')],
        ['pageSize', numberOf(options.limit, '--limit')],
      ];
      const answer =
        options.mine === true
          ? await new Client(profileFor(options)).get('/journal', query)
          : await new AdminClient(options).call('GET', `/journal?${query.map((pair) => pair.join('=')).join('&')}`);
      const { entries } = answer as { entries: readonly EntryObject[] };
      printList(options, entries, {
        columns: [
          { title: 'REV', of: ({ revision }) => String(revision), align: 'right' },
          { title: 'TIME', of: ({ time }) => time },
          { title: 'ACCOUNT', of: ({ account }) => account ?? 'operator' },
          { title: 'OPERATION', of: ({ operation }) => operation },
          { title: 'CHANGED', of: changed, flexible: true },
        ],
        id: ({ revision }) => String(revision),
        none: 'Nothing happened since.',
      });
      const full = String(entries.length) === options.limit && options.json !== true && options.quiet !== true;
      if (full && options.after === undefined) printNote('The newest. From the beginning: isthmus journal --after 0.');
      if (full && options.after !== undefined) {
        printNote(`There may be more: isthmus journal --after ${entries.at(-1)?.revision}.`);
      }
    });
}
