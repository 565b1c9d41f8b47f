/**
 * Devices into workloads: a veth pair each, the host's end in the private namespace under our program, the other end the
 * workload's. Owns their making, watching and removal. Every device of ours carries an alias with the installation and
 * the interface; what does not is never touched.
 */
import { closeSync, fstatSync } from 'node:fs';
import * as bpf from '../../kernel/bpf.ts';
import * as link from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { inside } from '../../kernel/netns.ts';
import { addHooks, attachProgram, programsOn } from '../../kernel/traffic-control.ts';
import type { PortId } from '../../model/ids.ts';
import { defaultMtu, gatewayMac, type InterfaceSpec } from '../../model/network-spec.ts';
import { type AttachmentFact, type AttachRequest, DriverError } from '../driver.ts';
import { changeAddresses, configure, openTarget, targetText } from '../workload-end.ts';
import { u32 } from './layout.ts';
import type { PlanWriter } from './plan-writer.ts';
import type { Damage, Registry } from './registry.ts';
import type { Tables } from './tables.ts';

/** The host's end takes whatever the workload's sends; the program decides what is too big. */
const hostMtu = 65_535;
const linkGroup = 1; // RTMGRP_LINK
const watchInterval = 50; // milliseconds

const noteOf = (device: string, mtu: number, target: string): string => `${device} ${mtu} ${target}`;
function readNote(note: string): { readonly device: string; readonly mtu: number; readonly target: string } {
  const [device = '', mtu = '0', ...target] = note.split(' ');
  return { device, mtu: Number(mtu), target: target.join(' ') };
}

export class Attachments {
  readonly #tables: Tables;
  readonly #registry: Registry;
  readonly #writer: () => PlanWriter;
  readonly #namespace: number;
  readonly #installationId: string;
  readonly #netlink: Netlink;
  readonly #watch: Netlink;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners: ((fact: AttachmentFact) => void)[] = [];
  /** Whether each workload's end was up when that was last told. */
  readonly #carriers = new Map<string, boolean>();
  readonly #fence: () => Promise<void>;
  readonly #specOf: (portId: PortId) => InterfaceSpec | undefined;

  /** @param namespace descriptor of the private namespace */
  constructor(of: {
    readonly tables: Tables;
    readonly registry: Registry;
    readonly writer: () => PlanWriter;
    readonly namespace: number;
    readonly installationId: string;
    readonly fence: () => Promise<void>;
    readonly specOf: (portId: PortId) => InterfaceSpec | undefined;
  }) {
    this.#tables = of.tables;
    this.#registry = of.registry;
    this.#writer = of.writer;
    this.#namespace = of.namespace;
    this.#installationId = of.installationId;
    this.#fence = of.fence;
    this.#specOf = of.specOf;
    this.#netlink = inside(of.namespace, () => new Netlink());
    this.#watch = inside(of.namespace, () => new Netlink(linkGroup));
    this.#timer = setInterval(() => this.#look(), watchInterval);
    this.#timer.unref();
    this.#reapVanished(this.#ours());
  }

  #alias(portId: string): string {
    return `isthmus:${this.#installationId}:${portId}`;
  }
  /** Our devices, by interface. */
  #ours(): ReadonlyMap<string, link.Link> {
    const mark = this.#alias('');
    const ours = link.links(this.#netlink).filter(({ alias }) => alias.startsWith(mark));
    return new Map(ours.map((one) => [one.alias.slice(mark.length), one]));
  }
  /** Devices in our namespace that are not ours. */
  foreign(): readonly string[] {
    const mark = this.#alias('');
    return link
      .links(this.#netlink)
      .filter(({ alias, name }) => name !== 'lo' && !alias.startsWith(mark))
      .map(({ name }) => `device ${name}`);
  }

  facts(): readonly AttachmentFact[] {
    const ours = this.#ours();
    return [...this.#registry.all('interface')]
      .filter(([, { attached }]) => attached)
      .map(([id]) => this.#fact(id as PortId, ours.get(id)))
      .sort((a, b) => (a.portId < b.portId ? -1 : 1));
  }
  #fact(portId: PortId, device: link.Link | undefined): AttachmentFact {
    const note = readNote(this.#registry.must('interface', portId).note);
    const state = device === undefined ? 'vanished' : 'attached';
    if (device === undefined) this.#carriers.delete(portId);
    else this.#carriers.set(portId, device.carrier);
    return { portId, state, ...note, up: device?.carrier ?? null };
  }

  onChange(listener: (fact: AttachmentFact) => void): void {
    this.#listeners.push(listener);
  }

  /** Reads link events: a device of ours that went without a call of ours has vanished, others go down and up again. */
  #look(): void {
    const messages = this.#watch.drain();
    if (messages === null || messages.some((message) => link.isGone(message))) this.#reapVanished(this.#ours());
    // Some were lost: then all devices are looked at.
    const changed = messages === null ? [...this.#ours().values()] : messages.map((message) => link.linkOf(message));
    const mark = this.#alias('');
    for (const device of changed) {
      const id = device.alias.startsWith(mark) ? device.alias.slice(mark.length) : '';
      const known = this.#carriers.get(id);
      if (known === undefined || known === device.carrier) continue;
      // As it is by now: the news may be old, and its device gone.
      const now = this.#ours().get(id);
      if (now === undefined || now.carrier === known || this.#registry.get('interface', id)?.attached !== true)
        continue;
      const fact = this.#fact(id as PortId, now);
      for (const listener of this.#listeners) listener(fact);
    }
  }

  #reapVanished(ours: ReadonlyMap<string, link.Link>): void {
    for (const [id, { attached, slot }] of this.#registry.all('interface')) {
      if (!attached || ours.has(id)) continue;
      const entry = this.#writer().entryOf(slot);
      if (entry.ifindex === 0) continue; // known already
      this.#unlink(slot, entry.ifindex);
      for (const listener of this.#listeners) listener(this.#fact(id as PortId, undefined));
    }
  }

  /** Takes a device out of the tables; the interface stays. */
  #unlink(slot: number, ifindex: number): void {
    if (ifindex !== 0) this.#tables.setPort(ifindex, 0);
    bpf.remove(this.#tables.fd('devs'), u32(slot));
    const entry = this.#writer().entryOf(slot);
    if (entry.generation !== 0) this.#writer().writeEntry(slot, { ...entry, ifindex: 0 });
  }

  /** Puts both programs on every device of ours: a new version takes the old one's place. */
  replacePrograms(programs: { readonly ingress: number; readonly egress: number }): void {
    for (const { ifindex } of this.#ours().values()) {
      attachProgram(this.#netlink, ifindex, 'ingress', programs.ingress);
      attachProgram(this.#netlink, ifindex, 'egress', programs.egress);
    }
  }

  attach(request: AttachRequest): AttachmentFact {
    const { portId } = request;
    const registration = this.#registry.get('interface', portId);
    const spec = this.#specOf(portId);
    if (registration === undefined || spec === undefined) {
      throw new DriverError('unknown-interface', `the plane holds no interface ${portId}`);
    }
    if (this.#ours().has(portId)) {
      throw new DriverError('already-attached', `${portId} is attached to ${readNote(registration.note).target}`);
    }
    const { target, device = 'eth0', mtu = defaultMtu } = request;
    const text = targetText(target);
    if (!/^[A-Za-z0-9_.-]{1,15}$/.test(device)) throw new DriverError('kernel', `'${device}' is not a device name`);
    if (!Number.isInteger(mtu) || mtu < 1280 || mtu > 65_535) {
      throw new DriverError('kernel', `MTU ${mtu} is not in 1280–65535`);
    }
    const workload = openTarget(target);
    try {
      if (fstatSync(workload).ino === fstatSync(this.#namespace).ino) {
        throw new DriverError('no-such-target', `${text} is the namespace of the service itself: name the workload's`);
      }
      return this.#make(registration, spec, { workload, device, mtu, text });
    } finally {
      closeSync(workload);
    }
  }

  #make(
    registration: ReturnType<Registry['must']>,
    spec: InterfaceSpec,
    of: { readonly workload: number; readonly device: string; readonly mtu: number; readonly text: string },
  ): AttachmentFact {
    const { slot } = registration;
    const name = `i${spec.id.slice(-10)}`;
    const workloadNet = inside(of.workload, () => new Netlink());
    try {
      if (link.linkNamed(workloadNet, of.device) !== undefined) {
        throw new DriverError('device-exists', `${of.text} already has a device ${of.device}: name another`);
      }
      link.createPair(
        this.#netlink,
        { name, mac: gatewayMac, mtu: hostMtu },
        { name: of.device, mac: spec.mac, mtu: of.mtu, namespace: of.workload },
      );
      const host = link.linkNamed(this.#netlink, name);
      if (host === undefined) throw new DriverError('kernel', `device ${name} is gone as soon as it was made`);
      try {
        link.setAlias(this.#netlink, host.ifindex, this.#alias(spec.id));
        link.setSilent(this.#netlink, host.ifindex);
        addHooks(this.#netlink, host.ifindex);
        attachProgram(this.#netlink, host.ifindex, 'egress', this.#tables.program('egress'));
        attachProgram(this.#netlink, host.ifindex, 'ingress', this.#tables.program('ingress'));
        this.#enter(slot, host.ifindex, of.mtu);
        this.#registry.write(spec.id, { ...registration, attached: true, note: noteOf(of.device, of.mtu, of.text) });
        link.setUp(this.#netlink, host.ifindex);
        configure(workloadNet, of.device, spec);
        link.settle(this.#netlink, host.ifindex);
      } catch (error) {
        this.#unlink(slot, host.ifindex);
        this.#registry.write(spec.id, { ...registration, attached: false, note: '' });
        link.deleteLink(this.#netlink, host.ifindex);
        throw error;
      }
    } finally {
      workloadNet.close();
    }
    return this.#fact(spec.id, this.#ours().get(spec.id));
  }

  /** Writes a device into the tables. A DEVMAP resolves the index in the calling thread's namespace. */
  #enter(slot: number, ifindex: number, mtu: number): void {
    const entry = this.#writer().entryOf(slot);
    this.#writer().writeEntry(slot, { ...entry, ifindex, mtu });
    this.#writer().setMtu(slot, entry.vpc, mtu);
    inside(this.#namespace, () => bpf.update(this.#tables.fd('devs'), u32(slot), u32(ifindex)));
    this.#tables.setPort(ifindex, slot);
  }

  async detach(portId: PortId): Promise<void> {
    const registration = this.#registry.get('interface', portId);
    if (registration === undefined || !registration.attached) {
      throw new DriverError('not-attached', `${portId} is not attached`);
    }
    const device = this.#ours().get(portId);
    this.#registry.write(portId, { ...registration, attached: false, note: '' });
    this.#unlink(registration.slot, device?.ifindex ?? 0);
    await this.#fence();
    if (device !== undefined) link.deleteLink(this.#netlink, device.ifindex);
  }

  /** The interface itself is gone: so is its device. */
  removed(portId: PortId): void {
    const device = this.#ours().get(portId);
    if (device !== undefined) link.deleteLink(this.#netlink, device.ifindex);
  }

  /** Tells an attached workload of its addresses. */
  addressesChanged(portId: PortId, before: InterfaceSpec | null, after: InterfaceSpec): void {
    const registration = this.#registry.get('interface', portId);
    if (before === null || registration?.attached !== true) return;
    const { target, mtu } = readNote(registration.note);
    this.#writer().setMtu(registration.slot, this.#writer().entryOf(registration.slot).vpc, mtu);
    const host = this.#ours().get(portId);
    if (host !== undefined) changeAddresses(host, target, before, after);
  }

  /** Devices and tables that contradict each other. */
  damage(): readonly Damage[] {
    const damage: Damage[] = [];
    const ours = this.#ours();
    for (const [id, device] of ours) {
      const registration = this.#registry.get('interface', id);
      if (registration === undefined || !registration.attached) {
        damage.push({
          what: `device ${device.name} belongs to no attached interface`,
          mend: () => link.deleteLink(this.#netlink, device.ifindex),
        });
        continue;
      }
      for (const hook of ['ingress', 'egress'] as const) {
        const [only, ...more] = programsOn(this.#netlink, device.ifindex, hook).filter((program) => program !== 0);
        if (only === bpf.infoOfProgram(this.#tables.program(hook)).id && more.length === 0) continue;
        damage.push({
          what: `the ${hook} program of ${id} is not ours`,
          mend: () => {
            addHooks(this.#netlink, device.ifindex);
            attachProgram(this.#netlink, device.ifindex, hook, this.#tables.program(hook));
          },
        });
      }
      const { slot } = registration;
      const { mtu } = readNote(registration.note);
      const entry = this.#writer().entryOf(slot);
      const port = this.#tables.portAt(device.ifindex);
      const dev = bpf.lookup(this.#tables.fd('devs'), u32(slot), 4)?.readUInt32LE(0);
      if (entry.ifindex !== device.ifindex || entry.mtu !== mtu || port !== slot || dev !== device.ifindex) {
        damage.push({
          what: `the tables do not lead to the device of ${id}`,
          mend: () => this.#enter(slot, device.ifindex, mtu),
        });
      }
      if (!device.up) {
        damage.push({ what: `the device of ${id} was down`, mend: () => link.setUp(this.#netlink, device.ifindex) });
      }
    }
    for (const [id, { slot }] of this.#registry.all('interface')) {
      if (ours.has(id)) continue;
      const { ifindex } = this.#writer().entryOf(slot);
      if (ifindex === 0 && bpf.lookup(this.#tables.fd('devs'), u32(slot), 4) === undefined) continue;
      const what = `the tables lead ${id} to a device, but it has none`;
      damage.push({ what, mend: () => this.#unlink(slot, ifindex) });
    }
    for (const { ifindex, name, alias } of link.links(this.#netlink)) {
      if (alias.startsWith(this.#alias('')) || this.#tables.portAt(ifindex) === 0) continue;
      damage.push({
        what: `device ${name}, which is not ours, stands in the tables`,
        mend: () => this.#tables.setPort(ifindex, 0),
      });
    }
    return damage;
  }

  /** Deletes every device of ours. */
  purge(): void {
    for (const { ifindex } of this.#ours().values()) link.deleteLink(this.#netlink, ifindex);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#netlink.close();
    this.#watch.close();
  }
}
