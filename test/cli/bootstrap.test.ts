/**
 * bin/isthmus before any of our own code runs: from wherever it is called, and on a machine where something is missing.
 * What it installs is tried on bare machines, not here: no test reaches for a registry.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'bootstrap-'));
chmodSync(scratch, 0o755);
after(() => rmSync(scratch, { recursive: true }));

/** A checkout in a folder of that name; without node_modules it is as fresh as a clone. */
function checkout(name: string, prepared: boolean): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  for (const part of ['bin', 'package.json', 'package-lock.json', 'src']) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  if (prepared) borrowPackages(folder);
  return folder;
}

/** Gives a checkout this one's packages: links of its own, so that an installation there could never touch ours. */
function borrowPackages(folder: string): void {
  const packages = join(folder, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.isthmus')) symlinkSync(join(root, 'node_modules', name), join(packages, name));
  }
  const hash = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex');
  writeFileSync(join(packages, '.isthmus-stamp'), `${hash} run\n`);
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
}
const run = (command: string, args: readonly string[], options: RunOptions = {}) =>
  spawnSync(command, args, { encoding: 'utf8', timeout: 30_000, cwd: scratch, ...options });

/** A PATH with the tools of a minimal system and nothing else: no Node, no npm, no package manager. */
function bareTools(): string {
  const folder = join(scratch, 'tools');
  mkdirSync(folder);
  for (const tool of [
    'sh',
    'uname',
    'sha256sum',
    'cut',
    'grep',
    'sed',
    'id',
    'stat',
    'readlink',
    'mkdir',
    'head',
    'tail',
  ]) {
    const found = spawnSync('which', [tool], { encoding: 'utf8', timeout: 5000 }).stdout.trim();
    assert.notEqual(found, '', tool);
    symlinkSync(found, join(folder, tool));
  }
  return folder;
}

test('a prepared checkout answers without a word of its own: by path, by link, from anywhere, blanks in its name', () => {
  const folder = checkout('with some blanks', true);
  const link = join(scratch, 'isthmus link');
  symlinkSync(join(folder, 'bin/isthmus'), link);
  const below = join(folder, 'bin');
  for (const [command, cwd] of [
    [join(folder, 'bin/isthmus'), '/'],
    [link, '/'],
    ['./isthmus', below],
    ['../bin/isthmus', below],
  ] as const) {
    const { status, stdout, stderr } = run(command, ['--version'], { cwd });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, command);
    assert.match(stdout, /^[0-9]+\.[0-9]+\.[0-9]+\n$/);
  }
});

test('without npm and without a package manager it says what is missing and installs nothing', () => {
  const folder = checkout('fresh', false);
  const { status, stdout, stderr } = run(join(folder, 'bin/isthmus'), ['--version'], { env: { PATH: bareTools() } });
  assert.equal(status, 2, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, /missing on this machine: .*nodejs npm/);
  assert.match(stderr, /nstall them yourself:\n.*nodejs npm/);
  assert.ok(!readdirSync(folder).includes('node_modules'));
});

test('who may not write the checkout is told who must prepare it', {
  skip: process.geteuid?.() !== 0 && 'needs root',
}, () => {
  const fresh = checkout('of-root', false);
  const refused = run(join(fresh, 'bin/isthmus'), ['--version'], { uid: 65534 });
  assert.equal(refused.status, 2, refused.stderr);
  assert.match(refused.stderr, /cannot write there/);
  assert.match(refused.stderr, /as its owner, root/);
});
