/** The thread behind `streams.ts`. Touches its sockets only. */
import { workerData } from 'node:worker_threads';
import koffi from 'koffi';
import { each, lineAt, places, ringSize, type StreamsTask } from './streams-task.ts';

const libc = koffi.load('libc.so.6');
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint)');
const recv = libc.func('long recv(int, _Out_ void *, size_t, int)');
const ioctl = libc.func('int ioctl(int, ulong, _Out_ void *)');
const dontWaitNoSignal = 0x4040;
const lastStamp = 0x8907; // SIOCGSTAMPNS: when the packet was received that was read last

const task = workerData as StreamsTask;
const counters = new BigInt64Array(task.counters);
const stamps = new BigInt64Array(task.stamps);
const got = Buffer.alloc(1 << 16);
const timespec = Buffer.alloc(16);
const lines = task.lines.map(({ to, size, ...rest }) => ({
  ...rest,
  to: Buffer.from(to),
  data: Buffer.alloc(size, 0x5a),
}));
// Asked once, the kernel begins to take the times.
for (const { receiveFd } of lines) ioctl(receiveFd, lastStamp, timespec);

let due = performance.now();
const drain = 500; // milliseconds after the last packet was sent
for (let end = Number.POSITIVE_INFINITY; performance.now() < end; ) {
  Atomics.store(counters, places.running, 1n);
  const stopped = Atomics.load(counters, places.stop) !== 0n;
  if (stopped && end === Number.POSITIVE_INFINITY) end = performance.now() + drain;
  const silent = stopped || Atomics.load(counters, places.hold) !== 0n;
  if (!silent && performance.now() >= due) {
    // One that comes late is not made up for: a burst would fill a queue, and that is another loss than what is looked for.
    due = Math.max(due + task.gap, performance.now());
    for (const [line, { sendFd, to, data }] of lines.entries()) {
      const size = Number(sendto(sendFd, data, data.length, dontWaitNoSignal, to, to.length));
      if (size >= 0) Atomics.add(counters, lineAt(line) + each.sent, 1n);
    }
  }
  for (const [line, { receiveFd }] of lines.entries()) {
    for (let n = 0; n < 64; n++) {
      const size = Number(recv(receiveFd, got, got.length, dontWaitNoSignal));
      if (size < 0) break;
      ioctl(receiveFd, lastStamp, timespec);
      const stamp = timespec.readBigInt64LE(0) * 1_000_000_000n + timespec.readBigInt64LE(8);
      const at = lineAt(line) + each.received;
      Atomics.store(stamps, line * ringSize + Number(Atomics.load(counters, at) % BigInt(ringSize)), stamp);
      Atomics.add(counters, at, 1n);
    }
  }
  Atomics.wait(counters, places.stop, stopped ? 1n : 0n, Math.max(0.2, Math.min(task.gap, due - performance.now())));
}
