/**
 * `isthmus key`: the access keys of an account. The operator's command, over the admin socket. The secret is shown once,
 * or goes straight into the caller's profile and is not shown at all.
 */
import type { Command } from 'commander';
import { AdminClient, type AdminOptions, accountPath, adminChangeVerb, adminVerb } from './admin.ts';
import { defaultEndpoint, parseEndpoint } from './client.ts';
import { Failure } from './failure.ts';
import { gone } from './nouns.ts';
import { printJson, printList, printNote, printObject, printText } from './output.ts';
import { changeProfiles, type Profile, readProfiles } from './profiles.ts';

interface KeyObject {
  readonly accessKeyId: string;
  readonly description: string;
  readonly createdTime: string;
}
interface NewKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}
interface CreateOptions extends AdminOptions {
  readonly description?: string;
  readonly saveProfile?: string;
  readonly endpoint?: string;
  readonly caFile?: string;
}

/** Keeps a key as a profile. @returns the file */
async function save(client: AdminClient, key: NewKey, name: string, options: CreateOptions): Promise<string> {
  const status = (await client.call('GET', '/status')) as { region: string; endpoint?: string };
  const profile: Profile = {
    endpoint: options.endpoint ?? status.endpoint ?? defaultEndpoint,
    region: status.region,
    accessKeyId: key.accessKeyId,
    secretAccessKey: key.secretAccessKey,
    ...(options.caFile === undefined ? {} : { caFile: options.caFile }),
  };
  return changeProfiles(({ current, profiles }) => ({
    current: profiles[current] === undefined ? name : current,
    profiles: { ...profiles, [name]: profile },
  }));
}

export function register(program: Command): void {
  const noun = program.command('key').description('the access keys of an account (operator)');
  adminChangeVerb(noun, 'create <account>', 'make a key pair; its secret is shown this once')
    .option('--description <text>', 'free text, at most 256 characters')
    .option(
      '--save-profile <name>',
      "keep it in this profile of yours instead of showing it (under sudo: the caller's)",
    )
    .option('--endpoint <url>', "the endpoint to note in the profile, if not the service's own")
    .option('--ca-file <path>', 'the certificate authority to note in the profile, for https')
    .action(async (text: string, options: CreateOptions) => {
      if (options.endpoint !== undefined) parseEndpoint(options.endpoint);
      const { description = '', saveProfile } = options;
      // What is wrong with the file is said before a key is made.
      if (saveProfile !== undefined && readProfiles().profiles[saveProfile] !== undefined) {
        throw new Failure(2, `There is a profile '${saveProfile}' already; its secret would be lost.`, {
          remedy: `Choose another name, or forget it first: isthmus configure delete ${saveProfile}.`,
        });
      }
      const client = new AdminClient(options);
      const { accountId } = await client.account(text);
      const key = (await client.call('POST', accountPath(accountId, '/keys'), { description })) as NewKey;
      if (saveProfile !== undefined) {
        const path = await save(client, key, saveProfile, options);
        if (options.json === true) printJson({ accessKeyId: key.accessKeyId, profile: saveProfile });
        else if (options.quiet === true) printText(`${key.accessKeyId}\n`);
        else printNote(`Key ${key.accessKeyId} is profile '${saveProfile}' in ${path}.`);
        return;
      }
      printObject(options, key, {
        id: ({ accessKeyId }) => accessKeyId,
        title: ({ accessKeyId }) => accessKeyId,
        properties: ({ secretAccessKey }) => [
          ['Account', accountId],
          ['Secret', secretAccessKey],
        ],
      });
      if (options.json !== true) printNote('Keep the secret now: it is not shown again.');
    });
  adminVerb(noun, 'list <account>', 'list the keys of an account')
    .alias('ls')
    .action(async (text: string, options: AdminOptions) => {
      const client = new AdminClient(options);
      const { accountId } = await client.account(text);
      const { keys } = (await client.call('GET', accountPath(accountId, '/keys'))) as { keys: readonly KeyObject[] };
      printList(options, keys, {
        columns: [
          { title: 'ID', of: (key) => key.accessKeyId },
          { title: 'DESCRIPTION', of: (key) => key.description, flexible: true },
          { title: 'CREATED', of: (key) => key.createdTime },
        ],
        id: (key) => key.accessKeyId,
        none: `${accountId} has no key. Make one: isthmus key create ${accountId}`,
      });
    });
  adminChangeVerb(noun, 'delete <key>', 'delete a key; what is signed with it is refused from then on')
    .alias('rm')
    .action(async (accessKeyId: string, options: AdminOptions) => {
      await new AdminClient(options).call('DELETE', `/keys/${encodeURIComponent(accessKeyId)}`);
      gone(options, { accessKeyId }, accessKeyId);
    });
}
