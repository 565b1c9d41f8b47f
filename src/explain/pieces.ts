/**
 * Ranges of addresses cut along a route table: which rule carries which part of a range, by longest prefix. Exact: every
 * address of the range lies in exactly one piece.
 */
import { addressOf, type Family, type Prefix, rangeOf, widthOf } from '../model/ip.ts';
import type { RouteSpec } from '../model/network-spec.ts';

/** Addresses of one family from first to last, both included. */
export interface Span {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}
export interface Piece {
  readonly span: Span;
  /** The rule that carries it; undefined for none. */
  readonly route: RouteSpec | undefined;
}

export const spanOf = (prefix: Prefix): Span => {
  const { family, first, last } = rangeOf(prefix);
  return { family, first, last };
};

/**
 * Cuts a range along the rules of a table.
 * @param routes with unique destinations, in any order
 */
export function cut(routes: readonly RouteSpec[], range: Prefix): readonly Piece[] {
  const span = spanOf(range);
  // Prefixes nest or are apart, so a rule inside the span is either below another one or beside it.
  let base: RouteSpec | undefined;
  const inside: RouteSpec[] = [];
  for (const route of routes) {
    const { family, first, last, length } = rangeOf(route.destination);
    if (family !== span.family || last < span.first || first > span.last) continue;
    if (first <= span.first && last >= span.last) {
      if (base === undefined || rangeOf(base.destination).length < length) base = route;
    } else inside.push(route);
  }
  inside.sort((a, b) => {
    const [x, y] = [rangeOf(a.destination), rangeOf(b.destination)];
    return x.first < y.first ? -1 : x.first > y.first ? 1 : x.length - y.length;
  });
  const pieces: Piece[] = [];
  let at = 0;
  const fill = (first: bigint, last: bigint, route: RouteSpec | undefined): void => {
    if (first > last) return;
    const before = pieces.at(-1);
    if (before !== undefined && before.route === route && before.span.last + 1n === first) {
      pieces[pieces.length - 1] = { span: { ...before.span, last }, route };
    } else pieces.push({ span: { family: span.family, first, last }, route });
  };
  const walk = (room: Span, route: RouteSpec | undefined): void => {
    let position = room.first;
    for (let next = inside[at]; next !== undefined; next = inside[at]) {
      const { first, last } = rangeOf(next.destination);
      if (first > room.last) break;
      at++;
      fill(position, first - 1n, route);
      walk({ family: span.family, first, last }, next);
      position = last + 1n;
    }
    fill(position, room.last, route);
  };
  walk(span, base);
  return pieces;
}

/** The fewest prefixes that make up a span, in order. */
export function prefixesOf({ family, first, last }: Span): readonly Prefix[] {
  const width = widthOf(family);
  const found: Prefix[] = [];
  for (let at = first; at <= last; ) {
    let host = 0; // bits
    while (host < width) {
      const size = 1n << BigInt(host + 1);
      if (at % size !== 0n || at + size - 1n > last) break;
      host++;
    }
    found.push(`${addressOf(family, at)}/${width - host}` as Prefix);
    at += 1n << BigInt(host);
  }
  return found;
}

/** Joins spans of one family that touch or overlap; sorted. */
export function joined(spans: readonly Span[]): readonly Span[] {
  const sorted = [...spans].sort((a, b) =>
    a.family !== b.family ? a.family - b.family : a.first < b.first ? -1 : a.first > b.first ? 1 : 0,
  );
  const out: Span[] = [];
  for (const span of sorted) {
    const before = out.at(-1);
    if (before !== undefined && before.family === span.family && span.first <= before.last + 1n) {
      if (span.last > before.last) out[out.length - 1] = { ...before, last: span.last };
    } else out.push(span);
  }
  return out;
}
