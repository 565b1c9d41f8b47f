/**
 * The isthmus command. Owns the list of commands and how a failure leaves the process; what a command does is in its own
 * file. A command's module is imported only when that command is run, so `isthmus --help` stays fast (aim 150 ms).
 *
 * Exit codes: 0 done, 1 refused by the service or a check failed, 2 wrong usage or something missing around us.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Help, type Option } from 'commander';
import { type CommandEntry, commonOptions } from './command.ts';
import { Failure, failureJson, renderFailure } from './failure.ts';
import { PlanShown, showPlan } from './plan-shown.ts';
import { painterFor } from './terminal.ts';

const resources = 'Build networks (with a profile):';
const watch = 'Explain and watch (with a profile):';
const tenants = 'Manage tenants (operator):';
const service = 'Run the service (root):';
const own = 'This command:';

/** Every command, in the order of the help. */
const entries: readonly CommandEntry[] = [
  { name: 'demo', group: service, summary: 'the whole story, with real packets', load: () => import('./demo/main.ts') },
  { name: 'up', group: service, summary: 'run the service on this host', load: () => import('./up.ts') },
  { name: 'down', group: service, summary: 'stop it; --purge removes all', load: () => import('./down.ts') },
  { name: 'attach', group: service, summary: 'put a workload on an interface', load: () => import('./attach.ts') },
  { name: 'detach', group: service, summary: 'take it off again', load: () => import('./attach.ts') },
  { name: 'attachments', group: service, summary: 'what is attached where', load: () => import('./attach.ts') },
  { name: 'exec', group: service, summary: 'run a command where it is attached', load: () => import('./attach.ts') },
  { name: 'flows', group: service, summary: 'sampled packets, and their fate', load: () => import('./flows.ts') },
  { name: 'doctor', group: service, summary: 'check the host and the service', load: () => import('./doctor.ts') },
  {
    name: 'agent',
    group: service,
    summary: 'the privileged half alone, for systemd',
    load: () => import('./halves.ts'),
  },
  { name: 'region', group: service, summary: 'the other half alone', load: () => import('./halves.ts') },
  { name: 'store', group: service, summary: 'move the store of a region', load: () => import('./store.ts') },
  { name: 'host', group: service, summary: 'the machines of a region with many', load: () => import('./host.ts') },
  { name: 'account', group: tenants, summary: 'the tenants of the region', load: () => import('./account.ts') },
  { name: 'key', group: tenants, summary: 'their access keys', load: () => import('./key.ts') },
  { name: 'quota', group: tenants, summary: 'how much an account may own', load: () => import('./quota.ts') },
  { name: 'journal', group: tenants, summary: 'what happened, in order', load: () => import('./journal.ts') },
  { name: 'vpc', group: resources, summary: 'virtual private clouds', load: () => import('./vpc.ts') },
  { name: 'cidr', group: resources, summary: 'the ranges of a VPC', load: () => import('./cidr.ts') },
  { name: 'subnet', group: resources, summary: 'ranges inside a VPC', load: () => import('./subnet.ts') },
  { name: 'interface', group: resources, summary: 'network interfaces', load: () => import('./interface.ts') },
  { name: 'peering', group: resources, summary: 'your halves of peerings', load: () => import('./peering.ts') },
  { name: 'route-table', group: resources, summary: 'tables of rules', load: () => import('./route-table.ts') },
  { name: 'route', group: resources, summary: 'the rules of a table', load: () => import('./route.ts') },
  { name: 'plan', group: resources, summary: 'what a network file would change', load: () => import('./declare.ts') },
  { name: 'apply', group: resources, summary: 'make a network file true', load: () => import('./declare.ts') },
  { name: 'trace', group: watch, summary: 'why packets pass, or not', load: () => import('./trace.ts') },
  { name: 'events', group: watch, summary: 'what happens to your networks', load: () => import('./events.ts') },
  { name: 'usage', group: watch, summary: 'what peerings carried', load: () => import('./usage.ts') },
  { name: 'top', group: watch, summary: 'peerings and drops, live', load: () => import('./top.ts') },
  { name: 'configure', group: own, summary: 'profiles: regions and keys', load: () => import('./configure.ts') },
  { name: 'completion', group: own, summary: 'completion for your shell', load: () => import('./completion.ts') },
];

const version = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** Help with the options that every command has after those that matter here. */
function commonLast<T extends Command | Option>(all: T[], visible: T[], group: (item: T) => string): Map<string, T[]> {
  const groups = new Help().groupItems(all, visible, group);
  const common = groups.get(commonOptions);
  if (common !== undefined && groups.delete(commonOptions)) groups.set(commonOptions, common);
  return groups;
}

async function build(wanted: string | undefined): Promise<Command> {
  const program = new Command('isthmus')
    .description('Virtual private clouds and peering connections that carry real packets, on your own Linux host.')
    .version(version, '-V, --version')
    .showHelpAfterError('See --help.')
    .configureHelp({ groupItems: commonLast })
    .exitOverride();
  const entry = entries.find(({ name }) => name === wanted);
  if (entry !== undefined) (await entry.load()).register(program, entries);
  else for (const { name, group, summary } of entries) program.command(name).summary(summary).helpGroup(group);
  return program;
}

async function main(given: readonly string[]): Promise<number> {
  // `isthmus help vpc delete` is `isthmus vpc delete --help`.
  const args = given[0] === 'help' ? [...given.slice(1), '--help'] : given;
  // What a shell asks for completion is answered by the completion command.
  const wanted = args[0] === '__complete' ? 'completion' : args[0];
  try {
    const program = await build(wanted);
    await program.parseAsync(args, { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has said what is wrong
    if (error instanceof PlanShown) {
      showPlan(error.plan, { json: args.includes('--json'), quiet: args.includes('-q') || args.includes('--quiet') });
      return 0;
    }
    if (!(error instanceof Failure)) throw error;
    const plain = args.includes('--json') ? failureJson(error) : renderFailure(error, painterFor(process.stderr));
    process.stderr.write(plain);
    return error.exitCode;
  }
}

// Whoever reads our output may stop early, as in `isthmus vpc list | head -1`, or close the terminal. A command that has
// something to clean up listens for hang-ups; for the others there is nothing left to do.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    if (!process.emit('SIGHUP', 'SIGHUP')) process.exit(process.exitCode ?? 0);
  });
}
process.exitCode = await main(process.argv.slice(2));
