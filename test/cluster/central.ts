/**
 * OVN's central part without any host: the two databases, each one server, and northd. On unix sockets that every user of
 * the machine may open, for a region's process runs as another one. All of it ends with the test.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ending } from '../wire/lab.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

async function kill(child: ChildProcess | null): Promise<void> {
  if (child === null || !isAlive(child)) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

export interface Database {
  readonly remote: string;
  readonly file: string;
  start(): Promise<void>;
  kill(): Promise<void>;
}
/** One of OVN's databases, empty; without northd. */
export async function database(t: Ending, name: 'nb' | 'sb'): Promise<Database> {
  const folder = mkdtempSync(join(tmpdir(), 'od-'));
  chmodSync(folder, 0o755);
  const [file, socket] = [join(folder, 'it.db'), join(folder, 'it.sock')];
  execFileSync('ovsdb-tool', ['create', file, `/usr/share/ovn/ovn-${name}.ovsschema`]);
  let server: ChildProcess | null = null;
  const end = async (): Promise<void> => {
    await kill(server);
    server = null;
    rmSync(socket, { force: true });
  };
  const start = async (): Promise<void> => {
    const control = `--unixctl=${join(folder, 'it.ctl')}`;
    const args = ['--pdeathsig', 'KILL', 'ovsdb-server', file, `--remote=punix:${socket}`, control];
    const child = spawn('setpriv', args, { stdio: 'ignore' });
    server = child;
    while (!existsSync(socket)) {
      if (!isAlive(child)) throw new Error(`ovsdb-server of ${name} ended`);
      await pause(10);
    }
    chmodSync(socket, 0o666);
  };
  t.after(async () => {
    await end();
    rmSync(folder, { recursive: true, force: true });
  });
  await start();
  return { remote: `unix:${socket}`, file, start, kill: end };
}

export interface Central {
  readonly northbound: string;
  readonly southbound: string;
}
/** Both databases, and northd between them. */
export async function startCentral(t: Ending): Promise<Central> {
  const [north, south] = [await database(t, 'nb'), await database(t, 'sb')];
  const folder = mkdtempSync(join(tmpdir(), 'nd-'));
  const own = ['RUNDIR', 'LOGDIR', 'DBDIR'].flatMap((name) => [
    [`OVS_${name}`, folder],
    [`OVN_${name}`, folder],
  ]);
  const databases = [`--ovnnb-db=${north.remote}`, `--ovnsb-db=${south.remote}`];
  const args = ['--pdeathsig', 'KILL', 'ovn-northd', ...databases, `--unixctl=${join(folder, 'nd.ctl')}`];
  const northd = spawn('setpriv', args, { stdio: 'ignore', env: { ...process.env, ...Object.fromEntries(own) } });
  t.after(async () => {
    await kill(northd);
    rmSync(folder, { recursive: true, force: true });
  });
  return { northbound: north.remote, southbound: south.remote };
}
