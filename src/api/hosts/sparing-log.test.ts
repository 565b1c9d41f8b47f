import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SparingLog } from './sparing-log.ts';

test('the first is said at once, then the newest each second, and how many there were', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const said: unknown[] = [];
  const log = new SparingLog({ warn: (...line: unknown[]) => said.push(line) });
  for (let n = 0; n < 1000; n++) log.warn({ from: `a${n}` }, 'no');
  assert.deepEqual(said.splice(0), [[{ from: 'a0' }, 'no']]);
  t.mock.timers.tick(1000);
  assert.deepEqual(said.splice(0), [[{ from: 'a999', others: 998 }, 'no']]);
  t.mock.timers.tick(999);
  log.warn({ subject: 'x'.repeat(9000) }, 'no');
  assert.deepEqual(said, []);
  t.mock.timers.tick(1);
  assert.deepEqual(said.splice(0), [[{ subject: 'x'.repeat(200) }, 'no']]);
  t.mock.timers.tick(1000);
  assert.deepEqual(said, []);
  log.warn({}, 'at once again');
  assert.equal(said.length, 1);
});
