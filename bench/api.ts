/**
 * The API under 64 clients: signed reads and commits, the service and the clients in processes of their own; beside it
 * moto's server, where it is installed, with the nearest calls of its EC2 API.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AdminClient } from '../src/cli/admin.ts';
import { Client } from '../src/cli/client.ts';
import { startService } from '../src/cli/up.ts';
import type { ClientResult, ClientTask } from './api-client.ts';
import type { Figure } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { median, percentile } from './statistics.ts';

const run = promisify(execFile);
const clients = 64;
const region = 'bench-1';
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function asked(task: ClientTask): Promise<ClientResult> {
  const script = fileURLToPath(new URL('./api-client.ts', import.meta.url));
  const args = ['--disable-warning=ExperimentalWarning', script, JSON.stringify(task)];
  const { stdout } = await run(process.execPath, args, { timeout: task.milliseconds + 60_000, maxBuffer: 64 << 20 });
  return JSON.parse(stdout) as ClientResult;
}

function figures(who: string, what: string, { answers, failed, seconds, times }: ClientResult): readonly Figure[] {
  if (failed > 0 || answers === 0) throw new Error(`${who}, ${what}: ${failed} of ${answers + failed} failed`);
  const note = `${clients} clients, ${seconds.toFixed(0)} s`;
  return [
    { section: 'api', name: `${who}: ${what} a second`, value: Math.round(answers / seconds), unit: '/s', note },
    { section: 'api', name: '… p50', value: median(times), unit: 'ms', samples: times },
    { section: 'api', name: '… p99', value: percentile(times, 0.99), unit: 'ms' },
  ];
}

export async function api(
  sandbox: Sandbox,
  milliseconds: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  chmodSync(sandbox.folder, 0o755); // the region runs as another user
  const port = 20_000 + (process.pid % 10_000);
  const options = {
    listen: `127.0.0.1:${port}`,
    region,
    driver: 'fake',
    runDir: join(sandbox.folder, 'run'),
    data: join(sandbox.folder, 'data'),
  };
  const found: Figure[] = [];
  const service = await startService(options, () => {});
  try {
    const admin = new AdminClient({ socket: service.ready.admin });
    const keys: { accessKeyId: string; secretAccessKey: string }[] = [];
    const vpcIds: string[] = [];
    for (let n = 0; n < 16; n++) {
      const { accountId } = (await admin.call('POST', '/accounts', { name: `t${n}` })) as { accountId: string };
      await admin.call('PATCH', `/accounts/${accountId}`, { requestsPerSecond: 1_000_000 });
      const key = (await admin.call('POST', `/accounts/${accountId}/keys`, {})) as (typeof keys)[number];
      keys.push(key);
      const client = new Client({ endpoint: service.ready.url, region, ...key });
      const made = (await client.post('/vpcs/', { vpcName: 'v', addressPrefix: '10.0.0.0/16' })) as { vpcId: string };
      vpcIds.push(made.vpcId);
    }
    const task = { host: new URL(service.ready.url).host, clients, milliseconds, region, keys, vpcIds };
    for (const what of ['read', 'commit'] as const) {
      progress(`the API: ${what}s`);
      found.push(...figures('Isthmus', `signed ${what}s`, await asked({ ...task, what })));
    }
  } finally {
    await service.stop();
  }
  return [...found, ...(await moto(sandbox, milliseconds, progress))];
}

async function moto(
  sandbox: Sandbox,
  milliseconds: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  if (spawnSync('moto_server', ['--version'], { timeout: 20_000, stdio: 'ignore' }).status !== 0) {
    return [{ section: 'api', name: 'moto’s server', value: 0, unit: '', note: 'not installed' }];
  }
  const port = 30_000 + (process.pid % 10_000);
  const server: ChildProcess = spawn('moto_server', ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  sandbox.atEnd(() => server.kill('SIGKILL'));
  try {
    for (let tries = 0; tries < 200 && !(await listens(port)); tries++) await pause(100);
    const task = { host: `127.0.0.1:${port}`, clients, milliseconds, region: '', keys: [], vpcIds: [] };
    const found: Figure[] = [];
    for (const what of ['moto-read', 'moto-commit'] as const) {
      progress(`moto: ${what}`);
      const words = what === 'moto-read' ? 'unsigned reads' : 'creates in memory';
      found.push(...figures('moto', words, await asked({ ...task, what })));
    }
    return found;
  } finally {
    server.kill('SIGKILL');
  }
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
