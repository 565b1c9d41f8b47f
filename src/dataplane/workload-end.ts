/**
 * The workload's end of a pair: finds it, and sets its addresses and routes. The namespace is the workload's own, so
 * nothing is done there to a device that is not ours: a name or a pid may by now stand for another namespace, the
 * host's included. What the workload has rearranged stays as it is.
 */
import { closeSync } from 'node:fs';
import { announce } from '../kernel/announce.ts';
import * as bpf from '../kernel/bpf.ts';
import * as link from '../kernel/link.ts';
import { Netlink } from '../kernel/netlink.ts';
import { inside, openNamed, openOfProcess } from '../kernel/netns.ts';
import { familyOf } from '../model/ip.ts';
import type { InterfaceSpec } from '../model/network-spec.ts';
import { type AttachRequest, DriverError } from './driver.ts';

export type Target = AttachRequest['target'];

/** As notes and facts have it. */
export const targetText = (target: Target): string =>
  target.kind === 'netns' ? `netns:${target.name}` : `pid:${target.pid}`;

function targetOf(text: string): Target {
  const at = text.indexOf(':');
  const rest = text.slice(at + 1);
  return text.slice(0, at) === 'netns' ? { kind: 'netns', name: rest } : { kind: 'pid', pid: Number(rest) };
}

/** A descriptor of the namespace. @throws DriverError when there is none */
export function openTarget(target: Target): number {
  if (target.kind === 'netns' && !/^(?!\.{1,2}$)[A-Za-z0-9_.:@-]{1,64}$/.test(target.name)) {
    throw new DriverError('no-such-target', `'${target.name}' is not the name of a namespace`);
  }
  try {
    return target.kind === 'netns' ? openNamed(target.name) : openOfProcess(target.pid);
  } catch (cause) {
    const text = targetText(target);
    const { code = '', message } = cause as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') {
      throw new DriverError('no-such-target', `${text} may not be entered: ${message}`, { cause });
    }
    const remedy = target.kind === 'netns' ? ': make it first (ip netns add NAME)' : ': no such process';
    throw new DriverError('no-such-target', `there is no ${text}${remedy}`, { cause });
  }
}

/** Up, addresses, default routes: what makes a new device the workload's network. */
export function configure(net: Netlink, device: string, spec: InterfaceSpec): void {
  const loopback = link.linkNamed(net, 'lo');
  if (loopback !== undefined && !loopback.up) link.setUp(net, loopback.ifindex);
  const eth = link.linkNamed(net, device);
  if (eth === undefined) throw new DriverError('kernel', `device ${device} is gone from the workload`);
  link.setUp(net, eth.ifindex);
  link.settle(net, eth.ifindex);
  setAddresses(net, eth.ifindex, spec);
}

/** How long Linux is given to route new IPv6 addresses, in milliseconds; it takes none of them but on a loaded machine. */
const routingPatience = 100;
const oneMillisecond = new Int32Array(new SharedArrayBuffer(4));
function awaitRoutes(net: Netlink, { addresses }: InterfaceSpec): void {
  const open = addresses.filter(({ address }) => familyOf(address) === 6).map(({ address }) => address);
  const end = performance.now() + routingPatience;
  while (!open.every((address) => link.isLocal(net, address)) && performance.now() < end) {
    Atomics.wait(oneMillisecond, 0, 0, 1);
  }
}

/** Adds what is missing; what is there stays as it is. */
function setAddresses(net: Netlink, ifindex: number, spec: InterfaceSpec): void {
  // The primary address comes first: it is then the one that the workload sends from.
  for (const { address, prefixLength } of [...spec.addresses].sort((a, b) => Number(b.primary) - Number(a.primary))) {
    link.addAddress(net, ifindex, address, prefixLength);
  }
  for (const { gateway, primary } of spec.addresses) {
    if (!primary) continue;
    try {
      link.addDefaultRoute(net, ifindex, gateway);
    } catch (error) {
      // A workload with several interfaces keeps its first default route.
      if (!(error instanceof bpf.KernelError) || error.errorName !== 'EEXIST') throw error;
    }
  }
  awaitRoutes(net, spec);
}

/**
 * Tells a workload of its new addresses.
 * @param host our end of the pair
 * @param target as a note has it
 * @param also what else its device is told
 */
export function changeAddresses(
  host: link.Link,
  target: string,
  before: InterfaceSpec,
  after: InterfaceSpec,
  also: (net: Netlink, ifindex: number) => void = () => {},
): void {
  const kept = new Set(after.addresses.map(({ address }) => address));
  try {
    withDevice(host, target, after, (net, ifindex) => {
      for (const { address, prefixLength } of before.addresses) {
        if (!kept.has(address)) link.removeAddress(net, ifindex, address, prefixLength);
      }
      // All of them: with the first address of a range Linux takes the others of it away, and with the last the routes.
      setAddresses(net, ifindex, after);
      also(net, ifindex);
    });
  } catch {
    // The plane is right; the workload's own set-up is not ours to insist on.
  }
}

/**
 * Tells the neighbours of a workload that its addresses are at its MAC.
 * @param host our end of the pair
 * @param target as a note has it
 * @throws DriverError, KernelError when it has gone
 */
export function announceAddresses(host: link.Link, target: string, spec: InterfaceSpec): void {
  const addresses = spec.addresses.map(({ address }) => address);
  withDevice(host, target, spec, (_net, ifindex, namespace) => announce(namespace, ifindex, spec.mac, addresses));
}

/** The other end of this very pair, whatever it is called by now; nothing where it is not. */
function withDevice(
  host: link.Link,
  target: string,
  { mac }: InterfaceSpec,
  work: (net: Netlink, ifindex: number, namespace: number) => void,
): void {
  withNetlink(targetOf(target), (net, namespace) => {
    const isOurs = (one: link.Link): boolean =>
      one.ifindex === host.peer && one.peer === host.ifindex && one.mac === mac;
    const eth = link.links(net).find(isOurs);
    if (eth !== undefined) work(net, eth.ifindex, namespace);
  });
}

function withNetlink(target: Target, work: (net: Netlink, namespace: number) => void): void {
  const namespace = openTarget(target);
  try {
    const net = inside(namespace, () => new Netlink());
    try {
      work(net, namespace);
    } finally {
      net.close();
    }
  } finally {
    closeSync(namespace);
  }
}
