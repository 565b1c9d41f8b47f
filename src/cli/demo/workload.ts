/**
 * A workload of the demo: a process inside its namespace that pings, serves and fetches HTTP, and reads and writes TCP,
 * as told by JSON lines on stdin. Started by `workload-process.ts`; ends when stdin does.
 *
 * Node has no raw sockets, so the echo request goes through libc, and its answer is waited for without blocking.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import koffi from 'koffi';

/** What can be asked; every request carries an `id` that the answer repeats. */
export type WorkloadRequest =
  | { readonly ask: 'ping'; readonly address: string; readonly patience: number }
  | { readonly ask: 'requests-seen' }
  | { readonly ask: 'fetch'; readonly address: string }
  | { readonly ask: 'stream'; readonly address: string }
  | { readonly ask: 'stop-stream' }
  | { readonly ask: 'received' }
  /** Sends numbered datagrams, 500 a second, under this name; answers once the first is sent. */
  | { readonly ask: 'beat'; readonly name: string; readonly address: string }
  /** Answers with how many were sent. */
  | { readonly ask: 'stop-beat'; readonly name: string }
  /** What of the beats of that name has arrived here. */
  | { readonly ask: 'heard'; readonly name: string }
  /** Packets that have entered this namespace's `eth0`, as its kernel counts them. */
  | { readonly ask: 'entered' }
  /** Sends for that many milliseconds to the sink; answers with bytes that left. */
  | { readonly ask: 'blast'; readonly address: string; readonly milliseconds: number };

/** Beats that arrived. */
export interface Heard {
  /** How many, and the highest number among them, from 1. */
  readonly count: number;
  readonly highest: number;
}

const httpPort = 80;
const streamPort = 7001;
const sinkPort = 7002;
const beatPort = 7003;
/** Milliseconds between two looks at the clock, and between two beats. */
const beatTick = 4;
const beatGap = 2;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)');
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint)');
const recv = libc.func('long recv(int, _Out_ void *, size_t, int)');
const close = libc.func('int close(int)');
const afInet = 2;
const sockRaw = 3;
const nonBlocking = 0o4000;
const icmp = 1;

const name = process.argv[2] ?? 'workload';
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

let sequence = 0;
async function ping(address: string, patience: number): Promise<boolean> {
  const fd: number = socket(afInet, sockRaw | nonBlocking, icmp);
  if (fd < 0) throw new Error('no raw socket: root is needed inside the namespace');
  try {
    const identity = process.pid & 0xffff;
    sequence = (sequence + 1) & 0xffff;
    const request = Buffer.alloc(64);
    request.writeUInt8(8, 0);
    request.writeUInt16BE(identity, 4);
    request.writeUInt16BE(sequence, 6);
    request.writeUInt16BE(checksum(request), 2);
    const to = Buffer.alloc(16);
    to.writeUInt16LE(afInet, 0);
    for (const [at, octet] of address.split('.').entries()) to.writeUInt8(Number(octet), 4 + at);
    sendto(fd, request, request.length, 0, to, to.length);
    const answer = Buffer.alloc(2048);
    const read = (): number => Number(recv(fd, answer, answer.length, 0));
    for (const end = performance.now() + patience; performance.now() < end; await pause(1)) {
      for (let size = read(); size > 0; size = read()) {
        const at = (answer.readUInt8(0) & 0xf) * 4;
        const ours = answer.readUInt16BE(at + 4) === identity && answer.readUInt16BE(at + 6) === sequence;
        if (answer.readUInt8(at) === 0 && ours) return true;
      }
    }
    return false;
  } finally {
    close(fd);
  }
}

/** Echo requests that this namespace's own stack has received. */
function requestsSeen(): number {
  const rows = readFileSync('/proc/self/net/snmp', 'utf8')
    .split('\n')
    .filter((row) => row.startsWith('Icmp:'))
    .map((row) => row.split(' '));
  return Number(rows[1]?.[rows[0]?.indexOf('InEchos') ?? -1] ?? 0);
}

function fetchRoot(address: string): Promise<string | null> {
  return new Promise((resolve) => {
    const request = get({ host: address, port: httpPort, timeout: 1000, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve(body));
    });
    request.on('timeout', () => request.destroy()).on('error', () => resolve(null));
  });
}

/** Writes without pause until the socket goes. */
function pump(to: Socket, block: Buffer): void {
  const more = (): void => {
    while (!to.destroyed && to.write(block)) {
      // The kernel took it at once: go on.
    }
  };
  to.on('drain', more);
  more();
}

let running: Socket | null = null;
let received = 0;
createServer((_, response) => response.end(`hello from ${name}`)).listen(httpPort, '0.0.0.0');
createTcpServer((from) => {
  from.on('data', (part) => {
    received += part.length;
  });
  from.on('error', () => from.destroy());
}).listen(streamPort, '0.0.0.0');
createTcpServer((from) => from.resume().on('error', () => from.destroy())).listen(sinkPort, '0.0.0.0');

const heard = new Map<string, { count: number; highest: number }>();
createSocket({ type: 'udp6', reuseAddr: true })
  .on('message', (message) => {
    const [of = '', number] = message.toString('latin1').split(' ');
    const so = heard.get(of) ?? { count: 0, highest: 0 };
    heard.set(of, { count: so.count + 1, highest: Math.max(so.highest, Number(number)) });
  })
  .bind(beatPort);

const beats = new Map<string, () => number>();
function beat(of: string, address: string): Promise<true> {
  const from = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  from.on('error', () => {}); // unreachable for a while: the numbers tell
  let sent = 0;
  const start = performance.now();
  // By the clock, for a timer is late when the machine is busy.
  const timer = setInterval(() => {
    for (const due = (performance.now() - start) / beatGap; sent < due; )
      from.send(`${of} ${++sent}`, beatPort, address);
  }, beatTick);
  beats.set(of, () => {
    clearInterval(timer);
    beats.delete(of);
    from.close();
    return sent;
  });
  return new Promise((resolve) => from.send(`${of} ${++sent}`, beatPort, address, () => resolve(true)));
}

/** Packets that `eth0` has received. */
function entered(): number {
  const row = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((line) => line.trim().startsWith('eth0:'));
  return Number(row?.split(':')[1]?.trim().split(/ +/)[1] ?? 0);
}

async function connected(address: string, port: number): Promise<Socket> {
  const to = connect({ host: address, port });
  await new Promise((resolve, reject) => to.once('connect', resolve).once('error', reject));
  to.on('error', () => to.destroy());
  return to;
}

async function answer(request: WorkloadRequest): Promise<unknown> {
  switch (request.ask) {
    case 'ping':
      return ping(request.address, request.patience);
    case 'requests-seen':
      return requestsSeen();
    case 'fetch':
      return fetchRoot(request.address);
    case 'stream': {
      running = await connected(request.address, streamPort);
      const to = running;
      // A steady 5 MB a second: enough to see, little enough to leave the machine alone.
      const timer = setInterval(() => to.writableLength < 1 << 20 && to.write(Buffer.alloc(50_000)), 10);
      to.on('close', () => clearInterval(timer));
      return true;
    }
    case 'stop-stream':
      running?.destroy();
      return true;
    case 'received':
      return received;
    case 'beat':
      return beat(request.name, request.address);
    case 'stop-beat':
      return beats.get(request.name)?.() ?? 0;
    case 'heard':
      return heard.get(request.name) ?? ({ count: 0, highest: 0 } satisfies Heard);
    case 'entered':
      return entered();
    case 'blast': {
      const to = await connected(request.address, sinkPort);
      const start = performance.now();
      pump(to, Buffer.alloc(1 << 18));
      await pause(request.milliseconds);
      const bytes = to.bytesWritten - to.writableLength;
      const seconds = (performance.now() - start) / 1000;
      to.destroy();
      return { bytes, seconds };
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...request } = JSON.parse(line) as WorkloadRequest & { id: number };
  answer(request as WorkloadRequest).then(
    (result) => process.stdout.write(`${JSON.stringify({ id, result })}\n`),
    (error: Error) => process.stdout.write(`${JSON.stringify({ id, error: error.message })}\n`),
  );
}
process.exit(0);
