/**
 * What dies and comes back while packets flow: nothing is lost, and commands go on where a majority stands. Lines within a
 * VPC and over a peering, between hosts and inside one, IPv4 and IPv6.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonName } from '../../src/cli/demo/cluster-bed.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { cannotRun, Ground } from './ground.ts';
import { persist } from './persist.ts';
import { type Carried, type Line, lossesOf, Streams } from './streams.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const gap = 5;

test('parts that die under traffic', { skip: cannotRun, timeout: 300_000 }, async (t) => {
  const ground = await Ground.start(t);
  const { bed } = ground;
  const { sketch, red, blue, r1, b1 } = twoSites();
  const r2 = sketch.port(red, 'r2', ['10.1.0.5', 'fd00:1::5']);
  const b2 = sketch.port(blue, 'b2', ['10.2.0.5', 'fd00:2::5']);
  const green = sketch.vpc('green', '10.3.0.0/16', 'fd00:3::/64');
  const gray = sketch.vpc('gray', '10.4.0.0/16', 'fd00:4::/64');
  const g1 = sketch.port(green, 'g1', ['10.3.0.4', 'fd00:3::4']);
  const y1 = sketch.port(gray, 'y1', ['10.4.0.4', 'fd00:4::4']);
  const others = sketch.join(green, gray);
  await ground.become(sketch.network());
  const red1 = await ground.attach(r1, { host: 1 });
  const red2 = await ground.attach(r2, { host: 2 });
  const blue1 = await ground.attach(b1, { host: 3 });
  const blue2 = await ground.attach(b2, { host: 1 });
  await ground.attach(g1, { host: 2 });
  await ground.attach(y1, { host: 3 });
  const line = (name: string, from: typeof red1, to: typeof red1, ip: string): Line => {
    return { name, from, to, address: address(ip) };
  };
  const streams = await Streams.start(
    [
      line('in the VPC, between hosts, IPv4', red1, red2, '10.1.0.5'),
      line('in the VPC, between hosts, IPv6', red2, red1, 'fd00:1::4'),
      line('peered, between hosts, IPv4', red1, blue1, '10.2.0.4'),
      line('peered, between hosts, IPv6', red2, blue1, 'fd00:2::4'),
      line('peered, inside a host, IPv4', red1, blue2, '10.2.0.5'),
      line('peered, inside a host, IPv6', blue2, red1, 'fd00:1::4'),
    ],
    gap,
  );
  let counted: readonly Carried[] = streams.names.map((name) => ({ name, sent: 0, received: 0 }));
  /** What each line has carried since it was asked last. */
  const since = async (): Promise<readonly Carried[]> => {
    const before = counted;
    counted = await streams.count();
    return counted.map(({ name, sent, received }, at) => ({
      name,
      sent: sent - (before[at]?.sent ?? 0),
      received: received - (before[at]?.received ?? 0),
    }));
  };
  /** A peering is deleted and made again, and packets tell so. */
  const command = async (): Promise<void> => {
    const sides = [green, gray].map((vpcId, side) => ({
      vpcId,
      id: others[side] ?? others[0],
      to: side ? green : gray,
    }));
    const breaks = sides.map(({ vpcId, id }) => ({ step: 'kill-half', vpcId, halfId: id }) as const);
    await persist(ground.driver, { make: [], break: breaks });
    assert.equal(await ground.sendProbe(g1, address('10.4.0.4'), { awaited: false }), null, 'deleted');
    const make = sides.map(({ vpcId, id, to }) => {
      return { step: 'put-half', vpcId, half: { id, remoteVpcId: to, live: true } } as const;
    });
    await persist(ground.driver, { make, break: [] });
    assert.equal(await ground.sendProbe(g1, address('10.4.0.4')), y1, 'made again');
    assert.deepEqual(ground.driver.owed(), []);
  };
  const fault = async (name: string, happens: () => Promise<void>): Promise<void> => {
    await t.test(name, async () => {
      await since();
      await happens();
      const carried = await since();
      assert.deepEqual(lossesOf(carried), []);
      for (const one of carried) assert.ok(one.sent > 20, `${one.name}: only ${one.sent} packets were sent`);
    });
  };

  try {
    await streams.flow();
    await command();
    await fault('every northd', async () => {
      for (const host of bed.hosts) await bed.killDaemon('northd', host);
      await pause(1_500);
      for (const host of bed.hosts) bed.startDaemon('northd', host);
      await command();
    });
    for (const name of ['nb', 'sb'] as const) {
      await fault(`the leader of the ${name === 'nb' ? 'northbound' : 'southbound'} database`, async () => {
        const leader = bed.leader(name);
        assert.ok(leader !== null);
        await bed.killDaemon(name, leader);
        await command();
        bed.startDaemon(name, leader);
        await ground.settled();
      });
    }
    await fault('each ovn-controller, by a crash', async () => {
      for (const host of bed.hosts) {
        await bed.killDaemon('controller', host);
        await pause(500);
        bed.startDaemon('controller', host);
      }
      await ground.settled();
      await command();
    });
    await fault('each ovn-controller, by an upgrade', async () => {
      for (const host of bed.hosts) {
        await bed.dismissController(host);
        bed.startDaemon('controller', host);
      }
      await ground.settled();
      await command();
    });
    await fault('each host’s agent', async () => {
      for (const host of bed.hosts) {
        await ground.reopenAgent(host);
        await command();
      }
    });

    await t.test('ovs-vswitchd: what is lost is lost, and all of it comes back', async () => {
      await since();
      const began = performance.now();
      await bed.killDaemon('vswitchd', 1);
      bed.startDaemon('vswitchd', 1);
      await ground.until('its control socket answers', () => isUp(ground, 1));
      bed.knowNeighbours(1);
      await streams.flow();
      const back = performance.now() - began;
      await ground.settled();
      const lost = (await since()).map(({ sent, received }) => (sent - received) * gap);
      t.diagnostic(
        `ovs-vswitchd of one host: lines were still for ${lost.join(', ')} ms; all flow after ${back.toFixed(0)} ms`,
      );
      const facts = ground.agent(1).attachments();
      assert.deepEqual(
        facts.map(({ portId, state }) => [portId, state]).sort(),
        [b2, r1].sort().map((portId) => [portId, 'attached']),
      );
      await command();
      await since();
      await pause(300);
      assert.deepEqual(lossesOf(await since()), [], 'afterwards');
    });
  } finally {
    await streams.stop();
  }
});

function isUp(ground: Ground, host: number): boolean {
  const daemon: DaemonName = 'vswitchd';
  assert.ok(ground.bed.runs(daemon, host), ground.bed.log(daemon, host));
  try {
    return ground.bed.appctl(host, 'ovs-vswitchd', 'ofproto/list').includes('br-int');
  } catch {
    return false;
  }
}
