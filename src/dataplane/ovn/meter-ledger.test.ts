import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { HalfId } from '../../model/ids.ts';
import type { MeterRequest } from './hosts.ts';
import { type FlowCount, flowCounts, MeterLedger } from './meter-ledger.ts';

const half = 'vpcpr-redblue00' as HalfId;
const ask = (cookie: string, booked: readonly string[] = []): MeterRequest => ({
  epoch: 'first',
  halves: [[half, cookie]],
  booked,
});
/** A flow that has carried so many packets of 100 bytes. */
const flow = (cookie: string, packets: number, age: number): ReadonlyMap<string, FlowCount> =>
  new Map([[cookie, { packets, bytes: packets * 100, age }]]);

function path(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'counts.json');
}
const packets = (reading: ReturnType<MeterLedger['read']>): readonly number[] =>
  reading.running.map((one) => Number(one.packets));

test('only what leaves for the peer is counted, not the same packet in the tables before it', () => {
  const dump = [
    'NXST_FLOW reply (xid=0x4):',
    ' cookie=0xd607d3b0, duration=185.478s, table=64, n_packets=7, n_bytes=700, priority=50,reg15=0x3 actions=x',
    ' cookie=0xd607d3b0, duration=185.478s, table=65, n_packets=280719, n_bytes=33094114, idle_age=0, priority=100,reg15=0x3,metadata=0x7 actions=clone(x)',
    ' cookie=0x1a, duration=2.001s, table=65, n_packets=0, n_bytes=0, priority=100 actions=x',
  ].join('\n');
  assert.deepEqual(
    [...flowCounts(dump)],
    [
      ['d607d3b0', { packets: 280719, bytes: 33094114, age: 185.478 }],
      ['0000001a', { packets: 0, bytes: 0, age: 2.001 }],
    ],
  );
});

test('a count goes on over flows that begin anew, with fewer packets or with more', (t) => {
  const ledger = new MeterLedger(path(t));
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 10, 100), 1_000)), [10]);
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 25, 105), 1_005)), [25]);
  // ovn-controller was started again.
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 5, 3), 1_010)), [30]);
  // And again; meanwhile it carried more than the one before had when it was read last. Only its age tells.
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 50, 4), 1_020)), [80]);
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 50, 9.4), 1_025)), [80]);
  const [reading] = ledger.read(ask('a'), flow('a', 51, 14), 1_030).running;
  assert.deepEqual([reading?.packets, reading?.bytes], [81n, 8_100n]);
});

test('a half that is made again goes on with its count, under its old life', (t) => {
  const ledger = new MeterLedger(path(t));
  const [before] = ledger.read(ask('a'), flow('a', 10, 100), 1_000).running;
  // Dead: the half is there, and no flow.
  assert.deepEqual(packets(ledger.read(ask(''), new Map(), 1_001)), [10]);
  const [after] = ledger.read(ask('b'), flow('b', 3, 1), 1_002).running;
  assert.deepEqual([after?.life, after?.packets], [before?.life, 13n]);
});

test('what the old flow carried to its end is counted too, when both are there', (t) => {
  const ledger = new MeterLedger(path(t));
  ledger.read(ask('a'), flow('a', 10, 100), 1_000);
  const both = new Map([...flow('a', 14, 101), ...flow('b', 2, 0.2)]);
  assert.deepEqual(packets(ledger.read(ask('b'), both, 1_001)), [16]);
  assert.deepEqual(packets(ledger.read(ask('b'), flow('b', 5, 1.2), 1_002)), [19]);
});

test('a half that is gone is told until it is booked, also after a restart; the next of its name has another life', async (t) => {
  const file = path(t);
  const ledger = new MeterLedger(file);
  const [ran] = ledger.read(ask('a'), flow('a', 10, 100), 1_000).running;
  const gone = { epoch: 'first', halves: [], booked: [] };
  const first = ledger.read(gone, flow('a', 12, 101), 1_001);
  assert.deepEqual(first.running, []);
  assert.deepEqual(first.retired, [{ halfId: half, life: ran?.life, packets: 12n, bytes: 1_200n }]);
  await ledger.save();

  const again = new MeterLedger(file);
  const [next] = again.read(ask('b'), flow('b', 1, 1), 1_002).running;
  assert.notEqual(next?.life, ran?.life);
  assert.deepEqual(again.read(gone, new Map(), 1_003).retired.length, 2);
  const booked = [ran?.life ?? ''];
  assert.deepEqual(
    again.read({ epoch: 'first', halves: [], booked }, new Map(), 1_004).retired.map(({ life }) => life),
    [next?.life],
  );
});

test('a restarted agent goes on where the last one stopped, and a restarted machine too', async (t) => {
  const file = path(t);
  const ledger = new MeterLedger(file);
  ledger.read(ask('a'), flow('a', 10, 100), 1_000);
  await ledger.save();
  const agent = new MeterLedger(file);
  assert.deepEqual(packets(agent.read(ask('a'), flow('a', 40, 160), 1_060)), [40]);
  await agent.save();
  const machine = new MeterLedger(file);
  assert.deepEqual(packets(machine.read(ask('a'), flow('a', 50, 20), 60)), [90]);
});

test('two halves have two counts, and one that carried nothing is not told', (t) => {
  const ledger = new MeterLedger(path(t));
  const other = 'vpcpr-bluered00' as HalfId;
  const request: MeterRequest = { epoch: 'first', halves: [...ask('a').halves, [other, 'b']], booked: [] };
  const flows = new Map([...flow('a', 3, 9), ...flow('b', 0, 9)]);
  assert.deepEqual(
    ledger.read(request, flows, 1_000).running.map(({ halfId }) => halfId),
    [half],
  );
});

test('a file that cannot be read is set aside, and what it may have told is not counted twice', async (t) => {
  const file = path(t);
  writeFileSync(file, '{"running":');
  const ledger = new MeterLedger(file);
  assert.ok(existsSync(`${file}.unreadable`));
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 1_000, 900), 1_000)), []);
  assert.deepEqual(packets(ledger.read(ask('a'), flow('a', 1_007, 901), 1_001)), [7]);
  // What begins from now on is counted from its beginning.
  assert.deepEqual(packets(ledger.read(ask('b'), flow('b', 5, 1), 1_010)), [12]);
});

test('with another plane every count begins anew', (t) => {
  const ledger = new MeterLedger(path(t));
  const [before] = ledger.read(ask('a'), flow('a', 10, 100), 1_000).running;
  const { running, retired } = ledger.read({ ...ask('b'), epoch: 'second' }, flow('b', 2, 1), 1_001);
  assert.deepEqual(retired, []);
  assert.notEqual(running[0]?.life, before?.life);
  assert.equal(running[0]?.packets, 2n);
});
