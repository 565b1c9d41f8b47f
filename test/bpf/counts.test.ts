/** What is counted: wire packets and wire bytes, segments with their own headers; and what a packet carries on. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ipFrame, protocols } from '../wire/frame.ts';
import { a, at, from, halves, network, udp } from './network.ts';
import { cannotLoad, type TestPlane } from './plane.ts';

describe('counting', { skip: cannotLoad }, () => {
  let plane: TestPlane;
  before(() => {
    plane = network();
  });
  after(() => plane.close());

  const tcp = (to: string, data: number, words = 5): Buffer => {
    const header = Buffer.alloc(words * 4);
    header.writeUInt8(words << 4, 12);
    return ipFrame(from(a, to), protocols.tcp, Buffer.concat([header, Buffer.alloc(data)]), 16);
  };

  test('a half counts each packet that crosses it, once and in its own direction', () => {
    const before = plane.countOfHalf(halves.oneToTwo);
    const back = plane.countOfHalf(halves.twoToOne);
    for (const [to, size] of [
      ['10.2.0.2', 28],
      ['10.2.0.2', 1400],
      ['fd02::2', 100],
    ] as const) {
      plane.send(a, udp(a, to, {}, size));
    }
    plane.send(a, udp(a, '10.1.0.3')); // not over it
    plane.send(a, udp(a, '10.2.0.77')); // dropped
    plane.send(a, udp(a, '10.2.0.2', { ttl: 1 })); // dropped
    const after = plane.countOfHalf(halves.oneToTwo);
    assert.equal(after.packets - before.packets, 3);
    assert.equal(after.bytes - before.bytes, 28 + 1400 + 100 + 3 * 14);
    assert.deepEqual(plane.countOfHalf(halves.twoToOne), back);
  });

  test('a segmented packet counts as its segments, each with its own headers', () => {
    for (const [to, data, gsoSize, words, headers] of [
      ['10.2.0.2', 2500, 500, 5, 54],
      ['10.2.0.2', 2501, 500, 5, 54],
      ['10.2.0.2', 2500, 500, 8, 66],
      ['fd02::2', 2500, 500, 5, 74],
      ['10.1.0.3', 1000, 1000, 5, 54],
    ] as const) {
      const segments = Math.ceil(data / gsoSize);
      // Some senders leave the number of segments open: it is worked out.
      for (const gsoSegments of [segments, 0]) {
        const before = plane.countOfHalf(halves.oneToTwo);
        const { counted } = plane.send(a, tcp(to, data, words), { gsoSize, gsoSegments });
        const bytes = data + segments * headers;
        assert.deepEqual(counted, [{ slot: a.slot, exit: 'Forwarded', packets: segments, bytes }], `${to} ${data}`);
        const after = plane.countOfHalf(halves.oneToTwo);
        const over = to !== '10.1.0.3';
        assert.equal(after.packets - before.packets, over ? segments : 0);
        assert.equal(after.bytes - before.bytes, over ? bytes : 0);
      }
    }
  });

  test('the MTU is compared with the largest segment, not with the whole', () => {
    const exit = (gsoSize: number) =>
      plane.send(a, tcp('10.2.0.2', 2800), { gsoSize, gsoSegments: 3 }).counted[0]?.exit;
    assert.equal(exit(1360), 'Forwarded');
    assert.equal(exit(1361), 'TooBig');
    assert.equal(
      plane.send(a, tcp('10.2.0.2', 2800)).counted[0]?.exit,
      'TooBig',
      'and with the whole where there are none',
    );
  });

  test('nothing that the host could read stays on a packet', () => {
    const marked = { mark: 0x77, priority: 5 };
    for (const to of ['10.1.0.3', '10.2.0.2', '10.2.0.2']) {
      const { mark, priority } = plane.send(a, udp(a, to), marked);
      assert.deepEqual({ mark, priority }, { mark: 0, priority: 0 });
    }
    const dropped = plane.send(a, udp(a, '192.0.2.1'), marked);
    assert.equal(dropped.mark, 0x77, 'while a dropped packet shows that they were set');
  });

  test('a packet changes in MACs and TTL only, and its checksum stays right', () => {
    for (const ttl of [2, 64, 255]) {
      for (let id = 0; id < 70_000; id += 4_999) {
        const frame = udp(a, '10.2.0.2', { ttl });
        frame.writeUInt16BE(id & 0xffff, 18);
        frame.writeUInt16BE(0, 24);
        frame.writeUInt16BE(headerSum(frame), 24);
        const { out } = plane.send(a, frame);
        assert.equal(headerSum(out), 0, `id ${id}, TTL ${ttl}`);
        assert.equal(out.readUInt8(22), ttl - 1);
        assert.ok(out.subarray(26).equals(frame.subarray(26)));
        assert.ok(out.subarray(12, 22).equals(frame.subarray(12, 22)));
      }
    }
    const wide = udp(a, 'fd02::2', { ttl: 9 });
    const { out } = plane.send(a, wide);
    assert.equal(out.readUInt8(21), 8);
    assert.ok(out.subarray(22).equals(wide.subarray(22)));
    const near = udp(a, '10.1.0.3', { ttl: 9, source: at('10.1.0.2') });
    assert.ok(plane.send(a, near).out.subarray(12).equals(near.subarray(12)), 'inside a VPC only the MACs');
  });
});

function headerSum(frame: Buffer): number {
  let sum = 0;
  for (let word = 14; word < 34; word += 2) sum += frame.readUInt16BE(word);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
