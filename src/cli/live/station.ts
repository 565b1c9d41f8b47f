/**
 * One end of a live probe: a workload's namespace seen from outside. Listens on its device, sends from its own stack, and
 * reads how it is set up. Changes nothing there.
 */
import { closeSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { AttachmentFact } from '../../dataplane/driver.ts';
import { type Link, links } from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { inside, openNamed, openOfProcess } from '../../kernel/netns.ts';
import { PacketSocket } from '../../kernel/socket.ts';
import { type Address, addressOf, type Family } from '../../model/ip.ts';

/** Source and destination of an IP frame, or of an ARP message. */
export interface Seen {
  readonly source: Address;
  readonly destination: Address;
  readonly outgoing: boolean;
}

export class Station {
  readonly namespace: number;
  readonly fact: AttachmentFact;
  readonly link: Link | undefined;
  readonly #tap: PacketSocket | undefined;
  readonly #seen: Seen[] = [];

  /** @throws when the namespace is gone */
  constructor(fact: AttachmentFact) {
    this.fact = fact;
    const [kind, name = ''] = fact.target.split(/:(.*)/s);
    this.namespace = kind === 'netns' ? openNamed(name) : openOfProcess(Number(name));
    const netlink = inside(this.namespace, () => new Netlink());
    try {
      this.link = links(netlink).find((link) => link.name === fact.device);
    } finally {
      netlink.close();
    }
    // A tap on a device that is down is refused.
    this.#tap = this.link?.up === true ? new PacketSocket(this.namespace, this.link.ifindex, true) : undefined;
  }

  /** Addresses on the device. */
  addresses(): readonly string[] {
    const all = inside(this.namespace, () => networkInterfaces());
    return (all[this.fact.device] ?? []).map(({ address }) => address);
  }

  /** Whether the workload has a default route of the family by its device. */
  hasDefaultRoute(family: Family): boolean {
    const { device } = this.fact;
    if (family === 4) {
      const rows = this.#proc('route').split('\n').slice(1);
      return rows.some((row) => {
        const [name, destination, , , , , , mask] = row.split('\t');
        return name === device && destination === '00000000' && mask === '00000000';
      });
    }
    return this.#proc('ipv6_route')
      .split('\n')
      .some((row) => {
        const parts = row.trim().split(/\s+/);
        return parts[0] === '0'.repeat(32) && parts[1] === '00' && parts.at(-1) === device;
      });
  }
  #proc(name: string): string {
    return inside(this.namespace, () => readFileSync(`/proc/thread-self/net/${name}`, 'utf8'));
  }

  /** Reads what the device has carried since the last time. */
  listen(): readonly Seen[] {
    for (let got = this.#tap?.receiveEither(); got !== undefined; got = this.#tap?.receiveEither()) {
      const seen = readFrame(got.frame, got.outgoing);
      if (seen !== undefined) this.#seen.push(seen);
    }
    return this.#seen;
  }

  close(): void {
    this.#tap?.close();
    closeSync(this.namespace);
  }
}

function readFrame(frame: Buffer, outgoing: boolean): Seen | undefined {
  if (frame.length < 34) return undefined;
  const type = frame.readUInt16BE(12);
  const v4 = (at: number): Address => addressOf(4, BigInt(frame.readUInt32BE(at)));
  const v6 = (at: number): Address => addressOf(6, BigInt(`0x${frame.toString('hex', at, at + 16)}`));
  // A workload that cannot find its gateway sends nothing but the question for it.
  if (type === 0x0806 && frame.length >= 42) return { source: v4(28), destination: v4(38), outgoing };
  if (type === 0x0800) return { source: v4(26), destination: v4(30), outgoing };
  if (type === 0x86dd && frame.length >= 54) return { source: v6(22), destination: v6(38), outgoing };
  return undefined;
}
