/** A host's agent and its workloads: what vanishes is noticed, what failed leaves nothing, and what is not ours stays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttachmentFact } from '../../src/dataplane/driver.ts';
import { pairName } from '../../src/dataplane/ovn/host-pair.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { byHand } from '../wire/workload.ts';
import { cannotRun, Ground } from './ground.ts';

test('workloads of a host', { skip: cannotRun, timeout: 120_000 }, async (t) => {
  const ground = await Ground.start(t, { alone: true, hosts: 1 });
  const { bed } = ground;
  const { sketch, r1, b1 } = twoSites();
  await ground.become(sketch.network());
  await ground.attach(b1, { host: 1 });
  const facts: AttachmentFact[] = [];
  ground.agent(1).onAttachment((fact) => facts.push(fact));
  const devices = (): string => bed.ip(bed.namespace(1), '-o', 'link');
  const vanished = (): boolean => facts.findLast(({ portId }) => portId === r1)?.state === 'vanished';
  const carries = async (): Promise<void> => assert.equal(await ground.sendProbe(r1, address('10.2.0.4')), b1);

  await t.test('a namespace that dies is noticed, and another takes its place', async () => {
    const workload = await ground.attach(r1, { host: 1 });
    await carries();
    workload.close();
    ground.forget(r1);
    await ground.until('it is told', vanished);
    await ground.attach(r1, { host: 1 });
    await carries();
  });

  await t.test('a port that other hands take off the bridge is told as vanished', async () => {
    bed.vsctl(1, 'del-port', 'br-int', pairName(r1));
    await ground.until('it is told', vanished);
    ground.workload(r1).close();
    ground.forget(r1);
    await ground.attach(r1, { host: 1 });
    await carries();
  });

  await t.test('a detach takes the device along and is not told as vanished', async () => {
    const told = facts.length;
    await ground.detach(r1);
    assert.ok(!devices().includes(pairName(r1)));
    assert.deepEqual(
      facts.slice(told).filter(({ portId, state }) => portId === r1 && state === 'vanished'),
      [],
    );
  });

  await t.test('an attach that fails leaves nothing, and touches no device that is not ours', async () => {
    bed.ip(bed.namespace(1), 'link', 'add', pairName(r1), 'type', 'bridge');
    await assert.rejects(ground.attach(r1, { host: 1 }), { code: 'device-exists', message: /not ours/ });
    assert.ok(devices().includes(pairName(r1)), 'the foreign device is still there');
    bed.ip(bed.namespace(1), 'link', 'delete', pairName(r1));
    const taken = ground.namespace();
    byHand('ip', taken.name, 'link', 'add', 'eth0', 'type', 'bridge');
    await assert.rejects(ground.attach(r1, { host: 1, workload: taken }), { code: 'device-exists' });
    assert.ok(!devices().includes(pairName(r1)));
    const gone = { portId: r1, target: { kind: 'netns', name: 'no-such-name' } } as const;
    await assert.rejects(ground.request(gone, 1), { code: 'no-such-target' });
    const few = { portId: r1, target: { kind: 'netns', name: ground.namespace().name }, mtu: 1_543 } as const;
    await assert.rejects(ground.request(few, 1), { message: /1280–1542/ });
    assert.ok(
      ground
        .agent(1)
        .attachments()
        .every(({ portId }) => portId !== r1),
    );
    await ground.attach(r1, { host: 1 });
    await carries();
  });

  await t.test('after a reboot the ports are there without their devices: vanished, and attached again', async () => {
    await bed.killDaemon('vswitchd', 1);
    bed.ip(bed.namespace(1), 'link', 'delete', pairName(r1));
    bed.startDaemon('vswitchd', 1);
    await ground.until('it is told', vanished);
    ground.workload(r1).close();
    ground.forget(r1);
    await ground.attach(r1, { host: 1 });
    await carries();
  });
});
