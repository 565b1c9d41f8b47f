/**
 * What OVSDB says on the wire (RFC 7047): messages are JSON values one after the other with nothing between them, and a
 * column's value is an atom, a set or a map.
 */

/** Cuts a stream into JSON messages: counts brackets, and knows strings and their escapes. */
export class MessageSplitter {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  #text = '';
  /** How far `#text` was looked at. */
  #at = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** @returns the messages that are whole now @throws SyntaxError, TypeError for what is no JSON or no UTF-8 */
  push(chunk: Uint8Array): readonly unknown[] {
    this.#text += this.#decoder.decode(chunk, { stream: true });
    const found: unknown[] = [];
    for (; this.#at < this.#text.length; this.#at++) {
      const one = this.#text[this.#at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (one === '\\') this.#escaped = true;
        else if (one === '"') this.#inString = false;
      } else if (one === '"') this.#inString = true;
      else if (one === '{' || one === '[') this.#depth++;
      else if (one === '}' || one === ']') {
        if (--this.#depth > 0) continue;
        found.push(JSON.parse(this.#text.slice(0, this.#at + 1)));
        this.#text = this.#text.slice(this.#at + 1);
        this.#at = -1;
      }
    }
    return found;
  }
}

const noUuid = '00000000-0000-0000-0000-000000000000';

export type Atom = string | number | boolean;
/** A column as it is used here: uuids are their text, a set is sorted, an optional value is a set of none or one. */
export type Value = Atom | readonly Atom[] | { readonly [key: string]: string };
export type Row = { readonly [column: string]: Value };

/** What a column holds, as far as it matters. */
export interface ColumnType {
  readonly shape: 'atom' | 'set' | 'map';
  /** A set of at most one: a change of it carries the new value, not a difference. */
  readonly single: boolean;
  readonly uuid: boolean;
  /** What a column holds of which nothing is said. */
  readonly empty: Value;
}

interface BaseType {
  readonly type?: string;
}
interface FullType {
  readonly key?: string | BaseType;
  readonly value?: unknown;
  readonly min?: number;
  readonly max?: number | 'unlimited';
}

const zeroOf = (type: string): Atom =>
  type === 'boolean' ? false : type === 'integer' || type === 'real' ? 0 : type === 'uuid' ? noUuid : '';

/** @param type as a schema gives it */
export function columnType(type: string | FullType): ColumnType {
  if (typeof type === 'string') return { shape: 'atom', single: true, uuid: type === 'uuid', empty: zeroOf(type) };
  const { key, value, min = 1, max = 1 } = type;
  const base = (typeof key === 'string' ? key : key?.type) ?? 'string';
  const uuid = base === 'uuid';
  if (value !== undefined) return { shape: 'map', single: false, uuid, empty: {} };
  if (min === 1 && max === 1) return { shape: 'atom', single: true, uuid, empty: zeroOf(base) };
  return { shape: 'set', single: max === 1, uuid, empty: [] };
}

const byText = (a: Atom, b: Atom): number => (a < b ? -1 : a > b ? 1 : 0);
const atomFrom = (wire: unknown): Atom =>
  Array.isArray(wire) && (wire[0] === 'uuid' || wire[0] === 'named-uuid') ? String(wire[1]) : (wire as Atom);

/** The elements of what may be a set, or a set of one without its brackets. */
function elements(wire: unknown): readonly Atom[] {
  const list = Array.isArray(wire) && wire[0] === 'set' ? (wire[1] as unknown[]) : [wire];
  return list.map(atomFrom).sort(byText);
}
const pairs = (wire: unknown): readonly (readonly [string, string])[] =>
  ((wire as [string, [unknown, unknown][]])[1] ?? []).map(([key, value]) => [
    String(atomFrom(key)),
    String(atomFrom(value)),
  ]);

export function valueFrom(type: ColumnType, wire: unknown): Value {
  if (type.shape === 'map') return Object.fromEntries([...pairs(wire)].sort(([a], [b]) => byText(a, b)));
  return type.shape === 'set' ? elements(wire) : atomFrom(wire);
}

/**
 * A column after a `modify` of update2 and update3. Of sets and maps that carries a difference: an element that was there
 * is gone, another is new; a key with the same value is gone, with another value it is changed.
 */
export function modified(type: ColumnType, before: Value, wire: unknown): Value {
  if (type.shape === 'map') {
    const after = new Map(Object.entries(before as { readonly [key: string]: string }));
    for (const [key, value] of pairs(wire)) {
      if (after.get(key) === value) after.delete(key);
      else after.set(key, value);
    }
    return Object.fromEntries([...after].sort(([a], [b]) => byText(a, b)));
  }
  if (type.shape === 'atom' || type.single) return valueFrom(type, wire);
  const after = new Set(before as readonly Atom[]);
  for (const element of elements(wire)) if (!after.delete(element)) after.add(element);
  return [...after].sort(byText);
}

/** A value for the wire. */
export function wireOf(type: ColumnType, value: Value): unknown {
  const atom = (one: Atom): unknown => (type.uuid ? ['uuid', one] : one);
  if (type.shape === 'map') return ['map', Object.entries(value as { readonly [key: string]: string })];
  return type.shape === 'set' ? ['set', (value as readonly Atom[]).map(atom)] : atom(value as Atom);
}
