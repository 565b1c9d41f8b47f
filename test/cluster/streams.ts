/**
 * UDP streams between workloads, all in one thread, with the kernel's own time of each packet received: so that it can be
 * told afterwards what came after a moment, and what was lost.
 */
import { Worker } from 'node:worker_threads';
import koffi from 'koffi';
import { socketAddress } from '../../src/kernel/socket.ts';
import type { Address } from '../../src/model/ip.ts';
import type { Workload } from '../wire/workload.ts';
import { each, lineAt, places, ringSize, type StreamsTask } from './streams-task.ts';

const clockGetTime = koffi.load('libc.so.6').func('int clock_gettime(int, _Out_ void *)');
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The clock that the kernel's time stamps are of, in nanoseconds. */
export function wallClock(): bigint {
  const timespec = Buffer.alloc(16);
  clockGetTime(0, timespec);
  return timespec.readBigInt64LE(0) * 1_000_000_000n + timespec.readBigInt64LE(8);
}
export const milliseconds = (from: bigint, to: bigint): number => Number(to - from) / 1e6;

export interface Line {
  readonly name: string;
  readonly from: Workload;
  readonly to: Workload;
  readonly address: Address;
  /** Bytes of payload; default 64. */
  readonly size?: number;
}
export interface Carried {
  readonly name: string;
  readonly sent: number;
  readonly received: number;
}

export class Streams {
  readonly #lines: readonly Line[];
  readonly #counters: BigInt64Array;
  readonly #stamps: BigInt64Array;
  readonly #worker: Worker;
  readonly #ended: Promise<unknown>;

  private constructor(lines: readonly Line[], gap: number, firstPort: number) {
    this.#lines = lines;
    const counters = new SharedArrayBuffer(8 * lineAt(lines.length));
    const stamps = new SharedArrayBuffer(8 * ringSize * lines.length);
    this.#counters = new BigInt64Array(counters);
    this.#stamps = new BigInt64Array(stamps);
    const workerData: StreamsTask = {
      lines: lines.map(({ from, to, address, size = 64 }, at) => ({
        sendFd: from.udp().fd,
        receiveFd: to.udp(firstPort + at).fd,
        to: socketAddress(address, firstPort + at),
        size,
      })),
      ...{ gap, counters, stamps },
    };
    this.#worker = new Worker(new URL('./streams-worker.ts', import.meta.url), { workerData });
    this.#ended = new Promise((resolve, reject) => this.#worker.once('exit', resolve).once('error', reject));
  }

  /** @param gap milliseconds between two packets of a line @param firstPort a port for each line from here on */
  static async start(lines: readonly Line[], gap: number, firstPort = 5100): Promise<Streams> {
    const streams = new Streams(lines, gap, firstPort);
    while (Atomics.load(streams.#counters, places.running) === 0n) await pause(1);
    return streams;
  }

  get names(): readonly string[] {
    return this.#lines.map(({ name }) => name);
  }
  #count(line: number, of: keyof typeof each): number {
    return Number(Atomics.load(this.#counters, lineAt(line) + each[of]));
  }
  sent(line: number): number {
    return this.#count(line, 'sent');
  }
  received(line: number): number {
    return this.#count(line, 'received');
  }
  /** When the packets of a line were received that came after a moment; the newest `ringSize` are known. */
  after(line: number, moment: bigint): readonly bigint[] {
    const received = this.received(line);
    const stamps: bigint[] = [];
    for (let at = received - 1; at >= Math.max(0, received - ringSize); at--) {
      const stamp = Atomics.load(this.#stamps, line * ringSize + (at % ringSize));
      if (stamp <= moment) break;
      stamps.push(stamp);
    }
    return stamps.reverse();
  }
  /** Resolves once each of the lines has received another packet. @throws after `patience` ms */
  async flow(lines: readonly number[] = [...this.#lines.keys()], patience = 20_000): Promise<void> {
    const before = lines.map((line) => this.received(line));
    for (const end = performance.now() + patience; ; await pause(1)) {
      const stuck = lines.filter((line, at) => this.received(line) === before[at]);
      if (stuck.length === 0) return;
      const names = stuck.map((line) => this.#lines[line]?.name).join(', ');
      if (performance.now() > end) throw new Error(`nothing arrived for ${patience} ms: ${names}`);
    }
  }

  /** Sends nothing until what is on its way has arrived. @returns what each line has carried until now */
  async count(): Promise<readonly Carried[]> {
    Atomics.store(this.#counters, places.hold, 1n);
    let [counted, before] = [this.#carried(), ''];
    for (let still = 0; still < 10; still = JSON.stringify(counted) === before ? still + 1 : 0) {
      before = JSON.stringify(counted);
      await pause(30);
      counted = this.#carried();
    }
    Atomics.store(this.#counters, places.hold, 0n);
    return counted;
  }
  #carried(): readonly Carried[] {
    return this.#lines.map(({ name }, line) => ({ name, sent: this.sent(line), received: this.received(line) }));
  }

  /** Stops sending, gives what is on its way its time, and ends. */
  async stop(): Promise<readonly Carried[]> {
    Atomics.store(this.#counters, places.stop, 1n);
    Atomics.notify(this.#counters, places.stop);
    await this.#ended;
    return this.#carried();
  }
}

/** Lines of which something is missing, in words. */
export const lossesOf = (carried: readonly Carried[]): readonly string[] =>
  carried.flatMap(({ name, sent, received }) => {
    if (sent === 0) return [`${name}: nothing was sent`];
    return sent === received ? [] : [`${name}: ${sent - received} of ${sent}`];
  });
