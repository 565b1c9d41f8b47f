/**
 * A data plane in memory that forwards with `explain`. Shipped: `--driver fake` runs on it where there is no root and
 * no kernel to use. Keeps every promise of `driver.ts`; its packets are values instead of frames.
 */

import { randomUUID } from 'node:crypto';
import { explain, type Packet, type Verdict } from '../../explain/explain.ts';
import { PlaneView } from '../../explain/plane-view.ts';
import type { Exit } from '../../model/drop-reason.ts';
import type { HalfId, PortId, VpcId } from '../../model/ids.ts';
import { defaultMtu } from '../../model/network-spec.ts';
import { afterStep } from '../after-step.ts';
import {
  type AttachmentFact,
  type AttachRequest,
  type Count,
  type Counters,
  type Driver,
  DriverError,
  type HalfReading,
  type MeterReading,
  type Observed,
  type Plan,
  type ProbeRow,
  type Step,
} from '../driver.ts';

/** How much fits; `apply` refuses a plan that would exceed one of them. */
export interface FakeLimits {
  readonly interfaces: number;
  readonly addresses: number;
  readonly routeTables: number;
  readonly halves: number;
}
const roomy: FakeLimits = { interfaces: 8192, addresses: 65_536, routeTables: 16_384, halves: 16_384 };
/** Bytes of Ethernet header that the counters add to a packet's own length. */
const ethernetHeader = 14;

export class FakeDriver implements Driver {
  readonly name = 'fake';
  readonly #limits: FakeLimits;
  readonly #view = new PlaneView();
  readonly #attachments = new Map<PortId, AttachmentFact>();
  readonly #halfCounts = new Map<HalfId, Count>();
  /** The life of each half's count, and the final counts of those that ended, by life. */
  readonly #lives = new Map<HalfId, string>();
  readonly #retired = new Map<string, HalfReading>();
  #epoch: string = randomUUID();
  #born = 0;
  readonly #exits = new Map<PortId, Map<Exit, Count>>();
  readonly #unowned = new Map<Exit, Count>();
  /** Steps carried out since the start: "nothing to write" is a promise, and this is how it is checked. */
  writes = 0;

  constructor(limits: Partial<FakeLimits> = {}) {
    this.#limits = { ...roomy, ...limits };
  }

  async probe(): Promise<readonly ProbeRow[]> {
    return [{ feature: 'memory', state: 'yes', required: true, detail: 'packets are values in this process' }];
  }

  async observe(): Promise<Observed> {
    const vpcs = [...this.#view.vpcIds()].sort().map((vpcId) => this.#view.vpc(vpcId));
    return {
      network: { vpcs: vpcs.filter((vpc) => vpc !== undefined) },
      attachments: [...this.#attachments.values()].sort((a, b) => (a.portId < b.portId ? -1 : 1)),
      foreign: [],
      damage: [],
    };
  }

  async apply(plan: Plan): Promise<void> {
    this.#checkRoom(plan);
    for (const step of [...plan.make, ...plan.break]) {
      this.#carryOut(step);
      this.writes++;
    }
  }

  async repair(): Promise<readonly string[]> {
    return [];
  }

  #checkRoom(plan: Plan): void {
    const used = { interfaces: 0, addresses: 0, routeTables: 0, halves: 0 };
    for (const vpcId of this.#view.vpcIds()) {
      const vpc = this.#view.vpc(vpcId);
      if (vpc === undefined) continue;
      used.interfaces += vpc.interfaces.length;
      used.addresses += vpc.interfaces.reduce((sum, spec) => sum + spec.addresses.length, 0);
      used.routeTables += vpc.routeTables.length;
      used.halves += vpc.halves.length;
    }
    for (const step of plan.make) {
      if (step.step === 'put-route-table') used.routeTables++;
      if (step.step === 'put-half' && this.#view.half(step.vpcId, step.half.id) === undefined) used.halves++;
      if (step.step === 'put-interface') {
        used.addresses += step.interface.addresses.length - (step.before?.addresses.length ?? 0);
        if (step.before === null) used.interfaces++;
      }
    }
    for (const table of ['interfaces', 'addresses', 'routeTables', 'halves'] as const) {
      if (used[table] <= this.#limits[table]) continue;
      const message = `the plan needs ${used[table]} entries of ${table}, which holds ${this.#limits[table]}`;
      throw new DriverError('does-not-fit', message);
    }
  }

  #carryOut(step: Step): void {
    if (step.step === 'remove-interface') {
      this.#attachments.delete(step.portId);
      this.#exits.delete(step.portId);
    }
    if (step.step === 'remove-half') this.#retire(step.halfId);
    const now = this.#view.vpc(step.vpcId);
    const next = afterStep(now ?? { vpcId: step.vpcId, interfaces: [], routeTables: [], halves: [] }, step);
    if (next === null) this.#view.remove(step.vpcId);
    else this.#view.set(next);
  }

  #retire(halfId: HalfId): void {
    const reading = this.#readingOf(halfId);
    if (reading.packets > 0n) this.#retired.set(reading.life, reading);
    this.#halfCounts.delete(halfId);
    this.#lives.delete(halfId);
  }

  #readingOf(halfId: HalfId): HalfReading {
    const { packets = 0, bytes = 0 } = this.#halfCounts.get(halfId) ?? {};
    const life = this.#lives.get(halfId) ?? `${this.#epoch}.${++this.#born}`;
    this.#lives.set(halfId, life);
    return { halfId, life, packets: BigInt(packets), bytes: BigInt(bytes) };
  }

  async meter(booked: readonly string[]): Promise<MeterReading> {
    for (const life of booked) this.#retired.delete(life);
    return {
      running: [...this.#halfCounts.keys()].map((halfId) => this.#readingOf(halfId)),
      retired: [...this.#retired.values()],
    };
  }

  async counters(): Promise<Counters> {
    return {
      epoch: this.#epoch,
      fences: { count: 0, seconds: 0 },
      halves: new Map(this.#halfCounts),
      exits: new Map([...this.#exits].map(([portId, exits]) => [portId, new Map(exits)])),
      unowned: new Map(this.#unowned),
    };
  }

  #mtuOf = (portId: PortId): number | null => this.#attachments.get(portId)?.mtu ?? null;

  async trace(packet: Packet): Promise<Verdict> {
    return explain(this.#view, this.#mtuOf, packet);
  }

  /** Forwards one packet: decides, counts, and says what became of it. */
  send(packet: Packet): Verdict {
    const verdict = explain(this.#view, this.#mtuOf, packet);
    const exit: Exit =
      verdict.kind === 'delivered' ? 'Forwarded' : verdict.kind === 'answered' ? 'Answered' : verdict.reason;
    const exits = exit === 'NoPort' ? this.#unowned : this.#exitsOf(packet.from);
    const bytes = packet.length + ethernetHeader;
    exits.set(exit, add(exits.get(exit), bytes));
    if (verdict.kind === 'delivered' && verdict.over !== null) {
      this.#halfCounts.set(verdict.over, add(this.#halfCounts.get(verdict.over), bytes));
    }
    return verdict;
  }

  #exitsOf(portId: PortId): Map<Exit, Count> {
    let exits = this.#exits.get(portId);
    if (exits === undefined) {
      exits = new Map();
      this.#exits.set(portId, exits);
    }
    return exits;
  }

  async attach(request: AttachRequest): Promise<AttachmentFact> {
    if (this.#view.interface(request.portId) === undefined) {
      throw new DriverError('unknown-interface', `no interface ${request.portId} in the plane`);
    }
    if (this.#attachments.get(request.portId)?.state === 'attached') {
      throw new DriverError('already-attached', `${request.portId} is attached; detach it first`);
    }
    const fact: AttachmentFact = {
      portId: request.portId,
      state: 'attached',
      target: request.target.kind === 'netns' ? `netns:${request.target.name}` : `pid:${request.target.pid}`,
      device: request.device ?? 'eth0',
      mtu: request.mtu ?? defaultMtu,
      up: true,
    };
    this.#attachments.set(request.portId, fact);
    return fact;
  }

  async detach(portId: PortId): Promise<void> {
    if (!this.#attachments.delete(portId)) throw new DriverError('not-attached', `${portId} is not attached`);
  }

  onAttachmentChange(_listener: (fact: AttachmentFact) => void): void {
    // Nothing here can vanish by itself.
  }

  async close(): Promise<void> {}

  async purge(): Promise<void> {
    for (const vpcId of [...this.#view.vpcIds()] as VpcId[]) this.#view.remove(vpcId);
    for (const kept of [this.#attachments, this.#halfCounts, this.#lives, this.#retired, this.#exits, this.#unowned]) {
      kept.clear();
    }
    this.#epoch = randomUUID();
  }
}

const add = (count: Count | undefined, bytes: number): Count => ({
  packets: (count?.packets ?? 0) + 1,
  bytes: (count?.bytes ?? 0) + bytes,
});
