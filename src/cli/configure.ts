/** `isthmus configure`: profiles, that is regions and the keys to use there. Asks on a terminal, reads options elsewhere. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { defaultEndpoint, defaultRegion, parseEndpoint } from './client.ts';
import { Failure } from './failure.ts';
import { printJson, printList, printNote } from './output.ts';
import { changeProfiles, type Profile, readProfiles } from './profiles.ts';

interface SetOptions {
  readonly endpoint?: string;
  readonly region?: string;
  readonly accessKey?: string;
  readonly secretKeyStdin?: true;
  readonly caFile?: string;
}

const longestName = 64;

function checkName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) && name.length <= longestName) return;
  throw new Failure(2, `'${name}' is not a profile name.`, {
    remedy: 'Use letters, digits, dots, dashes and underscores.',
  });
}

/** Asks on the terminal; what is typed is not shown when it is secret. */
async function ask(question: string, known: string | undefined, secret = false): Promise<string> {
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const hint = known === undefined || secret ? '' : ` [${known}]`;
  process.stderr.write(`${question}${hint}: `);
  const lines = createInterface({ input: process.stdin, output: secret ? muted : process.stderr, terminal: true });
  try {
    const answer = (await lines.question('')).trim();
    if (secret) process.stderr.write('\n');
    return answer === '' ? (known ?? '') : answer;
  } finally {
    lines.close();
  }
}

async function firstLineOfStdin(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line.trim();
  return '';
}

async function set(name: string, options: SetOptions): Promise<void> {
  checkName(name);
  const before: Partial<Profile> = readProfiles().profiles[name] ?? {};
  const interactive = process.stdin.isTTY === true && options.secretKeyStdin !== true;
  const answer = (given: string | undefined, question: string, known: string | undefined): Promise<string> =>
    given !== undefined ? Promise.resolve(given) : interactive ? ask(question, known) : Promise.resolve(known ?? '');
  const endpoint = await answer(options.endpoint, 'Endpoint', before.endpoint ?? defaultEndpoint);
  parseEndpoint(endpoint);
  const region = await answer(options.region, 'Region', before.region ?? defaultRegion);
  const accessKeyId = await answer(options.accessKey, 'Access key', before.accessKeyId);
  const kept = options.secretKeyStdin === true || options.accessKey !== undefined ? undefined : before.secretAccessKey;
  const secretAccessKey = interactive
    ? await ask('Secret key', before.secretAccessKey, true)
    : (kept ?? (await firstLineOfStdin()));
  const caFile = options.caFile ?? before.caFile;
  if (accessKeyId === '' || secretAccessKey === '') {
    throw new Failure(2, 'A profile needs an access key and its secret.', {
      remedy: 'Without a terminal: isthmus configure set NAME --access-key ID --secret-key-stdin < FILE',
    });
  }
  const profile: Profile = {
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
    ...(caFile === undefined ? {} : { caFile }),
  };
  const path = changeProfiles(({ current, profiles }) => ({
    current: profiles[current] === undefined ? name : current,
    profiles: { ...profiles, [name]: profile },
  }));
  printNote(`Profile '${name}' is in ${path}.`);
}

function demandProfile(name: string): void {
  if (readProfiles().profiles[name] === undefined) throw new Failure(2, `There is no profile '${name}'.`);
}

export function register(program: Command): void {
  const noun = program.command('configure').description('profiles: regions and the keys to use there');
  noun
    .command('set [name]', { isDefault: true })
    .description('make or change a profile (default: default)')
    .option('--endpoint <url>', `where the region is (default: ${defaultEndpoint})`)
    .option('--region <name>', `its name (default: ${defaultRegion})`)
    .option('--access-key <id>', 'id of the access key')
    .option('--secret-key-stdin', 'read the secret from the first line of standard input')
    .option('--ca-file <path>', 'the certificate authority to trust for https, PEM')
    .action((name: string | undefined, options: SetOptions) => set(name ?? 'default', options));
  noun
    .command('list')
    .alias('ls')
    .description('list the profiles; secrets are never shown')
    .option('--json', 'print them as JSON, without secrets')
    .action((options: { json?: true }) => {
      const { current, profiles } = readProfiles();
      const rows = Object.entries(profiles).map(([name, { endpoint, region, accessKeyId }]) => {
        return { name, current: name === current, endpoint, region, accessKeyId };
      });
      if (options.json === true) return printJson(rows);
      printList(options, rows, {
        columns: [
          { title: '', of: (row) => (row.current ? '*' : ' ') },
          { title: 'PROFILE', of: (row) => row.name, flexible: true },
          { title: 'ENDPOINT', of: (row) => row.endpoint },
          { title: 'REGION', of: (row) => row.region },
          { title: 'ACCESS KEY', of: (row) => row.accessKeyId, flexible: true },
        ],
        id: (row) => row.name,
        none: 'No profile yet.',
      });
    });
  noun
    .command('use <name>')
    .description('the profile to use when none is named')
    .action((name: string) => {
      demandProfile(name);
      changeProfiles((before) => ({ ...before, current: name }));
    });
  noun
    .command('delete <name>')
    .alias('rm')
    .description('forget a profile')
    .action((name: string) => {
      demandProfile(name);
      changeProfiles(({ current, profiles }) => {
        const { [name]: _forgotten, ...rest } = profiles;
        return { current, profiles: rest };
      });
    });
}
