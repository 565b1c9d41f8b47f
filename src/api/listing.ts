/**
 * Lists: filters and pages, the same for every noun. An unknown filter is refused, never ignored, and so is what looks
 * like one. Source: JD Cloud "Call Methods": AND between filters, OR between the values of one.
 */
import type { Query } from './query.ts';
import { reject, rejectField } from './refused.ts';

/** What can be filtered by: the canonical name, and what an object has there. */
export type Filters<T> = { readonly [name: string]: (object: T) => string };

export const pageLimits = { min: 10, max: 100, fallback: 20 } as const;
/** More than any client sends; keeps the work of one request small. */
const mostFilters = 50;
const mostValues = 100;

interface Filter {
  name?: string;
  operator?: string;
  readonly values: Map<number, string>;
}

const parameter = /^filters\.([1-9][0-9]{0,3})\.(?:(name|operator)|values\.([1-9][0-9]{0,3}))$/;

function readFilters(query: Query, known: readonly string[]): readonly Filter[] {
  const filters = new Map<number, Filter>();
  for (const name of query.names) {
    // Later versions of the vendor's API filter by these too; leaving them out of account would answer too much.
    if (/^(tags|resourceGroupIds|sorts)\./.test(name)) unknownFilter(name, known);
    if (!name.startsWith('filters.') && name !== 'filters') continue;
    const [, at, part, value] = parameter.exec(name) ?? unknownFilter(name, known);
    const filter = filters.get(Number(at)) ?? { values: new Map<number, string>() };
    filters.set(Number(at), filter);
    const text = query.get(name) ?? '';
    if (part === 'name') filter.name = text;
    else if (part === 'operator') filter.operator = text;
    else filter.values.set(Number(value), text);
    if (filters.size > mostFilters) rejectField('filters', `more than ${mostFilters} are given`);
    if (filter.values.size > mostValues) rejectField('filters', `one has more than ${mostValues} values`);
  }
  for (const [at, filter] of filters) {
    if (filter.name === undefined) reject('missing-argument', { field: `filters.${at}.name` });
    if (filter.values.size === 0) reject('missing-argument', { field: `filters.${at}.values.1` });
  }
  return [...filters.values()];
}

const unknownFilter = (filter: string, known: readonly string[]): never =>
  reject('unknown-filter', { filter: filter.slice(0, 64), known: known.join(', ') || 'none' });

type Match = (value: string, wanted: readonly string[]) => boolean;
const oneOf: Match = (value, wanted) => wanted.includes(value);
/** `like`: contains the text. The vendor's lt, le, gt and ge have nothing to order here: ids, names and kinds. */
const operators: { readonly [name: string]: Match } = {
  eq: oneOf,
  in: oneOf,
  ne: (value, wanted) => !wanted.includes(value),
  like: (value, wanted) => wanted.some((text) => value.includes(text)),
};

/** The objects that pass every filter of the request. @throws Refused for an unknown filter or operator */
export function filtered<T>(query: Query, objects: readonly T[], known: Filters<T>): readonly T[] {
  const names = Object.keys(known);
  // The vendor's own documents disagree about capitals: vpcId and VPCId, vpcPeeringIds and VPCPeeringIds.
  const canonical = new Map(names.map((name) => [name.toLowerCase(), name]));
  const tests = readFilters(query, names).map((filter) => {
    const name = canonical.get((filter.name ?? '').toLowerCase()) ?? unknownFilter(filter.name ?? '', names);
    const operator = filter.operator ?? 'eq';
    const match = Object.hasOwn(operators, operator) ? operators[operator] : undefined;
    const read = known[name];
    const wanted = [...filter.values.values()];
    if (match === undefined || read === undefined) {
      return rejectField(
        'operator',
        `'${operator.slice(0, 16)}' does not apply; use ${Object.keys(operators).join(', ')}`,
      );
    }
    return (object: T): boolean => match(read(object), wanted);
  });
  return objects.filter((object) => tests.every((test) => test(object)));
}

/** The page asked for, and how many there are in all. Beyond the last page the last one is answered. */
export function page<T>(
  query: Query,
  objects: readonly T[],
): { readonly items: readonly T[]; readonly totalCount: number } {
  const size = query.integer('pageSize', pageLimits);
  const wanted = query.integer('pageNumber', { min: 1, max: 1_000_000_000, fallback: 1 });
  const last = Math.max(1, Math.ceil(objects.length / size));
  const from = (Math.min(wanted, last) - 1) * size;
  return { items: objects.slice(from, from + size), totalCount: objects.length };
}

/** Oldest first; ids settle ties, so that pages never overlap. */
export const byAge = (a: { createdTime: string; id: string }, b: { createdTime: string; id: string }): number =>
  a.createdTime < b.createdTime ? -1 : a.createdTime > b.createdTime ? 1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
