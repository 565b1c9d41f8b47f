/** What the gateway does to packets and says to workloads: TTL, MTU, ICMP, checksums, and how exactly it counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Address, Family } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { ethernet, ipFrame, protocols, type Seen, seen, udpFrame } from '../wire/frame.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { setOffloads } from '../wire/offload.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { Stream } from '../wire/stream.ts';
import { byHand, type Workload } from '../wire/workload.ts';

const sites = {
  4: { red: address('10.1.0.4'), blue: address('10.2.0.4'), gateway: address('10.1.0.1'), far: address('10.2.0.1') },
  6: {
    red: address('fd00:1::4'),
    blue: address('fd00:2::4'),
    gateway: address('fd00:1::1'),
    far: address('fd00:2::1'),
  },
} as const;
const families: readonly Family[] = [4, 6];

/** The first frame received that is wanted, within a second. */
async function heard(lab: Lab, by: ReturnType<Workload['frames']>, wanted: (of: Seen) => boolean): Promise<Seen> {
  let found: Seen | undefined;
  await lab.until(
    'the frame arrives',
    () => {
      for (let frame = by.receive(); frame !== undefined; frame = by.receive()) {
        const what = seen(frame);
        if (wanted(what)) found ??= what;
      }
      return found !== undefined;
    },
    1000,
  );
  assert.ok(found !== undefined);
  return found;
}

test('51. the gateway answers pings of its own subnet, and every hop is one TTL', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  const workload = await lab.attach(r1);
  const ears = (await lab.attach(b1)).frames();
  const mine = workload.frames();
  for (const family of families) {
    const { red: own, blue, gateway, far } = sites[family];
    const echo = workload.echo(family);
    const answer = async (to: Address, wanted: { from: Address; type: number }) => {
      const sequence = echo.request(to);
      await lab.until(`${to} answers`, () => {
        for (let got = echo.receive(); got !== undefined; got = echo.receive()) {
          const { from, message } = got;
          if (from === wanted.from && message.readUInt8(0) === wanted.type && message.readUInt16BE(6) === sequence) {
            return true;
          }
        }
        return false;
      });
    };
    const reply = family === 4 ? 0 : 129;
    await answer(gateway, { from: gateway, type: reply });
    await answer(blue, { from: blue, type: reply });
    const before = lab.exits(r1);
    echo.request(far);
    assert.equal(lab.since(before, r1).get('NoSuchAddress'), 1, "a peer's gateway is nobody");

    const data = Buffer.from(`ttl ${family}`);
    const frame = (ttl: number, destination = blue) =>
      udpFrame({ sourceMac: sketch.spec(red, r1).mac, source: own, destination, ttl }, { from: 1, to: 7 }, data);
    mine.send(frame(64));
    const arrived = await heard(lab, ears, ({ payload }) => payload.includes(data));
    assert.equal(arrived.ttl, 63);
    assert.equal(arrived.checksumsRight, true);
    mine.send(frame(2));
    assert.equal((await heard(lab, ears, ({ payload }) => payload.includes(data))).ttl, 1);
    for (const ttl of [1, 0]) {
      const counted = lab.exits(r1);
      while (mine.receive() !== undefined); // answers to pings
      mine.send(frame(ttl));
      const error = await heard(lab, mine, ({ source }) => source === gateway);
      assert.deepEqual([error.payload.readUInt8(0), error.payload.readUInt8(1)], family === 4 ? [11, 0] : [3, 0]);
      assert.equal(error.destination, own);
      assert.equal(error.checksumsRight, true);
      assert.equal(lab.since(counted, r1).get('TtlExpired'), 1);
    }
    for (let late = ears.receive(); late !== undefined; late = ears.receive()) assert.ok(!late.includes(data));
  }
});

test('52. too big a packet is refused with the MTU that fits, and nothing is said to errors', {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, r1, b1 } = twoSites();
  await lab.become(sketch.network());
  const workload = await lab.attach(r1, { mtu: 9000 });
  const ears = (await lab.attach(b1, { mtu: 1400 })).frames();
  const mine = workload.frames();
  const sourceMac = sketch.spec(red, r1).mac;
  for (const family of families) {
    const { red: source, blue: destination, gateway } = sites[family];
    const header = family === 4 ? 28 : 48;
    const send = (length: number, dontFragment = true) => {
      const data = Buffer.alloc(length - header);
      mine.send(udpFrame({ sourceMac, source, destination, dontFragment }, { from: 1, to: 7 }, data));
    };
    send(1400);
    await heard(lab, ears, ({ payload }) => payload.length === 1400 - header + 8);
    const before = lab.exits(r1);
    send(1401);
    const error = await heard(lab, mine, (of) => of.source === gateway);
    assert.deepEqual([error.payload.readUInt8(0), error.payload.readUInt8(1)], family === 4 ? [3, 4] : [2, 0]);
    assert.equal(error.payload.readUInt32BE(4), 1400);
    assert.equal(error.checksumsRight, true);
    assert.equal(lab.since(before, r1).get('TooBig'), 1);
    // About an error no error is sent, and without DF the protocol allows none of this kind.
    const type = family === 4 ? 3 : 1;
    const message = Buffer.alloc(1401 - header + 8);
    message.writeUInt8(type, 0);
    mine.send(ipFrame({ sourceMac, source, destination }, family === 4 ? protocols.icmp : protocols.icmp6, message, 2));
    if (family === 4) send(1401, false);
    assert.equal(lab.since(before, r1).get('TooBig'), family === 4 ? 3 : 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (let frame = mine.receive(); frame !== undefined; frame = mine.receive()) {
      const { source: from, protocol, payload } = seen(frame);
      const advertised = protocol === protocols.icmp6 && payload[0] === 136; // an answer to the stack's own question
      assert.ok(from !== gateway || advertised, frame.toString('hex'));
    }
    // The sender's own stack learns it.
    const udp = workload.udp();
    udp.send(destination, 7, Buffer.alloc(2000));
    await lab.until('the path MTU is learned', () => {
      const { name } = workload;
      return /mtu 1400/.test(byHand('ip', name, family === 4 ? '-4' : '-6', 'route', 'get', destination));
    });
  }
});

test('53. TCP crosses whole with offloads on and off, counted as on a wire', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, r1, b1, halves } = twoSites();
  await lab.become(sketch.network());
  const from = await lab.attach(r1);
  const to = await lab.attach(b1);
  for (const family of families) {
    for (const offloads of [true, false]) {
      for (const side of [from, to]) setOffloads(side, offloads);
      // A stalled CPU makes TCP send again what was not lost: then the figures say little, and it is done once more.
      let clean = false;
      for (let attempt = 0; attempt < 5 && !clean; attempt++) {
        const before = {
          half: lab.half(halves[0]),
          exits: lab.exits(r1),
          tcp: tcpCounts(from),
          frames: framesOf(from),
        };
        const stream = await Stream.tcp(from, to, sites[family].blue);
        await lab.until('some megabytes crossed', () => stream.received > 4 << 20);
        const { sent, received } = await stream.stop();
        assert.equal(received, sent, 'every byte arrived');
        let { segments } = tcpCounts(from);
        await lab.until('the connection is closed', () => {
          const last = segments;
          ({ segments } = tcpCounts(from));
          return segments === last;
        });
        const half = lab.half(halves[0]);
        const packets = half.packets - before.half.packets;
        const again = tcpCounts(from).again - before.tcp.again;
        assert.equal(packets, segments - before.tcp.segments + again, `IPv${family}: as TCP counts its segments`);
        assert.equal(lab.since(before.exits, r1).get('Forwarded'), packets);
        if (again > 0) continue;
        // Each segment has its own headers: Ethernet, IP, TCP with timestamps; the SYN's TCP header is 8 bytes longer.
        const headers = 14 + (family === 4 ? 20 : 40) + 32;
        assert.equal(
          half.bytes - before.half.bytes,
          sent + packets * headers + 8,
          `IPv${family}: bytes as on the wire`,
        );
        const frames = framesOf(from) - before.frames;
        if (offloads) assert.ok(frames * 2 < packets, `${frames} frames for ${packets} packets: not segmented late`);
        else assert.ok(frames >= packets, `${frames} frames for ${packets} packets: segmented late`);
        clean = true;
      }
      assert.ok(clean, 'TCP sent again in five attempts');
    }
  }
});

/** Segments that this namespace's TCP has sent, and those sent again. */
function tcpCounts(workload: Workload): { readonly segments: number; readonly again: number } {
  const rows = workload.proc('net/snmp').split('\n');
  const [names = '', values = ''] = rows.filter((row) => row.startsWith('Tcp:'));
  const read = (name: string) => Number(values.split(' ')[names.split(' ').indexOf(name)]);
  return { segments: read('OutSegs'), again: read('RetransSegs') };
}
/** Frames that left eth0, however large. */
const framesOf = (workload: Workload): number =>
  Number(/eth0:(?:\s+\d+){9}\s+(\d+)/.exec(workload.proc('net/dev'))?.[1]);

test('every question for a neighbour is answered by the gateway, but one for oneself', {
  skip: cannotRun,
}, async (t) => {
  const lab = await Lab.start(t);
  const { sketch, red, r1, b1 } = twoSites();
  const r2 = sketch.port(red, 'r2', ['10.1.0.5', 'fd00:1::5']);
  await lab.become(sketch.network());
  const workload = await lab.attach(r1);
  await lab.attach(b1);
  const neighbour = (await lab.attach(r2)).frames();
  const delivered = { delivered: r2 };
  assert.deepEqual(await lab.sendProbe(r1, address('10.1.0.5')), delivered, 'the same subnet is one hop too');
  assert.deepEqual(await lab.sendProbe(r1, address('fd00:1::5')), delivered);
  const table = byHand('ip', workload.name, 'neigh', 'show');
  for (const known of ['10.1.0.5', 'fd00:1::5']) {
    assert.match(table, new RegExp(`^${known} .*lladdr ${gatewayMac}`, 'm'));
  }
  while (neighbour.receive() !== undefined);
  // A gratuitous question, and one for the own address, go nowhere.
  const mine = workload.frames();
  const { mac } = sketch.spec(red, r1);
  const before = lab.exits(r1);
  const arp = (sender: string, target: string) =>
    Buffer.from(`0001080006040001${mac.replaceAll(':', '')}${sender}000000000000${target}`, 'hex');
  const broadcast = 'ff:ff:ff:ff:ff:ff' as typeof mac;
  mine.send(ethernet(mac, broadcast, 0x0806, arp('0a010004', '0a010004')));
  mine.send(ethernet(mac, broadcast, 0x0806, arp('00000000', '0a010004')));
  assert.equal(lab.since(before, r1).get('NoSuchAddress'), 2);
  mine.send(ethernet(mac, broadcast, 0x0806, arp('0a010004', '0a010001')));
  assert.equal(lab.since(before, r1).get('Answered'), 1);
  mine.send(ethernet(mac, broadcast, 0x0806, arp('0a010009', '0a010001')));
  assert.equal(lab.since(before, r1).get('SpoofedAddress'), 1);
  assert.equal(neighbour.receive(), undefined, 'nothing is flooded');
});
