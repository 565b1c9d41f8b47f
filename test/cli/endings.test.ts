/** How commands that hold something end: whoever reads them may go, and what is not there is not said to be removed. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { placesOf } from '../../src/cli/places.ts';
import { cannotRun } from '../wire/lab.ts';

const program = resolve(import.meta.dirname, '../../src/cli/main.ts');
const node = ['--disable-warning=ExperimentalWarning', program];

const run = (...args: readonly string[]): Promise<{ readonly status: number; readonly said: string }> =>
  new Promise((done) => {
    execFile(process.execPath, [...node, ...args], { timeout: 60_000 }, (error, stdout, stderr) =>
      done({ status: error === null ? 0 : Number(error.code ?? 99), said: stdout + stderr }),
    );
  });
/** What a demo makes, by the names it gives. */
const traces = (): readonly string[] => [
  ...readdirSync('/run/netns').filter((name) => /^(demo|isthmus)-/.test(name)),
  ...readdirSync(tmpdir()).filter((name) => name.startsWith('isthmus-demo-')),
  ...readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes('isthmus-demo-')),
];

test('a demo whose output is closed removes everything, and does not say that all held', {
  skip: cannotRun,
  timeout: 90_000,
}, async () => {
  const before = traces();
  const demo = spawn(process.execPath, [...node, 'demo', '--exit'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(demo, 'exit');
  let met = false; // control: there was something to remove
  for await (const _part of demo.stdout) {
    met ||= traces().length > before.length;
    if (met) break;
  }
  demo.stdout.destroy();
  const [code] = await ended;
  assert.ok(met, 'control');
  assert.equal(code, 130);
  assert.deepEqual(traces(), before);
});

test('down says so when there is nothing', async () => {
  const home = mkdtempSync(join(tmpdir(), 'endings-'));
  try {
    const { status, said } = await run('down', '--purge', '--yes', '--run-dir', join(home, 'none'));
    assert.equal(status, 0);
    assert.match(said, /There is no installation in .*none: nothing was done/);
  } finally {
    rmSync(home, { recursive: true });
  }
});

test('what is wrong with the options of up is said before anything is made', async () => {
  const home = mkdtempSync(join(tmpdir(), 'endings-'));
  try {
    for (const [options, why] of [
      [['--listen', 'nonsense'], /'nonsense' is not a listen address/],
      [['--listen', '0.0.0.0:7788'], /Plain HTTP on 0\.0\.0\.0/],
      [['--region', 'a b'], /--region 'a b' is not a name/],
      [['--driver', 'magic'], /--driver 'magic' is not known/],
    ] as const) {
      const { status, said } = await run('up', '--driver', 'fake', '--run-dir', join(home, 'run'), ...options);
      assert.equal(status, 2, said);
      assert.match(said, why);
    }
    assert.deepEqual(readdirSync(home), []);
  } finally {
    rmSync(home, { recursive: true });
  }
});

test('an installation in a place of its own shares nothing with one of the same name', () => {
  const usual = placesOf({ instance: 'x' });
  const other = placesOf({ instance: 'x', runDir: '/tmp/elsewhere' });
  const third = placesOf({ runDir: '/tmp/third' });
  for (const what of ['namespace', 'runDir', 'data'] as const) {
    assert.equal(new Set([usual[what], other[what], third[what], placesOf({})[what]]).size, 4, what);
  }
  assert.deepEqual(placesOf({ runDir: '/tmp/../tmp/third/' }), third, 'control: the same place is the same');
});

test('under --json a failure is JSON too', async () => {
  const { status, said } = await run('vpc', 'list', '--json', '--profile', 'nobody-has-this');
  assert.equal(status, 2);
  assert.match(JSON.parse(said).error.message, /no profile/);
});
