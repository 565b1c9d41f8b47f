/** Where the API may listen. Knows no server: the command line asks it before anything is started. */
import { isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** Why the service cannot listen as asked: for the operator, with what to do. */
export class ListenError extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ListenError';
    this.remedy = remedy;
  }
}

/** Splits `HOST:PORT`. @throws ListenError */
function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const form = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(address);
  const host = form?.[1] ?? form?.[2] ?? '';
  const port = Number(form?.[3] ?? -1);
  if (form === null || port > 65_535 || (form[1] !== undefined && !isIPv6(host))) {
    throw new ListenError(
      `'${address}' is not a listen address.`,
      'Write HOST:PORT, e.g. 127.0.0.1:7788 or [::1]:7788.',
    );
  }
  return { host, port };
}

/** Whether only this machine can reach the address. A name is trusted only when it is `localhost`. */
const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));

export interface Listen {
  /** `HOST:PORT`, IPv6 in brackets; port 0 takes any free one. */
  readonly address: string;
  /** Paths of PEM files. Both or none. */
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/** @throws ListenError when the service must not, or cannot, listen so */
export function checkListening(of: Listen): { readonly host: string; readonly port: number } {
  const { host, port } = parseAddress(of.address);
  if ((of.tlsCert === undefined) !== (of.tlsKey === undefined)) {
    throw new ListenError('Only one of certificate and key is given.', 'Give both --tls-cert and --tls-key.');
  }
  if (of.tlsCert === undefined && !isLoopback(host) && of.insecure !== true) {
    throw new ListenError(
      `Plain HTTP on ${host} would show every request to the network.`,
      'Give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure if something else encrypts.',
    );
  }
  return { host, port };
}

/**
 * Where metrics may be served: on loopback, or on one address that is named; never on all of them by accident.
 * @throws ListenError
 */
export function checkMetricsAddress(address: string): { readonly host: string; readonly port: number } {
  const { host, port } = parseAddress(address);
  if (isLoopback(host) || ((isIPv4(host) || isIPv6(host)) && !/^[0.:]+$/.test(host))) return { host, port };
  throw new ListenError(
    `Metrics cannot be served on ${host}: anybody who reaches them may read them.`,
    'Name the one address that the monitoring reaches, or 127.0.0.1.',
  );
}

/** Where hosts may call: there everybody shows a certificate, so any address will do. @throws ListenError */
export const checkHostsAddress = parseAddress;

const bracketed = (host: string): string => (isIPv6(host) ? `[${host}]` : host);
/** `HOST:PORT` under which others reach what listens there: of all addresses, those of this machine that are not its own. */
export function advertisedFor(host: string, port: number): readonly string[] {
  if (!/^[0.:]+$/.test(host)) return [`${bracketed(host)}:${port}`];
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const reachable = own.filter(({ internal, address }) => !internal && !/^fe80:/i.test(address));
  const families = host.includes(':') ? ['IPv4', 'IPv6'] : ['IPv4'];
  return reachable
    .filter(({ family }) => families.includes(family))
    .map(({ address }) => `${bracketed(address)}:${port}`);
}
