/**
 * Signs a request as the vendor's clients do. The command line and the tests use it; the service itself only verifies.
 */
import { randomUUID } from 'node:crypto';
import { canonicalRequest, type Scheme, scopeText, signature, signingKey, stringToSign } from './canonical.ts';

/** The service word of the scope: one product, the vendor's "vpc". */
export const serviceName = 'vpc';

export interface SignOptions {
  readonly method: string;
  /** Path with query, encoded as it goes on the wire. */
  readonly path: string;
  /** The Host header, with its port when there is one. */
  readonly host: string;
  /** The body's text, '' for none. */
  readonly body: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Default JDCLOUD2, the scheme that authenticates the nonce too. */
  readonly scheme?: Scheme;
  /** Default `vpc`. */
  readonly service?: string;
  /** Milliseconds since the epoch, default now. */
  readonly time?: number;
  /** Default a fresh UUID. */
  readonly nonce?: string;
  /** Further headers to send and sign. */
  readonly headers?: { readonly [name: string]: string };
}

/** yyyyMMddTHHmmssZ */
export const wireDate = (milliseconds: number): string =>
  `${new Date(milliseconds).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;

/** All headers to send with the request, `authorization` and `host` included. Names are lower-case. */
export function signRequest(options: SignOptions): { readonly [name: string]: string } {
  const { method, path, host, body, region, accessKeyId, secretAccessKey } = options;
  const scheme = options.scheme ?? 'JDCLOUD2-HMAC-SHA256';
  const date = wireDate(options.time ?? Date.now());
  const scope = { day: date.slice(0, 8), region, service: options.service ?? serviceName };
  const extra = Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value] as const);
  const headers: { readonly [name: string]: string } = {
    accept: 'application/json',
    'content-type': 'application/json',
    ...Object.fromEntries(extra),
    host,
    'x-jdcloud-date': date,
    'x-jdcloud-nonce': options.nonce ?? randomUUID(),
  };
  const signed = Object.entries(headers);
  const canonical = canonicalRequest({ method, url: path, headers: signed, body });
  const key = signingKey(scheme, secretAccessKey, scope);
  const signatureHex = signature(key, stringToSign(scheme, date, scope, canonical)).toString('hex');
  const names = signed
    .map(([name]) => name)
    .sort()
    .join(';');
  const credential = `${accessKeyId}/${scopeText(scheme, scope)}`;
  return {
    ...headers,
    authorization: `${scheme} Credential=${credential}, SignedHeaders=${names}, Signature=${signatureHex}`,
  };
}
