/**
 * Who sends this request: checks a signature from the wire alone, for JDCLOUD2 and JDCLOUD3. The list of signed headers
 * is the request's own; `host` must be among them, and a nonce must be sent. Owns no account rule beyond the request
 * rate. Never says whether the key or the signature was wrong, nor takes a different time to find out.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Refusal, refuse } from '../../model/errors.ts';
import type { AccountId, KeyId } from '../../model/ids.ts';
import type { RegionService } from '../../region/service.ts';
import { canonicalRequest, type Scheme, schemes, signature, signingKey, stringToSign } from './canonical.ts';
import { RateLimit } from './rate-limit.ts';
import { ReplayGuard, type ReplayLimits } from './replay.ts';
import { serviceName } from './sign.ts';

/** A request as it came in. */
export interface WireRequest {
  readonly method: string;
  /** The request target, untouched. */
  readonly url: string;
  /** Names and values in turn, as `IncomingMessage.rawHeaders`. */
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
}

/** The tenant behind a verified request. */
export interface Caller {
  readonly accountId: AccountId;
  readonly keyId: KeyId;
  /** The request's nonce or its digest, and until when it must be known, in milliseconds since the epoch. */
  readonly mark: string;
  readonly until: number;
}

export interface VerifierOptions {
  /** Milliseconds that a request's date may differ from the clock, default 15 minutes. */
  readonly window?: number;
  readonly replay?: Partial<ReplayLimits>;
  /** Where nonces are remembered beyond the end of the process; nowhere by default. */
  readonly nonceDirectory?: string;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
}

const authorizationForm =
  /^(JDCLOUD[23]-HMAC-SHA256) +Credential=([^/,\s]{1,128})\/(\d{8})\/([^/,\s]{1,64})\/([^/,\s]{1,64})\/([^/,\s]{1,64}) *, *SignedHeaders=([^,\s]{1,4096}) *, *Signature=([0-9a-f]{64})$/;
const dateForm = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/;
const nonceForm = /^[\x21-\x7e]{1,128}$/;

const no = (problem: string): Refusal => refuse('unauthenticated', { problem });

/** One value for each header; null when one that matters is given twice. */
function singleHeaders(raw: readonly string[]): ReadonlyMap<string, string> | Refusal {
  const headers = new Map<string, string>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase();
    if (headers.has(name)) return no(`header ${name.slice(0, 64)} is given twice`);
    headers.set(name, raw[i + 1] ?? '');
  }
  return headers;
}

export class Verifier {
  readonly #region: RegionService;
  readonly #window: number;
  readonly #clock: () => number;
  readonly #replay: ReplayGuard;
  readonly #rate: RateLimit;
  /** Stands in for the secret of a key that does not exist. */
  readonly #nobody = randomBytes(24).toString('base64url');

  constructor(region: RegionService, options: VerifierOptions = {}) {
    this.#region = region;
    this.#window = options.window ?? 15 * 60_000;
    this.#clock = options.clock ?? Date.now;
    this.#replay = new ReplayGuard(this.#window, {
      now: this.#clock(),
      ...(options.replay === undefined ? {} : { limits: options.replay }),
      ...(options.nonceDirectory === undefined ? {} : { directory: options.nonceDirectory }),
    });
    this.#rate = new RateLimit(this.#clock);
  }

  /** Sees to it that a key which another server has just made is known here. Before `verify`. */
  async prepare({ rawHeaders }: WireRequest): Promise<void> {
    const headers = singleHeaders(rawHeaders);
    const keyId = 'kind' in headers ? undefined : authorizationForm.exec(headers.get('authorization') ?? '')?.[2];
    if (keyId !== undefined && this.#region.secretOf(keyId) === undefined) await this.#region.lookFor(keyId);
  }

  /** The caller, or why the request is refused. A request that is accepted is accepted only this once. */
  verify(request: WireRequest): Caller | Refusal {
    const headers = singleHeaders(request.rawHeaders);
    if ('kind' in headers) return headers;
    const authorization = headers.get('authorization');
    if (authorization === undefined) return refuse('no-authorization', {});
    const form = authorizationForm.exec(authorization);
    if (form === null) return no('the authorization header does not have the form of JDCLOUD2 or JDCLOUD3');
    const [, algorithm = '', keyId = '', day = '', region = '', service = '', terminator = '', names = '', hex = ''] =
      form;
    const scheme = algorithm as Scheme;
    const scope = { day, region, service };
    if (terminator !== schemes[scheme].terminator) return no(`the scope must end with ${schemes[scheme].terminator}`);
    if (service !== serviceName) return no(`it is for service ${service}, this is ${serviceName}`);
    if (region !== this.#region.name) return no(`it is for region ${region}, this is ${this.#region.name}`);

    const date = headers.get('x-jdcloud-date') ?? '';
    const nonce = headers.get('x-jdcloud-nonce') ?? '';
    const sent = timeOf(date);
    if (sent === undefined) return no('x-jdcloud-date must be the time as yyyyMMddTHHmmssZ');
    if (date.slice(0, 8) !== day) return no('x-jdcloud-date and the scope name different days');
    const now = this.#clock();
    if (Math.abs(now - sent) > this.#window) {
      return no(`x-jdcloud-date is more than ${this.#window / 60_000} minutes off the clock of the service`);
    }
    if (!nonceForm.test(nonce)) return no('x-jdcloud-nonce must be 1 to 128 printable characters');
    const signed = signedHeaders(names, headers, scheme);
    if ('kind' in signed) return signed;

    let canonical: string;
    try {
      canonical = canonicalRequest({ ...request, headers: signed.pairs });
    } catch {
      return no('path or query carry a malformed percent code');
    }
    // The same work for a key that does not exist, so that the answer's time tells nothing either.
    const secret = this.#region.secretOf(keyId);
    const key = signingKey(scheme, secret ?? this.#nobody, scope);
    const right = signature(key, stringToSign(scheme, date, scope, canonical));
    const equal = timingSafeEqual(right, Buffer.from(hex, 'hex'));
    const owner = this.#region.state.get('key', keyId);
    const account = this.#region.state.get('account', owner?.accountId ?? '');
    if (!equal || secret === undefined || owner === undefined || account === undefined) {
      return no('there is no such access key, or the signature is not its own');
    }
    if (!this.#rate.take(keyId, account.requestsPerSecond)) {
      return refuse('rate-limited', { limit: String(account.requestsPerSecond) });
    }
    // By the nonce, not by the signature: two equal calls of one second have the same one under JDCLOUD3.
    // A long one is kept as its digest, so that what is remembered has one size.
    const mark = nonce.length <= 40 ? nonce : createHash('sha256').update(nonce).digest('base64url').slice(0, 32);
    const admission = this.#replay.admit(keyId, mark, sent, now);
    if (admission === 'replayed') return no('this nonce was used before');
    if (admission === 'full') {
      return refuse('unavailable', { problem: 'no further request can be remembered against replay' });
    }
    return { accountId: owner.accountId, keyId: owner.id, mark, until: sent + this.#window + 1000 };
  }

  /**
   * The second half of the check, where several servers share a store: that none of them has seen the request. While the
   * store is out of reach, what changes nothing passes by what this server knows.
   * @returns why it is refused, or null
   */
  async admitted({ keyId, mark, until }: Caller, { method }: WireRequest): Promise<Refusal | null> {
    const admission = await this.#region.admit(keyId, mark, until);
    if (admission === 'replayed') return no('this nonce was used before');
    return admission === 'unknown' && method !== 'GET' ? refuse('store-unavailable', {}) : null;
  }

  close(): void {
    this.#replay.close();
  }
}

function timeOf(date: string): number | undefined {
  const form = dateForm.exec(date);
  if (form === null) return undefined;
  const [, year, month, day, hour, minute, second] = form;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}

/**
 * The headers that the request says it signed. JDCLOUD2 signs date and nonce too ("JD Cloud: Authorization Rules"); the
 * vendor's JDCLOUD3 clients sign `content-type;host` only, so that there the nonce is not authenticated.
 */
function signedHeaders(
  names: string,
  headers: ReadonlyMap<string, string>,
  scheme: Scheme,
): { readonly pairs: readonly (readonly [string, string])[] } | Refusal {
  const list = names.split(';');
  const wanted = scheme === 'JDCLOUD2-HMAC-SHA256' ? ['host', 'x-jdcloud-date', 'x-jdcloud-nonce'] : ['host'];
  const unsigned = wanted.find((name) => !list.includes(name));
  if (unsigned !== undefined) return no(`header ${unsigned} must be signed`);
  const pairs: (readonly [string, string])[] = [];
  for (const name of list) {
    const value = headers.get(name);
    if (value === undefined || pairs.some(([earlier]) => earlier === name)) {
      return no(`SignedHeaders names ${name.slice(0, 64)}, which is not sent or named twice`);
    }
    pairs.push([name, value]);
  }
  return { pairs };
}
