/** Real servers of OVSDB, which end with the test. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export const schema = '/usr/share/ovn/ovn-nb.ovsschema';
const missing = spawnSync('which', ['ovsdb-server']).status !== 0 || !existsSync(schema);
/** Never a reason under CI. */
export const cannotRun: string | false =
  missing && process.env['CI'] !== 'true' ? 'OVN is missing: apt-get install openvswitch-switch ovn-central' : false;

export async function until(what: string, holds: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < seconds * 50, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
export function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'ovs-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

export class Server {
  readonly #args: readonly string[];
  readonly #folder: string;
  #process: ChildProcess | null = null;
  constructor(t: TestContext, place: string, args: readonly string[]) {
    this.#folder = place;
    this.#args = args;
    t.after(() => this.kill());
  }
  start(): void {
    const env = { ...process.env, OVS_RUNDIR: this.#folder, OVS_LOGDIR: this.#folder };
    this.#process = spawn('ovsdb-server', [...this.#args], { env, stdio: 'ignore' });
  }
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}
export function single(t: TestContext): { server: Server; remote: string } {
  const place = folder(t);
  execFileSync('ovsdb-tool', ['create', join(place, 'nb.db'), schema]);
  const args = [join(place, 'nb.db'), `--remote=punix:${join(place, 's')}`, `--unixctl=${join(place, 'ctl')}`];
  const server = new Server(t, place, args);
  server.start();
  return { server, remote: `unix:${join(place, 's')}` };
}
/** A cluster of three, once all are members. @param secure by TLS, with the options for servers */
export async function cluster(
  t: TestContext,
  secure?: readonly string[],
): Promise<{ servers: readonly Server[]; remotes: readonly string[]; leader: () => number }> {
  const place = folder(t);
  const kind = secure === undefined ? 'tcp' : 'ssl';
  const ports = await Promise.all(Array.from({ length: 6 }, freePort));
  const servers = [0, 1, 2].map((n) => {
    const [db, raft] = [join(place, `${n}.db`), `${kind}:127.0.0.1:${ports[n + 3]}`];
    if (n === 0) execFileSync('ovsdb-tool', ['create-cluster', db, schema, raft]);
    else execFileSync('ovsdb-tool', ['join-cluster', db, 'OVN_Northbound', raft, `${kind}:127.0.0.1:${ports[3]}`]);
    const args = [db, `--remote=p${kind}:${ports[n]}:127.0.0.1`, `--unixctl=${join(place, `${n}.ctl`)}`];
    const server = new Server(t, place, [...args, ...(secure ?? [])]);
    server.start();
    return server;
  });
  const status = (n: number): string =>
    spawnSync('ovs-appctl', ['-t', join(place, `${n}.ctl`), 'cluster/status', 'OVN_Northbound']).stdout.toString();
  await until('three members', () => [0, 1, 2].every((n) => /Status: cluster member/.test(status(n))));
  const leader = (): number => {
    const found = [0, 1, 2].find((n) => /Role: leader/.test(status(n)));
    assert.ok(found !== undefined, 'nobody leads');
    return found;
  };
  return { servers, remotes: [0, 1, 2].map((n) => `${kind}:127.0.0.1:${ports[n]}`), leader };
}
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const at = server.address();
      server.close(() => resolve(typeof at === 'object' && at !== null ? at.port : 0));
    });
  });
}
