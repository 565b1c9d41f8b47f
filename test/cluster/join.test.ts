/** Hosts as operators see them: joined, used, drained and removed by the real command line, on a bed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Workload } from '../wire/workload.ts';
import { ClusterHouse } from './cluster-house.ts';
import { cannotRun } from './ground.ts';

const idIn = (json: string, name: string): string => String((JSON.parse(json) as { [name: string]: unknown })[name]);

test('hosts join, carry workloads, and leave', { skip: cannotRun, timeout: 120_000 }, async (t) => {
  const house = await ClusterHouse.start(t, 2);
  await house.up();
  console.log(await house.join(1));
  console.log(await house.join(2));
  await house.startAgent(1);
  await house.startAgent(2);
  console.log(await house.done(1, 'host', 'list'));
  await house.done(1, 'account', 'create', 'red');
  await house.done(1, 'key', 'create', 'red', '--save-profile', 'default');
  const vpc = idIn(await house.done(1, 'vpc', 'create', 'v', '--cidr', '10.1.0.0/16', '--json'), 'vpcId');
  const subnet = idIn(
    await house.done(1, 'subnet', 'create', 's', '--vpc', vpc, '--cidr', '10.1.1.0/24', '--json'),
    'subnetId',
  );
  const ports = [];
  for (const n of [1, 2]) {
    ports.push(
      idIn(await house.done(1, 'interface', 'create', `i${n}`, '--subnet', subnet, '--json'), 'networkInterfaceId'),
    );
  }
  const [first = '', second = ''] = ports;
  const a = new Workload('a');
  const b = new Workload('b');
  t.after(() => {
    a.close();
    b.close();
  });
  console.log(await house.local(1, 'attach', first, '--netns', a.name));
  console.log(await house.local(2, 'attach', second, '--netns', b.name));
  console.log(await house.done(1, 'host', 'list'));
  assert.ok(a.name !== b.name);
});
