/**
 * Addresses, prefixes and MACs, IPv4 and IPv6 alike. Owns all address arithmetic of the system. The branded types are
 * made only by the `parse…` functions here and are always canonical text, so `===` compares them and JSON carries them.
 */
declare const brand: unique symbol;
type Brand<B extends string> = string & { readonly [brand]: B };

/** A canonical IPv4 or IPv6 address (RFC 5952 for IPv6). */
export type Address = Brand<'Address'>;
/** A canonical CIDR: no host bits, no leading zeros. */
export type Prefix = Brand<'Prefix'>;
/** Six lower-case hexadecimal pairs joined by colons. */
export type Mac = Brand<'Mac'>;
export type Family = 4 | 6;

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };
const bad = (problem: string): { ok: false; problem: string } => ({ ok: false, problem });
const good = <T>(value: T): { ok: true; value: T } => ({ ok: true, value });

/** The numbers behind an address. `bits` has 32 or 128 significant bits. */
export interface AddressBits {
  readonly family: Family;
  readonly bits: bigint;
}
/** The numbers behind a prefix: its first and last address. */
export interface PrefixRange {
  readonly family: Family;
  readonly length: number;
  readonly first: bigint;
  readonly last: bigint;
}

export const widthOf = (family: Family): number => (family === 4 ? 32 : 128);

function readV4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let bits = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    bits = (bits << 8n) | BigInt(octet);
  }
  return bits;
}

function readV6(text: string): bigint | undefined {
  if (!/^[0-9a-fA-F:]+$/.test(text)) return undefined; // no zone ids, no embedded IPv4
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (part: string | undefined): string[] => (part === undefined || part === '' ? [] : part.split(':'));
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let bits = 0n;
  for (const group of [...head, ...Array<string>(Math.max(missing, 0)).fill('0'), ...tail]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    bits = (bits << 16n) | BigInt(Number.parseInt(group, 16));
  }
  return bits;
}

function writeV6(bits: bigint): string {
  const groups: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(Number((bits >> shift) & 0xffffn));
  let best = { at: -1, run: 1 }; // RFC 5952: only runs of two or more groups are shortened
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > best.run) best = { at: i, run };
    if (run > 0) i += run - 1;
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.run).join(':')}`;
}

function writeAddress(family: Family, bits: bigint): string {
  if (family === 6) return writeV6(bits);
  return [24n, 16n, 8n, 0n].map((shift) => String((bits >> shift) & 0xffn)).join('.');
}

/** The address with these numbers. @param bits must fit the family. */
export const addressOf = (family: Family, bits: bigint): Address => writeAddress(family, bits) as Address;

/** Parses an address; IPv4-mapped IPv6, zones, blanks and leading zeros are refused. */
export function parseAddress(text: string): Parsed<Address> {
  const v4 = readV4(text);
  if (v4 !== undefined) return good(addressOf(4, v4));
  const v6 = readV6(text);
  if (v6 === undefined) return bad(`'${text.slice(0, 64)}' is not an IPv4 or IPv6 address`);
  if (v6 >> 32n === 0xffffn) return bad(`'${text.slice(0, 64)}' is an IPv4-mapped address; write it as IPv4`);
  return good(addressOf(6, v6));
}

/** Parses a CIDR; host bits, leading zeros, blanks and IPv4-mapped prefixes are refused. */
export function parsePrefix(text: string): Parsed<Prefix> {
  const shown = `'${text.slice(0, 64)}'`;
  const slash = text.indexOf('/');
  if (slash < 0) return bad(`${shown} is not a CIDR: the prefix length is missing`);
  const address = parseAddress(text.slice(0, slash));
  if (!address.ok) return address;
  const { family, bits } = bitsOf(address.value);
  const lengthText = text.slice(slash + 1);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(lengthText)) return bad(`${shown} is not a CIDR: bad prefix length`);
  const length = Number(lengthText);
  if (length > widthOf(family)) return bad(`${shown} is not a CIDR: the length is at most ${widthOf(family)}`);
  const host = (1n << BigInt(widthOf(family) - length)) - 1n;
  if ((bits & host) !== 0n) {
    return bad(`${shown} has host bits set; the network is ${writeAddress(family, bits & ~host)}/${length}`);
  }
  return good(`${address.value}/${length}` as Prefix);
}

export function parseMac(text: string): Parsed<Mac> {
  const lower = text.toLowerCase();
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(lower)) return bad(`'${text.slice(0, 64)}' is not a MAC address`);
  if ((Number.parseInt(lower.slice(0, 2), 16) & 1) === 1) return bad(`'${lower}' is a multicast MAC`);
  return good(lower as Mac);
}

/** The locally administered unicast MAC with these low 40 bits. */
export function macOf(seed: bigint): Mac {
  const hex = (0x020000000000n | (seed & 0x00ffffffffffn)).toString(16).padStart(12, '0');
  return (hex.match(/../g) ?? []).join(':') as Mac;
}

/** The link-local address that a MAC gives (EUI-64, RFC 4291 appendix A). */
export function linkLocalOf(mac: Mac): Address {
  const bits = BigInt(`0x${mac.replaceAll(':', '')}`) ^ 0x020000000000n;
  return addressOf(6, (0xfe80n << 112n) | ((bits >> 24n) << 40n) | (0xfffen << 24n) | (bits & 0xffffffn));
}

// Parsing the same text again and again is the hottest thing the control plane does; the caches are bounded.
const cacheLimit = 65_536;
const addressCache = new Map<string, AddressBits>();
const prefixCache = new Map<string, PrefixRange>();
function cached<V>(cache: Map<string, V>, key: string, make: () => V): V {
  const known = cache.get(key);
  if (known !== undefined) return known;
  if (cache.size >= cacheLimit) cache.clear();
  const made = make();
  cache.set(key, made);
  return made;
}

export const bitsOf = (address: Address): AddressBits =>
  cached(addressCache, address, () => {
    const v4 = readV4(address);
    return v4 !== undefined ? { family: 4, bits: v4 } : { family: 6, bits: readV6(address) ?? 0n };
  });

export const rangeOf = (prefix: Prefix): PrefixRange =>
  cached(prefixCache, prefix, () => {
    const slash = prefix.indexOf('/');
    const { family, bits } = bitsOf(prefix.slice(0, slash) as Address);
    const length = Number(prefix.slice(slash + 1));
    return { family, length, first: bits, last: bits | ((1n << BigInt(widthOf(family) - length)) - 1n) };
  });

export const familyOf = (of: Address | Prefix): Family => (of.includes(':') ? 6 : 4);

/** Whether two prefixes share an address. Symmetric; prefixes of different families never overlap. */
export function overlaps(a: Prefix, b: Prefix): boolean {
  const x = rangeOf(a);
  const y = rangeOf(b);
  return x.family === y.family && x.first <= y.last && y.first <= x.last;
}

/** Whether `inner` lies inside `outer` or equals it. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  const o = rangeOf(outer);
  const i = rangeOf(inner);
  return o.family === i.family && o.first <= i.first && i.last <= o.last;
}

export function containsAddress(prefix: Prefix, address: Address): boolean {
  const range = rangeOf(prefix);
  const { family, bits } = bitsOf(address);
  return range.family === family && range.first <= bits && bits <= range.last;
}

/** The address `offset` places after the first of the prefix; negative counts back from the last. */
export function addressAt(prefix: Prefix, offset: number): Address {
  const { family, first, last } = rangeOf(prefix);
  return addressOf(family, offset >= 0 ? first + BigInt(offset) : last + 1n + BigInt(offset));
}

export const prefixOf = (address: Address): Prefix => `${address}/${widthOf(familyOf(address))}` as Prefix;

/** Orders prefixes and addresses: IPv4 first, then by number, then by length. Used to keep every spec sorted. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  const x = rangeOf(a);
  const y = rangeOf(b);
  if (x.family !== y.family) return x.family - y.family;
  if (x.first !== y.first) return x.first < y.first ? -1 : 1;
  return x.length - y.length;
}
export const compareAddresses = (a: Address, b: Address): number => comparePrefixes(prefixOf(a), prefixOf(b));
