/**
 * The program on tables that a test fills by hand, without any driver: two devices' worth of a data plane, in a network
 * namespace of its own. Frames are run through BPF_PROG_TEST_RUN, so what a test sees is the verdict, the frame as the
 * program left it, and what was counted.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import * as layout from '../../src/dataplane/ebpf/layout.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { withObject } from '../../src/kernel/bpf-object.ts';
import { type TestContext, type TestRun, testRun } from '../../src/kernel/bpf-test-run.ts';
import { linkNamed } from '../../src/kernel/link.ts';
import { Netlink } from '../../src/kernel/netlink.ts';
import { closeNamespace, createNamed, deleteNamed, inside, openNamed } from '../../src/kernel/netns.ts';
import { PacketSocket } from '../../src/kernel/socket.ts';
import { addHooks, attachProgram } from '../../src/kernel/traffic-control.ts';
import { type Exit, exitOfCode } from '../../src/model/drop-reason.ts';
import type { Address, Mac, Prefix } from '../../src/model/ip.ts';

export const committedObject = fileURLToPath(new URL('../../bpf/vpc.bpf.o', import.meta.url));
/** For `test`'s option `skip`. In CI nothing is skipped: there the tests fail instead. */
export const cannotLoad: string | false =
  process.env['CI'] === 'true' || process.getuid?.() === 0 ? false : 'needs root, to load a BPF program';

export const redirect = 7; // TC_ACT_REDIRECT
export const shot = 2; // TC_ACT_SHOT

const maps = [
  'ports',
  'far_ports',
  'interfaces',
  'tables',
  'halves',
  'addrs',
  'devs',
  'half_counts',
  'exits',
  'fence',
] as const;
const slots = 16;
const counters = slots * layout.exitsPerInterface;

/** An interface as a test describes it. The device is made unless `detached`. */
export interface Port {
  readonly slot: number;
  readonly vpc: number;
  readonly table: number;
  readonly mac: Mac;
  readonly addresses: readonly [Address, ...Address[]];
  readonly primary: layout.InterfaceEntry['primary'];
  readonly gateway: layout.InterfaceEntry['gateway'];
  readonly sanityCheck?: boolean;
  readonly mtu?: number;
  readonly detached?: boolean;
}
export interface Counted {
  readonly slot: number;
  readonly exit: Exit | undefined;
  readonly packets: number;
  readonly bytes: number;
}
export type Outcome = TestRun & { readonly counted: readonly Counted[] };

export class TestPlane {
  readonly #name = `isthmus-bpf-${randomBytes(4).toString('hex')}`;
  readonly #namespace: number;
  readonly #maps: Readonly<Record<string, number>>;
  readonly #programs: { readonly ingress: number; readonly egress: number };
  readonly #devices = new Map<number, number>();
  #nextIfindex = 100;
  #seen = new Map<number, { readonly packets: number; readonly bytes: number }>();

  constructor(object = committedObject) {
    const loaded = withObject(
      object,
      {
        programs: ['ingress', 'egress'],
        maxEntries: { ids: 64, interfaces: slots, devs: slots, far_ports: slots, exits: counters, addrs: 256 },
      },
      ({ map, program }) => ({
        maps: Object.fromEntries(maps.map((name) => [name, bpf.duplicate(map(name))])),
        programs: { ingress: bpf.duplicate(program('ingress')), egress: bpf.duplicate(program('egress')) },
      }),
    );
    this.#maps = loaded.maps;
    this.#programs = loaded.programs;
    createNamed(this.#name);
    this.#namespace = openNamed(this.#name);
  }
  close(): void {
    closeNamespace(this.#namespace);
    deleteNamed(this.#name);
    for (const fd of [...Object.values(this.#maps), ...Object.values(this.#programs)]) bpf.closeFd(fd);
  }

  fd(name: (typeof maps)[number]): number {
    return this.#maps[name] ?? -1;
  }
  program(name: 'ingress' | 'egress'): number {
    return this.#programs[name];
  }
  ip(...args: readonly string[]): void {
    const inside = [`--net=/run/netns/${this.#name}`, 'ip', ...args]; // `ip -n` remounts /, which a chroot cannot
    execFileSync('nsenter', inside, { timeout: 10_000, stdio: ['ignore', 'ignore', 'pipe'] });
  }
  inside<T>(work: () => T): T {
    return inside(this.#namespace, work);
  }

  /** Makes a device pair and returns the host end's index. */
  makeDevice(ifindex = this.#nextIfindex++): number {
    this.ip('link', 'add', `h${ifindex}`, 'index', String(ifindex), 'type', 'veth', 'peer', 'name', `w${ifindex}`);
    return ifindex;
  }
  deviceOf(port: Port): number {
    return this.#devices.get(port.slot) ?? 0;
  }
  /** Puts an interface into every table that knows it. @param ifindex of its device; made when not given */
  put(port: Port, ifindex = port.detached === true ? 0 : this.makeDevice()): void {
    this.#devices.set(port.slot, ifindex);
    const { vpc, table, mac, mtu = 1500, gateway, primary, sanityCheck = true } = port;
    const entry = { ifindex, vpc, table, generation: 1, mac, sanityCheck, mtu, gateway, primary };
    bpf.update(this.fd('interfaces'), layout.u32(port.slot), layout.encodeInterface(entry));
    for (const address of port.addresses) this.putAddress(vpc, address, port);
    if (ifindex === 0) return;
    bpf.update(this.fd(ifindex < 65_536 ? 'ports' : 'far_ports'), layout.u32(ifindex), layout.u32(port.slot));
    this.inside(() => bpf.update(this.fd('devs'), layout.u32(port.slot), layout.u32(ifindex)));
  }
  /** @param identity VPC that the value claims, where a test wants it wrong */
  putAddress(vpc: number, address: Address, port: Port, identity = vpc): void {
    const { slot, mac, mtu = 1500 } = port;
    const value = layout.encodeTarget({ vpc: identity, slot, mtu, mac, primary: true, prefixLength: 24 });
    bpf.update(this.fd('addrs'), layout.encodeAddressKey(vpc, address), value);
  }
  putTable(table: number, routes: readonly (readonly [string, Partial<layout.RouteEntry>])[], vpc: number): void {
    const trie = bpf.createMap({
      type: bpf.mapTypes.lpm,
      keySize: layout.sizes.routeKey,
      valueSize: layout.sizes.route,
      maxEntries: 256,
      flags: 1,
    });
    for (const [destination, route] of routes) {
      const entry = { kind: 'local', slot: 0, generation: 0, vpc, ...route } as const;
      bpf.update(trie, layout.encodeRouteKey(destination as Prefix), layout.encodeRoute(entry));
    }
    bpf.update(this.fd('tables'), layout.u32(table), layout.u32(trie));
    bpf.closeFd(trie);
  }
  putHalf(slot: number, peer: number, generation: number): void {
    bpf.update(this.fd('halves'), layout.u32(slot), layout.encodeHalf(peer, generation));
  }

  /** Runs a frame as if the interface's workload had sent it. */
  send(port: Port, frame: Buffer, of: TestContext = {}): Outcome {
    return this.run('ingress', this.deviceOf(port), frame, of);
  }
  run(program: 'ingress' | 'egress', ifindex: number, frame: Buffer, of: TestContext = {}): Outcome {
    const result = this.inside(() => testRun(this.program(program), frame, ifindex, of));
    return { ...result, counted: this.#counted() };
  }
  /** Puts the program on the interface's device, and a socket on the workload's end that sends any frame. */
  wire(port: Port): { readonly send: (frame: Buffer) => Outcome; readonly close: () => void } {
    const ifindex = this.deviceOf(port);
    for (const end of ['h', 'w']) this.ip('link', 'set', `${end}${ifindex}`, 'addrgenmode', 'none', 'up');
    const far = this.inside(() => {
      const netlink = new Netlink();
      try {
        addHooks(netlink, ifindex);
        attachProgram(netlink, ifindex, 'ingress', this.program('ingress'));
        attachProgram(netlink, ifindex, 'egress', this.program('egress'));
        return linkNamed(netlink, `w${ifindex}`)?.ifindex ?? 0;
      } finally {
        netlink.close();
      }
    });
    const socket = new PacketSocket(this.#namespace, far);
    this.#counted(); // what came before is not this socket's
    const send = (frame: Buffer): Outcome => {
      const errno = socket.send(frame);
      if (errno !== 0) throw new bpf.KernelError('sending a frame', errno);
      // veth hands it to the other end in the sender's own call, or shortly after in a kernel thread.
      let counted = this.#counted();
      for (let turn = 0; counted.length === 0 && turn < 200; turn++) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
        counted = this.#counted();
      }
      const verdict = counted[0]?.exit === 'Forwarded' || counted[0]?.exit === 'Answered' ? redirect : shot;
      return { verdict, out: frame, mark: 0, priority: 0, nanoseconds: 0, counted };
    };
    return { send, close: () => socket.close() };
  }

  /** What was counted since the last time. */
  #counted(): readonly Counted[] {
    const width = layout.sizes.count * bpf.possibleCpus;
    const bytes = bpf.readArray(this.fd('exits'), 0, counters, width);
    const now = new Map<number, { readonly packets: number; readonly bytes: number }>();
    const grown: Counted[] = [];
    for (let key = 0; key < counters; key++) {
      const sum = layout.sumCounts(bytes.subarray(key * width, (key + 1) * width));
      now.set(key, sum);
      const before = this.#seen.get(key) ?? { packets: 0, bytes: 0 };
      if (sum.packets === before.packets && sum.bytes === before.bytes) continue;
      grown.push({
        slot: Math.floor(key / layout.exitsPerInterface),
        exit: exitOfCode(key % layout.exitsPerInterface),
        packets: sum.packets - before.packets,
        bytes: sum.bytes - before.bytes,
      });
    }
    this.#seen = now;
    return grown;
  }
  countOfHalf(slot: number): { readonly packets: number; readonly bytes: number } {
    return layout.sumCounts(bpf.readArray(this.fd('half_counts'), slot, 1, layout.sizes.count * bpf.possibleCpus));
  }
}
