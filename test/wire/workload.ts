/**
 * A workload of a test: a network namespace with sockets in it that this process uses. Owns the namespace; deleting it is
 * how a workload dies without a detach.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Link, links } from '../../src/kernel/link.ts';
import { Netlink } from '../../src/kernel/netlink.ts';
import { closeNamespace, createNamed, deleteNamed, inside, openNamed } from '../../src/kernel/netns.ts';
import { type DatagramSocket, EchoSocket, openUdp, PacketSocket } from '../../src/kernel/socket.ts';
import type { Family } from '../../src/model/ip.ts';

/** Port on which every workload receives probes. */
export const probePort = 9;

/**
 * What root does by hand in a namespace: `ip` or `tc` with these arguments. Not by their own option `-n`, which remounts
 * `/` and cannot where that is no mount, as in a chroot.
 */
export function byHand(program: 'ip' | 'tc', namespace: string, ...args: readonly string[]): string {
  const inside = [`--net=/run/netns/${namespace}`, program, ...args];
  return execFileSync('nsenter', inside, { timeout: 10_000, stdio: 'pipe' }).toString();
}

export class Workload {
  /** Name under /run/netns. */
  readonly name: string;
  /** Descriptor of the namespace. */
  readonly namespace: number;
  readonly #closers: (() => void)[] = [];
  #probe: DatagramSocket | undefined;
  readonly #echo = new Map<Family, EchoSocket>();

  constructor(label: string) {
    this.name = `itw-${label}-${randomBytes(4).toString('hex')}`;
    createNamed(this.name);
    this.namespace = openNamed(this.name);
    // No link-local address and nothing asked of routers: what a test counts is what the test sent.
    this.sysctl('ipv6/conf/default/addr_gen_mode', '1');
    this.sysctl('ipv6/conf/default/accept_ra', '0');
    this.sysctl('ipv6/conf/default/router_solicitations', '0');
  }

  sysctl(path: string, value: string): void {
    inside(this.namespace, () => {
      if (existsSync(`/proc/sys/net/${path}`)) writeFileSync(`/proc/sys/net/${path}`, value);
    });
  }
  /** A file of `/proc/thread-self` as this namespace shows it. */
  proc(path: string): string {
    return inside(this.namespace, () => readFileSync(`/proc/thread-self/${path}`, 'utf8'));
  }
  /** Something to close with the workload. */
  owned<T extends { close(): void }>(of: T): T {
    this.#closers.push(() => of.close());
    return of;
  }

  links(): readonly Link[] {
    const netlink = inside(this.namespace, () => new Netlink());
    try {
      return links(netlink);
    } finally {
      netlink.close();
    }
  }
  link(name = 'eth0'): Link {
    const found = this.links().find((link) => link.name === name);
    if (found === undefined) throw new Error(`${this.name} has no device ${name}`);
    return found;
  }

  /** The UDP socket of probes; both families. */
  get probe(): DatagramSocket {
    this.#probe ??= this.owned(openUdp(this.namespace, { port: probePort }));
    return this.#probe;
  }
  udp(port = 0): DatagramSocket {
    return this.owned(openUdp(this.namespace, { port }));
  }
  /** Raw frames on a device of this workload. */
  frames(device = 'eth0'): PacketSocket {
    return this.owned(new PacketSocket(this.namespace, this.link(device).ifindex));
  }
  echo(family: Family): EchoSocket {
    let socket = this.#echo.get(family);
    if (socket === undefined) {
      socket = this.owned(new EchoSocket(this.namespace, family));
      this.#echo.set(family, socket);
    }
    return socket;
  }

  #gone = false;
  /** Kills the namespace. The kernel takes its devices away some milliseconds later. */
  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const close of this.#closers.reverse()) close();
    closeNamespace(this.namespace);
    deleteNamed(this.name);
  }
}
