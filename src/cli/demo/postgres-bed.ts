/**
 * A PostgreSQL server of our own, on a unix socket in a folder of its own. It ends with this process, however that ends.
 * Nothing of it is anybody's data: it does not wait for the disk.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
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
export const hasPostgres = (): boolean => programs() !== null;

export class PostgresBed {
  readonly #bin: string;
  readonly folder: string;
  #process: ChildProcess | null = null;

  private constructor(bin: string, folder: string) {
    this.#bin = bin;
    this.folder = folder;
  }

  /** @param folder is made; short, for there is a socket in it @throws Error when the machine has no PostgreSQL */
  static async start(folder: string): Promise<PostgresBed> {
    const bin = programs();
    if (bin === null) throw new Error('PostgreSQL is missing: apt-get install postgresql');
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o755); // the region runs as another user
    const server = new PostgresBed(bin, folder);
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
