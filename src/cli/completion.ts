/**
 * `isthmus completion`: scripts for the shells, and the answers they ask for. Commands and options come from the same
 * definitions that are run; ids and names are asked of the service, and when it does not answer there are none.
 */
import { type Argument, Command } from 'commander';
import { AdminClient } from './admin.ts';
import { Client, profileFor } from './client.ts';
import type { CommandEntry } from './command.ts';
import { Failure } from './failure.ts';
import { type Kind, list, words } from './nouns.ts';
import { printText } from './output.ts';
import { readProfiles } from './profiles.ts';

const scripts: { readonly [shell: string]: string } = {
  bash: `_isthmus() {
  local IFS=$'\\n'
  COMPREPLY=($("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _isthmus isthmus
`,
  zsh: `#compdef isthmus
_isthmus() {
  local -a candidates
  candidates=(\${(f)"$("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  compadd -a candidates
}
compdef _isthmus isthmus
`,
  fish: `complete -c isthmus -f -a '(set -l words (commandline -opc); $words[1] __complete -- $words[2..] (commandline -ct) 2>/dev/null)'
`,
};

/** What arguments and option values of these names stand for. */
const kindsOf: { readonly [placeholder: string]: readonly Kind[] } = {
  vpc: ['vpc'],
  subnet: ['subnet'],
  'route-table': ['route-table'],
  peering: ['peering'],
  interface: ['interface'],
  'next-hop': ['peering', 'interface'],
};

/** A shell would split or expand anything else; the service's names are letters, digits, `_` and `-`. */
const harmless = /^[\p{L}\p{N}_.-]+$/u;

async function values(placeholder: string): Promise<readonly string[]> {
  if (placeholder === 'account') {
    const accounts = await new AdminClient({}).accounts();
    return accounts.flatMap(({ accountId, name }) => [name, accountId]);
  }
  const kinds = kindsOf[placeholder] ?? [];
  if (kinds.length === 0) return [];
  const client = new Client(profileFor({}));
  const objects = await Promise.all(
    kinds.map(async (kind) => {
      const { id, name } = words[kind];
      return (await list(client, kind)).flatMap((object) => {
        const fields = object as unknown as { readonly [field: string]: string };
        return [fields[name] ?? '', fields[id] ?? ''];
      });
    }),
  );
  return [...objects.flat(), ...(placeholder === 'next-hop' ? ['internet'] : [])];
}

/** The name between the brackets of `--vpc <vpc>`. */
const placeholderOf = (flags: string): string => /[<[]([^>\]]+?)(\.\.\.)?[>\]]/.exec(flags)?.[1] ?? '';

/** Where a command line stands after its finished words. */
interface Place {
  readonly command: Command;
  /** Arguments given so far. */
  readonly positional: number;
  /** Set when the next word is the value of an option: what it stands for. */
  readonly expects: string | undefined;
}

function walk(program: Command, done: readonly string[]): Place {
  let command = program;
  let positional = 0;
  let expects: string | undefined;
  for (const word of done) {
    if (expects !== undefined) {
      expects = undefined;
    } else if (word.startsWith('-')) {
      const option = command.options.find((one) => one.long === word || one.short === word);
      if (option?.required === true) expects = option.long === '--profile' ? 'profile' : placeholderOf(option.flags);
    } else {
      const below = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
      if (below === undefined) positional++;
      else [command, positional] = [below, 0];
    }
  }
  return { command, positional, expects };
}

/** Everything that could stand at the place of the last word. */
async function candidates(line: readonly string[], entries: readonly CommandEntry[]): Promise<readonly string[]> {
  const done = line.slice(0, -1);
  const entry = entries.find(({ name }) => name === done[0]);
  if (entry === undefined) return done.length === 0 ? entries.map(({ name }) => name) : [];
  const program = new Command('isthmus');
  (await entry.load()).register(program, entries);
  const { command, positional, expects } = walk(program, done);
  if (expects === 'profile') return Object.keys(readProfiles().profiles);
  if (expects !== undefined) return values(expects);
  if (line.at(-1)?.startsWith('-') === true) return command.options.flatMap(({ long }) => long ?? []);
  if (command.commands.length > 0) return command.commands.map((one) => one.name());
  const args: readonly Argument[] = command.registeredArguments;
  const argument = args[positional] ?? (args.at(-1)?.variadic === true ? args.at(-1) : undefined);
  return argument === undefined ? [] : values(argument.name());
}

export function register(program: Command, entries: readonly CommandEntry[]): void {
  program
    .command('completion <shell>')
    .description('print the completion script of a shell: bash, zsh or fish')
    .addHelpText('after', '\nFor this session: source <(isthmus completion bash)')
    .action((shell: string) => {
      const script = scripts[shell];
      if (script === undefined)
        throw new Failure(2, `No completion for '${shell}'.`, { remedy: 'Use bash, zsh or fish.' });
      printText(script);
    });
  program.command('__complete [word...]', { hidden: true }).action(async (line: readonly string[]) => {
    const last = line.at(-1) ?? '';
    try {
      const found = (await candidates(line.length === 0 ? [''] : line, entries)).filter((one) => one.startsWith(last));
      printText(
        [...new Set(found)]
          .filter((one) => harmless.test(one))
          .map((one) => `${one}\n`)
          .join(''),
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error; // no profile, no service: nothing to offer
    }
  });
}
