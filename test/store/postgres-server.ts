/** A PostgreSQL server of a test's own, on a unix socket in a folder of its own; ends with the test, or with the process. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pg from 'pg';

const packaged = '/usr/lib/postgresql';

/** Where the newest installed server's programs are; null: there is none. */
function programs(): string | null {
  const versions = existsSync(packaged) ? readdirSync(packaged).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions
    .map((version) => join(packaged, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')));
  return found ?? null;
}

/** Waits until something is so. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < seconds * 20, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
export class PostgresServer {
  readonly #bin: string;
  readonly folder: string;
  #process: ChildProcess | null = null;

  private constructor(bin: string, folder: string) {
    this.#bin = bin;
    this.folder = folder;
  }

  /** @returns null when the machine has none, and the test may skip for it */
  static async start(t: TestContext): Promise<PostgresServer | null> {
    const bin = programs();
    if (bin === null) {
      assert.notEqual(process.env['CI'], 'true', 'PostgreSQL is missing: apt-get install postgresql');
      t.skip('PostgreSQL is missing: apt-get install postgresql');
      return null;
    }
    const folder = mkdtempSync(join(tmpdir(), 'pg-'));
    chmodSync(folder, 0o755); // services under test run as other users
    const server = new PostgresServer(bin, folder);
    t.after(async () => {
      await server.kill();
      rmSync(folder, { recursive: true });
    });
    if (process.getuid?.() === 0) {
      const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres']).toString()));
      chownSync(folder, uid ?? 0, gid ?? 0);
    }
    const auth = ['-A', 'trust', '-U', 'isthmus', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8'];
    server.#run('initdb', '-D', join(folder, 'data'), ...auth);
    await server.up();
    return server;
  }

  /** It refuses to run as root. */
  #as(program: string, args: readonly string[]): readonly [file: string, args: readonly string[]] {
    const path = join(this.#bin, program);
    if (process.getuid?.() !== 0) return [path, args];
    const owner = statSync(this.folder);
    const become = [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, '--clear-groups', '--pdeathsig', 'KILL'];
    return ['setpriv', [...become, path, ...args]];
  }
  #run(program: string, ...args: readonly string[]): void {
    const [file, list] = this.#as(program, args);
    execFileSync(file, [...list], { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'], timeout: 60_000 });
  }

  get url(): string {
    return `postgres://isthmus@/postgres?host=${encodeURIComponent(this.folder)}`;
  }

  async up(): Promise<void> {
    const settings = ['listen_addresses=', `unix_socket_directories=${this.folder}`, 'max_connections=60'];
    const [file, args] = this.#as('postgres', [
      '-D',
      join(this.folder, 'data'),
      ...settings.flatMap((setting) => ['-c', setting]),
    ]);
    this.#process = spawn(file, [...args], { cwd: this.folder, stdio: 'ignore' });
    for (let tries = 0; ; tries++) {
      try {
        await this.query('select 1');
        return;
      } catch (error) {
        if (tries > 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** The whole server, as a power cut would. */
  async kill(): Promise<void> {
    const server = this.#process;
    this.#process = null;
    if (server === null || server.exitCode !== null || server.signalCode !== null) return;
    // SIGQUIT: it ends its children and writes nothing more; after SIGKILL they would hold its shared memory for a while.
    server.kill('SIGQUIT');
    await once(server, 'exit');
  }

  async query(text: string): Promise<readonly { readonly [column: string]: unknown }[]> {
    const client = new pg.Client({ connectionString: this.url });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** A store's place of its own in this server. @returns its url */
  async database(name: string): Promise<string> {
    await this.query(`create database ${name}`);
    return this.url.replace('/postgres?', `/${name}?`);
  }
}
