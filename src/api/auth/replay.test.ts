import assert from 'node:assert/strict';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ReplayGuard } from './replay.ts';

const minute = 60_000;
const window = 15 * minute;
const start = 1_700_000_000_000;

test('a nonce passes once for each key, for as long as its request could be in time', () => {
  const guard = new ReplayGuard(window, { now: start });
  assert.equal(guard.admit('k1', 'n', start, start), 'new');
  assert.equal(guard.admit('k1', 'n', start, start), 'replayed');
  assert.equal(guard.admit('k2', 'n', start, start), 'new');
  assert.equal(guard.admit('k1', 'n', start, start + 15 * minute), 'replayed');
  assert.equal(guard.admit('k1', 'n', start + 16 * minute, start + 16 * minute), 'new', 'a new request by then');
  const ahead = start + 10 * minute;
  assert.equal(guard.admit('k3', 'n', ahead, start), 'new', 'dated ahead of the clock');
  assert.equal(guard.admit('k3', 'n', ahead, ahead + 15 * minute), 'replayed');
});

test('memory is bounded by refusing, never by forgetting', () => {
  const guard = new ReplayGuard(window, { now: start, limits: { perKey: 2, total: 3 } });
  const admit = (key: string, nonce: string) => guard.admit(key, nonce, start, start);
  assert.deepEqual([admit('k1', 'a'), admit('k1', 'b'), admit('k1', 'c')], ['new', 'new', 'full']);
  assert.deepEqual([admit('k2', 'a'), admit('k3', 'a')], ['new', 'full']);
  assert.equal(admit('k1', 'a'), 'replayed');
  assert.equal(guard.admit('k1', 'c', start + 40 * minute, start + 40 * minute), 'new', 'room again');
});

test('a file that cannot be opened costs a refusal, and never a descriptor that is another’s', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'nonces-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const guard = new ReplayGuard(window, { now: start, directory });
  assert.equal(guard.admit('k', 'a', start, start), 'new');
  mkdirSync(join(directory, 'nonces.1')); // where the next file is to be
  const later = start + 46 * minute;
  assert.equal(guard.admit('k', 'b', later, later), 'full');
  const victim = openSync(join(directory, 'victim'), 'w'); // would get the number of a file that was closed
  assert.equal(guard.admit('k', 'c', later, later), 'full');
  closeSync(victim);
  assert.equal(readFileSync(join(directory, 'victim'), 'utf8'), '');
  rmSync(join(directory, 'nonces.1'), { recursive: true });
  assert.equal(guard.admit('k', 'd', later, later), 'new', 'control');
  guard.close();
});

test('a restart forgets none, and the files do not grow for ever', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'nonces-'));
  t.after(() => rmSync(directory, { recursive: true }));
  let now = start;
  let guard = new ReplayGuard(window, { now, directory });
  const restart = (): void => {
    guard.close();
    guard = new ReplayGuard(window, { now, directory });
  };
  const admit = (nonce: string) => guard.admit('k', nonce, now, now);
  assert.equal(admit('first'), 'new');
  appendFileSync(join(directory, 'nonces.0'), '17000'); // a line that a crash cut short
  restart();
  assert.equal(admit('first'), 'replayed');
  assert.equal(admit('after'), 'new', 'a whole line follows the torn one');
  restart();
  assert.equal(admit('after'), 'replayed');

  const sizes: number[] = [];
  for (let hour = 0; hour < 40; hour++) {
    now += 20 * minute;
    for (let n = 0; n < 50; n++) assert.equal(admit(`${hour}-${n}`), 'new');
    if (hour % 7 === 0) restart();
    assert.equal(admit(`${hour}-0`), 'replayed');
    sizes.push(readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0));
  }
  assert.ok(Math.max(...sizes.slice(20)) <= Math.max(...sizes.slice(0, 20)), sizes.join(' '));
  assert.deepEqual(
    readdirSync(directory).map((name) => statSync(join(directory, name)).mode & 0o777),
    [0o600, 0o600],
  );
  guard.close();
});
