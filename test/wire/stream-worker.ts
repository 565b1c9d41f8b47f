/** The thread behind `stream.ts`: sends and receives without pause, or paced, until told to stop. Touches two sockets only. */
import { workerData } from 'node:worker_threads';
import koffi from 'koffi';
import { at, type StreamTask } from './stream-task.ts';

const libc = koffi.load('libc.so.6');
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint)');
const recv = libc.func('long recv(int, _Out_ void *, size_t, int)');
const dontWaitNoSignal = 0x4040;

const task = workerData as StreamTask;
const counters = new BigInt64Array(task.counters);
const data = Buffer.alloc(task.size, 0x5a);
const got = Buffer.alloc(1 << 18);
const datagrams = task.to.length > 0;
const target = datagrams ? Buffer.from(task.to) : null;
// Some turns after the stop: what is on its way still counts.
for (let tail = 0; tail < 200; ) {
  Atomics.store(counters, at.running, 1n);
  if (Atomics.load(counters, at.stop) === 0n) {
    const size = Number(sendto(task.sendFd, data, data.length, dontWaitNoSignal, target, task.to.length));
    if (size >= 0) Atomics.add(counters, at.sent, datagrams ? 1n : BigInt(size));
    if (size < 0 || task.gap > 0) Atomics.wait(counters, at.stop, 0n, Math.max(task.gap, 1));
  } else {
    tail++;
    Atomics.wait(counters, at.stop, 1n, 1);
  }
  for (let n = 0; n < 64; n++) {
    const size = Number(recv(task.receiveFd, got, got.length, dontWaitNoSignal));
    if (size <= 0) break;
    Atomics.add(counters, at.received, datagrams ? 1n : BigInt(size));
  }
}
