/**
 * TLS to OVSDB's servers, by OVN's own rule: a server is who shows a certificate of the one authority that was named. Its
 * address is not compared, for certificates of `ovs-pki` carry none. The system's authorities are never believed.
 */
import { createSecureContext, type SecureContext } from 'node:tls';

/** PEM. */
export interface OvsdbPki {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}
/** What the three are called where the operator gave them. */
export type PkiNames = OvsdbPki;
const optionNames: PkiNames = { authority: '--ovn-ca', certificate: '--ovn-cert', key: '--ovn-key' };
export const pkiOptions = '--ovn-ca, --ovn-cert and --ovn-key';

const certificate = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]+-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g;

/** @throws Error naming what is not as it should be: Node takes an empty text for none, and believes the system's authorities */
export function contextOf(pki: OvsdbPki, names = optionNames): SecureContext {
  const authorities = pki.authority.match(certificate);
  if (authorities === null) throw new Error(`${names.authority} holds no certificate`);
  if (pki.certificate.match(certificate) === null) throw new Error(`${names.certificate} holds no certificate`);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pki.key)) throw new Error(`${names.key} holds no private key`);
  try {
    return createSecureContext({ ca: authorities, cert: pki.certificate, key: pki.key });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${names.certificate} and ${names.key} cannot be used together: ${why}`);
  }
}

const strangers: readonly string[] = [
  ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_GET_ISSUER_CERT'],
  ...['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CERT_SIGNATURE_FAILURE'],
];
/** What OpenSSL's word means here. @returns null when it is not about certificates */
export function certificateProblem({ code = '', message }: NodeJS.ErrnoException, names = optionNames): string | null {
  if (strangers.includes(code)) return `its certificate is not of the authority in ${names.authority} (${message})`;
  if (code.startsWith('CERT_')) return `its certificate is not accepted: ${message}`;
  if (/ALERT.*(CERT|UNKNOWN_CA|ACCESS|DECRYPT|HANDSHAKE)/.test(code))
    return `it does not accept our certificate, ${names.certificate} (${alertIn(message)})`;
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH/.test(code) || /before secure TLS/.test(message))
    return 'it ended the TLS handshake: is it a tcp: remote?';
  return null;
}
/** `tlsv1 alert unknown ca` out of OpenSSL's line. */
const alertIn = (message: string): string => /alert [^:]+/.exec(message)?.[0] ?? message;
