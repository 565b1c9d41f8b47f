/**
 * The demo of many hosts as its users run it: three hosts that join, two API servers on PostgreSQL, every part killed under
 * traffic, a host cut off. Every check of its story is one of this test.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cannotRun } from './ground.ts';

const program = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

test('the story of many hosts holds, check by check, and leaves nothing behind', { skip: cannotRun }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'd-'));
  chmodSync(folder, 0o755); // PostgreSQL and the region run as other users
  const before = readdirSync('/run/netns');
  const arguments_ = ['--disable-warning=ExperimentalWarning', program, 'demo', '--cluster', '--exit'];
  const child = spawn(process.execPath, arguments_, {
    env: { ...process.env, TMPDIR: folder, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 300_000,
  });
  t.after(() => child.kill('SIGTERM'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (part: Buffer) => {
      text += part.toString();
    });
  }
  const code = await new Promise((resolve) => child.once('close', resolve));
  const failed = text.split('\n').filter((line) => line.includes('✗'));
  assert.deepEqual(failed, [], text);
  assert.equal(code, 0, text);
  const [, held] = /Every check held \((\d+) of \1\)/.exec(text) ?? [];
  assert.ok(Number(held) >= 39, text);
  for (const line of text.split('\n').filter((one) => one.includes('lost '))) t.diagnostic(line.trim());
  assert.deepEqual(readdirSync('/run/netns'), before, 'namespaces left behind');
  rmdirSync(folder); // empty now, or it left something
});
