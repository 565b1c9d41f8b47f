/**
 * A real region with the fake driver behind its real front doors, and the real command line as a child process. For the
 * tests of src/cli.
 */
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pino from 'pino';
import { listenAdmin } from '../../src/api/admin.ts';
import { listen } from '../../src/api/listen.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';

const root = resolve(import.meta.dirname, '../..');

export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestService {
  /** A folder of this service: its socket, and the callers' configuration. */
  readonly folder: string;
  readonly socket: string;
  readonly endpoint: string;
  /** The region's name. */
  readonly region: string;
  /** The data plane in memory. */
  readonly driver: FakeDriver;
  /** Runs `isthmus` with these arguments. @param env on top of the socket and a configuration directory of its own */
  run(args: readonly string[], env?: NodeJS.ProcessEnv, stdin?: string): Promise<Answer>;
  stop(): Promise<void>;
}

/** Starts a region with the fake driver, its API on a free port and its admin socket. */
export async function startService(driver = new FakeDriver()): Promise<TestService> {
  const folder = mkdtempSync(join(tmpdir(), 'cli-'));
  chmodSync(folder, 0o755); // other users reach the socket and are refused there
  const log = pino({ level: 'silent' });
  const socket = join(folder, 'admin.sock');
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const region = await Region.start({ name: 'cli-1', version: '0', store: new SqliteStore(':memory:'), plane });
  const tenants = await listen({ region, log, address: '127.0.0.1:0' });
  const admin = await listenAdmin(socket, { region, log, endpoint: tenants.url });
  return {
    folder,
    socket,
    endpoint: tenants.url,
    region: region.name,
    driver,
    run: (args, env = {}, stdin = '') =>
      isthmus(args, { XDG_CONFIG_HOME: join(folder, 'config'), ISTHMUS_SOCKET: socket, ...env }, undefined, stdin),
    async stop() {
      await Promise.all([tenants.close(), admin.close()]);
      await region.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Runs the command line once. @param uid run it as this user */
export function isthmus(args: readonly string[], env: NodeJS.ProcessEnv, uid?: number, stdin = ''): Promise<Answer> {
  const argv = ['--disable-warning=ExperimentalWarning', join(root, 'src/cli/main.ts'), ...args];
  const user = uid === undefined ? {} : { uid, gid: uid };
  return new Promise((done) => {
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const options = { env: { PATH, NODE_COMPILE_CACHE, ...env }, timeout: 30_000, ...user };
    const child = execFile(process.execPath, argv, options, (error, stdout, stderr) => {
      done({ status: error === null ? 0 : Number(error.code ?? 99), stdout, stderr });
    });
    child.stdin?.end(stdin);
  });
}
