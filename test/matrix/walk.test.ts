/**
 * 4. API state and data plane agree after every step of random sequences by three tenants. A failing walk is shortened
 * to the steps that matter; SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cannotRun } from '../wire/lab.ts';
import { type MakeCarrier, onEbpf, onFake } from './carriers.ts';
import { type Action, action, play, type Walk } from './walk.ts';

const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

/** Walks of just so many actions. Only when one fails are parts of it played, to find a short one. */
async function walks(make: MakeCarrier, count: number, length: number): Promise<readonly Walk[]> {
  const whole = fc.sample(fc.array(action, { minLength: length, maxLength: length }), { seed, numRuns: count });
  const played: Walk[] = [];
  const holds = fc.asyncProperty(fc.array(action, { maxLength: length }), async (actions: readonly Action[]) => {
    played.push(await play(make, actions));
  });
  const examples = whole.map((actions): [Action[]] => [actions]);
  await fc.assert(holds, {
    seed,
    numRuns: count,
    examples,
    interruptAfterTimeLimit: 150_000,
    includeErrorInReport: true,
  });
  return played;
}

for (const [name, make, count, length, skip] of [
  ['in memory', onFake, 4, 500, false],
  ['in the kernel', onEbpf, 2, 100, cannotRun],
] as const) {
  const title = `4. ${count} times ${length} random commands by three tenants ${name}, seed ${seed}`;
  test(title, { skip, timeout: 300_000 }, async (t) => {
    const played = await walks(make, count, length);
    assert.equal(played.length, count);
    for (const { done, refused, crossed, world } of played) {
      t.diagnostic(`${done} done, ${refused} refused, ${world.cells} cells, ${crossed} of them between two VPCs`);
      assert.ok(done > length / 4 && refused > 0, 'control: much of it was possible, some of it not');
      assert.ok(crossed > 0, 'control: packets crossed');
    }
  });
}

test('a walk that fails is shortened to the step that matters', async () => {
  /** A plane that loses what is sent to an address of a certain kind. */
  const liar: MakeCarrier = async (ending) => {
    const honest = await onFake(ending);
    const lost = /\.10[0-3]$|::6[4-7]$/; // only a secondary address that was asked for ends so
    return {
      ...honest,
      probe: async (from, to, handed) => (lost.test(to) ? { exit: 'Internal' } : honest.probe(from, to, handed)),
    };
  };
  await assert.rejects(walks(liar, 1, 300), (error: Error) => {
    const steps = error.message.match(/"what":"[a-z-]+"/g) ?? [];
    assert.match(error.message, /Counterexample/);
    assert.deepEqual([...new Set(steps)], ['"what":"secondary"'], error.message);
    return true;
  });
});
