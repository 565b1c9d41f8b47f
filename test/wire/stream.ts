/** Traffic between two workloads from a thread of its own, so that the test may do other things to the network meanwhile. */
import { Worker } from 'node:worker_threads';
import { closeFd } from '../../src/kernel/bpf.ts';
import { acceptTcp, connectTcp, listenTcp, socketAddress } from '../../src/kernel/socket.ts';
import type { Address } from '../../src/model/ip.ts';
import { at, type StreamTask } from './stream-task.ts';
import type { Workload } from './workload.ts';

const streamPort = 5001;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Stream {
  readonly #counters: BigInt64Array;
  readonly #worker: Worker;
  readonly #ended: Promise<unknown>;
  readonly #fds: readonly number[];

  private constructor(task: Omit<StreamTask, 'counters'>, fds: readonly number[]) {
    const counters = new SharedArrayBuffer(64);
    this.#counters = new BigInt64Array(counters);
    this.#fds = fds;
    const workerData: StreamTask = { ...task, counters };
    this.#worker = new Worker(new URL('./stream-worker.ts', import.meta.url), { workerData });
    this.#ended = new Promise((resolve, reject) => this.#worker.once('exit', resolve).once('error', reject));
  }

  /** Datagrams of `size` bytes. @param gap milliseconds between two; 0 is a flood */
  static async udp(
    from: Workload,
    to: Workload,
    address: Address,
    gap: number,
    size = 64,
    port = streamPort,
  ): Promise<Stream> {
    const sink = to.udp(port);
    const source = from.udp();
    const target = socketAddress(address, port);
    const task = { sendFd: source.fd, receiveFd: sink.fd, to: target, size, gap };
    return new Stream(task, []).#started();
  }
  /** One connection, as fast as it goes; counted in bytes. */
  static async tcp(from: Workload, to: Workload, address: Address): Promise<Stream> {
    const listening = listenTcp(to.namespace, streamPort);
    const sendFd = connectTcp(from.namespace, address, streamPort, 2000);
    const receiveFd = acceptTcp(listening);
    closeFd(listening);
    if (receiveFd === undefined) throw new Error('the connection did not arrive');
    const task = { sendFd, receiveFd, to: Buffer.alloc(0), size: 1 << 13, gap: 0 };
    return new Stream(task, [sendFd, receiveFd]).#started();
  }

  async #started(): Promise<this> {
    while (Atomics.load(this.#counters, at.running) === 0n) await pause(1);
    return this;
  }
  get sent(): number {
    return Number(Atomics.load(this.#counters, at.sent));
  }
  get received(): number {
    return Number(Atomics.load(this.#counters, at.received));
  }
  /** Stops sending, drains for 200 ms, and closes. */
  async stop(): Promise<{ readonly sent: number; readonly received: number }> {
    Atomics.store(this.#counters, at.stop, 1n);
    Atomics.notify(this.#counters, at.stop);
    await this.#ended;
    for (const fd of this.#fds) closeFd(fd);
    return { sent: this.sent, received: this.received };
  }
}
