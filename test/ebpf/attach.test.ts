/** Devices into workloads: refusals, configuration, death and return of workloads, isolation from the host. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { type AttachmentFact, DriverError } from '../../src/dataplane/driver.ts';
import { openUdp, PacketSocket } from '../../src/kernel/socket.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { udpFrame } from '../wire/frame.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { byHand } from '../wire/workload.ts';

const code = (wanted: string) => (error: unknown) => error instanceof DriverError && error.code === wanted;
const blue4 = address('10.2.0.4');

test('attach refuses what it cannot do, and says which', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  const home = lab.namespace('home');
  const target = { kind: 'netns', name: home.name } as const;
  const attach = lab.driver.attach.bind(lab.driver);
  await assert.rejects(attach({ portId: 'port-stranger00' as typeof r1, target }), code('unknown-interface'));
  await assert.rejects(attach({ portId: r1, target: { kind: 'netns', name: 'no-such' } }), code('no-such-target'));
  await assert.rejects(attach({ portId: r1, target: { kind: 'netns', name: '..' } }), code('no-such-target'));
  await assert.rejects(attach({ portId: r1, target: { kind: 'pid', pid: 2 ** 30 } }), code('no-such-target'));
  await assert.rejects(lab.driver.detach(r1), code('not-attached'));
  await assert.rejects(attach({ portId: r1, target, mtu: 1279 }), code('kernel'));
  await assert.rejects(attach({ portId: r1, target, device: 'a/b' }), code('kernel'));
  const names = home.links().map(({ name }) => name);
  assert.deepEqual(names, ['lo'], 'a refusal leaves nothing behind');

  await attach({ portId: r1, target });
  await assert.rejects(attach({ portId: r1, target }), code('already-attached'));
  await assert.rejects(attach({ portId: b1, target }), code('device-exists'));
  await attach({ portId: b1, target, device: 'eth1', mtu: 9000 });
  assert.equal(home.link('eth1').mtu, 9000);
  assert.deepEqual((await lab.driver.observe()).damage, []);
});

test('the private namespace is no workload', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1 } = twoSites();
  await lab.become(sketch.network());
  const target = { kind: 'netns', name: lab.options.namespaceName } as const;
  await assert.rejects(lab.driver.attach({ portId: r1, target }), code('no-such-target'));
  await assert.rejects(
    lab.driver.attach({ portId: r1, target: { kind: 'pid', pid: 4_000_000 } }),
    code('no-such-target'),
  );
  assert.deepEqual(lab.hostDevices(), ['lo']);
  await lab.attach(r1);
});

test('a workload that dies is noticed, its entries go, and it can come back', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  const first = await lab.attach(b1);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  const told: AttachmentFact[] = [];
  lab.driver.onAttachmentChange((fact) => told.push(fact));

  lab.forget(b1);
  first.close();
  await lab.until('the death is noticed', () => told.length > 0);
  assert.deepEqual(
    told.map(({ portId, state }) => [portId, state]),
    [[b1, 'vanished']],
  );
  assert.deepEqual(await lab.sendProbe(r1, blue4), { exit: 'TargetGone' });
  const stateOf = async () => (await lab.driver.observe()).attachments.find(({ portId }) => portId === b1)?.state;
  assert.equal(await stateOf(), 'vanished');
  assert.deepEqual((await lab.driver.observe()).damage, []);
  await lab.reopen();
  assert.equal(await stateOf(), 'vanished', 'a restart remembers');

  await lab.attach(b1);
  assert.equal(await stateOf(), 'attached');
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  assert.deepEqual(await lab.sendProbe(b1, address('10.1.0.4')), { delivered: r1 });

  const workload = lab.workload(b1);
  await lab.driver.detach(b1);
  lab.forget(b1);
  const names = workload.links().map(({ name }) => name);
  assert.deepEqual(names, ['lo']);
  assert.equal(await stateOf(), undefined);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { exit: 'TargetGone' });
});

test('a workload that dies while no agent runs is noticed at the start', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  const mortal = await lab.attach(b1);
  await lab.driver.close();
  mortal.close();
  lab.forget(b1);
  await lab.until('the kernel has taken the device', () => !lab.hostDevices().includes('ib100000000'));
  assert.ok(lab.hostDevices().includes('ir100000000'));
  await lab.reopen({}, false);
  const { attachments, damage } = await lab.driver.observe();
  assert.deepEqual(
    attachments.map(({ portId, state }) => [portId, state]),
    [
      [b1, 'vanished'],
      [r1, 'attached'],
    ],
  );
  assert.deepEqual(damage, []);
});

test("a stranger's device with a dead workload's index receives nothing", { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  const mortal = await lab.attach(b1);
  assert.deepEqual(await lab.sendProbe(r1, blue4), { delivered: b1 });
  const host = lab.options.namespaceName;
  const index = /^(\d+): ib100000000@/m.exec(byHand('ip', host, '-o', 'link'))?.[1];
  assert.ok(index !== undefined);
  mortal.close();
  lab.forget(b1);
  await lab.until('the kernel has taken the device', () => !lab.hostDevices().includes('ib100000000'));
  const stranger = lab.namespace('stranger');
  const peer = ['peer', 'name', 'eth0', 'netns', stranger.name];
  byHand('ip', host, 'link', 'add', 'stranger', 'index', index, 'type', 'veth', ...peer);
  byHand('ip', host, 'link', 'set', 'stranger', 'up');
  byHand('ip', stranger.name, 'link', 'set', 'eth0', 'up');
  const ears = stranger.frames();
  for (let n = 0; n < 5; n++) assert.deepEqual(await lab.sendProbe(r1, blue4), { exit: 'TargetGone' });
  assert.equal(ears.receive(), undefined);
  assert.deepEqual((await lab.driver.observe()).foreign, ['device stranger']);
});

test('addresses that come and go are also set in the workload', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, blue, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  await lab.attach(b1);
  for (const more of ['10.2.0.9', 'fd00:2::9']) {
    assert.deepEqual(await lab.sendProbe(r1, address(more)), { exit: 'NoSuchAddress' });
  }
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: ['10.2.0.9', 'fd00:2::9'] });
  await lab.become(sketch.network());
  for (const more of ['10.2.0.9', 'fd00:2::9', '10.2.0.4', 'fd00:2::4']) {
    assert.deepEqual(await lab.sendProbe(r1, address(more)), { delivered: b1 }, more);
  }
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4']);
  await lab.become(sketch.network());
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.9')), { exit: 'NoSuchAddress' });
  const { namespace } = lab.workload(b1);
  assert.throws(() => openUdp(namespace, { address: address('10.2.0.9') }), /EADDRNOTAVAIL/);
  openUdp(namespace, { address: address('10.2.0.4') }).close();

  // A device that its workload renamed is still found, and one that it moved away cannot stop its owner's change.
  const { name } = lab.workload(b1);
  byHand('ip', name, 'link', 'set', 'eth0', 'name', 'mine');
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: ['10.2.0.7'] });
  await lab.become(sketch.network());
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.7')), { delivered: b1 });
  const elsewhere = lab.namespace('else');
  byHand('ip', name, 'link', 'set', 'mine', 'netns', elsewhere.name);
  byHand('ip', elsewhere.name, 'link', 'set', 'mine', 'up');
  sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: ['10.2.0.8'] });
  await lab.become(sketch.network());
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
  assert.ok(!byHand('ip', elsewhere.name, 'address').includes('10.2.0.8'), 'only where the operator said');
});

test('a namespace that took the place of the workload’s is left alone', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, blue, b1 } = twoSites();
  await lab.become(sketch.network());
  const workload = await lab.attach(b1);
  const grow = async (secondary: string): Promise<void> => {
    sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4'], { secondary: [secondary] });
    await lab.become(sketch.network());
  };
  await grow('10.2.0.9');
  assert.match(byHand('ip', workload.name, 'address'), /10\.2\.0\.9/, 'control');
  // The workload lives on without its name, and somebody else has that name and a device that looks the same.
  const mac = sketch.spec(blue, b1).mac;
  for (const verb of ['del', 'add']) execFileSync('ip', ['netns', verb, workload.name], { timeout: 5000 });
  byHand('ip', workload.name, 'link', 'add', 'eth0', 'address', mac, 'type', 'veth', 'peer', 'name', 'other');
  byHand('ip', workload.name, 'address', 'add', '10.2.0.9/16', 'dev', 'eth0');
  const before = byHand('ip', workload.name, 'address');
  await grow('10.2.0.10');
  assert.equal(byHand('ip', workload.name, 'address'), before);
  assert.deepEqual((await lab.driver.observe()).network, sketch.network());
});

test("the host's stack reaches no workload, and no workload the host's", { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, r1 } = twoSites();
  await lab.become(sketch.network());
  const workload = await lab.attach(r1);
  const { namespace } = lab.driver.kernelObjects;
  const host = lab.options.namespaceName;
  const ifindex = Number(/^(\d+): ir100000000@/m.exec(byHand('ip', host, '-o', 'link'))?.[1]);
  const ears = workload.frames();
  const spec = sketch.spec(red, r1);
  const intruder = new PacketSocket(namespace, ifindex);
  t.after(() => intruder.close());
  const frame = udpFrame(
    {
      sourceMac: gatewayMac,
      destinationMac: spec.mac,
      source: address('10.1.0.1'),
      destination: address('10.1.0.4'),
    },
    { from: 1, to: 7 },
    Buffer.from('from the host'),
  );
  const before = lab.exits(null);
  intruder.send(frame);
  assert.deepEqual([...lab.since(before, null)], [['FromHost', 1]]);
  assert.equal(ears.receive(), undefined);
  // Control: without the egress program the same frame enters.
  byHand('tc', host, 'qdisc', 'del', 'dev', 'ir100000000', 'clsact');
  intruder.send(frame);
  await lab.until('the frame is in', () => ears.receive()?.includes('from the host') === true);
  assert.ok((await lab.driver.observe()).damage.length >= 2);
  // Without our programs the workload reaches the namespace's stack, which has no address and answers nothing.
  const echo = workload.echo(4);
  echo.request(address('10.1.0.1'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(echo.receive(), undefined);
  await lab.driver.repair();
  assert.deepEqual((await lab.driver.observe()).damage, []);
  while (ears.receive() !== undefined); // the stack's own questions
  intruder.send(frame);
  assert.equal(ears.receive(), undefined);
});

test('devices whose index is beyond the array of ports are found as well', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t, { limits: { nearPorts: 3 } });
  const { sketch, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  await lab.attach(r1);
  await lab.attach(b1);
  const { tables } = lab.driver.kernelObjects;
  const indexes = [...byHand('ip', lab.options.namespaceName, '-o', 'link').matchAll(/^(\d+): i/gm)];
  const far = indexes.map(([, index]) => Number(index)).filter((index) => index >= 3);
  assert.ok(far.length > 0, 'control: at least one index is beyond');
  for (const index of far) assert.notEqual(tables.portAt(index), 0);
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.4')), { delivered: b1 });
  assert.deepEqual(await lab.sendProbe(b1, address('10.1.0.4')), { delivered: r1 });
  for (const index of far) tables.setPort(index, 0);
  assert.ok((await lab.driver.observe()).damage.length > 0, 'their loss is seen');
  await lab.driver.repair();
  assert.deepEqual(await lab.sendProbe(b1, address('10.1.0.4')), { delivered: r1 });
  await lab.driver.detach(b1);
  lab.forget(b1);
  assert.deepEqual(await lab.sendProbe(r1, address('10.2.0.4')), { exit: 'TargetGone' });
});

test('a workload whose device goes down and up again is told of, each time', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1 } = twoSites();
  await lab.become(sketch.network());
  const told: (boolean | null)[] = [];
  lab.driver.onAttachmentChange(({ portId, up }) => {
    assert.equal(portId, r1);
    told.push(up);
  });
  const home = lab.namespace('home');
  await lab.driver.attach({ portId: r1, target: { kind: 'netns', name: home.name } });
  const waitFor = async (wanted: readonly boolean[]): Promise<void> => {
    for (let tries = 0; tries < 200 && told.length < wanted.length; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.deepEqual(told, wanted);
  };
  const set = (state: string): void => {
    execFileSync('nsenter', [`--net=/run/netns/${home.name}`, 'ip', 'link', 'set', 'eth0', state]);
  };
  set('down');
  await waitFor([false]);
  set('up');
  await waitFor([false, true]);
  await lab.driver.detach(r1);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(told, [false, true], 'a detach is no news of this kind');
});
