/**
 * The profiles of the command line: where a region is and with which key to sign. Owns the file
 * `$XDG_CONFIG_HOME/isthmus/config.json` (directory 700, file 600), refuses one that others could read or write, and
 * never shows a secret. Under sudo the caller's own file is meant, and it is touched with the caller's rights only:
 * as root, a link planted in somebody's home would lead anywhere.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Failure } from './failure.ts';

export interface Profile {
  /** `http://HOST:PORT` or `https://…`. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** File with the certificate authority to trust for https, PEM. */
  readonly caFile?: string;
}

export interface Profiles {
  /** The profile used when none is named. */
  readonly current: string;
  readonly profiles: { readonly [name: string]: Profile };
}

const none: Profiles = { current: 'default', profiles: {} };

/** The user who typed the command: behind sudo, the one who called it. */
interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

function callerOf(env: NodeJS.ProcessEnv): Caller | undefined {
  const [uid, gid] = [Number(env['SUDO_UID']), Number(env['SUDO_GID'])];
  const name = env['SUDO_USER'];
  if (process.geteuid?.() !== 0 || name === undefined || !Number.isInteger(uid) || !Number.isInteger(gid))
    return undefined;
  if (uid === 0) return undefined;
  const line = execFileSync('getent', ['passwd', String(uid)], { encoding: 'utf8', timeout: 5000 });
  const home = line.split(':')[5];
  return home === undefined || home === '' ? undefined : { uid, gid, home };
}

/** Runs `work` with the rights of sudo's caller, if there is one. */
function asCaller<T>(work: (home: string) => T): T {
  const caller = callerOf(process.env);
  if (caller === undefined) return work(homedir());
  const [uid, gid, groups] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0, process.getgroups?.() ?? []];
  process.setgroups?.([caller.gid]);
  process.setegid?.(caller.gid);
  process.seteuid?.(caller.uid);
  try {
    return work(caller.home);
  } finally {
    process.seteuid?.(uid);
    process.setegid?.(gid);
    process.setgroups?.(groups);
  }
}

function pathIn(home: string): string {
  const base = process.env['XDG_CONFIG_HOME'];
  return join(base?.startsWith('/') ? base : join(home, '.config'), 'isthmus', 'config.json');
}

/** Where the profiles are kept for this user. */
export const profilesPath = (): string => asCaller(pathIn);

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

function parse(text: string, path: string): Profiles {
  const broken = (what: string): Failure =>
    new Failure(2, `${path} ${what}.`, { remedy: 'Correct it, or remove it and run: isthmus configure' });
  let value: { current?: unknown; profiles?: unknown };
  try {
    value = JSON.parse(text);
  } catch {
    throw broken('is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw broken('holds no profiles');
  const profiles: { [name: string]: Profile } = {};
  for (const [name, entry] of Object.entries((value.profiles ?? {}) as { [name: string]: Partial<Profile> })) {
    const { endpoint, region, accessKeyId, secretAccessKey, caFile } = entry;
    if (!isText(endpoint) || !isText(region) || !isText(accessKeyId) || !isText(secretAccessKey)) {
      throw broken(`holds no whole profile '${name}'`);
    }
    profiles[name] = { endpoint, region, accessKeyId, secretAccessKey, ...(isText(caFile) ? { caFile } : {}) };
  }
  return { current: isText(value.current) ? value.current : none.current, profiles };
}

function readAt(path: string): Profiles {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return none;
    throw new Failure(2, `${path} cannot be read: ${(error as Error).message}.`);
  }
  try {
    const { mode, uid } = fstatSync(file);
    if ((mode & 0o077) !== 0) {
      throw new Failure(2, `${path} holds secret keys and is open to others (mode ${(mode & 0o777).toString(8)}).`, {
        remedy: `chmod 600 ${path}, and make new keys if somebody else could have read it.`,
      });
    }
    if (uid !== process.geteuid?.()) throw new Failure(2, `${path} belongs to another user (uid ${uid}).`);
    return parse(readFileSync(file, 'utf8'), path);
  } finally {
    closeSync(file);
  }
}

/** @throws Failure when the file is open to others or broken */
export const readProfiles = (): Profiles => asCaller((home) => readAt(pathIn(home)));

/** Replaces the file by what `change` makes of it; readers see the old or the new one, never a part. */
export function changeProfiles(change: (before: Profiles) => Profiles): string {
  return asCaller((home) => {
    const path = pathIn(home);
    const after = change(readAt(path));
    const folder = dirname(path);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
    const next = join(folder, `.config.${process.pid}.json`);
    const file = openSync(next, 'wx', 0o600);
    try {
      writeSync(file, `${JSON.stringify(after, null, 2)}\n`);
      closeSync(file);
      renameSync(next, path);
    } catch (error) {
      unlinkSync(next);
      throw error;
    }
    return path;
  });
}
