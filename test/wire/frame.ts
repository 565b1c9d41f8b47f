/** Builds and reads Ethernet frames for tests: what a workload's own stack would never send, and what came of it. */
import { addressBytes, macBytes } from '../../src/kernel/link.ts';
import { checksum } from '../../src/kernel/socket.ts';
import { type Address, addressOf, type Family, familyOf, type Mac } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';

export interface FrameOptions {
  readonly sourceMac: Mac;
  readonly destinationMac?: Mac;
  readonly source: Address;
  readonly destination: Address;
  readonly ttl?: number;
  readonly dontFragment?: boolean;
}
const etherType = { 4: 0x0800, 6: 0x86dd } as const;
export const protocols = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;

export function ethernet(source: Mac, destination: Mac, type: number, payload: Buffer): Buffer {
  const typeBytes = Buffer.alloc(2);
  typeBytes.writeUInt16BE(type);
  return Buffer.concat([macBytes(destination), macBytes(source), typeBytes, payload]);
}

/** A whole frame around a transport payload whose checksum `fixChecksum` (offset in the payload) is filled in. */
export function ipFrame(of: FrameOptions, protocol: number, payload: Buffer, fixChecksum: number | null): Buffer {
  const family = familyOf(of.source);
  const source = addressBytes(of.source);
  const destination = addressBytes(of.destination);
  const body = Buffer.from(payload);
  if (fixChecksum !== null) {
    const pseudo = Buffer.alloc(8);
    pseudo.writeUInt32BE(body.length, 0);
    pseudo.writeUInt32BE(protocol, 4);
    body.writeUInt16BE(0, fixChecksum);
    const covered = protocol === protocols.icmp ? [body] : [source, destination, pseudo, body];
    body.writeUInt16BE(checksum(Buffer.concat(covered)), fixChecksum);
  }
  const header = Buffer.alloc(family === 4 ? 20 : 40);
  if (family === 4) {
    header.writeUInt8(0x45, 0);
    header.writeUInt16BE(20 + body.length, 2);
    header.writeUInt16BE(of.dontFragment === false ? 0 : 0x4000, 6);
    header.writeUInt8(of.ttl ?? 64, 8);
    header.writeUInt8(protocol, 9);
    source.copy(header, 12);
    destination.copy(header, 16);
    header.writeUInt16BE(checksum(header), 10);
  } else {
    header.writeUInt8(0x60, 0);
    header.writeUInt16BE(body.length, 4);
    header.writeUInt8(protocol, 6);
    header.writeUInt8(of.ttl ?? 64, 7);
    source.copy(header, 8);
    destination.copy(header, 24);
  }
  return ethernet(of.sourceMac, of.destinationMac ?? gatewayMac, etherType[family], Buffer.concat([header, body]));
}

export function udpFrame(
  of: FrameOptions,
  ports: { readonly from: number; readonly to: number },
  data: Buffer,
): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(ports.from, 0);
  header.writeUInt16BE(ports.to, 2);
  header.writeUInt16BE(8 + data.length, 4);
  return ipFrame(of, protocols.udp, Buffer.concat([header, data]), 6);
}

/** What a received frame says, as far as tests ask. */
export interface Seen {
  readonly family: Family | null;
  readonly source: Address | null;
  readonly destination: Address | null;
  readonly ttl: number;
  readonly protocol: number;
  /** From the transport header on. */
  readonly payload: Buffer;
  /** Whether the IPv4 header and, for ICMP and ICMPv6, the message have right checksums. */
  readonly checksumsRight: boolean;
}
const none: Seen = {
  family: null,
  source: null,
  destination: null,
  ttl: 0,
  protocol: 0,
  payload: Buffer.alloc(0),
  checksumsRight: true,
};
const wide = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);

export function seen(frame: Buffer): Seen {
  if (frame.length < 34) return none;
  const type = frame.readUInt16BE(12);
  if (type === etherType[4]) {
    const header = frame.subarray(14, 34);
    const payload = frame.subarray(34, 14 + header.readUInt16BE(2));
    const protocol = header.readUInt8(9);
    return {
      family: 4,
      source: addressOf(4, wide(header.subarray(12, 16))),
      destination: addressOf(4, wide(header.subarray(16, 20))),
      ttl: header.readUInt8(8),
      protocol,
      payload,
      checksumsRight: checksum(header) === 0 && (protocol !== protocols.icmp || checksum(payload) === 0),
    };
  }
  if (type !== etherType[6] || frame.length < 54) return none;
  const payload = frame.subarray(54, 54 + frame.readUInt16BE(18));
  const protocol = frame.readUInt8(20);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(payload.length, 0);
  pseudo.writeUInt32BE(protocol, 4);
  const sum = checksum(Buffer.concat([frame.subarray(22, 54), pseudo, payload]));
  return {
    family: 6,
    source: addressOf(6, wide(frame.subarray(22, 38))),
    destination: addressOf(6, wide(frame.subarray(38, 54))),
    ttl: frame.readUInt8(21),
    protocol,
    payload,
    checksumsRight: protocol !== protocols.icmp6 || sum === 0,
  };
}
