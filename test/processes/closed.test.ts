/**
 * A whole service from a checkout that only root can read, on the driver that needs no kernel: the region must have
 * loaded everything before it becomes its user. Locks, stop and purge on the same occasion.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { AdminClient } from '../../src/cli/admin.ts';
import { Client } from '../../src/cli/client.ts';
import { placesOf, serviceUser } from '../../src/cli/places.ts';
import { cannotRun } from '../wire/lab.ts';

const root = resolve(import.meta.dirname, '../..');
const options = { skip: cannotRun, timeout: 120_000 };

/** What running needs of this checkout: the sources and the packages that are no tools of ours. */
function copyCheckout(to: string): void {
  mkdirSync(to, { mode: 0o700 });
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  const needed = Object.entries(packages).filter(
    ([path, { dev }]) => path !== '' && dev !== true && !path.includes('node-linux-') && existsSync(join(root, path)),
  );
  for (const path of ['src', 'package.json', ...needed.map(([path]) => path)]) {
    cpSync(join(root, path), join(to, path), { recursive: true });
  }
}

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

test('a region whose user cannot read the checkout serves everything, and ends cleanly', options, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'closed-'));
  chmodSync(home, 0o755);
  const [checkout, runDir, data] = [join(home, 'checkout'), join(home, 'run'), join(home, 'data')];
  const running: ChildProcess[] = [];
  t.after(async () => {
    for (const child of running) if (child.exitCode === null) child.kill('SIGKILL');
    await isthmus('down', '--purge', '--yes');
    rmSync(home, { recursive: true, force: true }); // nothing is ever mounted here: no kernel is involved
  });
  copyCheckout(checkout);
  const user = serviceUser(undefined, placesOf({ runDir, data }).namespace);
  const places = ['--run-dir', runDir, '--data', data];
  const program = ['--disable-warning=ExperimentalWarning', join(checkout, 'src/cli/main.ts')];
  const isthmus = (...args: readonly string[]): Promise<Ended> =>
    new Promise((done) => {
      const child = execFile(
        process.execPath,
        [...program, ...args, ...places],
        { timeout: 30_000 },
        (error, stdout, stderr) => done({ status: error === null ? 0 : Number(error.code ?? 99), stdout, stderr }),
      );
      child.stdin?.end();
    });
  const upArgs = ['up', '--driver', 'fake', '--listen', '127.0.0.1:0'];
  const up = async (): Promise<{ readonly child: ChildProcess; readonly url: string }> => {
    const child = spawn(process.execPath, [...program, ...upArgs, ...places], { stdio: ['ignore', 'pipe', 'inherit'] });
    running.push(child);
    let text = '';
    for await (const part of child.stdout.setEncoding('utf8')) {
      text += String(part);
      if (text.includes('--purge')) break;
    }
    return { child, url: /tenants +(\S+)/.exec(text)?.[1] ?? '' };
  };

  await t.test('the checkout is closed to the user, the control of what follows', async () => {
    const read = (uid: number): Promise<unknown> =>
      new Promise((done) =>
        execFile('cat', [join(checkout, 'package.json')], { uid, gid: uid }, (error) => done(error)),
      );
    assert.equal(await read(0), null);
    assert.notEqual(await read(user.uid), null);
  });

  const first = await up();
  const pidFile = readFileSync(join(runDir, 'region.pid'), 'utf8');
  const admin = new AdminClient({ socket: join(runDir, 'admin.sock') });
  const account = (await admin.call('POST', '/accounts', { name: 'red' })) as { accountId: string };
  const key = (await admin.call('POST', `/accounts/${account.accountId}/keys`, {})) as {
    accessKeyId: string;
    secretAccessKey: string;
  };

  await t.test('it is its user for good, in no group of root', () => {
    const status = readFileSync(`/proc/${pidFile.trim()}/status`, 'utf8');
    const field = (name: string): string =>
      new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? 'none';
    const four = (id: number): string => Array(4).fill(id).join('\t');
    assert.equal(field('Uid'), four(user.uid));
    assert.equal(field('Gid'), four(user.gid));
    assert.equal(field('Groups'), '');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.equal(BigInt(`0x${field(set)}`), 0n, set);
    assert.equal(field('NoNewPrivs'), '1');
  });

  await t.test('its files are for nobody else', () => {
    assert.equal(statSync(data).mode & 0o777, 0o700);
    const names = readdirSync(data);
    assert.ok(names.includes('region.db'));
    for (const name of names) {
      const { mode, uid } = statSync(join(data, name));
      assert.deepEqual([name, mode & 0o777, uid], [name, 0o600, user.uid]);
    }
    assert.equal(statSync(join(runDir, 'region', 'admin.sock')).mode & 0o777, 0o600);
  });

  await t.test('every kind of request is answered', async () => {
    const client = new Client({ endpoint: first.url, region: 'local-1', ...key });
    const { vpcId } = (await client.post('/vpcs/', { vpcName: 'one', addressPrefix: '10.0.0.0/16' })) as {
      vpcId: string;
    };
    assert.match(vpcId, /^vpc-/);
    const statuses = await Promise.all(
      ['/openapi.json', '/nothing', `/v1/regions/local-1/vpcs/${vpcId}`].map(async (path) => {
        const answer = await fetch(`${first.url}${path}`);
        await answer.arrayBuffer();
        return answer.status;
      }),
    );
    assert.deepEqual(statuses, [200, 404, 401]);
    for (const path of ['/status', '/accounts', '/interfaces', '/journal']) await admin.call('GET', path);
    const log = readFileSync(join(runDir, 'isthmus.log'), 'utf8');
    assert.doesNotMatch(log, /EACCES|ERR_MODULE|Cannot find/);
  });

  await t.test(
    '49. a second one is refused in the same place, and on the same store from another, and spoils nothing',
    async () => {
      const second = await isthmus(...upArgs);
      assert.equal(second.status, 2);
      assert.match(second.stderr, /another region runs in .*run/);
      const elsewhere = ['--run-dir', join(home, 'run2')];
      const third = await isthmus(...upArgs, ...elsewhere, '--data', data);
      assert.equal(third.status, 2);
      assert.match(third.stderr, /another region runs/);
      assert.equal(readFileSync(join(runDir, 'region.pid'), 'utf8'), pidFile, 'the pid is still the first one');
      assert.equal(((await admin.call('GET', '/status')) as { revision: number }).revision, 3);
    },
  );

  await t.test('a region that dies alone is started again on the same store', async () => {
    process.kill(Number(pidFile), 'SIGKILL');
    let back: { revision: number } | null = null;
    for (let tries = 0; back === null && tries < 400; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      back = (await admin.call('GET', '/status').catch(() => null)) as { revision: number } | null;
    }
    assert.equal(back?.revision, 3);
    assert.notEqual(readFileSync(join(runDir, 'region.pid'), 'utf8'), pidFile);
  });

  await t.test('a signal ends it with code 0, and purge asks before it deletes', async () => {
    const ended = once(first.child, 'exit');
    first.child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
    const unsure = await isthmus('down', '--purge');
    assert.equal(unsure.status, 2);
    assert.match(unsure.stderr, /--purge deletes the store/);
    assert.ok(existsSync(join(data, 'region.db')), 'control');
    const sure = await isthmus('down', '--purge', '--yes');
    assert.equal(sure.status, 0, sure.stderr);
    assert.deepEqual([existsSync(data), existsSync(runDir)], [false, false]);
  });

  await t.test('down stops one that it did not start', async () => {
    const { child } = await up();
    const ended = once(child, 'exit');
    const down = await isthmus('down');
    assert.match(down.stdout, /The service is stopped/);
    assert.deepEqual(await ended, [0, null]);
    assert.match((await isthmus('down')).stdout, /No service was running/);
  });
});
