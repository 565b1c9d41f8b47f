/** Hosts as operators see them: joined, used, drained and removed by the real command line, on a bed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { Workload } from '../wire/workload.ts';
import { ClusterHouse } from './cluster-house.ts';
import { cannotRun } from './ground.ts';

const fieldOf = (json: string, name: string): string => String((JSON.parse(json) as { [name: string]: unknown })[name]);

test('hosts join, carry workloads, and leave', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const house = await ClusterHouse.start(t, 2);
  await house.up();
  for (const host of [1, 2]) {
    assert.match(await house.join(host), new RegExp(`joined {5}as h${host}; key and certificate`));
    await house.startAgent(host);
  }
  await house.done(1, 'account', 'create', 'red');
  await house.done(1, 'key', 'create', 'red', '--save-profile', 'default');
  const vpc = fieldOf(await house.done(1, 'vpc', 'create', 'v', '--cidr', '10.1.0.0/16', '--json'), 'vpcId');
  const cidr = ['--cidr', '10.1.1.0/24'];
  await house.done(1, 'subnet', 'create', 's', '--vpc', vpc, ...cidr);
  const ports: string[] = [];
  for (const n of [1, 2]) {
    const place = ['--subnet', 's', '--address', `10.1.1.1${n}`, '--json'];
    ports.push(fieldOf(await house.done(1, 'interface', 'create', `i${n}`, ...place), 'networkInterfaceId'));
  }
  const [first = '', second = ''] = ports;
  const [a, b] = [new Workload('a'), new Workload('b')];
  t.after(() => {
    a.close();
    b.close();
  });
  const attached = async (host: number, port: string, netns: string): Promise<void> => {
    const { status, stdout, stderr } = await house.local(host, 'attach', port, '--netns', netns);
    assert.equal(status, 0, stdout + stderr);
  };
  const ping = (): string =>
    execFileSync('nsenter', [`--net=/run/netns/${a.name}`, 'ping', '-c4', '-i0.5', '-W1', '10.1.1.12']).toString();

  await t.test(
    'a workload is attached by its host’s agent, without a key of the tenant, and reaches the other',
    async () => {
      await attached(1, first, a.name);
      await attached(2, second, b.name);
      assert.match(ping(), / 0% packet loss/);
      assert.deepEqual((await house.host(2))?.workloads, [second]);
    },
  );

  await t.test('it is attached in one place, which the refusal names', async () => {
    const { status, stderr } = await house.local(2, 'attach', first, '--netns', b.name, '--device', 'eth1');
    assert.equal(status, 1);
    assert.match(stderr, /is attached on host h1/);
  });

  await t.test('the region away: packets flow on; back: it knows what is attached', async () => {
    await house.down();
    assert.match(ping(), / 0% packet loss/);
    await house.up();
    await house.until('h1 is connected again', async () => (await house.host(1))?.connected === true);
    assert.deepEqual((await house.host(1))?.workloads, [first]);
  });

  await t.test('a draining host takes nothing new, and goes only when it is empty', async () => {
    assert.equal((await house.on(1, 'host', 'remove', 'h2')).status, 1, 'not drained');
    assert.match(await house.done(1, 'host', 'drain', 'h2'), new RegExp(second));
    assert.match((await house.on(1, 'host', 'remove', 'h2')).stderr, /still has workloads/);
    assert.equal((await house.local(2, 'detach', second)).status, 0);
    const { status, stderr } = await house.local(2, 'attach', second, '--netns', b.name);
    assert.equal(status, 1);
    assert.match(stderr, /is draining/);
    await house.until('the region knows', async () => (await house.host(2))?.workloads?.length === 0);
    await house.done(1, 'host', 'remove', 'h2');
    assert.equal(await house.host(2), undefined);
  });
});
