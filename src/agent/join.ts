/**
 * A machine becomes a host of a region: finds the region's authority by its fingerprint, and only to a server that this
 * authority vouches for shows the token. The private key is made here and stays here. A lost answer is asked for again, with
 * the same key, to which alone the token is answered again.
 */
import { createPublicKey, generateKeyPairSync, sign, type X509Certificate } from 'node:crypto';
import { DriverError } from '../dataplane/driver.ts';
import { LinkToRegion } from '../dataplane/ovn/host-link.ts';
import { gatewaySubject, type RegionCalls, type Result } from '../dataplane/ovn/host-wire.ts';
import { type Credentials, dial } from './region-caller.ts';

/** As operators see and copy it. */
export const fingerprintForm = /^sha256:[0-9a-f]{64}$/;
export const fingerprintOf = (certificate: X509Certificate): string =>
  `sha256:${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`;

const subjectStart = `CN=${gatewaySubject}`;
const joinPatience = 20_000;
const pingPatience = 5_000;

export interface Found {
  /** The authority's certificate. */
  readonly authority: string;
  /** As the authority vouches for it. */
  readonly installationId: string | undefined;
  /** Ours, on the way there. */
  readonly localAddress: string;
}
/** A server answers, and is vouched for by another authority than that of the fingerprint. */
export class StrangerError extends Error {}
/** Tells the server nothing. @throws StrangerError, or Error when nobody answers by TLS */
export async function findRegion(address: string, fingerprint: string): Promise<Found> {
  const socket = await dial(address, { believe: 'anybody' });
  try {
    const own = socket.getPeerX509Certificate();
    let certificate = own;
    const seen: string[] = [];
    for (; certificate !== undefined && !seen.includes(fingerprintOf(certificate)); ) {
      if (certificate.ca && fingerprintOf(certificate) === fingerprint) {
        const vouched = own?.verify(certificate.publicKey) === true ? own.subject : '';
        const installationId = vouched.startsWith(subjectStart) ? vouched.slice(subjectStart.length) : undefined;
        return { authority: certificate.toString(), installationId, localAddress: socket.localAddress ?? '' };
      }
      seen.push(fingerprintOf(certificate));
      certificate = certificate.issuerCertificate;
    }
    throw new StrangerError('it is not of the region whose fingerprint was given; nothing was told to it');
  } finally {
    socket.destroy();
  }
}

/**
 * Whether the region still knows a host by its certificate, as the first server says that answers. Says no hello: that would
 * take the place of an agent that runs.
 * @throws Error when no server answers
 */
export async function stillKnown(addresses: readonly string[], credentials: Credentials): Promise<boolean> {
  const problems: string[] = [];
  for (const address of addresses) {
    try {
      return await knownTo(address, credentials);
    } catch (error) {
      problems.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(problems.join('; '));
}
async function knownTo(address: string, credentials: Credentials): Promise<boolean> {
  const socket = await dial(address, credentials);
  let ended = false;
  const link = new LinkToRegion({
    socket,
    serve: async () => {
      throw new Error('this only asks whether it is known');
    },
    onEnd: () => {
      ended = true;
    },
  });
  try {
    await link.call('ping', {}, pingPatience);
    return true;
  } catch (error) {
    // Whoever is not known is cut off without a word.
    if (ended) return false;
    throw error;
  } finally {
    link.close('it knows');
  }
}

export interface Joined extends Result<RegionCalls, 'join'> {
  readonly key: string;
}
export interface Joining {
  readonly token: string;
  /** The region's authority: PEM. */
  readonly authority: string;
  /** The host's own, private: PEM. */
  readonly key: string;
}

export const makeKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();

/** Asks the servers in turn, until one answers. @throws DriverError as the first refuses; Error when none answers */
export async function joinAny(addresses: readonly string[], joining: Joining): Promise<Joined> {
  const problems: string[] = [];
  for (const address of addresses) {
    try {
      return await join(address, joining);
    } catch (error) {
      if (error instanceof DriverError && error.code !== 'unavailable') throw error;
      problems.push(`${address}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(problems.join('; '));
}

/** @throws Error saying why it may not, or cannot: then it may have been admitted nevertheless */
export async function join(address: string, { token, authority, key }: Joining): Promise<Joined> {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  const socket = await dial(address, { authority });
  const link = new LinkToRegion({
    socket,
    serve: async () => {
      throw new Error('this machine has not joined yet');
    },
    onEnd: () => {},
  });
  try {
    const proof = sign('sha256', Buffer.from(token), key).toString('base64');
    const answer = await link.call('join', { token, publicKey, proof }, joinPatience);
    return { ...answer, key };
  } finally {
    link.close('it has joined');
  }
}
