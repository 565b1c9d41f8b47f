/**
 * One end of the traffic: a process on a CPU of its own that does what JSON lines on stdin say, in any namespace, with
 * batched system calls. While it works it blocks; any byte on stdin ends the work. It measures the CPU time of its one
 * working thread, which on a kernel without CONFIG_IRQ_TIME_ACCOUNTING includes the soft interrupts it raises.
 */
import { closeSync, writeSync } from 'node:fs';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import koffi from 'koffi';
import { closeFd, KernelError } from '../src/kernel/bpf.ts';
import { openNamed } from '../src/kernel/netns.ts';
import { connectTcp, listenTcp, openUdp, socketAddress } from '../src/kernel/socket.ts';
import type { Job, JobResult } from './traffic.ts';

const libc = koffi.load('libc.so.6');
const sendmmsg = libc.func('int sendmmsg(int, void *, uint, int)');
const recvmmsg = libc.func('int recvmmsg(int, void *, uint, int, void *)');
const connectCall = libc.func('int connect(int, const void *, uint)');
const acceptCall = libc.func('int accept4(int, void *, void *, int)');
const send = libc.func('long send(int, const void *, size_t, int)');
const recv = libc.func('long recv(int, void *, size_t, int)');
const ppoll = libc.func('int ppoll(void *, ulong, const void *, const void *)');
const clockGettime = libc.func('int clock_gettime(int, _Out_ void *)');
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint)');
const prctl = libc.func('int prctl(int, ulong, ulong, ulong, ulong)');
const setAffinity = libc.func('int sched_setaffinity(int, size_t, const void *)');

const dontWait = 0x40;
const again = 11;
const batch = 64;

const cpu = Number(process.argv[2]);
prctl(1, 9, 0, 0, 0); // PR_SET_PDEATHSIG: a parent that is killed takes us along
const mask = Buffer.alloc(128);
mask.writeUInt8(1 << (cpu % 8), Math.floor(cpu / 8));
if (Number(setAffinity(0, mask.length, mask)) < 0) throw new KernelError(`moving to CPU ${cpu}`, koffi.errno());
// Before whatever else the machine does: its time slices would show as waiting.
setPriority(-20);

const timespec = Buffer.alloc(16);
/** Nanoseconds of CPU that this thread has used, exact to the call. */
function cpuTime(): number {
  clockGettime(3, timespec); // CLOCK_THREAD_CPUTIME_ID
  return Number(timespec.readBigInt64LE(0)) * 1e9 + Number(timespec.readBigInt64LE(8));
}
const now = (): number => Number(process.hrtime.bigint());

const stdinPoll = Buffer.alloc(8);
const pause = Buffer.alloc(16);
/** Waits, or returns at once when the parent speaks. @returns whether it did */
function told(microseconds: number): boolean {
  stdinPoll.fill(0);
  stdinPoll.writeInt16LE(1, 4); // stdin is descriptor 0; POLLIN
  pause.writeBigInt64LE(BigInt(Math.floor(microseconds / 1e6)), 0);
  pause.writeBigInt64LE(BigInt(Math.floor((microseconds % 1e6) * 1000)), 8);
  return Number(ppoll(stdinPoll, 1, pause, null)) > 0;
}

/** Held for the life of the process: the kernel reads and writes these through the addresses in the headers. */
const held: Buffer[] = [];
const made = new Map<number, Buffer>();
/** `batch` messages of that many bytes each, as sendmmsg and recvmmsg take them. */
function messages(size: number): Buffer {
  const known = made.get(size);
  if (known !== undefined) return known;
  const payload = Buffer.alloc(batch * size);
  const vectors = Buffer.alloc(batch * 16);
  const headers = Buffer.alloc(batch * 64);
  held.push(payload, vectors);
  made.set(size, headers);
  const at = (buffer: Buffer): bigint => BigInt(koffi.address(buffer) as number | bigint);
  for (let i = 0; i < batch; i++) {
    vectors.writeBigUInt64LE(at(payload) + BigInt(i * size), i * 16);
    vectors.writeBigUInt64LE(BigInt(size), i * 16 + 8);
    headers.writeBigUInt64LE(at(vectors) + BigInt(i * 16), i * 64 + 16);
    headers.writeBigUInt64LE(1n, i * 64 + 24);
  }
  return headers;
}

function within<T>(name: string, work: (namespace: number) => T): T {
  const namespace = openNamed(name);
  try {
    return work(namespace);
  } finally {
    closeSync(namespace);
  }
}

const say = (line: object): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

function sendUdp(job: Extract<Job, { do: 'send-udp' }>): JobResult {
  const socket = within(job.namespace, (namespace) => openUdp(namespace));
  const headers = messages(job.size);
  try {
    const to = socketAddress(job.to, job.port);
    if (Number(connectCall(socket.fd, to, to.length)) < 0) throw new KernelError('connecting', koffi.errno());
    let sent = 0;
    let refused = 0;
    const started = now();
    const cpuBefore = cpuTime();
    for (let burst = 1; sent < job.packets; burst++) {
      for (let left = Math.min(job.burst, job.packets - sent); left > 0; ) {
        const count = Number(sendmmsg(socket.fd, headers, Math.min(batch, left), 0));
        if (count > 0) {
          sent += count;
          left -= count;
        } else if (++refused > 1000 + job.packets / 10) {
          // A pending error (a port that is not open yet) is reported once and gone; this many are not that.
          throw new KernelError('sending', koffi.errno());
        }
      }
      // A timetable, not a pause: what one burst lost the next catches up.
      const wait = (started + burst * job.every * 1000 - now()) / 1000;
      if (told(Math.max(0, wait))) break;
    }
    return { packets: sent, cpu: cpuTime() - cpuBefore, elapsed: now() - started };
  } finally {
    socket.close();
  }
}

function receiveUdp(job: Extract<Job, { do: 'receive-udp' }>): JobResult {
  const socket = within(job.namespace, (namespace) => openUdp(namespace, { port: job.port, receiveBuffer: 64 << 20 }));
  const headers = messages(2048);
  try {
    say({ ready: true });
    const started = now();
    const cpuBefore = cpuTime();
    let received = 0;
    let first = 0;
    let last = started;
    while (received < job.packets) {
      const count = Number(recvmmsg(socket.fd, headers, batch, dontWait, null));
      if (count > 0) {
        if (received === 0) first = now();
        received += count;
        last = now();
        if (count === batch) continue;
      } else if (koffi.errno() !== again && koffi.errno() !== 111) {
        throw new KernelError('receiving', koffi.errno());
      } else if (now() - last > job.patience * 1e6) break;
      if (told(job.pause)) break;
    }
    return { packets: received, cpu: cpuTime() - cpuBefore, elapsed: now() - started, first };
  } finally {
    socket.close();
  }
}

/** A second of patience for every blocking call, so that a broken path ends the run instead of hanging it. */
function limitWaiting(fd: number): void {
  const second = Buffer.alloc(16);
  second.writeBigInt64LE(1n, 0);
  for (const name of [20, 21]) setsockopt(fd, 1, name, second, second.length); // SO_RCVTIMEO, SO_SNDTIMEO
  const one = Buffer.from(Int32Array.of(1).buffer);
  setsockopt(fd, 6, 1, one, 4); // TCP_NODELAY
}

function serve(job: Extract<Job, { do: 'serve' }>): JobResult {
  const listening = within(job.namespace, (namespace) => listenTcp(namespace, job.port));
  const buffer = Buffer.alloc(256 << 10);
  let fd = -1;
  try {
    say({ ready: true });
    for (let tries = 0; fd < 0; tries++) {
      fd = Number(acceptCall(listening, null, null, 0o2000000));
      if (fd < 0 && (tries > 3000 || told(1000))) throw new KernelError('waiting for a connection', koffi.errno());
    }
    limitWaiting(fd);
    const started = now();
    const cpuBefore = cpuTime();
    let bytes = 0;
    for (;;) {
      const size = Number(recv(fd, buffer, job.echo ? 64 : buffer.length, 0));
      if (size === 0) break;
      if (size < 0) {
        if (koffi.errno() !== again) throw new KernelError('receiving', koffi.errno());
        if (told(0)) break;
        continue;
      }
      bytes += size;
      if (job.echo && Number(send(fd, buffer, size, 0)) < 0) throw new KernelError('answering', koffi.errno());
    }
    return { packets: bytes, cpu: cpuTime() - cpuBefore, elapsed: now() - started };
  } finally {
    if (fd >= 0) closeFd(fd);
    closeFd(listening);
  }
}

function connect(job: Extract<Job, { do: 'request' | 'stream' }>): number {
  const fd = within(job.namespace, (namespace) => connectTcp(namespace, job.to, job.port, 3000));
  limitWaiting(fd);
  return fd;
}

function request(job: Extract<Job, { do: 'request' }>): JobResult {
  const fd = connect(job);
  const message = Buffer.alloc(1);
  try {
    const started = now();
    const cpuBefore = cpuTime();
    for (let turn = 0; turn < job.turns; turn++) {
      if (Number(send(fd, message, 1, 0)) !== 1) throw new KernelError('asking', koffi.errno());
      if (Number(recv(fd, message, 1, 0)) !== 1) throw new KernelError('waiting for an answer', koffi.errno());
    }
    return { packets: job.turns, cpu: cpuTime() - cpuBefore, elapsed: now() - started };
  } finally {
    closeFd(fd);
  }
}

function stream(job: Extract<Job, { do: 'stream' }>): JobResult {
  const fd = connect(job);
  const chunk = Buffer.alloc(128 << 10);
  try {
    const started = now();
    const cpuBefore = cpuTime();
    let bytes = 0;
    while (bytes < job.bytes) {
      const size = Number(send(fd, chunk, Math.min(chunk.length, job.bytes - bytes), 0));
      if (size > 0) bytes += size;
      else if (koffi.errno() !== again) throw new KernelError('sending', koffi.errno());
      if ((size <= 0 || job.bytes === Number.MAX_SAFE_INTEGER) && told(0)) break;
    }
    return { packets: bytes, cpu: cpuTime() - cpuBefore, elapsed: now() - started };
  } finally {
    closeFd(fd);
  }
}

function perform(job: Job): JobResult {
  switch (job.do) {
    case 'send-udp':
      return sendUdp(job);
    case 'receive-udp':
      return receiveUdp(job);
    case 'serve':
      return serve(job);
    case 'request':
      return request(job);
    case 'stream':
      return stream(job);
  }
}

// Ctrl-C reaches the whole group; the parent clears up and ends us.
process.on('SIGINT', () => {});
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === '') return; // ends the work under way, and has by now
  try {
    say({ result: perform(JSON.parse(line) as Job) });
  } catch (error) {
    say({ problem: error instanceof Error ? error.message : String(error) });
  }
});
