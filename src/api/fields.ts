/**
 * Texts of a request become the words of the system here, once: ids, prefixes, addresses, names. Every refusal names the
 * field. Whether an object exists or may be touched is not asked here.
 */
import { type IdKind, type IdOf, isId } from '../model/ids.ts';
import { type Address, contains, familyOf, type Prefix, parseAddress, parsePrefix, rangeOf } from '../model/ip.ts';
import { rejectField } from './refused.ts';

/** Names: 1–32 characters of Han, letters, digits, `_`, `-` ("JD Cloud: VpcSpec"; `-` as the console allows). */
const nameForm = /^(?!.*\p{Default_Ignorable_Code_Point})[\p{Script=Han}\p{Letter}\p{Number}_-]{1,32}$/u; // none invisible
const mostDescription = 256;

const shown = (text: string): string => `'${text.slice(0, 64)}'`;

export function nameIn(field: string, text: string): string {
  if (nameForm.test(text)) return text;
  return rejectField(field, `${shown(text)} is not 1 to 32 letters, digits, Chinese characters, '_' or '-'`);
}

/** Any text of at most 256 characters. Lone surrogates are no characters. */
export function descriptionIn(field: string, text: string): string {
  if ([...text].length > mostDescription) rejectField(field, `it is longer than ${mostDescription} characters`);
  if (!text.isWellFormed()) rejectField(field, 'it is not valid Unicode');
  return text;
}

export function idIn<K extends IdKind>(kind: K, field: string, text: string): IdOf<K> {
  return isId(kind, text) ? text : rejectField(field, `${shown(text)} is not the id of a ${kind.replace('-', ' ')}`);
}

/** An id in the path: whatever it is, it is looked up, and not found when it has the wrong shape. */
export const pathId = <K extends IdKind>(_kind: K, text: string): IdOf<K> => text as IdOf<K>;

export function prefixIn(field: string, text: string): Prefix {
  const parsed = parsePrefix(text);
  return parsed.ok ? parsed.value : rejectField(field, parsed.problem);
}

export function addressIn(field: string, text: string): Address {
  const parsed = parseAddress(text);
  return parsed.ok ? parsed.value : rejectField(field, parsed.problem);
}

const ranges = (texts: readonly string[]): readonly Prefix[] => texts.map((text) => prefixIn('range', text));
/** Ranges that networks may be made from; IPv6 as in RFC 4291 §2.4 and RFC 4193. */
const rooms = {
  4: { within: ranges(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']), shortest: 16, longest: 28 },
  6: { within: ranges(['2000::/3', 'fc00::/7']), shortest: 32, longest: 120 },
} as const;

/** A prefix that a VPC or subnet may have ("JD Cloud: VpcSpec, SubnetSpec"; IPv6 is ours). */
export function networkIn(field: string, text: string): Prefix {
  const prefix = prefixIn(field, text);
  const { within, shortest, longest } = rooms[familyOf(prefix)];
  if (!within.some((room) => contains(room, prefix))) {
    rejectField(field, `${prefix} does not lie within ${within.join(', ')}`);
  }
  const { length } = rangeOf(prefix);
  if (length < shortest || length > longest) {
    rejectField(field, `${prefix} has length ${length}; it must be between ${shortest} and ${longest}`);
  }
  return prefix;
}

export function tokenIn(text: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(text)
    ? text
    : rejectField('clientToken', 'it is not 1 to 64 characters of A-Z, a-z, 0-9, _ and -');
}
