/**
 * A machine becomes a host of a region: finds the region's authority by its fingerprint, and only to a server that this
 * authority vouches for shows the token. The private key is made here and stays here.
 */
import { generateKeyPairSync, sign, type X509Certificate } from 'node:crypto';
import { LinkToRegion } from '../dataplane/ovn/host-link.ts';
import type { RegionCalls, Result } from '../dataplane/ovn/host-wire.ts';
import { dial } from './region-caller.ts';

/** As operators see and copy it. */
export const fingerprintForm = /^sha256:[0-9a-f]{64}$/;
export const fingerprintOf = (certificate: X509Certificate): string =>
  `sha256:${certificate.fingerprint256.replaceAll(':', '').toLowerCase()}`;

const joinPatience = 20_000;

export interface Found {
  /** The authority's certificate. */
  readonly authority: string;
  /** Ours, on the way there. */
  readonly localAddress: string;
}
/** Tells the server nothing. @throws Error when it shows no certificate that has the fingerprint */
export async function findRegion(address: string, fingerprint: string): Promise<Found> {
  const socket = await dial(address, { believe: 'anybody' });
  try {
    let certificate = socket.getPeerX509Certificate();
    const seen: string[] = [];
    for (; certificate !== undefined && !seen.includes(fingerprintOf(certificate)); ) {
      if (certificate.ca && fingerprintOf(certificate) === fingerprint) {
        return { authority: certificate.toString(), localAddress: socket.localAddress ?? '' };
      }
      seen.push(fingerprintOf(certificate));
      certificate = certificate.issuerCertificate;
    }
    throw new Error(
      `the server at ${address} is not of the region whose fingerprint was given; nothing was told to it`,
    );
  } finally {
    socket.destroy();
  }
}

export interface Joined extends Result<RegionCalls, 'join'> {
  readonly key: string;
}

/** @throws Error saying why it may not, or cannot */
export async function join(address: string, token: string, authority: string): Promise<Joined> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const socket = await dial(address, { authority });
  const link = new LinkToRegion({
    socket,
    serve: async () => {
      throw new Error('this machine has not joined yet');
    },
    onEnd: () => {},
  });
  try {
    const proof = sign('sha256', Buffer.from(token), privateKey).toString('base64');
    const answer = await link.call('join', { token, publicKey, proof }, joinPatience);
    return { ...answer, key: privateKey };
  } finally {
    link.close('it has joined');
  }
}
