import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { Keeper } from './keeper.ts';

/** Keeps a process that does one thing after the other with every start. */
function keeping(t: TestContext, scripts: readonly string[]) {
  let starts = 0;
  const said: string[] = [];
  const start = () => {
    const script = scripts[Math.min(starts++, scripts.length - 1)] ?? '';
    if (script === 'throw') throw new Error('no namespace');
    const file = script === 'missing' ? '/does/not/exist' : process.execPath;
    return spawn(file, ['-e', script], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  };
  const keeper = new Keeper({ name: 'region', start }, (text) => said.push(text));
  t.after(() => keeper.stop());
  return { keeper, said, starts: () => starts };
}
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 1000) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
const up = "process.send('up'); setInterval(() => {}, 1000);";

test('a part that never came up is reported and not tried again', async (t) => {
  for (const script of ['process.exit(2)', 'process.exit(1)', 'missing', 'throw']) {
    const { keeper, said, starts } = keeping(t, [script, up]);
    await assert.rejects(keeper.start(), /the region ended at once/, script);
    await new Promise((resolve) => setTimeout(resolve, 300)); // longer than the first pause
    assert.equal(starts(), 1, script);
    assert.deepEqual(said, [], script);
  }
});

test('a part that was up is started again however it ends, also when the next starts fail', async (t) => {
  const { keeper, said, starts } = keeping(t, [up, 'process.exit(2)', 'missing', 'throw', up]);
  assert.equal(await keeper.start(), 'up');
  process.kill(keeper.pid ?? 0, 'SIGKILL');
  await until('it is up a second time', () => starts() === 5 && keeper.pid !== undefined);
  assert.equal(said.length, 4);
  assert.match(said[0] ?? '', /^the region ended \(SIGKILL\); starting it again$/);
  assert.match(said[1] ?? '', /code 2/);
  assert.match(said[2] ?? '', /ENOENT/);
  assert.match(said[3] ?? '', /no namespace/);
});

test('a stop ends even a part that stands still, and nothing is started after it', async (t) => {
  const { keeper, starts } = keeping(t, [up]);
  await keeper.start();
  const { pid = 0 } = keeper;
  process.kill(pid, 'SIGSTOP');
  await keeper.stop();
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(starts(), 1);
});
