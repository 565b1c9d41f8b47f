/** What lives longer than a process: adoption, crashes and new program versions, under traffic. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DriverError } from '../../src/dataplane/driver.ts';
import { committedObject, EbpfDriver } from '../../src/dataplane/ebpf/driver.ts';
import { decodeMeta, encodeMeta, sizes, u32 } from '../../src/dataplane/ebpf/layout.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { cannotBuild, variant } from '../wire/object.ts';
import { address, Sketch, twoSites } from '../wire/sketch.ts';
import { Stream } from '../wire/stream.ts';

const blue4 = address('10.2.0.4');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const writing = ['mapCreate', 'update', 'delete', 'updateBatch', 'deleteBatch', 'pin'];
const writes = (): number => writing.reduce((sum, name) => sum + (bpf.calls[name] ?? 0), 0);

test('43. adoption writes nothing, and neither does a plan of no difference', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1, halves } = twoSites();
  const start = writes();
  await lab.become(sketch.network());
  assert.ok(writes() > start, 'writes are counted');
  await lab.attach(r1);
  await lab.attach(b1);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  const counted = lab.half(halves[0]);
  const facts = (await lab.driver.observe()).attachments;
  await lab.driver.close();

  const before = writes();
  await lab.reopen({}, false);
  const observed = await lab.driver.observe();
  const plan = await lab.become(sketch.network());
  assert.deepEqual(plan, { make: [], break: [] });
  assert.equal(writes(), before);
  assert.deepEqual(observed.network, sketch.network());
  assert.deepEqual(observed.attachments, facts);
  assert.deepEqual(observed.damage, []);
  assert.deepEqual(lab.half(halves[0]), counted, 'counters survive');
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  assert.deepEqual(await lab.sendProbe(b1, address('10.1.0.4')), { delivered: r1 });
});

test('the same plan twice is one plan', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, blue } = twoSites();
  const plan = await lab.become(sketch.network());
  await lab.driver.apply(plan);
  const { network, damage } = await lab.driver.observe();
  assert.deepEqual(network, sketch.network());
  assert.deepEqual(damage, []);
  sketch.peer(red, blue, false);
  const cut = await lab.become(sketch.network());
  await lab.driver.apply(cut);
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
});

test('plans given at once are carried out one after the other', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, blue, halves } = twoSites();
  await lab.become(sketch.network());
  const kill = { make: [], break: [{ step: 'kill-half', vpcId: red, halfId: halves[0] } as const] };
  const half = { id: halves[0], remoteVpcId: blue, live: true };
  const revive = { make: [{ step: 'put-half', vpcId: red, half } as const], break: [] };
  const observed = [];
  for (const plan of [kill, revive, kill, revive]) {
    void lab.driver.apply(plan);
    observed.push(lab.driver.observe());
  }
  const live = (await Promise.all(observed)).map(
    ({ network }) => network.vpcs.find(({ vpcId }) => vpcId === red)?.halves[0]?.live,
  );
  assert.deepEqual(live, [false, true, false, true]);
});

test('a plan that fails half-way is fenced all the same, and the next one finds what it left', {
  skip: cannotRun,
}, async (t) => {
  let fences = 0;
  const lab = await Lab.start(t, {
    fence: async (real) => {
      fences++;
      await real();
    },
  });
  const { sketch, red, halves } = twoSites();
  await lab.become(sketch.network());
  const before = fences;
  const kill = { step: 'kill-half', vpcId: red, halfId: halves[0] } as const;
  const wrong = { step: 'put-vpc', vpcId: red } as const; // makes nothing in a place where only breaking is done
  await assert.rejects(lab.driver.apply({ make: [], break: [kill, wrong] }), DriverError);
  assert.equal(fences, before + 1);
  const { network } = await lab.driver.observe();
  assert.equal(network.vpcs.find(({ vpcId }) => vpcId === red)?.halves[0]?.live, false);
});

test('42. kill -9 in the middle of writes loses no packet, and the next start mends what was cut short', {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  const from = await lab.attach(r1);
  const to = await lab.attach(b1);
  const stream = await Stream.udp(from, to, blue4, 1);
  await lab.driver.close();
  const other = new Sketch();
  const green = other.vpc('green', '10.3.0.0/16');
  for (let n = 0; n < 20; n++) other.port(green, `g${n}`, [`10.3.1.${n}`]);
  const args = [fileURLToPath(new URL('./holder.ts', import.meta.url)), JSON.stringify(lab.options)];
  for (let kill = 0; kill < 10; kill++) {
    const child = spawn(process.execPath, [...args, JSON.stringify(other.network().vpcs[0])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(child, 'exit');
    await once(child.stdout, 'data');
    await pause(5 + kill * 7);
    child.kill('SIGKILL');
    await gone;
  }
  await lab.reopen({}, false);
  await lab.become(sketch.network());
  await lab.driver.repair();
  await lab.become(sketch.network());
  const { sent, received } = await stream.stop();
  assert.ok(sent > 500, `only ${sent} packets sent`);
  assert.equal(received, sent);
  const { network, damage } = await lab.driver.observe();
  assert.deepEqual(network, sketch.network());
  assert.deepEqual(damage, []);
});

test('50. a new program version takes the place of the old one under traffic', {
  skip: cannotRun || cannotBuild,
}, async (t) => {
  const lab = await Lab.start(t);
  const next = variant(lab.scratch, 'next', '-DWIDEN_US=1');
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  const from = await lab.attach(r1);
  const to = await lab.attach(b1);
  const tag = () => bpf.infoOfProgram(lab.driver.kernelObjects.tables.program('ingress')).tag;
  const old = tag();
  const stream = await Stream.udp(from, to, blue4, 0);
  for (let n = 0; n < 20; n++) await lab.reopen({ objectPath: n % 2 === 0 ? next : committedObject });
  const { sent, received } = await stream.stop();
  assert.ok(sent > 5000, `only ${sent} packets sent`);
  assert.equal(received, sent);
  assert.equal(tag(), old, 'after an even number of changes');
  await lab.reopen({ objectPath: next });
  assert.notEqual(tag(), old);
  assert.deepEqual((await lab.driver.observe()).damage, []);
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
});

test("another installation's or another layout's tables are refused, and left as they are", {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch } = twoSites();
  await lab.become(sketch.network());
  const before = writes();
  assert.throws(
    () => new EbpfDriver({ ...lab.options, installationId: 'somebody-else' }),
    (error) => error instanceof DriverError && error.code === 'unavailable' && error.message.includes('somebody-else'),
  );
  const { tables } = lab.driver.kernelObjects;
  const meta = bpf.lookup(tables.fd('meta'), u32(0), sizes.meta) ?? Buffer.alloc(0);
  bpf.update(tables.fd('meta'), u32(0), encodeMeta({ ...decodeMeta(meta), version: 99 }));
  assert.throws(
    () => new EbpfDriver(lab.options),
    (error) => error instanceof DriverError && error.code === 'unavailable' && error.message.includes('layout 99'),
  );
  bpf.update(tables.fd('meta'), u32(0), meta);
  const broken = join(lab.scratch, 'broken.o');
  writeFileSync(broken, readFileSync(committedObject).subarray(0, 5000));
  assert.throws(() => new EbpfDriver({ ...lab.options, objectPath: broken }));
  assert.equal(writes(), before + 2, 'only those of this test');
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
});

test('56. a plan that does not fit is refused before its first write, naming the table', {
  skip: cannotRun,
}, async (t) => {
  const limits = { interfaces: 4, addresses: 6, routeTables: 4, routesPerTable: 4, halves: 3 };
  const lab = await Lab.start(t, { limits });
  const { sketch } = twoSites();
  await lab.become(sketch.network());
  const refused = async (table: RegExp, change: (of: Sketch) => void) => {
    const wanted = twoSites().sketch;
    change(wanted);
    const before = writes();
    await assert.rejects(
      lab.become(wanted.network()),
      (error) => error instanceof DriverError && error.code === 'does-not-fit' && table.test(error.message),
    );
    assert.equal(writes(), before, `${table} before the first write`);
    assert.deepEqual((await lab.driver.observe()).network, sketch.network());
  };
  const { red, blue } = twoSites();
  await refused(/needs 4 entries of table interfaces, which holds 3/, (of) => {
    of.port(red, 'x1', ['10.1.0.5']);
    of.port(red, 'x2', ['10.1.0.6']);
  });
  await refused(/needs 7 entries of table addrs, which holds 6/, (of) => {
    of.port(red, 'r1', ['10.1.0.4', 'fd00:1::4'], { secondary: ['10.1.0.5', '10.1.0.6', '10.1.0.7'] });
  });
  // An exchange needs room for both at once.
  await refused(/needs 8 entries of table addrs, which holds 6/, (of) => {
    of.port(red, 'r1', ['10.1.0.8', 'fd00:1::8']);
    of.port(blue, 'b1', ['10.2.0.8', 'fd00:2::8']);
  });
  await refused(/needs 4 entries of table tables, which holds 3/, (of) => {
    of.table(red, 'x1');
    of.table(red, 'x2');
  });
  await refused(/needs 3 entries of table halves, which holds 2/, (of) => {
    of.half(red, of.vpc('x', '10.9.0.0/16'), false);
  });
  await refused(/routes of rtb-red.*holds 4/, (of) => {
    of.route(red, '10.8.0.0/16', { kind: 'black-hole' });
  });
});
