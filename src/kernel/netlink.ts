/**
 * A route netlink socket: builds requests, sends them and reads the answers. Knows the format and no meaning; what can be
 * asked stands in `link.ts` and `traffic-control.ts`. A socket belongs to the namespace it was opened in.
 */
import koffi from 'koffi';
import { closeFd, KernelError } from './bpf.ts';

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)');
const bind = libc.func('int bind(int, const void *, uint)');
const sendto = libc.func('long send(int, const void *, size_t, int)');
const recv = libc.func('long recv(int, _Out_ void *, size_t, int)');
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint)');

const afNetlink = 16;
const sockRaw = 3;
const closeOnExec = 0o2000000;
const dontWait = 0x40;
export const flags = { request: 1, ack: 4, dump: 0x300, replace: 0x100, exclusive: 0x200, create: 0x400 } as const;
const done = 3;
const error = 2;

/** One attribute: type and payload, padded to four bytes. */
export function attribute(type: number, payload: Buffer | number | string): Buffer {
  const body =
    typeof payload === 'number'
      ? Buffer.from(Uint32Array.of(payload).buffer)
      : typeof payload === 'string'
        ? Buffer.from(`${payload}\0`)
        : payload;
  const out = Buffer.alloc((4 + body.length + 3) & ~3);
  out.writeUInt16LE(4 + body.length, 0);
  out.writeUInt16LE(type, 2);
  body.copy(out, 4);
  return out;
}
export const nested = (type: number, ...inner: readonly Buffer[]): Buffer => attribute(type, Buffer.concat(inner));

/** The attributes of a message, by type; the last of a kind wins. */
export function attributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}
export const textOf = (bytes: Buffer | undefined): string => {
  if (bytes === undefined) return '';
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
};

export interface Message {
  readonly type: number;
  readonly body: Buffer;
}

function* split(bytes: Buffer): Generator<Message & { readonly sequence: number }> {
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < 16 || at + length > bytes.length) break;
    yield {
      type: bytes.readUInt16LE(at + 4),
      sequence: bytes.readUInt32LE(at + 8),
      body: bytes.subarray(at + 16, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** The kernel's own words on a refusal, when it has some. */
function extendedAck(body: Buffer): string {
  const inner = body.length >= 20 ? body.readUInt32LE(4) : 0;
  // The request comes back before them, unless it was capped to its header.
  for (const from of [20, 4 + inner]) {
    const text = textOf(attributes(body.subarray(Math.min(from, body.length))).get(1));
    if (/^[\x20-\x7e]+$/.test(text)) return text;
  }
  return '';
}

export class Netlink {
  readonly #fd: number;
  #sequence = 0;
  readonly #buffer = Buffer.alloc(1 << 18);

  /** @param groups multicast groups to listen to; such a socket is for `drain` only */
  constructor(groups = 0) {
    this.#fd = Number(socket(afNetlink, sockRaw | closeOnExec, 0));
    if (this.#fd < 0) throw new KernelError('opening a netlink socket', koffi.errno());
    const address = Buffer.alloc(12);
    address.writeUInt16LE(afNetlink, 0);
    address.writeUInt32LE(groups, 8);
    if (Number(bind(this.#fd, address, address.length)) < 0) throw new KernelError('binding netlink', koffi.errno());
    const one = Buffer.from(Uint32Array.of(1).buffer);
    setsockopt(this.#fd, 270, 10, one, 4); // NETLINK_CAP_ACK
    setsockopt(this.#fd, 270, 11, one, 4); // NETLINK_EXT_ACK
    setsockopt(this.#fd, 1, 33, Buffer.from(Uint32Array.of(1 << 22).buffer), 4); // SO_RCVBUFFORCE
  }

  /** Sends one request and waits for the kernel's word, which is immediate. @throws KernelError */
  request(what: string, type: number, flag: number, body: Buffer): readonly Message[] {
    const sequence = ++this.#sequence;
    const header = Buffer.alloc(16);
    header.writeUInt32LE(16 + body.length, 0);
    header.writeUInt16LE(type, 4);
    header.writeUInt16LE(flags.request | flags.ack | flag, 6);
    header.writeUInt32LE(sequence, 8);
    const message = Buffer.concat([header, body]);
    if (Number(sendto(this.#fd, message, message.length, 0)) < 0) throw new KernelError(what, koffi.errno());
    const answers: Message[] = [];
    for (;;) {
      const size = Number(recv(this.#fd, this.#buffer, this.#buffer.length, 0));
      if (size < 0) throw new KernelError(what, koffi.errno());
      for (const answer of split(Buffer.from(this.#buffer.subarray(0, size)))) {
        if (answer.sequence !== sequence) continue;
        if (answer.type === done) return answers;
        if (answer.type === error) {
          const errno = -answer.body.readInt32LE(0);
          if (errno !== 0) throw new KernelError(what, errno, extendedAck(answer.body));
          return answers;
        }
        answers.push({ type: answer.type, body: answer.body });
      }
    }
  }

  /** What arrived on the listened groups, without waiting; null means that some was lost and all must be read anew. */
  drain(): readonly Message[] | null {
    const messages: Message[] = [];
    for (;;) {
      const size = Number(recv(this.#fd, this.#buffer, this.#buffer.length, dontWait));
      if (size < 0) return koffi.errno() === 105 ? null : messages; // ENOBUFS
      for (const { type, body } of split(Buffer.from(this.#buffer.subarray(0, size)))) messages.push({ type, body });
    }
  }

  close(): void {
    closeFd(this.#fd);
  }
}
