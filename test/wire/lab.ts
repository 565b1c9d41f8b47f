/**
 * A laboratory for one test: an eBPF plane of its own, workloads in namespaces, packets between them, and a certain end:
 * nothing of it is left behind, also after a failure. Every lab has random names, so that runs do not meet.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AttachmentFact, AttachRequest, Plan } from '../../src/dataplane/driver.ts';
import { EbpfDriver, type EbpfOptions, purgePlane } from '../../src/dataplane/ebpf/driver.ts';
import { exitsPerInterface, sizes, sumCounts } from '../../src/dataplane/ebpf/layout.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { type Exit, exitNames, exits } from '../../src/model/drop-reason.ts';
import type { HalfId, PortId } from '../../src/model/ids.ts';
import type { Address } from '../../src/model/ip.ts';
import type { NetworkSpec } from '../../src/model/network-spec.ts';
import { planFor } from './plan-for.ts';
import { byHand, probePort, Workload } from './workload.ts';

/** Why kernel tests cannot run here, for `test`'s option `skip`; never a reason under CI. */
export const cannotRun: string | false =
  process.env['CI'] === 'true' || process.geteuid?.() === 0 ? false : 'needs root: it makes namespaces and BPF maps';

export type Delta = ReadonlyMap<Exit, number>;
/** `delivered` names who received the very payload; `exit` what the program counted instead. */
export type Probe = { readonly delivered: PortId } | { readonly exit: Exit };

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What runs something at its end: a test, or a part of one. */
export type Ending = Pick<TestContext, 'after'>;

export class Lab {
  readonly options: EbpfOptions;
  readonly #scratch: string;
  #driver: EbpfDriver;
  readonly #workloads = new Map<PortId, Workload>();
  readonly #spare: Workload[] = [];
  #probes = 0;
  /** Probes that somebody received whom nobody expected to; empty at the end, or the test fails. */
  readonly strays: string[] = [];

  private constructor(options: Partial<EbpfOptions>) {
    const mark = randomBytes(4).toString('hex');
    this.#scratch = mkdtempSync(join(tmpdir(), 'isthmus-lab-'));
    this.options = {
      installationId: `lab-${mark}`,
      bpffsPath: join(this.#scratch, 'bpf'),
      namespaceName: `isthmus-lab-${mark}`,
      ...options,
    };
    this.#driver = new EbpfDriver(this.options);
  }

  /** Starts a lab that ends with the test. @param options what shall differ from the driver's defaults */
  static async start(t: Ending, options: Partial<EbpfOptions> = {}): Promise<Lab> {
    const lab = new Lab(options);
    t.after(() => lab.#end());
    return lab;
  }

  get driver(): EbpfDriver {
    return this.#driver;
  }
  /** Where a test may put files of its own. */
  get scratch(): string {
    return this.#scratch;
  }
  /**
   * Ends the driver as a restart would, leaving the plane running, and opens it again.
   * @param close false when it is closed already
   */
  async reopen(options: Partial<EbpfOptions> = {}, close = true): Promise<EbpfDriver> {
    if (close) await this.#driver.close();
    this.#driver = new EbpfDriver({ ...this.options, ...options });
    return this.#driver;
  }

  /** Names of the devices in the private namespace. */
  hostDevices(): readonly string[] {
    const rows = byHand('ip', this.options.namespaceName, '-o', 'link').trim().split('\n');
    return rows.map((row) => row.split(': ')[1]?.split('@')[0] ?? '');
  }

  /** observe → diff → apply. @returns the plan that was carried out */
  async become(wanted: NetworkSpec): Promise<Plan> {
    const plan = await planFor(this.#driver, wanted);
    await this.#driver.apply(plan);
    return plan;
  }

  /** A namespace without a network; deleted at the end. */
  namespace(label = 'w'): Workload {
    const workload = new Workload(label);
    this.#spare.push(workload);
    return workload;
  }
  /**
   * Makes a workload and attaches it to the interface.
   * @param of.attach who attaches; the driver by default, or a reconciler in front of it
   */
  async attach(
    portId: PortId,
    of: Partial<Pick<AttachRequest, 'device' | 'mtu'>> & {
      readonly workload?: Workload;
      readonly attach?: (request: AttachRequest) => Promise<AttachmentFact>;
    } = {},
  ): Promise<Workload> {
    const { workload = this.namespace(portId.slice(5)), attach, ...rest } = of;
    const request: AttachRequest = { portId, target: { kind: 'netns', name: workload.name }, ...rest };
    await (attach ?? ((wanted) => this.#driver.attach(wanted)))(request);
    this.#workloads.set(portId, workload);
    void workload.probe; // listens from now on
    // The kernel tells IPv6 of a carrier with up to a second's delay, and until then it receives nothing.
    const device = rest.device ?? 'eth0';
    await this.until('IPv6 is ready', () => / state UP /.test(byHand('ip', workload.name, 'link', 'show', device)));
    return workload;
  }
  /** After a detach or a death. */
  forget(portId: PortId): void {
    this.#workloads.delete(portId);
  }
  workload(portId: PortId): Workload {
    const workload = this.#workloads.get(portId);
    if (workload === undefined) throw new Error(`${portId} has no workload here`);
    return workload;
  }

  #slot(kind: 'interface' | 'half', id: string): number {
    return this.#driver.kernelObjects.registry.must(kind, id).slot;
  }
  /** Packets of this interface by exit, now; one system call. `null`: packets of nobody's. */
  exits(portId: PortId | null): Delta {
    const width = sizes.count * bpf.possibleCpus;
    const first = (portId === null ? 0 : this.#slot('interface', portId)) * exitsPerInterface;
    const all = bpf.readArray(this.#driver.kernelObjects.tables.fd('exits'), first, exitsPerInterface, width);
    const found = new Map<Exit, number>();
    for (const name of exitNames) {
      const at = exits[name].code * width;
      const { packets } = sumCounts(all.subarray(at, at + width));
      if (packets > 0) found.set(name, packets);
    }
    return found;
  }
  /** What was counted since `before`, without the exits that stood still. */
  since(before: Delta, portId: PortId | null): Delta {
    const delta = new Map<Exit, number>();
    for (const [name, packets] of this.exits(portId)) {
      const more = packets - (before.get(name) ?? 0);
      if (more !== 0) delta.set(name, more);
    }
    return delta;
  }
  half(halfId: HalfId): { readonly packets: number; readonly bytes: number } {
    const width = sizes.count * bpf.possibleCpus;
    const fd = this.#driver.kernelObjects.tables.fd('half_counts');
    return sumCounts(bpf.readArray(fd, this.#slot('half', halfId), 1, width));
  }

  /**
   * Sends one UDP packet with a payload of its own through the workload's own stack, and says what became of it: who
   * received it, or which exit counted it. Answers to the stack's own questions (ARP, neighbours) and what IPv6 stacks
   * say unasked do not count. `Forwarded` as exit: handed over, but nobody received it within `patience` ms.
   */
  async sendProbe(from: PortId, to: Address, patience = 1000): Promise<Probe> {
    const sender = this.#workloads.get(from);
    if (sender === undefined) return { exit: 'NoPort' };
    const payload = Buffer.from(`${this.options.installationId} ${++this.#probes}`);
    const before = this.exits(from);
    sender.probe.send(to, probePort, payload);
    const end = performance.now() + patience;
    for (let turns = 0; ; turns++) {
      const receiver = this.#receiverOf(payload);
      if (receiver !== undefined) return { delivered: receiver };
      const [exit] = [...this.since(before, from).keys()].filter(
        (name) => name !== 'Forwarded' && name !== 'Answered' && name !== 'NotToGateway',
      );
      if (exit !== undefined) return { exit };
      if (performance.now() > end) return { exit: 'Forwarded' };
      await (turns < 100 ? turn() : pause(1));
    }
  }
  #receiverOf(payload: Buffer): PortId | undefined {
    let found: PortId | undefined;
    for (const [portId, workload] of this.#workloads) {
      for (let got = workload.probe.receive(); got !== undefined; got = workload.probe.receive()) {
        if (got.payload.equals(payload)) found = portId;
        else this.strays.push(`${portId} received '${got.payload.toString('latin1').slice(0, 60)}'`);
      }
    }
    return found;
  }

  /** Waits until it holds, looking every 5 ms. @throws after `patience` ms */
  async until(what: string, holds: () => boolean | Promise<boolean>, patience = 5000): Promise<void> {
    for (const end = performance.now() + patience; ; await pause(5)) {
      if (await holds()) return;
      if (performance.now() > end) throw new Error(`waited ${patience} ms in vain until ${what}`);
    }
  }

  async #end(): Promise<void> {
    this.#receiverOf(Buffer.alloc(0)); // what came late is a stray
    for (const workload of this.#spare) workload.close();
    try {
      await this.#driver.purge();
    } finally {
      purgePlane(this.options);
      // A tree with a mount in it is never removed: what is mounted would go too.
      const mounts = readFileSync('/proc/self/mounts', 'utf8');
      assert.ok(!mounts.includes(this.#scratch), 'a mount was left behind');
      rmSync(this.#scratch, { recursive: true, force: true });
    }
    const names = [this.options.namespaceName, ...this.#spare.map(({ name }) => name)];
    const left = readdirSync('/run/netns').filter((name) => names.includes(name));
    assert.deepEqual(left, [], 'namespaces left behind');
    assert.ok(!existsSync(this.#scratch), 'files were left behind');
    assert.deepEqual(this.strays, [], 'somebody received what was not meant for him');
  }
}
