/**
 * What the program itself costs: the kernel runs it on a frame many times over (BPF_PROG_TEST_RUN) and tells the mean.
 * Each case beside an empty program, in turns, lower quartile: interruptions only ever add. The tables are the real
 * ones, but for two things: every MAC is the gateway's, because the program rewrites the frame and must take it again, and
 * a frame is run at most 240 times, because each run across a peering takes one from its TTL of 255.
 */
import koffi from 'koffi';
import {
  decodeInterface,
  decodeTarget,
  encodeAddressKey,
  encodeInterface,
  encodeRoute,
  encodeRouteKey,
  encodeTarget,
  sizes,
  u32,
} from '../src/dataplane/ebpf/layout.ts';
import * as bpf from '../src/kernel/bpf.ts';
import { testRun } from '../src/kernel/bpf-test-run.ts';
import { addressBytes } from '../src/kernel/link.ts';
import { inside } from '../src/kernel/netns.ts';
import { type Address, familyOf, type Prefix } from '../src/model/ip.ts';
import { gatewayMac } from '../src/model/network-spec.ts';
import type { Figure } from './report.ts';
import { percentile } from './statistics.ts';
import { type Port, portOf, prefix, type Tenants } from './tenants.ts';

const repeat = 240;
const redirected = 7; // TC_ACT_REDIRECT
const shot = 2; // TC_ACT_SHOT
const ok = 0; // TC_ACT_OK

/**
 * Test runs end early (EINTR) and programs are not loaded (EAGAIN) when a signal is on its way, that of a child that
 * ended for one; they are then made again, as libbpf does.
 */
function uninterrupted<T>(work: () => T): T {
  for (let tries = 0; ; tries++) {
    try {
      return work();
    } catch (error) {
      const again = error instanceof bpf.KernelError && ['EINTR', 'EAGAIN'].includes(error.errorName);
      if (!again || tries === 10) throw error;
    }
  }
}

/** A program of two instructions (r0 = 0; exit): what a test run costs by itself. @returns its descriptor */
function emptyProgram(): number {
  const code = Buffer.from('b700000000000000' + '9500000000000000', 'hex');
  const licence = Buffer.from('GPL\0');
  const attribute = Buffer.alloc(128);
  attribute.writeUInt32LE(3, 0); // BPF_PROG_TYPE_SCHED_CLS
  attribute.writeUInt32LE(code.length / 8, 4);
  attribute.writeBigUInt64LE(bpf.pointer(code), 8);
  attribute.writeBigUInt64LE(bpf.pointer(licence), 16);
  const syscall = koffi.load('libc.so.6').func('long syscall(long, int, void *, uint)');
  const fd = Number(syscall(process.arch === 'arm64' ? 280 : 321, 5, attribute, attribute.length)); // BPF_PROG_LOAD
  if (fd < 0) throw new bpf.KernelError('loading the empty program', koffi.errno());
  if (code.length + licence.length === 0) throw new Error('the kernel read nothing'); // both lived until here
  return fd;
}

/** A small UDP packet to the gateway's MAC; its checksums are nobody's concern here. */
function frame(from: Address, to: Address): Buffer {
  const mac = Buffer.from(gatewayMac.replaceAll(':', ''), 'hex');
  const payload = Buffer.alloc(8 + 64);
  payload.writeUInt16BE(7001, 0);
  payload.writeUInt16BE(7001, 2);
  payload.writeUInt16BE(payload.length, 4);
  const v6 = familyOf(to) === 6;
  const header = Buffer.alloc(v6 ? 8 : 12);
  if (v6) {
    header.writeUInt8(0x60, 0);
    header.writeUInt16BE(payload.length, 4);
    header.writeUInt8(17, 6);
    header.writeUInt8(255, 7);
  } else {
    header.writeUInt8(0x45, 0);
    header.writeUInt16BE(20 + payload.length, 2);
    header.writeUInt8(255, 8);
    header.writeUInt8(17, 9);
  }
  const type = Buffer.from(v6 ? '86dd' : '0800', 'hex');
  return Buffer.concat([mac, mac, type, header, addressBytes(from), addressBytes(to), payload]);
}

interface Case {
  readonly name: string;
  readonly program: number;
  readonly frame: Buffer;
  readonly verdict: number;
  readonly before?: () => void;
}

class Bench {
  readonly #tenants: Tenants;
  readonly sender: Port;
  constructor(tenants: Tenants) {
    this.#tenants = tenants;
    this.sender = portOf(tenants.alice, 0);
  }
  get tables() {
    return this.#tenants.driver.kernelObjects.tables;
  }
  slot(port: Port): number {
    return this.#tenants.driver.kernelObjects.registry.must('interface', port.id).slot;
  }
  entry(port: Port) {
    const bytes = bpf.lookup(this.tables.fd('interfaces'), u32(this.slot(port)), sizes.interface);
    if (bytes === undefined) throw new Error(`no entry for ${port.id}`);
    return decodeInterface(bytes);
  }

  /** Gives an interface the gateway's MAC wherever it is looked up. */
  disguise(port: Port): void {
    const entry = this.entry(port);
    bpf.update(this.tables.fd('interfaces'), u32(this.slot(port)), encodeInterface({ ...entry, mac: gatewayMac }));
    for (const address of [port.v4, port.v6]) {
      const key = encodeAddressKey(entry.vpc, address);
      const target = bpf.lookup(this.tables.fd('addrs'), key, sizes.target);
      if (target === undefined) throw new Error(`${address} is not in the tables`);
      bpf.update(this.tables.fd('addrs'), key, encodeTarget({ ...decodeTarget(target), mac: gatewayMac }));
    }
  }

  useTable(slot: number): void {
    const entry = this.entry(this.sender);
    bpf.update(this.tables.fd('interfaces'), u32(this.slot(this.sender)), encodeInterface({ ...entry, table: slot }));
  }

  run(of: Case, times: number): number {
    of.before?.();
    const { ifindex } = this.entry(this.sender);
    const { namespace } = this.#tenants.driver.kernelObjects;
    const { verdict, nanoseconds } = uninterrupted(() =>
      inside(namespace, () => testRun(of.program, of.frame, ifindex, { repeat: times })),
    );
    // The last run's: had one been dropped, all after it would be.
    if (verdict !== of.verdict) throw new Error(`${of.name}: verdict ${verdict} instead of ${of.verdict}`);
    return nanoseconds;
  }

  /**
   * Fills further route tables: Alice's route to Bob, Local, and others. @returns their slots
   */
  async fill(first: number, count: number, routes: number): Promise<readonly number[]> {
    const { registry } = this.#tenants.driver.kernelObjects;
    const half = registry.must('half', this.#tenants.half(this.#tenants.alice, this.#tenants.bob));
    const { vpc } = this.entry(this.sender);
    const hole = encodeRoute({ kind: 'black-hole', slot: 0, generation: 0, vpc });
    const entries: (readonly [Prefix, Buffer])[] = [
      [prefix('10.1.0.0/16'), encodeRoute({ kind: 'local', slot: 0, generation: 0, vpc })],
      [prefix('10.2.0.0/16'), encodeRoute({ kind: 'peering', slot: half.slot, generation: half.generation, vpc })],
      ...Array.from({ length: routes - 2 }, (_, i): readonly [Prefix, Buffer] => [
        prefix(`10.${i + 3}.0.0/${16 + (i % 8)}`),
        hole,
      ]),
    ];
    const slots = Array.from({ length: count }, (_, i) => first + i);
    const chunk = 500; // descriptors held at once
    for (let at = 0; at < count; at += chunk) {
      const some = slots.slice(at, at + chunk);
      const fds = some.map(() => this.tables.createRoutes());
      for (const fd of fds) for (const [to, value] of entries) bpf.update(fd, encodeRouteKey(to), value);
      const keys = Buffer.concat(some.map(u32));
      await bpf.updateBatchWaiting(this.tables.fd('tables'), keys, Buffer.concat(fds.map(u32)), some.length);
      for (const fd of fds) bpf.closeFd(fd);
    }
    return slots;
  }
}

/** @param tenants spoilt afterwards: its tables no longer fit its devices */
export async function programCost(
  tenants: Tenants,
  of: { readonly samples: number; readonly tables: readonly (readonly [tables: number, routes: number])[] },
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  const bench = new Bench(tenants);
  const { sender } = bench;
  const beside = portOf(tenants.alice, 1);
  const peer = portOf(tenants.bob, 0);
  for (const port of [sender, beside, peer]) bench.disguise(port);
  const ingress = bench.tables.program('ingress');
  const empty = uninterrupted(emptyProgram);
  const own = bench.entry(sender).table;
  const across = frame(sender.v4, peer.v4);
  const cases: Case[] = [
    { name: 'peered', program: ingress, frame: across, verdict: redirected },
    { name: 'inside one VPC', program: ingress, frame: frame(sender.v4, beside.v4), verdict: redirected },
    { name: 'peered, IPv6', program: ingress, frame: frame(sender.v6, peer.v6), verdict: redirected },
    { name: 'spoofed source, dropped', program: ingress, frame: frame(peer.v4, beside.v4), verdict: shot },
  ];
  let first = 100; // beyond what the tenants have
  for (const [tables, routes] of of.tables) {
    progress(`${tables} route tables of ${routes}`);
    const slots = await bench.fill(first, tables, routes);
    first += tables;
    // A stride without a common factor: every run meets another table, and all of them in the end.
    let turn = 0;
    const before = (): void => bench.useTable(slots[(turn++ * 7919) % slots.length] ?? own);
    const total = (tables * routes).toLocaleString('en');
    cases.push({
      name: `peered, ${total} routes in ${tables}`,
      program: ingress,
      frame: across,
      verdict: redirected,
      before,
    });
  }
  progress('program cost');
  const samples = new Map<string, number[]>();
  for (let round = 0; round < of.samples; round++) {
    for (const one of [{ name: 'empty', program: empty, frame: across, verdict: ok }, ...cases]) {
      bench.useTable(own);
      const list = samples.get(one.name) ?? [];
      list.push(bench.run(one, repeat));
      samples.set(one.name, list);
    }
    if (round % 50 === 0) await new Promise((resolve) => setImmediate(resolve)); // Ctrl-C is heard
  }
  bpf.closeFd(empty);
  const quartile = (name: string): number => percentile(samples.get(name) ?? [], 0.25);
  const base = quartile('empty');
  const aim = (name: string): Figure['aim'] =>
    name === 'peered' ? { at: 'most', value: 4 } : /in 10000$/.test(name) ? { at: 'most', value: 4.5 } : undefined;
  return [
    { section: 'program', name: 'empty program', value: base, unit: 'ns' },
    ...cases.map(({ name }): Figure => {
      const goal = aim(name);
      const value = quartile(name) / base;
      return {
        section: 'program',
        name,
        value,
        unit: '×',
        note: `${quartile(name)} ns`,
        ...(goal === undefined ? {} : { aim: goal }),
      };
    }),
    {
      section: 'program',
      name: 'peered to inside one VPC',
      value: quartile('peered') / quartile('inside one VPC'),
      unit: '×',
      aim: { at: 'most', value: 1.05 },
    },
  ];
}
