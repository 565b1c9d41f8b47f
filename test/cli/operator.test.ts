/** The operator's commands over the admin socket, and where the secrets go. */
import assert from 'node:assert/strict';
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { isthmus, startService, type TestService } from './service.ts';

let service: TestService;
before(async () => {
  service = await startService();
});
after(() => service.stop());

async function done(...args: readonly string[]): Promise<string> {
  const answer = await service.run(args);
  assert.equal(answer.status, 0, `isthmus ${args.join(' ')}: ${answer.stderr}`);
  return answer.stdout;
}

/** Why a test that runs the command as another user cannot: no root, or a checkout that others may not enter. */
function withoutOthers(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root';
  for (let path = import.meta.dirname; path !== '/'; path = dirname(path)) {
    accessSync(path, constants.R_OK);
    if ((statSync(path).mode & 0o005) !== 0o005) return `other users may not enter ${path}`;
  }
  return false;
}
const others = { skip: withoutOthers() };

test('an account is created, listed, modified and deleted; with what it owns only by force', async () => {
  assert.match(await done('account', 'create', 'carol'), /^acct-[a-z0-9]{10} {2}carol\n/);
  await done('account', 'modify', 'carol', '--name', 'carla', '--rate', '50');
  assert.match(await done('account', 'list'), /acct-\S+ +carla +50 /);
  await done('key', 'create', 'carla', '--save-profile', 'carla');
  await done('vpc', 'create', 'v', '--profile', 'carla');
  const refused = await service.run(['account', 'delete', 'carla']);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /still owns/);
  await done('account', 'delete', 'carla', '--force');
  assert.deepEqual(JSON.parse(await done('account', 'list', '--json')), []);
});

test('a secret is shown once, and goes into the profile unseen when that is asked', async () => {
  await done('account', 'create', 'dave');
  const shown = await done('key', 'create', 'dave', '--description', 'laptop');
  const secret = / Secret +(\S+)\n/.exec(shown)?.[1] ?? '';
  assert.ok(secret.length >= 20, shown);
  const listed = await done('key', 'list', 'dave', '--json');
  assert.ok(listed.includes('laptop') && !listed.includes(secret));
  assert.ok(!(await done('journal')).includes(secret));

  const saved = await service.run(['key', 'create', 'dave', '--save-profile', 'dave']);
  assert.equal(saved.status, 0, saved.stderr);
  const path = `${service.folder}/config/isthmus/config.json`;
  const file = JSON.parse(readFileSync(path, 'utf8')) as { profiles: { dave: { secretAccessKey: string } } };
  const kept = file.profiles.dave.secretAccessKey;
  assert.ok(kept.length >= 20 && !`${saved.stdout}${saved.stderr}`.includes(kept));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const profiles = await done('configure', 'list');
  assert.ok(!profiles.includes(kept));
  assert.match(profiles, /dave +http:\/\/127\.0\.0\.1:\d+ +cli-1 /);

  chmodSync(path, 0o644);
  const open = await service.run(['vpc', 'list', '--profile', 'dave']);
  assert.equal(open.status, 2);
  assert.match(open.stderr, /open to others \(mode 644\)/);
  chmodSync(path, 0o600);
  await done('vpc', 'list', '--profile', 'dave');
  await done('account', 'delete', 'dave', '--force');
});

test("under sudo the profile is the caller's, and made with the caller's rights", others, async () => {
  await done('account', 'create', 'erin');
  const home = `${service.folder}/caller`;
  mkdirSync(home);
  chownSync(home, 65534, 65534);
  const sudo = { SUDO_USER: 'nobody', SUDO_UID: '65534', SUDO_GID: '65534', XDG_CONFIG_HOME: home };
  const saved = await service.run(['key', 'create', 'erin', '--save-profile', 'erin'], sudo);
  assert.equal(saved.status, 0, saved.stderr);
  const { uid, mode } = statSync(`${home}/isthmus/config.json`);
  assert.deepEqual([uid, mode & 0o777], [65534, 0o600]);
  const listed = await isthmus(['vpc', 'list'], { XDG_CONFIG_HOME: home, ISTHMUS_PROFILE: 'erin' }, 65534);
  assert.equal(listed.status, 0, listed.stderr);

  // Where only root could write, it does not: the caller's rights are not enough.
  const roots = `${service.folder}/roots`;
  mkdirSync(roots, { mode: 0o755 });
  const elsewhere = { ...sudo, XDG_CONFIG_HOME: roots };
  assert.notEqual((await service.run(['key', 'create', 'erin', '--save-profile', 'erin'], elsewhere)).status, 0);
  await done('account', 'delete', 'erin', '--force');
});

test('who may not open the socket is told to use sudo; where nobody listens, how to start', others, async () => {
  const denied = await isthmus(['account', 'list', '--socket', service.socket], {}, 65534);
  assert.equal(denied.status, 2);
  assert.match(denied.stderr, /Only root and the user of the service may use .*\n.*sudo/);
  const nobody = await isthmus(['account', 'list', '--socket', `${service.folder}/none.sock`], {});
  assert.equal(nobody.status, 2);
  assert.match(nobody.stderr, /No service listens at .*\n.*sudo isthmus up/);
});

test("the journal tells what happened in order: all of it, after a revision, or one's own", async () => {
  await done('account', 'create', 'frank');
  await done('key', 'create', 'frank', '--save-profile', 'frank');
  await done('vpc', 'create', 'v', '--profile', 'frank');
  interface Entry {
    readonly revision: number;
    readonly operation: string;
    readonly account: string | null;
  }
  const all = JSON.parse(await done('journal', '--json')) as Entry[];
  const newest = all.slice(-3).map(({ operation }) => operation);
  assert.deepEqual(newest, ['create-account', 'create-key', 'create-vpc']);
  const last = all.at(-1)?.revision ?? 0;
  assert.equal((JSON.parse(await done('journal', '--json', '--after', String(last - 1))) as Entry[]).length, 1);
  const own = JSON.parse(await done('journal', '--mine', '--profile', 'frank', '--json')) as Entry[];
  assert.ok(own.length >= 1 && own.every(({ account }) => account !== null && account === own[0]?.account));
  assert.equal(own.at(-1)?.operation, 'create-vpc');
  assert.match(await done('journal'), /^ *REV +TIME +ACCOUNT +OPERATION +CHANGED\n/);
  await done('account', 'delete', 'frank', '--force');
});

test('profiles are made from a pipe, chosen and forgotten', async () => {
  const env = { XDG_CONFIG_HOME: `${service.folder}/pipe` };
  const make = (name: string, secret: string) =>
    service.run(['configure', name, '--access-key', 'JDC_X', '--secret-key-stdin'], env, `${secret}\n`);
  const made = await make('one', 'secret-1');
  assert.equal(made.status, 0, made.stderr);
  assert.equal((await make('two', 'secret-2')).status, 0);
  assert.equal((await service.run(['configure', 'use', 'two'], env)).status, 0);
  const listed = (await service.run(['configure', 'list', '--json'], env)).stdout;
  const rows = JSON.parse(listed) as { name: string; current: boolean }[];
  assert.deepEqual(
    rows.map(({ name, current }) => [name, current]),
    [
      ['one', false],
      ['two', true],
    ],
  );
  assert.ok(!listed.includes('secret-'));
  assert.equal((await service.run(['configure', 'delete', 'one'], env)).status, 0);
  assert.equal((await service.run(['configure', 'use', 'one'], env)).status, 2);
  assert.equal((await service.run(['configure', 'three'], env)).status, 2, 'without a key and without a terminal');
});
