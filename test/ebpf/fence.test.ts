/** When a disconnect has been answered, no packet that used it is delivered any more (P4 in docs/architecture.md). */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { EbpfOptions } from '../../src/dataplane/ebpf/driver.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { cannotBuild, variant } from '../wire/object.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { Stream } from '../wire/stream.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Trial {
  readonly traffic: 'udp' | 'tcp';
  readonly runs: number;
  /** Stops when so many packets were late: for the control, which need not count them all. */
  readonly enough?: number;
  readonly options?: Partial<EbpfOptions>;
}

/** Disconnects under traffic. @returns packets that the halves counted after the reply, over all runs */
async function late(t: TestContext, of: Trial): Promise<number> {
  const lab = await Lab.start(t, of.options);
  const { sketch, red, blue, r1, b1, halves } = twoSites();
  await lab.become(sketch.network());
  const from = await lab.attach(r1);
  const to = await lab.attach(b1);
  // Else each reconnect would wait the 200 ms of the standard's smallest retransmission timer.
  from.sysctl('ipv4/tcp_rto_min_us', '4000');
  const blue4 = address('10.2.0.4');
  const stream = of.traffic === 'udp' ? await Stream.udp(from, to, blue4, 0) : await Stream.tcp(from, to, blue4);
  const vpcs = [red, blue] as const;
  const connect = {
    make: vpcs.map((vpcId, side) => {
      const remoteVpcId = vpcs[1 - side] ?? red;
      return { step: 'put-half', vpcId, half: { id: halves[side] ?? halves[0], remoteVpcId, live: true } } as const;
    }),
    break: [],
  };
  const disconnect = {
    make: [],
    break: vpcs.map((vpcId, side) => ({ step: 'kill-half', vpcId, halfId: halves[side] ?? halves[0] }) as const),
  };
  let found = 0;
  const refused = lab.exits(r1);
  for (let run = 0; run < of.runs && found < (of.enough ?? Number.POSITIVE_INFINITY); run++) {
    await lab.driver.apply(connect);
    const before = lab.half(halves[0]).packets;
    await lab.until('traffic flows', () => lab.half(halves[0]).packets > before + 5);
    await lab.driver.apply(disconnect);
    const atReply = halves.map((half) => lab.half(half).packets);
    await pause(3);
    for (const [side, half] of halves.entries()) found += lab.half(half).packets - (atReply[side] ?? 0);
  }
  const refusedNow = lab.since(refused, r1).get('NoPeering') ?? 0;
  await stream.stop();
  // The control that somebody tried at all after the replies.
  const least = of.traffic === 'udp' && of.enough === undefined ? of.runs : 1;
  assert.ok(refusedNow >= least, `only ${refusedNow} packets met the dead half`);
  return found;
}

test('300 disconnects under a UDP flood: nothing after the reply', { skip: cannotRun }, async (t) => {
  assert.equal(await late(t, { traffic: 'udp', runs: 300 }), 0);
});
test('300 disconnects under a TCP stream: nothing after the reply', { skip: cannotRun }, async (t) => {
  assert.equal(await late(t, { traffic: 'tcp', runs: 300 }), 0);
});

test('with 60 µs between check and hand-over, the fence still holds, and without it packets pass', {
  skip: cannotRun || cannotBuild,
}, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-widen-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const objectPath = variant(directory, 'widen', '-DWIDEN_US=60');
  for (const traffic of ['udp', 'tcp'] as const) {
    await t.test(`${traffic}, fenced`, async (inner) => {
      assert.equal(await late(inner, { traffic, runs: 100, options: { objectPath } }), 0);
    });
    await t.test(`${traffic}, not fenced: the control`, async (inner) => {
      const options = { objectPath, fence: async () => {} };
      const found = await late(inner, { traffic, runs: 600, enough: 1, options });
      assert.ok(found > 0, 'this test cannot fail');
    });
  }
});
