/**
 * Where the measurements take place: a mount namespace of this process's own, so that every network namespace, bpffs
 * mount and device made here ends with the process, however it ends (kill -9 included), and a folder for files that is
 * removed at the end. Must never touch a namespace or mount that it did not make.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { KernelError } from '../src/kernel/bpf.ts';

const newMounts = 0x20000;

export class Sandbox {
  /** On the disk of the machine, since commits with full sync are measured there. */
  readonly folder = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  readonly #ends: (() => void)[] = [];
  #ended = false;
  /** Whether there is a mount namespace of our own, hence a place for network namespaces. */
  readonly isolated: boolean;

  /** @param isolated false makes the folder only, which needs no root */
  constructor(isolated: boolean) {
    this.isolated = isolated;
    process.once('exit', () => this.end());
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      process.once(signal, () => process.exit(code));
    }
    if (!isolated) return;
    // Of this thread, hence of every child and every synchronous call; nothing asynchronous here opens a path.
    if (Number(koffi.load('libc.so.6').func('int unshare(int)')(newMounts)) < 0) {
      throw new KernelError('making a mount namespace', koffi.errno());
    }
    this.#run('mount', '--make-rprivate', '/');
    mkdirSync('/run/netns', { recursive: true });
    // Over the host's list of namespaces: names cannot meet, and ours are gone with the mount.
    this.#run('mount', '-t', 'tmpfs', '-o', 'mode=0755', 'isthmus-bench', '/run/netns');
  }

  #run(command: string, ...args: readonly string[]): void {
    execFileSync(command, args, { timeout: 10_000, stdio: ['ignore', 'ignore', 'pipe'] });
  }
  /** `ip` with these arguments; `-n NAME` enters the namespace without remounting /, which a chroot cannot. */
  ip(...args: readonly string[]): void {
    const [first, name = '', ...rest] = args;
    if (first === '-n') this.#run('nsenter', `--net=/run/netns/${name}`, 'ip', ...rest);
    else this.#run('ip', ...args);
  }

  /** What `ip` answers. */
  ask(...args: readonly string[]): string {
    const [first, name = '', ...rest] = args;
    const [command, list] =
      first === '-n' ? ['nsenter', [`--net=/run/netns/${name}`, 'ip', ...rest]] : ['ip', [...args]];
    return execFileSync(command as string, list as string[], { timeout: 10_000 }).toString();
  }

  /** A name that no one else uses. */
  name(what: string): string {
    return `ib-${what}-${randomBytes(3).toString('hex')}`;
  }
  /** A fresh network namespace with its loopback up. @returns its name */
  namespace(what: string): string {
    const name = this.name(what);
    this.ip('netns', 'add', name);
    this.atEnd(() => {
      if (existsSync(`/run/netns/${name}`)) this.ip('netns', 'delete', name);
    });
    this.ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  /** Runs when the process ends, whichever way, the last one first. Must be synchronous. */
  atEnd(work: () => void): void {
    this.#ends.push(work);
  }
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const work of this.#ends.reverse()) {
      try {
        work();
      } catch (error) {
        // The others must run nevertheless.
        console.error(`clearing up: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
