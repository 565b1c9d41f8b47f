/**
 * A capture of what arrives at a workload, in wire packets and wire bytes. Frames that are to be segmented still arrive as one
 * here, with the kernel's word of how large the segments are (PACKET_VNET_HDR): from that, and from the headers in the
 * frame itself, it is worked out what a wire would carry. Knows nothing of the data plane.
 */
import koffi from 'koffi';
import { KernelError } from '../../src/kernel/bpf.ts';
import type { PacketSocket } from '../../src/kernel/socket.ts';
import type { Workload } from './workload.ts';

const libc = koffi.load('libc.so.6');
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint)');
const getsockopt = libc.func('int getsockopt(int, int, int, _Out_ void *, _Inout_ void *)');
const packetLevel = 263;
const [statistics, virtualHeader] = [6, 15];

/** Sets a whole number as socket option. @throws KernelError */
export function setOption(fd: number, level: number, name: number, value: number): void {
  const bytes = Buffer.from(Int32Array.of(value).buffer);
  if (Number(setsockopt(fd, level, name, bytes, bytes.length)) < 0) {
    throw new KernelError(`setting socket option ${level}/${name}`, koffi.errno());
  }
}

export interface Captured {
  packets: number;
  bytes: number;
  /** Frames that arrived as one and stand for several. */
  segmented: number;
}

const tcp = 6;
const ethernet = 14;
const virtual = 10;

export class Capture {
  readonly #socket: PacketSocket;
  readonly #from: readonly Buffer[];
  readonly #sums: Captured = { packets: 0, bytes: 0, segmented: 0 };

  /** @param from first bytes of the source addresses that count */
  constructor(of: Workload, from: readonly Buffer[], device = 'eth0') {
    this.#socket = of.frames(device);
    this.#from = from;
    setOption(this.#socket.fd, packetLevel, virtualHeader, 1);
    // What came before the option was set has no such header.
    while (this.#socket.receive() !== undefined);
  }

  /** Reads what has arrived; to be called now and then under load. */
  drain(): Captured {
    for (let frame = this.#socket.receive(); frame !== undefined; frame = this.#socket.receive()) this.#add(frame);
    return this.#sums;
  }

  #add(bytes: Buffer): void {
    const frame = bytes.subarray(virtual);
    const type = frame.readUInt16BE(12);
    const family = type === 0x0800 ? 4 : type === 0x86dd ? 6 : undefined;
    if (family === undefined) return;
    const source = frame.subarray(ethernet + (family === 4 ? 12 : 8));
    if (!this.#from.some((prefix) => source.subarray(0, prefix.length).equals(prefix))) return;
    const [kind, size] = [bytes.readUInt8(1), bytes.readUInt16LE(4)];
    if (kind === 0) {
      this.#sums.packets++;
      this.#sums.bytes += frame.length;
      return;
    }
    const network = family === 4 ? (frame.readUInt8(ethernet) & 0xf) * 4 : 40;
    const protocol = frame.readUInt8(ethernet + (family === 4 ? 9 : 6));
    const transport = protocol === tcp ? (frame.readUInt8(ethernet + network + 12) >> 4) * 4 : 8;
    const headers = ethernet + network + transport;
    const data = frame.length - headers;
    const packets = Math.ceil(data / size);
    this.#sums.packets += packets;
    this.#sums.bytes += data + packets * headers;
    if (packets > 1) this.#sums.segmented++;
  }

  /** Frames that the capture itself missed: then it proves nothing. */
  missed(): number {
    const [out, size] = [Buffer.alloc(8), Buffer.from(Uint32Array.of(8).buffer)];
    if (Number(getsockopt(this.#socket.fd, packetLevel, statistics, out, size)) < 0) {
      throw new KernelError('reading the statistics of a capture', koffi.errno());
    }
    return out.readUInt32LE(4);
  }
}
