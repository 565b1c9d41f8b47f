/** Somebody without a certificate: one question, whether it may join, with a token that works once; one answer. */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { DriverError } from '../../dataplane/driver.ts';
import { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import type { Params, RegionCalls, Result } from '../../dataplane/ovn/host-wire.ts';
import { isRefusal } from '../../model/errors.ts';
import { certifyHost } from './certificates.ts';
import { keyHashOf } from './door.ts';
import { authorityOf, type HostsRegion } from './hosts-region.ts';
import { refused } from './refused-host.ts';

/** A line of a request to join, in bytes. */
const longestOfStranger = 4096;

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
  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  receive(socket: TLSSocket): void {
    const link = new LinkToHost({
      socket,
      longest: longestOfStranger,
      onEnd: () => {},
      serve: async (name, params) => {
        if (name !== 'join') throw new DriverError('not-supported', 'a certificate is needed for that');
        const answer = await this.#join(params as Params<RegionCalls, 'join'>, socket.remoteAddress ?? '');
        setTimeout(() => link.close('it has joined'), 1000).unref();
        return answer;
      },
    });
  }

  async #join(
    { token, publicKey, proof }: Params<RegionCalls, 'join'>,
    from: string,
  ): Promise<Result<RegionCalls, 'join'>> {
    const { region, installationId, southbound, log } = this.#options;
    const key = provenKey(publicKey, token, proof);
    if (key === null) throw new DriverError('not-supported', 'the key of the host is not a P-256 key, or not its own');
    const outcome = await region.submit(
      { kind: 'admit-host', tokenHash: tokenHashOf(token), keyHash: keyHashOf(key) },
      { principal: { kind: 'operator' }, requestId: `join from ${from}` },
    );
    if (isRefusal(outcome)) {
      log.warn({ from, code: outcome.code }, 'a host may not join');
      throw refused(outcome);
    }
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
