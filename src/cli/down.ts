/** `isthmus down`: stops the service; with `--purge` removes every trace of it on this machine, and it says what is elsewhere. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { RegionStatus } from '../region/service.ts';
import { AdminClient } from './admin.ts';
import { Failure } from './failure.ts';
import { type OutputOptions, printJson, printNote, printText } from './output.ts';
import { isRoot, type PlaceOptions, type Places, placeOptions, placesOf, sockets } from './places.ts';

/** How long a process may take to end, in milliseconds. */
const patience = 15_000;

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** The process in a pid file, if it is one of ours that still runs. */
function runningPid(path: string): number | null {
  if (!existsSync(path)) return null;
  const pid = Number(readFileSync(path, 'utf8').trim());
  if (!Number.isInteger(pid) || pid <= 1 || !alive(pid)) return null;
  // The number may have been given to somebody else since.
  const command = existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
  // An agent that was started before an upgrade may be `agent/main.ts` still.
  return /src\/((cli|api)\/main|agent\/(ebpf-)?main)\.ts|isthmus-region/.test(command) ? pid : null;
}

/** The unit of ours that keeps a process; it would start it again. */
function unitOf(pid: number): string | undefined {
  const path = `/proc/${pid}/cgroup`;
  return existsSync(path) ? /\/(isthmus[a-z0-9@-]*\.service)$/m.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
}

/**
 * Ends the service's processes, its supervisor first.
 * @returns how many there were
 * @throws Failure when systemd keeps them, or one does not end
 */
export async function stopService(places: Places): Promise<number> {
  let stopped = 0;
  for (const name of ['up.pid', 'region.pid', 'agent.pid']) {
    const pid = runningPid(join(places.runDir, name));
    if (pid === null || pid === process.pid) continue;
    const unit = unitOf(pid);
    if (unit !== undefined) {
      throw new Failure(2, `systemd keeps process ${pid} running, as ${unit}.`, {
        remedy: "Stop it there first: systemctl stop 'isthmus*'.",
      });
    }
    stopped++;
    process.kill(pid, 'SIGTERM');
    for (let waited = 0; alive(pid); waited += 50) {
      if (waited > patience) {
        throw new Failure(1, `Process ${pid} does not end.`, { remedy: `Look at it: ps ${pid}.` });
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return stopped;
}

/** Mount points inside a directory: what is mounted there is not ours to delete. */
const mountsIn = (directory: string): readonly string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path === directory || path.startsWith(`${directory}/`));

/**
 * Removes the network, the sockets and the store.
 * @throws Failure when something is mounted in one of the directories: it would be deleted with them
 */
export async function purge(places: Places): Promise<void> {
  if (isRoot()) {
    const { purgePlane } = await import('../agent/ebpf-commands.ts');
    purgePlane({ bpffsPath: join(places.runDir, 'bpf'), namespaceName: places.namespace });
  }
  for (const directory of [places.runDir, places.data]) {
    const [mount] = mountsIn(directory);
    if (mount !== undefined) {
      throw new Failure(1, `${mount} is mounted in ${directory}.`, { remedy: `Unmount it first: umount ${mount}.` });
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What a purge here does not reach, and how it goes: a line each. To be asked while the service runs. */
async function staying(places: Places): Promise<readonly string[]> {
  const admin = new AdminClient({ socket: sockets(places.runDir).admin });
  const status = (await admin.call('GET', '/status').catch(() => null)) as RegionStatus | null;
  const elsewhere = existsSync(places.data) && !existsSync(join(places.data, 'region.db'));
  const lines: string[] = [];
  if (elsewhere) {
    lines.push('The store in PostgreSQL stays, if it was kept there: drop schema isthmus cascade, in its database.');
  }
  if (status?.driver === 'ovn' || (status === null && elsewhere)) {
    lines.push(
      "OVN's rows stay, and with them the network of the hosts: see “End a region” in docs/cluster.md.",
      'Other API servers of the region go on, and hosts stay joined.',
    );
  }
  return lines;
}

export function register(program: Command): void {
  placeOptions(program.command('down').description('stop the service; the network keeps running'))
    .option('--data <path>', 'the store (default /var/lib/isthmus)')
    .option('--purge', 'remove the network and the store as well')
    .option('--yes', 'do not ask before the store is removed')
    .option('--json', 'print what was done')
    .action(async (options: PlaceOptions & OutputOptions & { purge?: boolean; yes?: boolean }) => {
      const places = placesOf(options);
      const here = [places.runDir, places.data, `/run/netns/${places.namespace}`].filter((path) => existsSync(path));
      if (here.length === 0) {
        const roots = `/run/${places.namespace}`;
        if (!isRoot() && existsSync(roots)) {
          throw new Failure(2, `The installation in ${roots} is root's.`, { remedy: 'Run the same with sudo.' });
        }
        if (options.json === true) printJson({ stopped: false, purged: false });
        else printText(`There is no installation in ${places.runDir}: nothing was done.\n`);
        return;
      }
      if (options.purge === true && options.yes !== true && existsSync(places.data)) {
        if (!process.stdin.isTTY) {
          throw new Failure(2, `--purge deletes the store in ${places.data}.`, { remedy: 'Say --yes as well.' });
        }
        const ask = createInterface({ input: process.stdin, output: process.stderr });
        const answer = await ask.question(`Delete every network and the store in ${places.data}? [y/N] `);
        ask.close();
        if (!/^y(es)?$/i.test(answer.trim())) throw new Failure(1, 'Nothing was removed.');
      }
      const stays = options.purge === true ? await staying(places) : [];
      const stopped = await stopService(places);
      if (options.purge === true) await purge(places);
      if (options.json === true) return printJson({ stopped: stopped > 0, purged: options.purge === true, stays });
      const removed = stays.length === 0 ? 'Every trace is removed.' : 'What was on this machine is removed.';
      const network = options.purge === true ? removed : 'The network keeps running.';
      printText(`${stopped === 0 ? 'No service was running.' : 'The service is stopped.'} ${network}\n`);
      for (const line of stays) printNote(line);
    });
}
