/**
 * Flow records: what became of single packets, told by a second build of the program that is on the devices only while
 * somebody looks. Off, it costs nothing, because it is not there. Whoever looks asks again and again; when he stops
 * asking, the plain program takes its place within seconds. What does not fit is counted as lost, never hidden.
 */
import { fileURLToPath } from 'node:url';
import * as bpf from '../../kernel/bpf.ts';
import { withObject } from '../../kernel/bpf-object.ts';
import { RingBuffer } from '../../kernel/ring-buffer.ts';
import { exitOfCode } from '../../model/drop-reason.ts';
import type { FlowPage, FlowRecord } from '../driver.ts';
import { addressFrom, u32 } from './layout.ts';
import type { Registry } from './registry.ts';
import { type MapName, mapNames, type ProgramName, programNames, type Tables } from './tables.ts';

export const flowsObject = fileURLToPath(new URL('../../../bpf/flows.bpf.o', import.meta.url));

/** Bytes of `struct flow`. */
const recordSize = 64;
/** Records that wait for whoever asks, and that one answer holds. */
const mostWaiting = 20_000;
const mostAnswered = 5_000;
/** How long a rate is kept after it was last asked for, in milliseconds. */
const lease = 3000;
const readEvery = 50;

interface Running {
  readonly ring: RingBuffer;
  readonly config: number;
  readonly programs: Readonly<Record<ProgramName, number>>;
  readonly timer: NodeJS.Timeout;
}

export class Flows {
  readonly #tables: Tables;
  readonly #registry: Registry;
  readonly #replace: (programs: Readonly<Record<ProgramName, number>>) => void;
  /** Rates that are asked for, and until when. */
  readonly #leases = new Map<number, number>();
  readonly #waiting: FlowRecord[] = [];
  #running: Running | null = null;
  #next = 1;
  #lost = 0;

  /** @param replace puts programs on every device; called only within a turn of the driver */
  constructor(tables: Tables, registry: Registry, replace: (programs: Readonly<Record<ProgramName, number>>) => void) {
    this.#tables = tables;
    this.#registry = registry;
    this.#replace = replace;
  }

  get on(): boolean {
    return this.#running !== null;
  }

  /**
   * Records after a number; switches sampling on, or keeps it on.
   * @param sample one packet in how many; of several who ask the smallest counts
   */
  ask(sample: number, after: number): FlowPage {
    this.#leases.set(sample, Date.now() + lease);
    if (this.#running === null) this.#start();
    this.#setRate();
    this.#read();
    const records = this.#waiting.filter(({ number }) => number > after).slice(0, mostAnswered);
    return {
      records,
      next: records.at(-1)?.number ?? Math.min(after, this.#next - 1),
      lost: this.#lost + this.#noRoom(),
    };
  }

  #start(): void {
    const reuse = Object.fromEntries(mapNames.map((name: MapName) => [name, this.#tables.fd(name)]));
    const made = withObject(flowsObject, { programs: programNames, reuse }, ({ map, program }) => ({
      ring: new RingBuffer(map('flows'), recordSize, (bytes) => this.#take(bytes)),
      config: bpf.duplicate(map('flow_config')),
      programs: Object.fromEntries(programNames.map((name) => [name, bpf.duplicate(program(name))])) as Record<
        ProgramName,
        number
      >,
    }));
    const timer = setInterval(() => this.#read(), readEvery);
    timer.unref();
    this.#running = { ...made, timer };
    this.#waiting.length = 0;
    this.#lost = 0;
    this.#tables.use(made.programs);
    this.#replace(made.programs);
  }

  /** Whether nobody asks any more. */
  get idle(): boolean {
    const now = Date.now();
    for (const [sample, until] of this.#leases) if (until < now) this.#leases.delete(sample);
    return this.#running !== null && this.#leases.size === 0;
  }

  /** Puts the plain program back. */
  stop(): void {
    const running = this.#running;
    if (running === null) return;
    this.#running = null;
    this.#leases.clear();
    clearInterval(running.timer);
    this.#tables.use(null);
    this.#replace({ ingress: this.#tables.program('ingress'), egress: this.#tables.program('egress') });
    running.ring.close();
    for (const fd of [running.config, ...Object.values(running.programs)]) bpf.closeFd(fd);
    this.#waiting.length = 0;
  }

  #setRate(): void {
    const rate = this.#leases.size === 0 ? 0 : Math.min(...this.#leases.keys());
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(rate));
    if (this.#running !== null) bpf.update(this.#running.config, u32(0), value);
  }

  #noRoom(): number {
    const value = this.#running === null ? undefined : bpf.lookup(this.#running.config, u32(1), 8);
    return Number(value?.readBigUInt64LE(0) ?? 0n);
  }

  #read(): void {
    this.#running?.ring.consume();
    const over = this.#waiting.length - mostWaiting;
    if (over <= 0) return;
    this.#waiting.splice(0, over);
    this.#lost += over;
  }

  #take(bytes: Buffer): void {
    const half = bytes.readUInt32LE(12);
    const age = Number(process.hrtime.bigint() - bytes.readBigUInt64LE(0)) / 1e6;
    const protocol = bytes.readUInt8(26);
    this.#waiting.push({
      number: this.#next++,
      time: Date.now() - age,
      portId: this.#registry.idOf('interface', bytes.readUInt32LE(8)) ?? null,
      halfId: half === 0 ? null : (this.#registry.idOf('half', half) ?? null),
      exit: exitOfCode(bytes.readUInt8(24)) ?? 'Internal',
      protocol,
      source: addressFrom(bytes.subarray(32, 48)) ?? '',
      destination: addressFrom(bytes.subarray(48, 64)) ?? '',
      sourcePort: bytes.readUInt16BE(28),
      destinationPort: bytes.readUInt16BE(30),
      packets: bytes.readUInt32LE(16),
      bytes: bytes.readUInt32LE(20),
    });
  }
}
