/**
 * Sockets made inside a namespace and used from outside it: one process can so stand in for many workloads. Never blocks
 * (connecting over TCP waits at most its time limit). Knows the formats of socket addresses and nothing of what is sent.
 */
import koffi from 'koffi';
import { type Address, addressOf, bitsOf, type Family, familyOf } from '../model/ip.ts';
import { closeFd, KernelError } from './bpf.ts';
import { inside } from './netns.ts';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)');
const bind = libc.func('int bind(int, const void *, uint)');
const listenCall = libc.func('int listen(int, int)');
const connectCall = libc.func('int connect(int, const void *, uint)');
const acceptCall = libc.func('int accept4(int, void *, void *, int)');
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint)');
const recvfrom = libc.func('long recvfrom(int, _Out_ void *, size_t, int, _Out_ void *, _Inout_ uint *)');
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint)');

const afInet6 = 10;
const afPacket = 17;
const stream = 1;
const datagram = 2;
const raw = 3;
const closeOnExec = 0o2000000;
const nonBlocking = 0o4000;
const dontWait = 0x40;
const again = 11; // EAGAIN
const allProtocols = 0x0300; // ETH_P_ALL in network order
const icmp6 = 58;
const icmp4 = 1;

const number = (value: number): Buffer => Buffer.from(Int32Array.of(value).buffer);
function option(fd: number, level: number, name: number, value: Buffer): void {
  if (Number(setsockopt(fd, level, name, value, value.length)) < 0) {
    const errno = koffi.errno();
    closeFd(fd);
    throw new KernelError(`setting socket option ${level}/${name}`, errno);
  }
}

/** sockaddr_in6; IPv4 as ::ffff:a.b.c.d, so that one socket speaks both. '' is any address. */
export function socketAddress(address: Address | '', port: number): Buffer {
  const out = Buffer.alloc(28);
  out.writeUInt16LE(afInet6, 0);
  out.writeUInt16BE(port, 2);
  if (address === '') return out;
  const { family, bits } = bitsOf(address);
  const wide = family === 4 ? bits | (0xffffn << 32n) : bits;
  Buffer.from(wide.toString(16).padStart(32, '0'), 'hex').copy(out, 8);
  return out;
}
function addressFrom(bytes: Buffer): Address {
  const wide = BigInt(`0x${bytes.toString('hex', 8, 24)}`);
  return wide >> 32n === 0xffffn ? addressOf(4, wide & 0xffffffffn) : addressOf(6, wide);
}

/** A socket in that namespace. @param namespace a descriptor @throws KernelError */
function open(namespace: number, family: number, type: number, protocol: number): number {
  const fd = inside(namespace, () => Number(socket(family, type | closeOnExec, protocol)));
  if (fd < 0) throw new KernelError('opening a socket', koffi.errno());
  return fd;
}
function must(what: string, fd: number, result: unknown): void {
  if (Number(result) >= 0) return;
  const errno = koffi.errno();
  closeFd(fd);
  throw new KernelError(what, errno);
}

// One receive buffer for all: receiving is synchronous and hands out copies.
const buffer = Buffer.alloc(1 << 17);
const sender = Buffer.alloc(128);
const senderSize = Buffer.alloc(4);
/** @returns the size received, or undefined when there is nothing; pending socket errors are read and dropped */
function take(fd: number): number | undefined {
  for (let errors = 0; ; errors++) {
    senderSize.writeUInt32LE(sender.length, 0);
    const size = Number(recvfrom(fd, buffer, buffer.length, dontWait, sender, senderSize));
    if (size >= 0) return size;
    if (koffi.errno() === again || errors === 16) return undefined;
  }
}

export interface Datagram {
  readonly from: Address;
  readonly port: number;
  readonly payload: Buffer;
}

/** UDP over both families, or ICMP over one. */
export class DatagramSocket {
  readonly fd: number;
  constructor(fd: number) {
    this.fd = fd;
  }
  /** @throws KernelError: the stack's own word, such as ENETUNREACH, or a pending ICMP error */
  send(to: Address, port: number, payload: Buffer): void {
    const at = socketAddress(to, port);
    if (Number(sendto(this.fd, payload, payload.length, dontWait, at, at.length)) < 0) {
      throw new KernelError(`sending to ${to}`, koffi.errno());
    }
  }
  receive(): Datagram | undefined {
    const size = take(this.fd);
    if (size === undefined) return undefined;
    return { from: addressFrom(sender), port: sender.readUInt16BE(2), payload: Buffer.from(buffer.subarray(0, size)) };
  }
  close(): void {
    closeFd(this.fd);
  }
}

/** @param of.receiveBuffer bytes, beyond the system's limit too; default 4 MB */
export function openUdp(
  namespace: number,
  of: { readonly port?: number; readonly address?: Address; readonly receiveBuffer?: number } = {},
): DatagramSocket {
  const fd = open(namespace, afInet6, datagram, 0);
  option(fd, 41, 26, number(0)); // IPV6_V6ONLY
  option(fd, 1, 33, number(of.receiveBuffer ?? 4 << 20)); // SO_RCVBUFFORCE
  const at = socketAddress(of.address ?? '', of.port ?? 0);
  must(`binding UDP port ${of.port ?? 0}`, fd, bind(fd, at, at.length));
  return new DatagramSocket(fd);
}

/** Raw ICMP of one family; what it receives starts with the IP header for IPv4 and without it for IPv6. */
export class EchoSocket {
  readonly fd: number;
  readonly #family: Family;
  #sequence = 0;
  constructor(namespace: number, family: Family) {
    this.#family = family;
    this.fd = family === 4 ? open(namespace, 2, raw, icmp4) : open(namespace, afInet6, raw, icmp6);
  }
  /** Sends an echo request. @param ttl TTL or hop limit, default 64 @returns its sequence number */
  request(to: Address, of: { readonly ttl?: number; readonly size?: number } = {}): number {
    if (familyOf(to) !== this.#family) throw new Error(`${to} is of the other family`);
    this.#sequence = (this.#sequence + 1) & 0xffff;
    const message = Buffer.alloc(8 + (of.size ?? 56));
    message.writeUInt8(this.#family === 4 ? 8 : 128, 0);
    message.writeUInt16BE(process.pid & 0xffff, 4);
    message.writeUInt16BE(this.#sequence, 6);
    let at: Buffer;
    if (this.#family === 4) {
      message.writeUInt16BE(checksum(message), 2);
      at = Buffer.alloc(16);
      at.writeUInt16LE(2, 0);
      at.writeUInt32BE(Number(bitsOf(to).bits), 4);
      option(this.fd, 0, 2, number(of.ttl ?? 64)); // IP_TTL
    } else {
      at = socketAddress(to, 0); // the kernel fills the ICMPv6 checksum
      option(this.fd, 41, 16, number(of.ttl ?? 64)); // IPV6_UNICAST_HOPS
    }
    if (Number(sendto(this.fd, message, message.length, dontWait, at, at.length)) < 0) {
      throw new KernelError(`pinging ${to}`, koffi.errno());
    }
    return this.#sequence;
  }
  /** The next ICMP message, from its type on. */
  receive(): { readonly from: Address; readonly message: Buffer } | undefined {
    const size = take(this.fd);
    if (size === undefined) return undefined;
    if (this.#family === 6) return { from: addressFrom(sender), message: Buffer.from(buffer.subarray(0, size)) };
    const header = (buffer.readUInt8(0) & 0xf) * 4;
    const from = addressOf(4, BigInt(sender.readUInt32BE(4)));
    return { from, message: Buffer.from(buffer.subarray(header, size)) };
  }
  close(): void {
    closeFd(this.fd);
  }
}

/** Internet checksum over the bytes, an odd one padded with zero. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  if (bytes.length % 2 === 1) sum += bytes.readUInt8(bytes.length - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Whole frames on one device: sends any bytes, receives what comes in (not what goes out). */
export class PacketSocket {
  readonly fd: number;
  readonly #at: Buffer;
  /**
   * @param ifindex of a device in that namespace
   * @param outgoing whether to receive what goes out too
   */
  constructor(namespace: number, ifindex: number, outgoing = false) {
    this.fd = open(namespace, afPacket, raw, 0); // protocol 0: deaf until bound
    if (!outgoing) option(this.fd, 263, 23, number(1)); // PACKET_IGNORE_OUTGOING
    option(this.fd, 1, 33, number(16 << 20)); // SO_RCVBUFFORCE
    this.#at = Buffer.alloc(20);
    this.#at.writeUInt16LE(afPacket, 0);
    this.#at.writeUInt16LE(allProtocols, 2);
    this.#at.writeInt32LE(ifindex, 4);
    must('binding a packet socket', this.fd, bind(this.fd, this.#at, this.#at.length));
  }
  /** @returns 0, or the errno with which the kernel refused the frame */
  send(frame: Buffer): number {
    return Number(sendto(this.fd, frame, frame.length, dontWait, this.#at, this.#at.length)) < 0 ? koffi.errno() : 0;
  }
  receive(): Buffer | undefined {
    return this.receiveEither()?.frame;
  }
  /** A frame and its direction. */
  receiveEither(): { readonly frame: Buffer; readonly outgoing: boolean } | undefined {
    const size = take(this.fd);
    if (size === undefined) return undefined;
    return { frame: Buffer.from(buffer.subarray(0, size)), outgoing: sender.readUInt8(10) === 4 };
  }
  close(): void {
    closeFd(this.fd);
  }
}

/** Descriptor of a TCP socket that listens on both families; for `net.Server.listen({ fd })`. */
export function listenTcp(namespace: number, port: number): number {
  const fd = open(namespace, afInet6, stream | nonBlocking, 0);
  option(fd, 41, 26, number(0));
  const at = socketAddress('', port);
  must(`binding TCP port ${port}`, fd, bind(fd, at, at.length));
  must('listening', fd, listenCall(fd, 64));
  return fd;
}

const interrupted = 4; // EINTR
const isConnected = 106; // EISCONN
const underWay = 114; // EALREADY

/** Descriptor of a connected TCP socket; for `new net.Socket({ fd })`. @param patience milliseconds, at least 1 */
export function connectTcp(namespace: number, to: Address, port: number, patience: number): number {
  const fd = open(namespace, afInet6, stream, 0);
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(Math.floor(patience / 1000)), 0);
  timeval.writeBigInt64LE(BigInt((patience % 1000) * 1000), 8);
  option(fd, 1, 21, timeval); // SO_SNDTIMEO bounds connect too
  const at = socketAddress(to, port);
  for (const end = performance.now() + patience; ; ) {
    const result = Number(connectCall(fd, at, at.length));
    if (result >= 0) return fd;
    const errno = koffi.errno();
    if (errno === isConnected) return fd;
    // A signal ends the call and not the connecting: asking again waits for the rest of it.
    if (![interrupted, underWay].includes(errno) || performance.now() > end) {
      closeFd(fd);
      throw new KernelError(`connecting to ${to} port ${port}`, errno);
    }
  }
}

/** Takes a connection that has arrived at a listening socket. @returns its descriptor, or undefined when there is none */
export function acceptTcp(listening: number): number | undefined {
  const fd = Number(acceptCall(listening, null, null, closeOnExec));
  if (fd >= 0) return fd;
  const errno = koffi.errno();
  if (errno === again) return undefined;
  throw new KernelError('accepting a connection', errno);
}
