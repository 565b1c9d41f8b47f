/** What the gateway says: answers with right checksums to what it is asked, and silence where an answer would do harm. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { addressBytes, macBytes } from '../../src/kernel/link.ts';
import type { Mac } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { ethernet, type FrameOptions, ipFrame, protocols, seen } from '../wire/frame.ts';
import { a, at, b, c, from, g, network, udp } from './network.ts';
import { cannotLoad, type Outcome, type Port, type TestPlane } from './plane.ts';

const broadcast = 'ff:ff:ff:ff:ff:ff' as Mac;
interface Question {
  readonly operation?: number;
  readonly sender?: string;
  readonly senderMac?: Mac;
  readonly to?: Mac;
}
function arp(port: Port, wanted: string, of: Question = {}): Buffer {
  const body = Buffer.alloc(28);
  Buffer.from('0001080006040001', 'hex').copy(body);
  body.writeUInt16BE(of.operation ?? 1, 6);
  macBytes(of.senderMac ?? port.mac).copy(body, 8);
  addressBytes(at(of.sender ?? String(port.primary[4]))).copy(body, 14);
  addressBytes(at(wanted)).copy(body, 24);
  return ethernet(port.mac, of.to ?? broadcast, 0x0806, body);
}
function solicitation(port: Port, wanted: string, of: Partial<FrameOptions> = {}, option = true): Buffer {
  const body = Buffer.alloc(option ? 32 : 24);
  body.writeUInt8(135, 0);
  addressBytes(at(wanted)).copy(body, 8);
  if (option) Buffer.concat([Buffer.from([1, 1]), macBytes(port.mac)]).copy(body, 24);
  const base = from(port, 'ff02::1:ff00:1', { ttl: 255, destinationMac: '33:33:ff:00:00:01' as Mac, ...of });
  return ipFrame(base, protocols.icmp6, body, 2);
}
/** @param type 8 and 128 are echo requests */
function icmp(of: FrameOptions, type: number, size = 56): Buffer {
  const body = Buffer.alloc(8 + size, 0x5a);
  body.writeUInt32BE(type * 2 ** 24, 0);
  return ipFrame(of, of.source.includes(':') ? protocols.icmp6 : protocols.icmp, body, 2);
}

describe('the gateway', { skip: cannotLoad }, () => {
  let plane: TestPlane;
  before(() => {
    plane = network();
  });
  after(() => plane.close());
  const run = (port: Port, frame: Buffer): Outcome & { readonly exit: string | undefined } => {
    const outcome = plane.send(port, frame);
    assert.equal(outcome.counted.length, 1);
    return { ...outcome, exit: outcome.counted[0]?.exit };
  };
  const exit = (port: Port, frame: Buffer): string | undefined => run(port, frame).exit;
  const addressed = (out: Buffer, port: Port): void => {
    assert.ok(out.subarray(0, 6).equals(macBytes(port.mac)), 'to the sender');
    assert.ok(out.subarray(6, 12).equals(macBytes(gatewayMac)), 'from the gateway');
  };

  test('answers ARP for every address but the sender’s own, to the sender alone', () => {
    for (const wanted of ['10.1.0.1', '10.1.0.3', '10.1.0.200']) {
      const { exit, out } = run(a, arp(a, wanted));
      assert.equal(exit, 'Answered', wanted);
      addressed(out, a);
      const reply = out.subarray(14);
      assert.equal(reply.readUInt16BE(6), 2);
      assert.ok(reply.subarray(8, 14).equals(macBytes(gatewayMac)));
      assert.ok(reply.subarray(14, 18).equals(addressBytes(at(wanted))));
      assert.ok(reply.subarray(18, 24).equals(macBytes(a.mac)));
      assert.ok(reply.subarray(24, 28).equals(addressBytes(at('10.1.0.2'))));
    }
    assert.equal(exit(a, arp(a, '10.1.0.1', { to: gatewayMac })), 'Answered', 'a renewal, sent to the gateway');
  });

  test('is silent to probes for duplicates, to questions for oneself, to replies and to lies', () => {
    assert.equal(exit(a, arp(a, '10.1.0.2')), 'NoSuchAddress', 'gratuitous');
    assert.equal(exit(a, arp(a, '10.1.0.12')), 'NoSuchAddress', 'its secondary address');
    assert.equal(exit(a, arp(a, '10.1.0.2', { sender: '0.0.0.0' })), 'NoSuchAddress', 'a probe');
    assert.equal(exit(a, arp(a, '10.1.0.3', { sender: '0.0.0.0' })), 'NoSuchAddress', 'a probe for a neighbour’s');
    assert.equal(exit(a, arp(a, '10.1.0.1', { operation: 2 })), 'NotToGateway', 'a reply');
    assert.equal(exit(a, arp(a, '10.1.0.1', { to: b.mac })), 'NotToGateway', 'to a neighbour');
    assert.equal(exit(a, arp(a, '10.1.0.1', { sender: '10.1.0.3' })), 'SpoofedAddress');
    assert.equal(exit(a, arp(a, '10.1.0.1', { senderMac: b.mac })), 'SpoofedAddress');
    const strange = arp(a, '10.1.0.1');
    for (const byte of [14, 16, 18, 19]) {
      const frame = Buffer.from(strange);
      frame.writeUInt8(7, byte);
      assert.equal(exit(a, frame), 'BadHeader', `byte ${byte}`);
    }
  });

  test('answers neighbour solicitations, with and without room for its option', () => {
    for (const [wanted, source, option] of [
      ['fd01::1', 'fd01::2', true],
      ['fd01::3', 'fd01::2', true],
      ['fd01::1', 'fe80::2', true],
      ['fd01::1', 'fd01::2', false],
    ] as const) {
      const { exit, out } = run(a, solicitation(a, wanted, { source: at(source) }, option));
      assert.equal(exit, 'Answered', wanted);
      addressed(out, a);
      const reply = seen(out);
      assert.equal(reply.source, wanted);
      assert.equal(reply.destination, source);
      assert.equal(reply.ttl, 255, 'or the stack ignores it');
      assert.equal(reply.payload.length, 32);
      assert.equal(reply.payload.readUInt8(0), 136);
      assert.equal(reply.payload.readUInt32BE(4), 0xe0000000, 'router, solicited, override');
      assert.ok(reply.payload.subarray(8, 24).equals(addressBytes(at(wanted))));
      assert.ok(reply.payload.subarray(24).equals(Buffer.concat([Buffer.from([2, 1]), macBytes(gatewayMac)])));
      assert.ok(reply.checksumsRight);
    }
  });

  test('is silent to duplicate address detection and to solicitations that break the rules', () => {
    const silent = (wanted: string, of: Partial<FrameOptions> = {}): string | undefined =>
      exit(a, solicitation(a, wanted, of));
    assert.equal(silent('fd01::2', { source: at('::') }), 'NoSuchAddress', 'detection of its own');
    assert.equal(silent('fd01::3', { source: at('::') }), 'NoSuchAddress', 'detection of a neighbour’s');
    assert.equal(silent('fd01::2'), 'NoSuchAddress', 'its own');
    assert.equal(silent('fe80::1'), 'NoSuchAddress', 'nobody else is on the link');
    assert.equal(silent('fd01::1', { ttl: 64 }), 'BadHeader', 'came from afar');
    assert.equal(silent('ff02::1'), 'BadHeader', 'a group has no MAC');
    assert.equal(silent('fd01::1', { source: at('fd01::3') }), 'SpoofedAddress');
    assert.equal(silent('fd01::1', { destinationMac: b.mac }), 'NotToGateway');
    const cut = solicitation(a, 'fd01::1').subarray(0, 14 + 40 + 16);
    cut.writeUInt16BE(16, 18);
    assert.equal(exit(a, cut), 'BadHeader', 'ends before its target');
    assert.equal(silent('fd01::1'), 'Answered');
  });

  test('answers pings to the sender’s own gateway address, and nothing else sent there', () => {
    for (const [to, request, reply] of [
      ['10.1.0.1', 8, 0],
      ['fd01::1', 128, 129],
    ] as const) {
      for (const size of [0, 1, 56, 1300]) {
        const frame = icmp(from(a, to, { ttl: 1 }), request, size);
        const { exit, out } = run(a, frame);
        assert.equal(exit, 'Answered', `${to}, ${size} bytes`);
        addressed(out, a);
        const pong = seen(out);
        assert.equal(pong.source, to);
        assert.equal(pong.destination, to.includes(':') ? a.primary[6] : a.primary[4]);
        assert.equal(pong.ttl, 64);
        assert.equal(pong.payload.readUInt8(0), reply);
        assert.ok(pong.payload.subarray(4).equals(seen(frame).payload.subarray(4)), 'the data comes back');
        assert.ok(pong.checksumsRight, `${to}, ${size} bytes`);
      }
      assert.equal(exit(a, icmp(from(a, to), reply)), 'NoSuchAddress', 'a reply');
      assert.equal(exit(a, udp(a, to)), 'NoSuchAddress', 'anything but ping');
    }
    const firstFragment = icmp(from(a, '10.1.0.1'), 8);
    firstFragment.writeUInt16BE(0x2000, 20);
    assert.equal(exit(a, firstFragment), 'NoSuchAddress', 'half a ping');
    assert.equal(exit(a, icmp(from(a, '10.2.0.1'), 8)), 'NoSuchAddress', 'the gateway of another VPC');
    assert.equal(exit(g, icmp(from(g, '10.1.0.1'), 8)), 'Answered');
  });

  test('tells the sender when the TTL ran out, in both families', () => {
    for (const to of ['10.2.0.2', 'fd02::2']) {
      for (const size of [to.includes(':') ? 48 : 28, to.includes(':') ? 53 : 31, 64, 65, 100, 1400]) {
        const frame = udp(a, to, { ttl: 1 }, size);
        const { exit, out, verdict } = run(a, frame);
        assert.equal(exit, 'TtlExpired');
        assert.equal(verdict, 7, 'handed back');
        toldOf(out, a, frame, to.includes(':') ? [3, 0, 0] : [11, 0, 0], `${to}, ${size} bytes`);
      }
    }
  });

  test('tells the sender the MTU, in both families, where IPv4 may not be cut', () => {
    for (const to of ['10.1.0.3', '10.2.0.2', 'fd01::3', 'fd02::2']) {
      const frame = udp(a, to, {}, 1401);
      const { exit, out, verdict } = run(a, frame);
      assert.equal(exit, 'TooBig');
      assert.equal(verdict, 7, 'handed back');
      toldOf(out, a, frame, to.includes(':') ? [2, 0, 1400] : [3, 4, 1400], to);
    }
    assert.equal(run(a, udp(a, '10.1.0.3', { dontFragment: false }, 1401)).verdict, 2, 'untold');
  });

  test('never answers an error, a later fragment or a multicast with an error', () => {
    const expired = { ttl: 1 };
    const verdict = (frame: Buffer): number => {
      const outcome = run(a, frame);
      assert.equal(outcome.exit, 'TtlExpired');
      return outcome.verdict;
    };
    for (const type of [3, 11, 12, 5])
      assert.equal(verdict(icmp(from(a, '10.2.0.2', expired), type)), 2, `type ${type}`);
    for (const type of [1, 2, 3, 4]) assert.equal(verdict(icmp(from(a, 'fd02::2', expired), type)), 2, `type ${type}`);
    for (const type of [0, 8]) assert.equal(verdict(icmp(from(a, '10.2.0.2', expired), type)), 7, `type ${type}`);
    for (const type of [128, 129]) assert.equal(verdict(icmp(from(a, 'fd02::2', expired), type)), 7, `type ${type}`);

    const later = udp(a, '10.2.0.2', expired);
    later.writeUInt16BE(185, 20);
    assert.equal(verdict(later), 2);
    const first = udp(a, '10.2.0.2', expired);
    first.writeUInt16BE(0x2000, 20);
    assert.equal(verdict(first), 7, 'the first fragment may be told');
    for (const [offset, told] of [
      [1 << 3, 2],
      [1, 7],
    ] as const) {
      const part = Buffer.alloc(16);
      part.writeUInt8(protocols.udp, 0);
      part.writeUInt16BE(offset, 2);
      assert.equal(verdict(ipFrame(from(a, 'fd02::2', expired), 44, part, null)), told, `fragment at ${offset >> 3}`);
    }
    assert.equal(run(c, udp(c, '10.1.0.2', expired)).verdict, 7, 'the other side is told by its own gateway');
  });

  /** An error from the sender's gateway that quotes the beginning of its packet, with right checksums. */
  function toldOf(out: Buffer, port: Port, frame: Buffer, [type, code, mtu]: readonly number[], what: string): void {
    addressed(out, port);
    const error = seen(out);
    const family = error.family ?? assert.fail('an IP packet');
    assert.equal(error.source, port.gateway[family], what);
    assert.equal(error.destination, port.primary[family], what);
    assert.equal(error.protocol, family === 4 ? protocols.icmp : protocols.icmp6);
    assert.deepEqual(
      [error.payload.readUInt8(0), error.payload.readUInt8(1), error.payload.readUInt32BE(4)],
      [type, code, mtu],
    );
    assert.ok(error.checksumsRight, `${what}: checksums`);
    const quote = error.payload.subarray(8);
    assert.ok(quote.length >= (family === 4 ? 28 : 48), `${what}: ${quote.length} bytes quoted`);
    assert.ok(quote.equals(frame.subarray(14, 14 + quote.length)), `${what}: quotes the packet as it was sent`);
    assert.equal(out.length, 14 + (family === 4 ? 20 : 40) + error.payload.length, `${what}: nothing behind it`);
  }
});
