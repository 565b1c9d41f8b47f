/** Devices, addresses and routes, asked of the kernel over netlink. Each call works in the socket's namespace. */
import { type Address, bitsOf, familyOf, type Mac, widthOf } from '../model/ip.ts';
import { KernelError } from './bpf.ts';
import { attribute, attributes, flags, type Message, type Netlink, nested, textOf } from './netlink.ts';

const newLink = 16;
const delLink = 17;
const getLink = 18;
const newAddress = 20;
const delAddress = 21;
const newRoute = 24;
const getRoute = 26;
const newNeighbour = 28;
const ifla = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  info: 18,
  alias: 20,
  afSpec: 26,
  netnsFd: 28,
  carrier: 33,
} as const;
const up = 1;

export interface Link {
  readonly ifindex: number;
  readonly name: string;
  readonly alias: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  /** Whether both ends of the pair are up. */
  readonly carrier: boolean;
  /** Of a pair: index of the other end, in the namespace that it is in; otherwise 0. */
  readonly peer: number;
}

export const macBytes = (mac: Mac): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');
/** The bytes of an address in network order. */
export const addressBytes = (address: Address): Buffer => {
  const { family, bits } = bitsOf(address);
  return Buffer.from(bits.toString(16).padStart(widthOf(family) / 4, '0'), 'hex');
};

const linkHeader = (ifindex: number, flag = 0, change = 0): Buffer => {
  const header = Buffer.alloc(16);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt32LE(flag, 8);
  header.writeUInt32LE(change, 12);
  return header;
};

/** The link that a NEWLINK or DELLINK message tells of. */
export function linkOf({ body }: Message): Link {
  const found = attributes(body.subarray(16));
  return {
    ifindex: body.readInt32LE(4),
    name: textOf(found.get(ifla.name)),
    alias: textOf(found.get(ifla.alias)),
    mac: (found.get(ifla.address)?.toString('hex').match(/../g) ?? []).join(':'),
    mtu: found.get(ifla.mtu)?.readUInt32LE(0) ?? 0,
    up: (body.readUInt32LE(8) & up) !== 0,
    carrier: found.get(ifla.carrier)?.readUInt8(0) === 1,
    peer: found.get(ifla.link)?.readInt32LE(0) ?? 0,
  };
}
export const isGone = ({ type }: Message): boolean => type === delLink;

export interface EndOfPair {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
}

/** Makes a veth pair, the peer's end at once in its namespace, under its name: nothing is renamed or moved later. */
export function createPair(netlink: Netlink, near: EndOfPair, far: EndOfPair & { readonly namespace: number }): void {
  const end = (of: EndOfPair): Buffer[] => [
    attribute(ifla.name, of.name),
    attribute(ifla.address, macBytes(of.mac)),
    attribute(ifla.mtu, of.mtu),
  ];
  const peer = Buffer.concat([linkHeader(0), ...end(far), attribute(ifla.netnsFd, far.namespace)]);
  const info = nested(ifla.info, attribute(1, 'veth'), nested(2, attribute(1, peer)));
  const body = Buffer.concat([linkHeader(0), ...end(near), info]);
  netlink.request(`creating device pair ${near.name}`, newLink, flags.create | flags.exclusive, body);
}

export function setAlias(netlink: Netlink, ifindex: number, alias: string): void {
  netlink.request('setting an alias', newLink, 0, Buffer.concat([linkHeader(ifindex), attribute(ifla.alias, alias)]));
}
/** No IPv6 address of its own: an up device would otherwise speak by itself. */
export function setSilent(netlink: Netlink, ifindex: number): void {
  const spec = nested(ifla.afSpec, nested(10, attribute(8, Buffer.from([1]))));
  netlink.request('silencing a device', newLink, 0, Buffer.concat([linkHeader(ifindex), spec]));
}
export function setUp(netlink: Netlink, ifindex: number): void {
  netlink.request('setting a device up', newLink, 0, linkHeader(ifindex, up, up));
}
/**
 * Reads one device by its index. Linux ≥ 6.8 first carries out what it still has to do about the carrier: otherwise
 * up to a second passes, in which IPv6 is not ready.
 */
export function settle(netlink: Netlink, ifindex: number): void {
  netlink.request('reading a device', getLink, 0, linkHeader(ifindex));
}
/** A device that went by itself in the meantime is no error. */
export function deleteLink(netlink: Netlink, ifindex: number): void {
  try {
    netlink.request('deleting a device', delLink, 0, linkHeader(ifindex));
  } catch (error) {
    if (!(error instanceof KernelError) || error.errorName !== 'ENODEV') throw error;
  }
}
export const links = (netlink: Netlink): readonly Link[] =>
  netlink.request('listing devices', getLink, flags.dump, linkHeader(0)).map(linkOf);
export const linkNamed = (netlink: Netlink, name: string): Link | undefined =>
  links(netlink).find((link) => link.name === name);

function addressBody(ifindex: number, address: Address, prefixLength: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(familyOf(address) === 4 ? 2 : 10, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(0x02, 2); // IFA_F_NODAD: the gateway vouches for it
  header.writeUInt32LE(ifindex, 4);
  const bytes = addressBytes(address);
  return Buffer.concat([header, attribute(2, bytes), attribute(1, bytes)]);
}
export function addAddress(netlink: Netlink, ifindex: number, address: Address, prefixLength: number): void {
  const body = addressBody(ifindex, address, prefixLength);
  netlink.request(`adding address ${address}`, newAddress, flags.create | flags.replace, body);
}
/** An address that is not there is no error: the workload may have removed it itself. */
export function removeAddress(netlink: Netlink, ifindex: number, address: Address, prefixLength: number): void {
  try {
    netlink.request(`removing address ${address}`, delAddress, 0, addressBody(ifindex, address, prefixLength));
  } catch (error) {
    if (!(error instanceof KernelError) || error.errorName !== 'EADDRNOTAVAIL') throw error;
  }
}

/** Whether what arrives for that IPv6 address is received: Linux routes it a little after it has acknowledged it. */
export function isLocal(netlink: Netlink, address: Address): boolean {
  const header = Buffer.alloc(12);
  header.writeUInt8(10, 0);
  header.writeUInt8(128, 1);
  try {
    const body = Buffer.concat([header, attribute(1, addressBytes(address))]);
    const [route] = netlink.request(`reading the route to ${address}`, getRoute, 0, body);
    return route?.body.readUInt8(7) === 2; // RTN_LOCAL
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** The default route of the gateway's family. @throws KernelError EEXIST when there is one */
export function addDefaultRoute(netlink: Netlink, ifindex: number, gateway: Address): void {
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOf(gateway) === 4 ? 2 : 10, 0);
  header.writeUInt8(254, 4); // table main
  header.writeUInt8(4, 5); // protocol static
  header.writeUInt8(1, 7); // unicast
  const body = Buffer.concat([header, attribute(5, addressBytes(gateway)), attribute(4, ifindex)]);
  netlink.request(`adding the default route via ${gateway}`, newRoute, flags.create | flags.exclusive, body);
}

/** Says for good which MAC an address has: nobody needs to answer for it. */
export function addNeighbour(netlink: Netlink, ifindex: number, address: Address, mac: Mac): void {
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOf(address) === 4 ? 2 : 10, 0);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt16LE(0x80, 8); // NUD_PERMANENT
  const body = Buffer.concat([header, attribute(1, addressBytes(address)), attribute(2, macBytes(mac))]);
  netlink.request(`adding the neighbour ${address}`, newNeighbour, flags.create | flags.replace, body);
}
