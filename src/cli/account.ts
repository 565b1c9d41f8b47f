/** `isthmus account`: the tenants of a region. The operator's command, over the admin socket. */
import type { Command } from 'commander';
import {
  type AccountObject,
  AdminClient,
  type AdminOptions,
  accountPath,
  adminChangeVerb,
  adminVerb,
} from './admin.ts';
import { Failure } from './failure.ts';
import { demandChange, gone, present } from './nouns.ts';
import { printList, printObject } from './output.ts';

const id = (account: AccountObject): string => account.accountId;

const show = (options: AdminOptions, account: AccountObject): void =>
  printObject(options, account, {
    id,
    title: ({ accountId, name }) => `${accountId}  ${name}`,
    properties: ({ quotas, requestsPerSecond, createdTime }) => [
      ['Requests', `${requestsPerSecond} a second with each key`],
      ['Own quotas', Object.entries(quotas).map(([type, limit]) => `${type}: ${limit}`)],
      ['Created', createdTime],
    ],
  });

export function register(program: Command): void {
  const noun = program.command('account').description('the tenants of the region (operator)');
  adminChangeVerb(noun, 'create <name>', 'create an account').action(async (name: string, options: AdminOptions) => {
    const client = new AdminClient(options);
    const { accountId } = (await client.call('POST', '/accounts', { name })) as { accountId: string };
    show(options, await client.account(accountId));
  });
  adminVerb(noun, 'list', 'list the accounts')
    .alias('ls')
    .action(async (options: AdminOptions) => {
      printList(options, await new AdminClient(options).accounts(), {
        columns: [
          { title: 'ID', of: id },
          { title: 'NAME', of: ({ name }) => name, flexible: true },
          { title: 'REQUESTS/S', of: ({ requestsPerSecond }) => String(requestsPerSecond), align: 'right' },
          { title: 'CREATED', of: ({ createdTime }) => createdTime },
        ],
        id,
        none: 'No account yet. Create one: isthmus account create NAME',
      });
    });
  adminVerb(noun, 'show <account>', 'show one account, by id or name').action(
    async (text: string, options: AdminOptions) => {
      show(options, await new AdminClient(options).account(text));
    },
  );
  adminChangeVerb(noun, 'modify <account>', 'rename an account, or change its request rate')
    .option('--name <name>', 'a new name')
    .option('--rate <number>', 'requests a second with each of its keys')
    .action(async (text: string, options: AdminOptions & { name?: string; rate?: string }) => {
      if (options.rate !== undefined && !/^[0-9]{1,9}$/.test(options.rate)) {
        throw new Failure(2, `--rate '${options.rate}' is not a number.`);
      }
      const requestsPerSecond = options.rate === undefined ? undefined : Number(options.rate);
      const body = present({ name: options.name, requestsPerSecond });
      demandChange(body);
      const client = new AdminClient(options);
      const { accountId } = await client.account(text);
      await client.call('PATCH', accountPath(accountId), body);
      show(options, await client.account(accountId));
    });
  adminChangeVerb(noun, 'delete <account>', 'delete an account and its keys')
    .alias('rm')
    .option('--force', 'with everything it owns: VPCs, peering halves, interfaces')
    .action(async (text: string, options: AdminOptions & { force?: true }) => {
      const client = new AdminClient(options);
      const { accountId } = await client.account(text);
      await client.call('DELETE', accountPath(accountId, options.force === true ? '?force=true' : ''));
      gone(options, { accountId }, accountId);
    });
}
