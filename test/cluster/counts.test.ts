/** What a half carried is the sum over the hosts that sent for it, each packet once, whatever is started again meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HalfId } from '../../src/model/ids.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { cannotRun, Ground } from './ground.ts';
import { lossesOf, Streams } from './streams.ts';

const payload = 200;
/** Ethernet, IP, UDP. */
const [frame4, frame6] = [14 + 20 + 8 + payload, 14 + 40 + 8 + payload];
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

test('counts over three hosts', { skip: cannotRun, timeout: 120_000 }, async (t) => {
  const ground = await Ground.start(t, { alone: true });
  const { sketch, red, blue, r1, b1, halves } = twoSites();
  const [there, back] = halves;
  const r2 = sketch.port(red, 'r2', ['10.1.0.5', 'fd00:1::5']);
  const b2 = sketch.port(blue, 'b2', ['10.2.0.5', 'fd00:2::5']);
  await ground.become(sketch.network());
  const red1 = await ground.attach(r1, { host: 1 });
  const red2 = await ground.attach(r2, { host: 2 });
  const blue1 = await ground.attach(b1, { host: 3 });
  const blue2 = await ground.attach(b2, { host: 1 });
  const line = (name: string, from: typeof red1, to: typeof red1, ip: string) => {
    return { name, from, to, address: address(ip), size: payload };
  };
  const lines = [
    { ...line('host 1 to host 3, IPv4', red1, blue1, '10.2.0.4'), half: there, frame: frame4 },
    { ...line('inside host 1, IPv6', red1, blue2, 'fd00:2::5'), half: there, frame: frame6 },
    { ...line('host 2 to host 3, IPv6', red2, blue1, 'fd00:2::4'), half: there, frame: frame6 },
    { ...line('host 3 to host 2, IPv4', blue1, red2, '10.1.0.5'), half: back, frame: frame4 },
  ];
  const before = new Map<HalfId, { packets: number; bytes: number }>();
  let received = lines.map(() => 0);
  let port = 5100;

  /** Lets all lines run for a while, and compares what the halves count with what arrived. */
  const agree = async (): Promise<void> => {
    const streams = await Streams.start(lines, 5, port);
    port += 100;
    await pause(400);
    const carried = await streams.stop();
    assert.deepEqual(lossesOf(carried), []);
    received = received.map((sum, at) => sum + (carried[at]?.received ?? 0));
    await ground.counted();
    const { running } = await ground.driver.meter([]);
    for (const half of halves) {
      const own = running.filter(({ halfId }) => halfId === half);
      const counted = {
        packets: own.reduce((sum, { packets }) => sum + Number(packets), 0),
        bytes: own.reduce((sum, { bytes }) => sum + Number(bytes), 0),
      };
      const expected = { packets: 0, bytes: 0 };
      for (const [at, { half: of, frame }] of lines.entries()) {
        if (of !== half) continue;
        expected.packets += received[at] ?? 0;
        expected.bytes += frame * (received[at] ?? 0);
      }
      assert.deepEqual(counted, expected, half);
      assert.ok(counted.packets > (before.get(half)?.packets ?? 0), 'it grows');
      before.set(half, counted);
      assert.equal(new Set(own.map(({ life }) => life)).size, own.length, 'each host counts under a life of its own');
    }
  };

  await t.test('are what arrived, to the byte', agree);
  await t.test('go on when every agent starts again', async () => {
    for (const host of ground.bed.hosts) await ground.reopenAgent(host);
    await agree();
  });
  await t.test('go on when every ovn-controller is upgraded, and its flows begin anew', async () => {
    for (const host of ground.bed.hosts) {
      await ground.bed.dismissController(host);
      ground.bed.startDaemon('controller', host);
    }
    await ground.settled();
    await agree();
  });
  await t.test('go on when the peering is deleted and made again', async () => {
    const sides = [red, blue].map((vpcId, side) => ({ vpcId, id: halves[side] ?? there, to: side ? red : blue }));
    await ground.driver.apply({
      make: [],
      break: sides.map(({ vpcId, id }) => ({ step: 'kill-half', vpcId, halfId: id }) as const),
    });
    const make = sides.map(({ vpcId, id, to }) => {
      return { step: 'put-half', vpcId, half: { id, remoteVpcId: to, live: true } } as const;
    });
    await ground.driver.apply({ make, break: [] });
    await agree();
  });
});
