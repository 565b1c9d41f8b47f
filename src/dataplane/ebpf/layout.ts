/**
 * The bytes of every table: encodes and decodes what `bpf/maps.h` declares, in host order but for addresses, which are in
 * network order (IPv4 as ::ffff:a.b.c.d). Pure; a change here and there is a new layout version.
 */
import { type Address, addressOf, bitsOf, type Family, type Mac, type Prefix, rangeOf } from '../../model/ip.ts';

/** Raised with every change of `bpf/maps.h`: tables of another version are never read. */
export const layoutVersion = 4;
export const exitsPerInterface = 64;

export const kinds = { vpc: 1, table: 2, half: 3, interface: 4 } as const;
export type Kind = keyof typeof kinds;
const kindOf = (code: number): Kind | undefined => (Object.keys(kinds) as Kind[]).find((kind) => kinds[kind] === code);

const idSize = 32;
const noteSize = 96;
export const sizes = {
  meta: 128,
  id: idSize,
  registration: 16 + idSize + noteSize,
  interface: 92,
  routeKey: 24,
  route: 16,
  addressKey: 20,
  target: 20,
  count: 16,
} as const;

const mappedPrefix = 0xffffn << 32n;

/** 16 bytes in network order. */
export function addressBytes(address: Address): Buffer {
  const { family, bits } = bitsOf(address);
  const wide = family === 4 ? bits | mappedPrefix : bits;
  return Buffer.from(wide.toString(16).padStart(32, '0'), 'hex');
}
/** The address in 16 bytes; null for all zeroes, which stand for "none". */
export function addressFrom(bytes: Buffer): Address | null {
  const wide = BigInt(`0x${bytes.toString('hex', 0, 16)}`);
  if (wide === 0n) return null;
  return wide >> 32n === 0xffffn ? addressOf(4, wide & 0xffffffffn) : addressOf(6, wide);
}
export const none = (): Buffer => Buffer.alloc(16);

export const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
export const macBytes = (mac: Mac): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');
export const macFrom = (bytes: Buffer): Mac => (bytes.toString('hex', 0, 6).match(/../g) ?? []).join(':') as Mac;

const padded = (text: string, size: number): Buffer => {
  const bytes = Buffer.alloc(size);
  bytes.write(text, 0, size, 'utf8');
  return bytes;
};
const textFrom = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
};

export const idKey = (id: string): Buffer => padded(id, idSize);
export const idFrom = textFrom;

/** What stands in `ids` for a resource: which slot, and what only the agent needs to know of it. */
export interface Registration {
  readonly kind: Kind;
  /** VPC number, or slot in `tables`, `halves` or `interfaces`. Never 0. */
  readonly slot: number;
  readonly generation: number;
  /** Of an interface: 1 while it is attached. */
  readonly attached: boolean;
  /** The VPC that it belongs to; '' for a VPC. */
  readonly owner: string;
  /** Of a half: the remote VPC. Of an attached interface: `DEVICE TARGET`. */
  readonly note: string;
}
export function encodeRegistration(of: Registration): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(kinds[of.kind], 0);
  header.writeUInt32LE(of.slot, 4);
  header.writeUInt32LE(of.generation, 8);
  header.writeUInt32LE(of.attached ? 1 : 0, 12);
  return Buffer.concat([header, padded(of.owner, idSize), padded(of.note, noteSize)]);
}
export function decodeRegistration(bytes: Buffer): Registration | undefined {
  const kind = kindOf(bytes.readUInt32LE(0));
  if (kind === undefined) return undefined;
  return {
    kind,
    slot: bytes.readUInt32LE(4),
    generation: bytes.readUInt32LE(8),
    attached: (bytes.readUInt32LE(12) & 1) !== 0,
    owner: textFrom(bytes.subarray(16, 16 + idSize)),
    note: textFrom(bytes.subarray(16 + idSize)),
  };
}

/**
 * The final count of a half that is gone, until it is booked. It stands in `ids` too, under `HALF@GENERATION`, as a kind of
 * its own that is no resource's: versions without a meter take it for a stranger's and remove it.
 */
export interface Retirement {
  /** Where the count still stands while packets may be under way; 0 once it is final and stands here. */
  readonly slot: number;
  readonly generation: number;
  readonly packets: bigint;
  readonly bytes: bigint;
}
const retiredCode = 5;
export function encodeRetirement(of: Retirement): Buffer {
  const bytes = Buffer.alloc(sizes.registration);
  bytes.writeUInt32LE(retiredCode, 0);
  bytes.writeUInt32LE(of.slot, 4);
  bytes.writeUInt32LE(of.generation, 8);
  bytes.writeBigUInt64LE(of.packets, 16 + idSize);
  bytes.writeBigUInt64LE(of.bytes, 24 + idSize);
  return bytes;
}
export function decodeRetirement(bytes: Buffer): Retirement | undefined {
  if (bytes.readUInt32LE(0) !== retiredCode) return undefined;
  return {
    slot: bytes.readUInt32LE(4),
    generation: bytes.readUInt32LE(8),
    packets: bytes.readBigUInt64LE(16 + idSize),
    bytes: bytes.readBigUInt64LE(24 + idSize),
  };
}

/** Who this plane belongs to, and the counters that make numbers unique for its whole life. */
export interface Meta {
  readonly version: number;
  readonly nextVpc: number;
  readonly nextGeneration: number;
  readonly installationId: string;
  /** SHA-256 of the object the programs came from, its first 16 bytes. */
  readonly objectHash: string;
}
export function encodeMeta(meta: Meta): Buffer {
  const bytes = Buffer.alloc(sizes.meta);
  bytes.writeUInt32LE(meta.version, 0);
  bytes.writeUInt32LE(meta.nextVpc, 4);
  bytes.writeUInt32LE(meta.nextGeneration, 8);
  bytes.write(meta.objectHash, 16, 16, 'hex');
  padded(meta.installationId, idSize).copy(bytes, 32);
  return bytes;
}
export const decodeMeta = (bytes: Buffer): Meta => ({
  version: bytes.readUInt32LE(0),
  nextVpc: bytes.readUInt32LE(4),
  nextGeneration: bytes.readUInt32LE(8),
  objectHash: bytes.toString('hex', 16, 32),
  installationId: textFrom(bytes.subarray(32, 64)),
});

export interface InterfaceEntry {
  /** 0 while detached. */
  readonly ifindex: number;
  readonly vpc: number;
  readonly table: number;
  readonly generation: number;
  readonly mac: Mac;
  readonly sanityCheck: boolean;
  readonly mtu: number;
  readonly gateway: { readonly [F in Family]: Address | null };
  readonly primary: { readonly [F in Family]: Address | null };
}
const optional = (address: Address | null): Buffer => (address === null ? none() : addressBytes(address));
export function encodeInterface(of: InterfaceEntry): Buffer {
  const head = Buffer.alloc(28);
  head.writeUInt32LE(of.ifindex, 0);
  head.writeUInt32LE(of.vpc, 4);
  head.writeUInt32LE(of.table, 8);
  head.writeUInt32LE(of.generation, 12);
  macBytes(of.mac).copy(head, 16);
  head.writeUInt16LE(of.sanityCheck ? 1 : 0, 22);
  head.writeUInt32LE(of.mtu, 24);
  const { gateway, primary } = of;
  return Buffer.concat([head, ...[gateway[4], gateway[6], primary[4], primary[6]].map(optional)]);
}
export const decodeInterface = (bytes: Buffer): InterfaceEntry => ({
  ifindex: bytes.readUInt32LE(0),
  vpc: bytes.readUInt32LE(4),
  table: bytes.readUInt32LE(8),
  generation: bytes.readUInt32LE(12),
  mac: macFrom(bytes.subarray(16)),
  sanityCheck: (bytes.readUInt16LE(22) & 1) !== 0,
  mtu: bytes.readUInt32LE(24),
  gateway: { 4: addressFrom(bytes.subarray(28)), 6: addressFrom(bytes.subarray(44)) },
  primary: { 4: addressFrom(bytes.subarray(60)), 6: addressFrom(bytes.subarray(76)) },
});

export const routeKinds = { local: 1, peering: 2, interface: 3, 'black-hole': 4 } as const;
export interface RouteEntry {
  readonly kind: keyof typeof routeKinds;
  readonly slot: number;
  readonly generation: number;
  readonly vpc: number;
}
export function encodeRouteKey(destination: Prefix): Buffer {
  const { family, length, first } = rangeOf(destination);
  const bits = 32 + (family === 4 ? 96 : 0) + length;
  return Buffer.concat([u32(bits), u32(family), addressBytes(addressOf(family, first))]);
}
export function decodeRouteKey(bytes: Buffer): Prefix {
  const family: Family = bytes.readUInt32LE(4) === 4 ? 4 : 6;
  const length = bytes.readUInt32LE(0) - 32 - (family === 4 ? 96 : 0);
  const wide = BigInt(`0x${bytes.toString('hex', 8, 24)}`);
  const address = family === 4 ? addressOf(4, wide & 0xffffffffn) : addressOf(6, wide);
  return `${address}/${length}` as Prefix;
}
export const encodeRoute = (of: RouteEntry): Buffer =>
  Buffer.from(Uint32Array.of(of.vpc, routeKinds[of.kind], of.slot, of.generation).buffer);
export function decodeRoute(bytes: Buffer): RouteEntry | undefined {
  const code = bytes.readUInt32LE(4);
  const kind = (Object.keys(routeKinds) as (keyof typeof routeKinds)[]).find((name) => routeKinds[name] === code);
  if (kind === undefined) return undefined;
  return { kind, slot: bytes.readUInt32LE(8), generation: bytes.readUInt32LE(12), vpc: bytes.readUInt32LE(0) };
}

export const encodeAddressKey = (vpc: number, address: Address): Buffer =>
  Buffer.concat([u32(vpc), addressBytes(address)]);
export interface TargetEntry {
  readonly vpc: number;
  readonly slot: number;
  readonly mtu: number;
  readonly mac: Mac;
  readonly primary: boolean;
  /** Of the subnet, for `observe` only. */
  readonly prefixLength: number;
}
export function encodeTarget(of: TargetEntry): Buffer {
  const bytes = Buffer.alloc(sizes.target);
  bytes.writeUInt32LE(of.vpc, 0);
  bytes.writeUInt32LE(of.slot, 4);
  bytes.writeUInt32LE(of.mtu, 8);
  macBytes(of.mac).copy(bytes, 12);
  bytes.writeUInt16LE((of.primary ? 1 : 0) | (of.prefixLength << 8), 18);
  return bytes;
}
export const decodeTarget = (bytes: Buffer): TargetEntry => ({
  vpc: bytes.readUInt32LE(0),
  slot: bytes.readUInt32LE(4),
  mtu: bytes.readUInt32LE(8),
  mac: macFrom(bytes.subarray(12)),
  primary: (bytes.readUInt16LE(18) & 1) !== 0,
  prefixLength: bytes.readUInt16LE(18) >> 8,
});

/** A live half in one word: the peer's number below, the generation above. 0 is dead. */
export function encodeHalf(peer: number, generation: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(peer, 0);
  bytes.writeUInt32LE(generation, 4);
  return bytes;
}
export const deadHalf = (): Buffer => Buffer.alloc(8);

/** Sums the values that each CPU holds of one counter. */
export function sumCounts(bytes: Buffer): { readonly packets: number; readonly bytes: number } {
  const { packets, bytes: octets } = sumExactly(bytes);
  return { packets: Number(packets), bytes: Number(octets) };
}
/** The same beyond 2^53. */
export function sumExactly(bytes: Buffer): { readonly packets: bigint; readonly bytes: bigint } {
  let packets = 0n;
  let octets = 0n;
  for (let at = 0; at + sizes.count <= bytes.length; at += sizes.count) {
    packets += bytes.readBigUInt64LE(at);
    octets += bytes.readBigUInt64LE(at + 8);
  }
  return { packets, bytes: octets };
}
