/**
 * The canonical form of a request and the signature over it, for both of the vendor's schemes. Pure: signer and verifier
 * share it, so that they cannot differ. Knows no key store and no clock. Source: JD Cloud "Authorization Rules".
 */
import { createHash, createHmac } from 'node:crypto';

/** The two schemes differ in these words only (JDCLOUD3 is what the vendor's Python SDK and CLI sign with). */
export const schemes = {
  'JDCLOUD2-HMAC-SHA256': { keyPrefix: 'JDCLOUD2', terminator: 'jdcloud2_request' },
  'JDCLOUD3-HMAC-SHA256': { keyPrefix: 'JDCLOUD3', terminator: 'jdcloud3_request' },
} as const;
export type Scheme = keyof typeof schemes;

export type Pairs = readonly (readonly [name: string, value: string])[];

export interface SignedParts {
  readonly method: string;
  /** Path and query as on the request line. */
  readonly url: string;
  /** The signed headers, lower-case names, in any order. */
  readonly headers: Pairs;
  readonly body: string | Uint8Array;
}

/** What a signature is good for. */
export interface Scope {
  readonly day: string;
  readonly region: string;
  readonly service: string;
}

/** Percent-encodes all but A-Za-z0-9 _ . ~ - */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Splits a request target into path and raw query. */
export function splitTarget(url: string): { readonly path: string; readonly query: string } {
  const at = url.indexOf('?');
  return at < 0 ? { path: url, query: '' } : { path: url.slice(0, at), query: url.slice(at + 1) };
}

/** Decoded query parameters in the order of the wire; '+' is a blank. @throws URIError for a malformed percent code */
export const parseQuery = (query: string): Pairs =>
  query
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));
      return at < 0 ? [decode(part), ''] : [decode(part.slice(0, at)), decode(part.slice(at + 1))];
    });

const canonicalPath = (path: string): string =>
  path
    .split('/')
    .map((segment) => encode(decodeURIComponent(segment)))
    .join('/');

const canonicalQuery = (query: string): string =>
  parseQuery(query)
    .map(([name, value]) => ({ name, pair: `${encode(name)}=${encode(value)}` }))
    .sort((a, b) => byCodeUnit(a.name, b.name) || byCodeUnit(a.pair, b.pair))
    .map(({ pair }) => pair)
    .join('&');

const hex = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** @throws URIError when path or query carry a malformed percent code */
export function canonicalRequest({ method, url, headers, body }: SignedParts): string {
  const { path, query } = splitTarget(url);
  const sorted = [...headers].sort(([a], [b]) => byCodeUnit(a, b));
  const lines = sorted.map(([name, value]) => `${name}:${value.replace(/\s+/g, ' ').trim()}\n`);
  const names = sorted.map(([name]) => name).join(';');
  return [method, canonicalPath(path), canonicalQuery(query), lines.join(''), names, hex(body)].join('\n');
}

export const scopeText = (scheme: Scheme, { day, region, service }: Scope): string =>
  `${day}/${region}/${service}/${schemes[scheme].terminator}`;

export const stringToSign = (scheme: Scheme, date: string, scope: Scope, canonical: string): string =>
  [scheme, date, scopeText(scheme, scope), hex(canonical)].join('\n');

const hmac = (key: string | Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** The key that signs a day's requests to one service of one region. */
export function signingKey(scheme: Scheme, secret: string, { day, region, service }: Scope): Buffer {
  const { keyPrefix, terminator } = schemes[scheme];
  return hmac(hmac(hmac(hmac(keyPrefix + secret, day), region), service), terminator);
}

/** The 32 bytes of the signature. */
export const signature = (key: Uint8Array, toSign: string): Buffer => hmac(key, toSign);
