/**
 * Carries out a plan: checks that it fits, makes, breaks, fences, and only then frees what was given up. Every write is
 * its own small system call; a plan cut short leaves a state that `observe` tells and the next plan mends.
 */
import * as bpf from '../../kernel/bpf.ts';
import type { PortId } from '../../model/ids.ts';
import { type Address, familyOf } from '../../model/ip.ts';
import { defaultMtu, type InterfaceSpec, type RouteTarget } from '../../model/network-spec.ts';
import { DriverError, type Plan, type Step } from '../driver.ts';
import {
  deadHalf,
  decodeInterface,
  decodeTarget,
  encodeAddressKey,
  encodeHalf,
  encodeInterface,
  encodeRoute,
  encodeTarget,
  exitsPerInterface,
  type InterfaceEntry,
  type RouteEntry,
  sizes,
  u32,
} from './layout.ts';
import type { Registry } from './registry.ts';
import type { RouteTables } from './route-tables.ts';
import type { Tables } from './tables.ts';

/** What the attachment side does when interfaces change or go. */
export interface AttachmentHooks {
  /** Addresses of an attached interface changed: its workload is told, as well as it lets itself. */
  addressesChanged(portId: PortId, before: InterfaceSpec | null, after: InterfaceSpec): void;
  /** The interface is gone from the tables: its device is deleted, behind the fence. */
  interfaceRemoved(portId: PortId): void;
}

export class PlanWriter {
  readonly #tables: Tables;
  readonly #registry: Registry;
  readonly #routes: RouteTables;
  readonly #hooks: AttachmentHooks;
  readonly #fence: () => Promise<void>;

  constructor(
    tables: Tables,
    registry: Registry,
    routes: RouteTables,
    hooks: AttachmentHooks,
    fence: () => Promise<void>,
  ) {
    this.#tables = tables;
    this.#registry = registry;
    this.#routes = routes;
    this.#hooks = hooks;
    this.#fence = fence;
  }

  async write(plan: Plan): Promise<void> {
    this.#checkRoom(plan);
    const removed: PortId[] = [];
    let replaced = plan.break.length > 0;
    try {
      for (const step of plan.make) {
        // A table goes live with its routes in it, before anything is moved onto it.
        if (step.step === 'put-interface' && step.before !== null) {
          await this.#routes.publish();
          replaced = true;
        }
        if (this.#make(step)) replaced = true;
      }
      await this.#routes.publish();
      // Read once for the whole plan, and after what it made: an address may have moved to another interface.
      let held: ReadonlyMap<number, readonly Buffer[]> | undefined;
      const keysOf = (slot: number): readonly Buffer[] => {
        held ??= this.#keysBySlot();
        return held.get(slot) ?? [];
      };
      for (const step of plan.break) this.#break(step, removed, keysOf);
      await this.#routes.unpublish();
    } finally {
      // Also for a plan cut short: the next one will find its writes done, and must not call them true unfenced.
      if (replaced || this.#registry.quarantined) await this.#fence();
      for (const portId of removed) this.#hooks.interfaceRemoved(portId);
      this.#registry.release();
    }
  }

  #checkRoom(plan: Plan): void {
    const { limits } = this.#tables;
    const need = { vpcs: 0, interfaces: 0, halves: 0, tables: 0, addrs: 0 };
    const routes = new Map<string, Set<string>>();
    for (const step of plan.make) {
      if (step.step === 'put-vpc' && this.#registry.get('vpc', step.vpcId) === undefined) need.vpcs++;
      if (step.step === 'put-route-table' && this.#registry.get('table', step.routeTableId) === undefined)
        need.tables++;
      if (step.step === 'put-half' && this.#registry.get('half', step.half.id) === undefined) need.halves++;
      if (step.step === 'put-interface') {
        if (this.#registry.get('interface', step.interface.id) === undefined) need.interfaces++;
        // New ones come before old ones go: both need room at once.
        const had = new Set(step.before?.addresses.map(({ address }) => address));
        need.addrs += step.interface.addresses.filter(({ address }) => !had.has(address)).length;
      }
      if (step.step === 'put-route') {
        let all = routes.get(step.routeTableId);
        if (all === undefined) {
          all = new Set(this.#routes.entries(step.routeTableId).map(({ destination }) => destination));
          routes.set(step.routeTableId, all);
        }
        all.add(step.route.destination);
      }
    }
    const refuse = (table: string, wanted: number, max: number): never => {
      throw new DriverError('does-not-fit', `the plan needs ${wanted} entries of table ${table}, which holds ${max}`);
    };
    for (const [kind, table, more] of [
      ['vpc', 'ids', need.vpcs],
      ['interface', 'interfaces', need.interfaces],
      ['half', 'halves', need.halves],
      ['table', 'tables', need.tables],
    ] as const) {
      const wanted = this.#registry.count(kind) + more;
      if (more > 0 && wanted > this.#registry.max(kind)) refuse(table, wanted, this.#registry.max(kind));
    }
    if (need.addrs > 0) {
      const held = bpf.entries(this.#tables.fd('addrs'), sizes.addressKey, sizes.target).length;
      if (held + need.addrs > limits.addresses) refuse('addrs', held + need.addrs, limits.addresses);
    }
    for (const [id, { size }] of routes) {
      if (size > limits.routesPerTable) refuse(`routes of ${id}`, size, limits.routesPerTable);
    }
  }

  /** @returns whether something was replaced that a packet under way may still be using */
  #make(step: Step): boolean {
    switch (step.step) {
      case 'put-vpc':
        this.#registry.ensure('vpc', step.vpcId, { owner: '', note: '' });
        return false;
      case 'put-route-table':
        this.#routes.add(step.routeTableId, step.vpcId);
        return false;
      case 'put-half': {
        const { half } = step;
        const peer = this.#registry.get('vpc', half.remoteVpcId)?.slot;
        const { registration } = this.#registry.ensure(
          'half',
          half.id,
          { owner: step.vpcId, note: half.remoteVpcId },
          (slot) => this.#zero('half_counts', slot, 1),
        );
        if (half.live && peer === undefined) {
          throw new DriverError('kernel', `half ${half.id} is live, but the plane holds no VPC ${half.remoteVpcId}`);
        }
        const word = half.live && peer !== undefined ? encodeHalf(peer, registration.generation) : deadHalf();
        bpf.update(this.#tables.fd('halves'), u32(registration.slot), word);
        return false;
      }
      case 'put-interface': {
        this.#putInterface(step.vpcId, step.interface);
        this.#hooks.addressesChanged(step.interface.id, step.before, step.interface);
        return step.before !== null;
      }
      case 'put-route': {
        const vpc = this.#registry.must('vpc', step.vpcId).slot;
        const entry = this.#routeEntry(step.route.target, vpc);
        return this.#routes.put(step.routeTableId, step.route.destination, encodeRoute(entry));
      }
      default:
        throw new DriverError('kernel', `${step.step} does not make anything`);
    }
  }

  #routeEntry(target: RouteTarget, vpc: number): RouteEntry {
    switch (target.kind) {
      case 'peering': {
        const { slot, generation } = this.#registry.must('half', target.halfId);
        return { kind: 'peering', slot, generation, vpc };
      }
      case 'interface': {
        const { slot, generation } = this.#registry.must('interface', target.portId);
        return { kind: 'interface', slot, generation, vpc };
      }
      default:
        return { kind: target.kind, slot: 0, generation: 0, vpc };
    }
  }

  /** The entry of an interface as the table holds it. */
  entryOf(slot: number): InterfaceEntry {
    const bytes = bpf.lookup(this.#tables.fd('interfaces'), u32(slot), sizes.interface);
    return decodeInterface(bytes ?? Buffer.alloc(sizes.interface));
  }
  writeEntry(slot: number, entry: InterfaceEntry): void {
    bpf.update(this.#tables.fd('interfaces'), u32(slot), encodeInterface(entry));
  }

  #putInterface(vpcId: string, spec: InterfaceSpec): void {
    const vpc = this.#registry.must('vpc', vpcId).slot;
    const table = this.#registry.must('table', spec.routeTableId).slot;
    const { registration, fresh } = this.#registry.ensure('interface', spec.id, { owner: vpcId, note: '' });
    const { slot, generation } = registration;
    if (fresh) this.#zero('exits', slot * exitsPerInterface, exitsPerInterface);
    const before = fresh ? undefined : this.entryOf(slot);
    const of = (family: 4 | 6) => spec.addresses.find((one) => one.primary && familyOf(one.address) === family);
    const mtu = before === undefined || before.mtu === 0 ? defaultMtu : before.mtu;
    this.writeEntry(slot, {
      ifindex: before?.ifindex ?? 0,
      vpc,
      table,
      generation,
      mac: spec.mac,
      sanityCheck: spec.sanityCheck,
      mtu,
      gateway: { 4: of(4)?.gateway ?? null, 6: of(6)?.gateway ?? null },
      primary: { 4: of(4)?.address ?? null, 6: of(6)?.address ?? null },
    });
    for (const { address, primary, prefixLength } of spec.addresses) {
      const target = encodeTarget({ vpc, slot, mtu, mac: spec.mac, primary, prefixLength });
      bpf.update(this.#tables.fd('addrs'), encodeAddressKey(vpc, address), target);
    }
  }

  /** The same MTU in every entry that leads to an interface. */
  setMtu(slot: number, vpc: number, mtu: number): void {
    for (const [key, value] of bpf.entries(this.#tables.fd('addrs'), sizes.addressKey, sizes.target)) {
      const target = decodeTarget(value);
      if (target.slot !== slot || target.vpc !== vpc || target.mtu === mtu) continue;
      bpf.update(this.#tables.fd('addrs'), key, encodeTarget({ ...target, mtu }));
    }
  }

  #removeAddress(vpc: number, slot: number, address: Address): void {
    const key = encodeAddressKey(vpc, address);
    const value = bpf.lookup(this.#tables.fd('addrs'), key, sizes.target);
    // Another interface may have been given it in this very plan.
    if (value !== undefined && decodeTarget(value).slot === slot) bpf.remove(this.#tables.fd('addrs'), key);
  }

  #zero(name: 'half_counts' | 'exits', first: number, n: number): void {
    const zero = Buffer.alloc(sizes.count * bpf.possibleCpus);
    for (let at = first; at < first + n; at++) bpf.update(this.#tables.fd(name), u32(at), zero);
  }

  #keysBySlot(): ReadonlyMap<number, readonly Buffer[]> {
    const held = new Map<number, Buffer[]>();
    for (const [key, value] of bpf.entries(this.#tables.fd('addrs'), sizes.addressKey, sizes.target)) {
      const { slot } = decodeTarget(value);
      const keys = held.get(slot);
      if (keys === undefined) held.set(slot, [key]);
      else keys.push(key);
    }
    return held;
  }

  #break(step: Step, removed: PortId[], keysOf: (slot: number) => readonly Buffer[]): void {
    switch (step.step) {
      case 'kill-half':
      case 'remove-half': {
        const half = this.#registry.get('half', step.halfId);
        if (half === undefined) return;
        bpf.update(this.#tables.fd('halves'), u32(half.slot), deadHalf());
        if (step.step === 'remove-half') this.#registry.remove(step.halfId);
        return;
      }
      case 'remove-route':
        this.#routes.remove(step.routeTableId, step.destination);
        return;
      case 'remove-addresses': {
        const port = this.#registry.get('interface', step.portId);
        const vpc = this.#registry.get('vpc', step.vpcId);
        if (port === undefined || vpc === undefined) return;
        for (const address of step.addresses) this.#removeAddress(vpc.slot, port.slot, address);
        return;
      }
      case 'remove-interface': {
        const port = this.#registry.get('interface', step.portId);
        if (port === undefined) return;
        for (const key of keysOf(port.slot)) bpf.remove(this.#tables.fd('addrs'), key);
        const { ifindex } = this.entryOf(port.slot);
        if (ifindex !== 0) this.#tables.setPort(ifindex, 0);
        bpf.remove(this.#tables.fd('devs'), u32(port.slot));
        bpf.update(this.#tables.fd('interfaces'), u32(port.slot), Buffer.alloc(sizes.interface));
        this.#registry.remove(step.portId);
        removed.push(step.portId);
        return;
      }
      case 'remove-route-table':
        this.#routes.drop(step.routeTableId);
        return;
      case 'remove-vpc':
        this.#registry.remove(step.vpcId);
        return;
      default:
        throw new DriverError('kernel', `${step.step} does not break anything`);
    }
  }
}
