/**
 * The pair of devices between the integration bridge and a workload: `i` and the end of the interface's id on the host,
 * and what the operator named inside the workload. A device that is not ours is never touched, whatever its name.
 */
import { execFile } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import * as link from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { inside } from '../../kernel/netns.ts';
import type { PortId } from '../../model/ids.ts';
import { familyOf } from '../../model/ip.ts';
import { gatewayMac, type InterfaceSpec } from '../../model/network-spec.ts';
import { DriverError } from '../driver.ts';
import { announceAddresses, changeAddresses, configure, openTarget, type Target, targetText } from '../workload-end.ts';

const run = promisify(execFile);
const programPatience = 10_000;

export const pairName = (portId: PortId): string => `i${portId.slice(-10)}`;

/** An open workload: its namespace, and how it is called. */
interface Workload {
  readonly namespace: number;
  readonly target: Target;
  readonly device: string;
}

export class HostPairs {
  readonly #installationId: string;
  readonly #namespace: string | undefined;
  /** @param namespace in which Open vSwitch runs, by name; undefined: our own */
  constructor(installationId: string, namespace: string | undefined) {
    this.#installationId = installationId;
    this.#namespace = namespace;
  }

  #inHost<T>(work: () => T): T {
    if (this.#namespace === undefined) return work();
    const fd = openSync(`/run/netns/${this.#namespace}`, 'r');
    try {
      return inside(fd, work);
    } finally {
      closeSync(fd);
    }
  }
  #withHost<T>(work: (host: Netlink) => T): T {
    const host = this.#inHost(() => new Netlink());
    try {
      return work(host);
    } finally {
      host.close();
    }
  }
  #alias(portId: PortId): string {
    return `isthmus:${this.#installationId}:${portId}`;
  }
  /** One of the name that is not ours is none. One without an alias is ours when a crash came before it got it. */
  #find(host: Netlink, portId: PortId): link.Link | undefined {
    const found = link.linkNamed(host, pairName(portId));
    const ours =
      found?.alias === this.#alias(portId) || (found?.alias === '' && found.mac === gatewayMac && found.peer !== 0);
    return ours ? found : undefined;
  }

  /** @throws DriverError when it cannot be, or is the host itself */
  open(target: Target, device: string): Workload {
    const namespace = openTarget(target);
    if (this.#inHost(() => fstatSync(namespace).ino === inodeOfOwn())) {
      closeSync(namespace);
      const message = `${targetText(target)} is the namespace of the host itself: name the workload's`;
      throw new DriverError('no-such-target', message);
    }
    return { namespace, target, device };
  }

  /** Makes the pair; both ends are down, so nothing passes yet. @throws DriverError */
  make(workload: Workload, spec: InterfaceSpec, mtu: number): void {
    const name = pairName(spec.id);
    const net = inside(workload.namespace, () => new Netlink());
    try {
      if (link.linkNamed(net, workload.device) !== undefined) {
        const message = `${targetText(workload.target)} already has a device ${workload.device}: name another`;
        throw new DriverError('device-exists', message);
      }
    } finally {
      net.close();
    }
    this.#withHost((host) => {
      const left = this.#find(host, spec.id);
      if (left !== undefined) link.deleteLink(host, left.ifindex);
      if (link.linkNamed(host, name) !== undefined) {
        throw new DriverError('device-exists', `this host has a device ${name} that is not ours: rename it`);
      }
      const far = { name: workload.device, mac: spec.mac, mtu, namespace: workload.namespace };
      link.createPair(host, { name, mac: gatewayMac, mtu }, far);
      const near = link.linkNamed(host, name);
      if (near === undefined) throw new DriverError('kernel', `device ${name} is gone as soon as it was made`);
      link.setAlias(host, near.ifindex, this.#alias(spec.id));
      link.setSilent(host, near.ifindex);
    });
  }

  /**
   * Makes both ends send whole frames: the datapath in user space forwards them as they are, so no checksum and no segment
   * may be left for a device to finish.
   */
  async sendWholeFrames(workload: Workload, portId: PortId): Promise<void> {
    const off = ['tx', 'off', 'gso', 'off', 'tso', 'off', 'gro', 'off'];
    const { target, device } = workload;
    const here = this.#namespace === undefined ? [] : ['nsenter', `--net=/run/netns/${this.#namespace}`];
    const there = target.kind === 'netns' ? `--net=/run/netns/${target.name}` : `--net=/proc/${target.pid}/ns/net`;
    for (const [program = '', ...args] of [
      [...here, 'ethtool', '-K', pairName(portId), ...off],
      ['nsenter', there, 'ethtool', '-K', device, ...off],
    ]) {
      await run(program, args, { timeout: programPatience });
    }
  }

  /** Both ends up, with the workload's addresses and routes. */
  raise(workload: Workload, spec: InterfaceSpec): void {
    this.#withHost((host) => {
      const near = this.#find(host, spec.id);
      if (near === undefined) throw new DriverError('kernel', `device ${pairName(spec.id)} is gone from the host`);
      link.setUp(host, near.ifindex);
      const net = inside(workload.namespace, () => new Netlink());
      try {
        // OVN lets whoever is in the subnet say that he is a router.
        inside(workload.namespace, () => refuseRouters(workload.device));
        configure(net, workload.device, spec);
        link.settle(host, near.ifindex);
        const eth = link.linkNamed(net, workload.device);
        if (eth !== undefined) knowGateways(net, eth.ifindex, spec);
      } finally {
        net.close();
      }
    });
  }

  /** Tells the workload of its new addresses. @param target as a note has it */
  follow(target: string, before: InterfaceSpec, after: InterfaceSpec): void {
    this.#withHost((host) => {
      const near = this.#find(host, after.id);
      if (near === undefined) return;
      changeAddresses(near, target, before, after, (net, ifindex) => knowGateways(net, ifindex, after));
    });
  }

  /** Tells the workload's neighbours that its addresses are here. @param target as a note has it */
  announce(target: string, spec: InterfaceSpec): void {
    try {
      this.#withHost((host) => {
        const near = this.#find(host, spec.id);
        if (near !== undefined) announceAddresses(near, target, spec);
      });
    } catch {
      // The workload has gone, or has rearranged its network: then its neighbours ask.
    }
  }

  /** One that is not there is no error. */
  delete(portId: PortId): void {
    this.#withHost((host) => {
      const near = this.#find(host, portId);
      if (near !== undefined) link.deleteLink(host, near.ifindex);
    });
  }
}

/** Who answers for an IPv6 gateway is ovn-controller: without this the workload would depend on its life. */
function knowGateways(net: Netlink, ifindex: number, { addresses }: InterfaceSpec): void {
  for (const { gateway } of addresses) {
    if (familyOf(gateway) === 6) link.addNeighbour(net, ifindex, gateway, gatewayMac);
  }
}

function refuseRouters(device: string): void {
  const path = `/proc/sys/net/ipv6/conf/${device}/accept_ra`;
  // Without IPv6 there is none.
  if (existsSync(path)) writeFileSync(path, '0');
}

function inodeOfOwn(): number {
  const fd = openSync('/proc/thread-self/ns/net', 'r');
  try {
    return fstatSync(fd).ino;
  } finally {
    closeSync(fd);
  }
}
