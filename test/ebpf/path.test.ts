import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cannotRun, Lab } from '../wire/lab.ts';
import { address, twoSites } from '../wire/sketch.ts';

test('what was applied is observed byte for byte, and packets cross exactly where routes and halves say', {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, blue, r1, b1, halves } = twoSites();
  const green = sketch.vpc('green', '10.3.0.0/16');
  const g1 = sketch.port(green, 'g1', ['10.3.0.4']);
  await lab.become(sketch.network());
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
  assert.deepEqual((await lab.driver.observe()).damage, []);
  for (const port of [r1, b1, g1]) await lab.attach(port);

  for (const [from, to, at] of [
    [r1, b1, '10.2.0.4'],
    [b1, r1, '10.1.0.4'],
    [r1, b1, 'fd00:2::4'],
    [b1, r1, 'fd00:1::4'],
  ] as const) {
    assert.deepEqual(await lab.sendProbe(from, address(at)), { delivered: to }, at);
  }
  assert.deepEqual(await lab.sendProbe(r1, address('10.3.0.4')), { exit: 'NoRoute' });
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.5')), { exit: 'NoSuchAddress' });

  sketch.peer(red, blue, false);
  const plan = await lab.become(sketch.network());
  assert.deepEqual(
    plan.break.map(({ step }) => step),
    ['kill-half', 'kill-half'],
  );
  const before = lab.half(halves[0]);
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.4')), { exit: 'NoPeering' });
  assert.deepEqual(await lab.sendProbe(b1, address('fd00:1::4')), { exit: 'NoPeering' });
  assert.deepEqual(lab.half(halves[0]), before);

  sketch.peer(red, blue, true);
  await lab.become(sketch.network());
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.4')), { delivered: b1 });
  assert.equal(lab.half(halves[0]).packets, before.packets + 1, 'the slot and its counter lived on');
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
});
