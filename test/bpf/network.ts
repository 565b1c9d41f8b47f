/** The one small network of these tests: VPC 1 with two interfaces, VPC 2 peered with it, VPC 3 peered with VPC 2. */
import type { Address, Mac } from '../../src/model/ip.ts';
import { type FrameOptions, udpFrame } from '../wire/frame.ts';
import { type Port, TestPlane } from './plane.ts';

export const at = (text: string): Address => text as Address;
const mac = (last: number): Mac => `02:11:22:33:44:0${last}` as Mac;

const gateway = (vpc: number) => ({ 4: at(`10.${vpc}.0.1`), 6: at(`fd0${vpc}::1`) });
const port = (slot: number, vpc: number, host: number): Port => {
  const primary = { 4: at(`10.${vpc}.0.${host}`), 6: at(`fd0${vpc}::${host}`) };
  const addresses = [primary[4], primary[6], at(`10.${vpc}.0.1${host}`)] as const;
  return { slot, vpc, table: vpc, mac: mac(slot), addresses, primary, gateway: gateway(vpc) };
};
/** a and b are neighbours in VPC 1, c is in VPC 2, d in VPC 3; e is in VPC 1 and has no workload. */
export const a = port(1, 1, 2);
export const b: Port = { ...port(2, 1, 3), mtu: 1400 };
export const c: Port = { ...port(3, 2, 2), mtu: 1400 };
export const d = port(4, 3, 2);
export const e: Port = { ...port(5, 1, 5), detached: true };
/** Without sanity check: an appliance in VPC 1. */
export const f: Port = { ...port(6, 1, 6), sanityCheck: false };
/** Speaks IPv4 only. */
export const g: Port = {
  ...port(7, 1, 7),
  addresses: [at('10.1.0.7')],
  primary: { 4: at('10.1.0.7'), 6: null },
  gateway: { 4: at('10.1.0.1'), 6: null },
};

/** Half slots: 1 is VPC 1 → 2, 2 is 2 → 1, 3 is 2 → 3, 4 is dead, 5 is alive in another generation. */
export const halves = { oneToTwo: 1, twoToOne: 2, twoToThree: 3, dead: 4, other: 5 } as const;

export function network(object?: string): TestPlane {
  const plane = new TestPlane(object);
  const over = (slot: number) => ({ kind: 'peering', slot, generation: 7 }) as const;
  plane.putHalf(halves.oneToTwo, 2, 7);
  plane.putHalf(halves.twoToOne, 1, 7);
  plane.putHalf(halves.twoToThree, 3, 7);
  plane.putHalf(halves.other, 2, 8);
  plane.putTable(
    1,
    [
      ['10.1.0.0/16', { kind: 'local' }],
      ['fd01::/64', { kind: 'local' }],
      ['10.2.0.0/16', over(halves.oneToTwo)],
      ['fd02::/64', over(halves.oneToTwo)],
      ['10.3.0.0/16', over(halves.oneToTwo)], // hostile: VPC 2 could reach it, VPC 1 must not
      ['10.4.0.0/16', over(halves.dead)],
      ['10.5.0.0/16', over(halves.other)],
      ['10.6.0.0/16', { kind: 'black-hole' }],
      ['10.7.0.0/16', { kind: 'interface', slot: b.slot, generation: 1 }],
      ['10.8.0.0/16', { kind: 'interface', slot: b.slot, generation: 9 }],
      ['10.9.0.0/16', { kind: 'interface', slot: c.slot, generation: 1 }],
      ['10.10.0.0/16', { kind: 'local', vpc: 9 }], // stored for another VPC
      ['::/0', over(halves.oneToTwo)],
    ],
    1,
  );
  plane.putTable(
    2,
    [
      ['10.2.0.0/16', {}],
      ['10.1.0.0/16', over(halves.twoToOne)],
      ['10.3.0.0/16', over(halves.twoToThree)],
    ],
    2,
  );
  plane.putTable(3, [['10.3.0.0/16', {}]], 3);
  for (const one of [a, b, c, d, e, f, g]) plane.put(one);
  return plane;
}

/** From one address of a port to any other, over its gateway. */
export const from = (sender: Port, destination: string, of: Partial<FrameOptions> = {}): FrameOptions => ({
  sourceMac: sender.mac,
  source: at(destination.includes(':') ? String(sender.primary[6]) : String(sender.primary[4])),
  destination: at(destination),
  ...of,
});
/** @param size of the IP packet, in bytes */
export const udp = (sender: Port, destination: string, of: Partial<FrameOptions> = {}, size = 100): Buffer =>
  udpFrame(
    from(sender, destination, of),
    { from: 4000, to: 5000 },
    Buffer.alloc(size - (destination.includes(':') ? 48 : 28), 7),
  );
