/**
 * `isthmus plan` and `isthmus apply`: a network declared in a file, YAML or JSON. Reads the file and shows; what it means
 * and what it lacks is the service's to say.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parseDocument } from 'yaml';
import type { NetworkPlan } from '../region/service.ts';
import { Client, clientFor, profileFor, type TenantOptions, tenantOptions } from './client.ts';
import { Failure } from './failure.ts';
import { printJson, printNote, printText } from './output.ts';
import { PlanShown, renderPlan } from './plan-shown.ts';
import { painterFor } from './terminal.ts';

interface FileOptions extends TenantOptions {
  readonly file?: string;
  readonly schema?: true;
  readonly basis?: string;
}
interface Applied {
  readonly steps: number;
  readonly left: number;
  readonly basis: string;
}

/** What a file holds. @param path '-' for what is piped in; @throws Failure with the line of the fault */
function readNetwork(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new Failure(2, `${path} cannot be read: ${(error as Error).message}.`);
  }
  const document = parseDocument(text, { prettyErrors: true, maxAliasCount: 100 } as object);
  const [first] = document.errors;
  if (first !== undefined) {
    throw new Failure(2, `${path} is not YAML.`, { lines: first.message.trimEnd().split('\n') });
  }
  return document.toJS({ maxAliasCount: 100 }) as unknown;
}

/** What the file lacks. @throws Failure */
async function planOf(options: FileOptions, network: unknown): Promise<NetworkPlan> {
  try {
    await new Client(profileFor(options), true).post('/networks', { network });
  } catch (error) {
    if (error instanceof PlanShown) return error.plan as NetworkPlan;
    throw error;
  }
  throw new Failure(1, 'The service answered no plan.');
}

const fileOf = (options: FileOptions): string => {
  if (options.file !== undefined) return options.file;
  throw new Failure(2, 'Say which file.', { remedy: 'isthmus plan -f network.yaml, or -f - for what is piped in.' });
};

const steps = (n: number): string => `${n} ${n === 1 ? 'step' : 'steps'}`;

const fileOptions = (command: Command): Command =>
  tenantOptions(command.option('-f, --file <file>', "the network, YAML or JSON; '-' reads what is piped in"));

export function register(program: Command): void {
  fileOptions(program.command('plan').description('what a network file would change; nothing is changed'))
    .option('--schema', 'print the JSON schema of the file')
    .action(async (options: FileOptions) => {
      if (options.schema === true) {
        printText(readFileSync(new URL('../../docs/network.schema.json', import.meta.url), 'utf8'));
        return;
      }
      const plan = await planOf(options, readNetwork(fileOf(options)));
      if (options.json === true) printJson(plan);
      else if (options.quiet === true) printText(`${plan.basis}\n`);
      else {
        printText(renderPlan(plan, painterFor(process.stdout)));
        if (plan.steps > 0)
          printNote(
            `${steps(plan.steps)}. To make just these: isthmus apply -f ${fileOf(options)} --basis ${plan.basis}`,
          );
      }
    });
  fileOptions(program.command('apply').description('make a network file true, as one change'))
    .option('--basis <hash>', 'only if the plan is still the one that was looked at')
    .action(async (options: FileOptions) => {
      const network = readNetwork(fileOf(options));
      const plan = await planOf(options, network);
      const quiet = options.json === true || options.quiet === true;
      if (!quiet) printText(renderPlan(plan, painterFor(process.stdout)));
      const client = clientFor(options);
      let basis = options.basis ?? plan.basis;
      let done = 0;
      for (let left = plan.steps; left > 0 || done === 0; ) {
        const part = (await client.post('/networks', { network, basis })) as Applied;
        done += part.steps;
        left = part.left;
        basis = part.basis;
        if (left > 0 && !quiet) printNote(`${done} of ${steps(plan.steps)}`);
        if (part.steps === 0) break;
      }
      if (options.json === true) printJson({ steps: done, plan });
      else if (!quiet) printNote(done === 0 ? 'It was so already.' : `Done: ${steps(done)}.`);
    });
}
