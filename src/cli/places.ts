/** Where an installation keeps things, by its name: several may live on one host. Shared by the service's commands. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { commonOptions } from './command.ts';
import { Failure } from './failure.ts';

export interface PlaceOptions {
  readonly instance?: string;
  readonly runDir?: string;
  readonly data?: string;
}
export interface Places {
  /** Name of the private namespace. */
  readonly namespace: string;
  readonly runDir: string;
  readonly data: string;
}

export const instanceOption = [
  '--instance <name>',
  'one of several installations on this host (ISTHMUS_INSTANCE)',
] as const;

export const placeOptions = (command: Command): Command =>
  command
    .optionsGroup(commonOptions)
    .option(...instanceOption)
    .option('--run-dir <path>', 'sockets, pinned tables and, without --data, the store (default /run/isthmus)')
    .optionsGroup('Options:');

export const isRoot = (): boolean => process.geteuid?.() === 0;

/** @throws Failure for a name that cannot be part of a path */
export function placesOf(options: PlaceOptions): Places {
  const { runDir, data } = options;
  const instance = options.instance ?? process.env['ISTHMUS_INSTANCE'];
  if (instance !== undefined && !/^[a-z0-9][a-z0-9-]{0,30}$/.test(instance)) {
    throw new Failure(2, `--instance '${instance}' is not a name.`, { remedy: 'Use a-z, 0-9 and -, at most 31.' });
  }
  const name = instance === undefined ? 'isthmus' : `isthmus-${instance}`;
  const home = process.env['HOME'] ?? '/tmp';
  const run = process.env['XDG_RUNTIME_DIR'] ?? `/tmp/isthmus-${process.geteuid?.()}`;
  const usual = isRoot() ? `/run/${name}` : join(run, name);
  const chosen = runDir === undefined ? usual : resolve(runDir);
  if (chosen !== usual) {
    // An installation of its own, whatever its name: nothing of it may be another's.
    const mark = createHash('sha256').update(chosen).digest('hex').slice(0, 10);
    return { namespace: `isthmus-${mark}`, runDir: chosen, data: data ?? join(chosen, 'store') };
  }
  const store = isRoot() ? `/var/lib/${name}` : join(process.env['XDG_DATA_HOME'] ?? `${home}/.local/share`, name);
  return { namespace: name, runDir: chosen, data: data ?? store };
}

/** Runs `stop` at the first signal that asks for the end. A hang-up counts unless our parent ignores it (nohup). */
export function onEnd(stop: (signal: NodeJS.Signals) => void): void {
  const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const hangUp = (BigInt(`0x${ignored}`) & 1n) === 0n;
  for (const signal of ['SIGINT', 'SIGTERM', ...(hangUp ? (['SIGHUP'] as const) : [])] as const) {
    process.on(signal, () => stop(signal));
  }
}

export const sockets = (runDir: string) => ({
  agent: join(runDir, 'agent.sock'),
  host: join(runDir, 'host.sock'),
  admin: join(runDir, 'admin.sock'),
});

export interface ServiceUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The number that the region runs under when the host has no user `isthmus`: needs no entry in /etc/passwd, so nothing is
 * left to clean up. Debian gives 60000–64999 to packages only by name, and gave this one to none.
 */
const fallbackUid = 64_780;

/** Another installation's number is its own too, or one could read the other's store: 64 000 to 64 779. */
const fallbackFor = (namespace: string): number =>
  namespace === 'isthmus'
    ? fallbackUid
    : 64_000 + (createHash('sha256').update(namespace).digest().readUInt32LE(0) % 780);

/** @param namespace whose installation it is @throws Failure when there is no such user */
export function serviceUser(wanted: string | undefined, namespace = 'isthmus'): ServiceUser {
  const rows = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  if (wanted !== undefined && /^[0-9]{1,9}$/.test(wanted)) {
    return { name: wanted, uid: Number(wanted), gid: Number(wanted) };
  }
  const row = rows.find(([name]) => name === (wanted ?? namespace));
  if (row !== undefined) return { name: row[0] ?? '', uid: Number(row[2]), gid: Number(row[3]) };
  if (wanted !== undefined) throw new Failure(2, `There is no user '${wanted}'.`, { remedy: 'Name one, or a number.' });
  const uid = fallbackFor(namespace);
  return { name: String(uid), uid, gid: uid };
}
