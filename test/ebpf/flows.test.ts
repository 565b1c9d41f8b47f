/** Flow records: what they say of a packet, and that switching them on and off costs nothing but themselves. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { FlowRecord } from '../../src/dataplane/driver.ts';
import { committedObject } from '../../src/dataplane/ebpf/driver.ts';
import { flowsObject } from '../../src/dataplane/ebpf/flows.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { withObject } from '../../src/kernel/bpf-object.ts';
import { linkNamed } from '../../src/kernel/link.ts';
import { Netlink } from '../../src/kernel/netlink.ts';
import { inside } from '../../src/kernel/netns.ts';
import { programsOn } from '../../src/kernel/traffic-control.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { Stream } from '../wire/stream.ts';

const blue4 = address('10.2.0.4');
const blue6 = address('fd00:2::4');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function sites(t: Parameters<typeof Lab.start>[0]) {
  const lab = await Lab.start(t);
  const of = twoSites();
  await lab.become(of.sketch.network());
  await lab.attach(of.r1);
  await lab.attach(of.b1);
  return { lab, ...of };
}
/** Ids of the programs on the device of an interface. */
function programsOf(lab: Lab, portId: string): readonly number[] {
  const { namespace } = lab.driver.kernelObjects;
  const netlink = inside(namespace, () => new Netlink());
  try {
    const device = linkNamed(netlink, `i${portId.slice(-10)}`);
    return programsOn(netlink, device?.ifindex ?? 0, 'ingress');
  } finally {
    netlink.close();
  }
}

test('each packet has one record, with its fate, its half and its addresses', { skip: cannotRun }, async (t) => {
  const { lab, r1, b1, halves } = await sites(t);
  await lab.driver.flows(1, 0);
  const { next } = await lab.driver.flows(1, 0);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  assert.deepEqual(await lab.sendProbe(r1, blue6), { delivered: b1 });
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.99')), { exit: 'NoSuchAddress' });
  await pause(100);
  const { records, lost } = await lab.driver.flows(1, next);
  assert.equal(lost, 0);
  const udp = records.filter(({ portId, protocol }) => portId === r1 && protocol === 17);
  const shown = udp.map((one: FlowRecord) => [
    one.exit,
    one.halfId,
    one.source,
    one.destination,
    one.destinationPort,
    one.packets,
  ]);
  assert.deepEqual(shown, [
    ['Forwarded', halves[0], '10.1.0.4', '10.2.0.4', 9, 1],
    ['Forwarded', halves[0], 'fd00:1::4', 'fd00:2::4', 9, 1],
    ['NoSuchAddress', halves[0], '10.1.0.4', '10.2.0.99', 9, 1],
  ]);
  for (const { sourcePort, bytes, time } of udp) {
    assert.ok(sourcePort > 0 && bytes >= 42 && Math.abs(Date.now() - time) < 60_000);
  }
  const numbers = records.map(({ number }) => number);
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
    'numbered in order, none twice',
  );
});

test('switched on and off under a stream, it loses no packet; off, the plain program is back', {
  skip: cannotRun,
}, async (t) => {
  const { lab, r1, b1 } = await sites(t);
  const plain = programsOf(lab, r1);
  const stream = await Stream.udp(lab.workload(r1), lab.workload(b1), blue4, 1);
  for (let round = 0; round < 3; round++) {
    await lab.driver.flows(10, 0);
    assert.notDeepEqual(programsOf(lab, r1), plain, 'another program while somebody looks');
    assert.deepEqual((await lab.driver.observe()).damage, [], 'which is no damage');
    await pause(300);
    assert.ok((await lab.driver.flows(10, 0)).records.length > 0, 'the control: it records');
    // Nobody asks any more.
    await lab.until('the plain program is back', () => programsOf(lab, r1).join() === plain.join());
  }
  const { sent, received } = await stream.stop();
  assert.ok(sent > 1000);
  assert.equal(received, sent);
  assert.deepEqual((await lab.driver.observe()).damage, []);
});

test('a successor of a driver that died while somebody looked puts the plain program back', {
  skip: cannotRun,
}, async (t) => {
  const { lab, r1, b1 } = await sites(t);
  const plain = programsOf(lab, r1);
  await lab.driver.flows(1, 0);
  // As after a kill: a second driver on the same plane, the first one's variant still on the devices.
  const left = lab.driver;
  await lab.reopen({}, false);
  t.after(() => left.close());
  assert.notDeepEqual(programsOf(lab, r1), plain);
  const { damage } = await lab.driver.observe();
  assert.ok(
    damage.some((line) => /ingress program of/.test(line)),
    damage.join(),
  );
  await lab.driver.repair();
  assert.deepEqual(programsOf(lab, r1), plain);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
});

test('off, the program is what it is without flow records: instruction by instruction', { skip: cannotRun }, () => {
  /** Instructions of the entry point as the kernel holds them. */
  const size = (path: string): number => {
    const text = execFileSync('llvm-objdump', ['-d', '--no-show-raw-insn', path]).toString();
    return text.split('\n').filter((line) => /^\s+\d+:/.test(line)).length;
  };
  assert.ok(size(flowsObject) > size(committedObject));
  const text = execFileSync('llvm-objdump', ['-r', committedObject]).toString();
  assert.equal(/flow/.test(text), false, 'it refers to no map of flow records');
  withObject(committedObject, { programs: ['ingress'] }, ({ map }) => {
    assert.throws(() => map('flows'), /has no map flows/);
    assert.ok(bpf.infoOfMap(map('exits')).maxEntries > 0, 'the control');
  });
});
