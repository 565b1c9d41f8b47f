/** `isthmus flows` on a running service: a delivery and a drop, told as they happen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isthmus } from '../cli/service.ts';
import { cannotRun } from '../wire/lab.ts';
import { House } from './house.ts';

test('flows shows a delivery and a drop of a running service, and nothing of others that was not asked for', {
  skip: cannotRun,
}, async (t) => {
  const house = await House.start(t);
  const { red, blue, redHalf } = await house.peered();
  const stream = await house.stream(red, blue);
  const nowhere = red.workload.udp();
  const timer = setInterval(() => nowhere.send('10.1.1.99' as typeof blue.address, 9, Buffer.from('lost')), 5);
  const run = (...more: readonly string[]) =>
    isthmus(['flows', '--run-dir', house.options.runDir, '--sample', '1', '--interface', red.portId, ...more], {});
  const all = await run('--limit', '40', '--json');
  assert.equal(all.status, 0, all.stderr);
  const records = all.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { exit: string; portId: string; halfId: string });
  assert.equal(records.length, 40);
  assert.ok(records.some(({ exit, halfId }) => exit === 'Forwarded' && halfId === redHalf));
  assert.ok(records.some(({ exit }) => exit === 'NoSuchAddress'));
  assert.ok(records.every(({ portId }) => portId === red.portId));
  const dropped = await run('--dropped', '--limit', '3');
  assert.match(
    dropped.stdout,
    /^(\d\d:\d\d:\d\d\.\d{3} {2}NoSuchAddress +port-\S+ {2}udp +10\.0\.1\.\d+:\d+ → 10\.1\.1\.99:9 {2}over vpcpr-\S+ {2}\d+ bytes\n){3}$/,
  );
  clearInterval(timer);
  // What health says is confirmed by what the meter has seen.
  const healthOf = async () =>
    (
      (await red.client.get(`/vpcPeerings/${redHalf}/health`)) as {
        health: { state: string; lastSent: string | null; lastReceived: string | null };
      }
    ).health;
  await red.client.get(`/vpcPeerings/${redHalf}/usage`); // books what there is
  const { state, lastSent, lastReceived } = await healthOf();
  assert.equal(state, 'open');
  assert.match(lastSent ?? '', /^\d{4}-\d\d-\d\dT/, 'packets were seen one way');
  assert.equal(lastReceived, null, 'and none the other');
  const { lost } = await house.lost([stream]);
  assert.equal(lost, 0);
  const noSuch = await isthmus(['flows', '--run-dir', `${house.home}/none`], {});
  assert.equal(noSuch.status, 2);
  assert.match(noSuch.stderr, /No flow records: .*no agent listens there/);
});
