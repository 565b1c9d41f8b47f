/**
 * Somebody without a certificate: one question, whether it may join, with a token that works once; one answer, and the
 * connection ends. So one connection tries one token, and one source (`FailedJoins`) few of them.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { DriverError } from '../../dataplane/driver.ts';
import { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import type { Params, RegionCalls, Result } from '../../dataplane/ovn/host-wire.ts';
import { isRefusal, type Refusal } from '../../model/errors.ts';
import { certifyHost } from './certificates.ts';
import { keyHashOf } from './door.ts';
import { FailedJoins } from './failed-joins.ts';
import { authorityOf, type HostsRegion } from './hosts-region.ts';
import { refused } from './refused-host.ts';
import { sourceOf } from './source.ts';
import { SparingLog } from './sparing-log.ts';

/** A line of a request to join, in bytes. */
const longestOfStranger = 4096;
/** How long the other end may take to take its answer, in milliseconds. */
const partPatience = 1_000;

export const tokenHashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

export interface AdmissionOptions {
  readonly region: HostsRegion;
  readonly installationId: string;
  /** The southbound database as hosts reach it. */
  readonly southbound: readonly string[];
  readonly log: Logger;
}

export class Admission {
  readonly #options: AdmissionOptions;
  readonly #refusals: SparingLog;
  readonly #failed = new FailedJoins();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#refusals = new SparingLog(options.log);
  }

  receive(socket: TLSSocket): void {
    let tried = false;
    const link = new LinkToHost({
      socket,
      longest: longestOfStranger,
      onEnd: () => {},
      serve: async (name, params) => {
        if (name !== 'join') throw new DriverError('not-supported', 'a certificate is needed for that');
        if (tried) link.close('it asks to join a second time');
        if (link.closed) throw new DriverError('not-supported', 'one try to join is all that a connection has');
        tried = true;
        try {
          return await this.#try(params as Params<RegionCalls, 'join'>, socket.remoteAddress ?? '');
        } finally {
          // The answer is written before the next turn.
          setImmediate(() => socket.end());
          setTimeout(() => link.close('it has its answer'), partPatience).unref();
        }
      },
    });
  }

  async #try(params: Params<RegionCalls, 'join'>, from: string): Promise<Result<RegionCalls, 'join'>> {
    const succeeded = this.#failed.begin(sourceOf(from));
    if (succeeded === null) {
      this.#refusals.warn({ from }, 'too many joins from there have failed');
      throw new DriverError('not-supported', 'too many joins from this address have failed: try again in a minute');
    }
    const answer = await this.#join(params, from);
    if (!isRefusal(answer)) {
      succeeded();
      return answer;
    }
    this.#refusals.warn({ from, code: answer.code }, 'a host may not join');
    if (answer.code === 'host-token-refused') throw refused(answer);
    // Of a store that is away nothing is learnt: it may be asked again, here or elsewhere.
    succeeded();
    throw refused(answer, 'unavailable');
  }

  async #join(
    { token, publicKey, proof }: Params<RegionCalls, 'join'>,
    from: string,
  ): Promise<Result<RegionCalls, 'join'> | Refusal> {
    const { region, installationId, southbound, log } = this.#options;
    const key = provenKey(publicKey, token, proof);
    if (key === null) throw new DriverError('not-supported', 'the key of the host is not a P-256 key, or not its own');
    const outcome = await region.submit(
      { kind: 'admit-host', tokenHash: tokenHashOf(token), keyHash: keyHashOf(key) },
      { principal: { kind: 'operator' }, requestId: `join from ${from}` },
    );
    if (isRefusal(outcome)) return outcome;
    const host = outcome.result.id ?? '';
    log.info({ host, from }, 'a host has joined');
    const certificate = certifyHost(await authorityOf(region), host, key);
    return { host, installationId, certificate, southbound: [...southbound] };
  }
}

/** The key, if it is of the right kind and its owner has signed the token. */
function provenKey(text: string, token: string, proof: string): KeyObject | null {
  try {
    const key = createPublicKey(text);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return null;
    return verify('sha256', Buffer.from(token), key, Buffer.from(proof, 'base64')) ? key : null;
  } catch {
    return null;
  }
}
