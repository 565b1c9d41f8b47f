/** What the books say equals a capture at the receiver, to the byte; and it goes on over everything that may happen. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { committedObject } from '../../src/dataplane/ebpf/driver.ts';
import { closeFd } from '../../src/kernel/bpf.ts';
import { acceptTcp, connectTcp, listenTcp } from '../../src/kernel/socket.ts';
import type { AccountId, HalfId } from '../../src/model/ids.ts';
import type { Address } from '../../src/model/ip.ts';
import { Meter } from '../../src/region/meter.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { Capture, setOption } from '../wire/capture.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { setOffloads } from '../wire/offload.ts';
import { address, twoSites } from '../wire/sketch.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const to = { 4: address('10.2.0.4'), 6: address('fd00:2::4') } as const;
const families = [4, 6] as const;
/** First bytes of the addresses of each side. */
const reds = [Buffer.from([10, 1]), Buffer.from('fd000001', 'hex')];
const blues = [Buffer.from([10, 2]), Buffer.from('fd000002', 'hex')];

async function metered(t: TestContext) {
  const lab = await Lab.start(t);
  const sites = twoSites();
  const { sketch, red, blue, r1, b1, halves } = sites;
  await lab.become(sketch.network());
  const [sender, receiver] = [await lab.attach(r1), await lab.attach(b1)];
  const store = new SqliteStore(':memory:');
  t.after(() => store.close());
  const know = (id: HalfId, localVpcId: typeof red, remoteVpcId: typeof red): void =>
    store.usage.know({ id, accountId: 'acct-x' as AccountId, localVpcId, remoteVpcId });
  know(halves[0], red, blue);
  know(halves[1], blue, red);
  const meter = new Meter({
    books: store.usage,
    read: (booked) => lab.driver.meter(booked),
    clock: Date.now,
    period: 0,
  });
  const booked = async () => {
    await meter.book();
    const of = (id: HalfId) => {
      const { packets = 0n, bytes = 0n } = store.usage.half(id)?.sent ?? {};
      return { packets: Number(packets), bytes: Number(bytes) };
    };
    return { there: of(halves[0]), back: of(halves[1]) };
  };
  return { lab, ...sites, sender, receiver, meter, store, booked };
}
type Metered = Awaited<ReturnType<typeof metered>>;

/** Captures at both ends; `agree` holds them against what was booked meanwhile. */
async function captured({ sender, receiver, booked, lab }: Metered) {
  const captures = { there: new Capture(receiver, reds), back: new Capture(sender, blues) };
  const before = await booked();
  const drain = () => ({ there: { ...captures.there.drain() }, back: { ...captures.back.drain() } });
  return {
    drain,
    async agree(what: string) {
      // What was sent has been counted when it arrived; the last may still be on its way.
      let last = '';
      await lab.until('nothing is under way', async () => {
        const now = JSON.stringify([drain(), await booked()]);
        const still = now === last;
        last = now;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return still;
      });
      const [now, seen] = [await booked(), drain()];
      assert.deepEqual([captures.there.missed(), captures.back.missed()], [0, 0], 'the captures are whole');
      for (const way of ['there', 'back'] as const) {
        const grown = {
          packets: now[way].packets - before[way].packets,
          bytes: now[way].bytes - before[way].bytes,
        };
        assert.deepEqual(grown, { packets: seen[way].packets, bytes: seen[way].bytes }, `${what}, ${way}`);
      }
      return seen;
    },
  };
}

/** Sends so many bytes over one connection, and waits until they are all received. */
async function overTcp(of: Metered, target: Address, size: number, drain: () => void): Promise<void> {
  const listening = listenTcp(of.receiver.namespace, 5001);
  const from = connectTcp(of.sender.namespace, target, 5001, 2000);
  const arrived = acceptTcp(listening);
  closeFd(listening);
  assert.ok(arrived !== undefined);
  const [source, sink] = [new Socket({ fd: from }), new Socket({ fd: arrived })];
  let got = 0;
  const all = new Promise<void>((resolve, reject) => {
    for (const one of [source, sink]) one.on('error', reject);
    sink.on('data', (part: Buffer) => {
      got += part.length;
      drain();
      if (got === size) resolve();
    });
  });
  source.write(Buffer.alloc(size, 0x5a));
  await all;
  const closed = Promise.all([source, sink].map((one) => new Promise((resolve) => one.once('close', resolve))));
  source.end();
  sink.end();
  await closed;
}

test('TCP, segmented late or by its sender: what is booked is what a wire would carry', {
  skip: cannotRun,
}, async (t) => {
  const of = await metered(t);
  for (const late of [true, false]) {
    for (const one of [of.sender, of.receiver]) setOffloads(one, late);
    for (const family of families) {
      const { agree, drain } = await captured(of);
      await overTcp(of, to[family], 3_000_001, drain);
      const { there } = await agree(`IPv${family}, ${late ? 'late' : 'early'}`);
      assert.ok(there.bytes > 3_000_001 && there.packets > 2000);
      if (late) assert.ok(there.segmented > 20, 'control: frames did stand for several');
      else assert.equal(there.segmented, 0);
    }
  }
});

test('UDP of all sizes, in fragments, and segmented late', { skip: cannotRun }, async (t) => {
  const of = await metered(t);
  for (const family of families) {
    const { agree, drain } = await captured(of);
    const socket = of.sender.udp();
    of.receiver.udp(7000 + family);
    for (const size of [0, 1, 17, 64, 512, 1400, 1452, 1472, 3000, 20_000]) {
      for (let n = 0; n < 10; n++) socket.send(to[family], 7000 + family, Buffer.alloc(size));
      drain();
      await turn();
    }
    const plain = await agree(`IPv${family}`);
    assert.ok(plain.there.packets > 100 && plain.there.segmented === 0);
    setOption(socket.fd, 17, 103, 1000); // UDP_SEGMENT
    for (const size of [1000, 2000, 40_001]) socket.send(to[family], 7000 + family, Buffer.alloc(size));
    const { there } = await agree(`IPv${family}, segmented`);
    assert.equal(there.packets - plain.there.packets, 1 + 2 + 41);
    assert.equal(there.segmented, 2, 'control');
  }
});

test('pings and their answers, each direction for itself', { skip: cannotRun }, async (t) => {
  const of = await metered(t);
  for (const family of families) {
    const { agree } = await captured(of);
    for (const size of [0, 56, 1000, 1400]) of.sender.echo(family).request(to[family], { size });
    const seen = await agree(`IPv${family}`);
    assert.deepEqual([seen.there.packets, seen.back.packets], [4, 4]);
    assert.equal(seen.there.bytes, seen.back.bytes);
  }
});

test('what is booked only grows: over a restart, another program, a half made again, tables made anew', {
  skip: cannotRun,
  timeout: 60_000,
}, async (t) => {
  const of = await metered(t);
  const { lab, sketch, r1, b1, halves, booked, store } = of;
  let sent = 0;
  const send = async (n = 1): Promise<void> => {
    for (let at = 0; at < n; at++) assert.deepEqual(await lab.sendProbe(r1, to[4]), { delivered: b1 });
    sent += n;
  };
  const holds = async (what: string): Promise<void> => {
    assert.equal((await booked()).there.packets, sent, what);
    const hours = store.usage.hours({ from: 0, to: 10_000_000, limit: 100 });
    const sum = hours.filter(({ halfId }) => halfId === halves[0]).reduce((all, one) => all + one.sent.packets, 0n);
    assert.equal(Number(sum), sent, what);
  };
  await send(3);
  await holds('at first');
  await send();
  await lab.reopen();
  await holds('after a restart');

  const other = join(lab.scratch, 'other.o');
  copyFileSync(committedObject, other);
  writeFileSync(other, Buffer.concat([readFileSync(committedObject), Buffer.from('another version')]));
  await send();
  await lab.reopen({ objectPath: other });
  await send();
  await holds('after another program');

  await send();
  const without = sketch.network();
  const kept = {
    vpcs: without.vpcs.map((vpc) => ({
      ...vpc,
      halves: [],
      routeTables: vpc.routeTables.map((table) => ({
        ...table,
        routes: table.routes.filter(({ target }) => target.kind !== 'peering'),
      })),
    })),
  };
  await lab.become(kept);
  await lab.reopen({ objectPath: other });
  assert.equal((await lab.driver.meter([])).retired.length, 1, 'its last count waits');
  await lab.become(sketch.network());
  await send(2);
  await holds('the same half again');
  await booked();
  assert.equal((await lab.driver.meter([])).retired.length, 0, 'it was booked');

  await send();
  await booked(); // what a clean stop does
  await lab.driver.purge();
  for (const port of [r1, b1]) lab.forget(port);
  await lab.reopen({ objectPath: other }, false);
  await holds('with tables made anew');
  await lab.become(sketch.network());
  for (const port of [r1, b1]) await lab.attach(port);
  await send(4);
  await holds('and on');
  assert.equal(sent, 14);
});
