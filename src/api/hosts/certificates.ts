/**
 * Certificates of a region's hosts: one authority, made once, which signs for hosts (clients) and for the gateway
 * (server), never one for the other. All are X.509 with P-256 keys and of two fixed shapes, written here in DER; read
 * they are by OpenSSL alone.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { gatewayName, gatewaySubject } from '../../dataplane/ovn/host-wire.ts';

export interface Authority {
  readonly certificate: string;
  readonly privateKey: string;
}
export interface Identity {
  /** PEM: its own and the authority's. */
  readonly certificate: string;
  readonly privateKey: string;
}

const years = (count: number): number => count * 365 * 86_400_000;
/** Certificates end with the authority. That one host is refused is the registry's business, not a date's. */
const life = years(30);
/** Clocks of hosts may be behind. */
const slack = 86_400_000;

/** DER: a tag, a length, a value. */
function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  const { length } = value;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), value]);
}
const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, ...parts);
const octets = (value: Buffer): Buffer => tlv(0x04, value);
const bits = (value: Buffer, unused = 0): Buffer => tlv(0x03, Buffer.from([unused]), value);
const yes = Buffer.from([0x01, 0x01, 0xff]);

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return tlv(0x06, Buffer.from(bytes));
}
const nameOf = (common: string): Buffer =>
  sequence(tlv(0x31, sequence(oid('2.5.4.3'), tlv(0x0c, Buffer.from(common)))));
/** GeneralizedTime from 2050 on, UTCTime before: RFC 5280, 4.1.2.5. */
function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\..*/g, '');
  return Number(digits.slice(0, 4)) >= 2050
    ? tlv(0x18, Buffer.from(`${digits}Z`))
    : tlv(0x17, Buffer.from(`${digits.slice(2)}Z`));
}
const extension = (id: string, value: Buffer, critical = false): Buffer =>
  sequence(oid(id), ...(critical ? [yes] : []), octets(value));

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
const keyId = (key: KeyObject): Buffer =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);

type Use = 'authority' | 'host' | 'gateway';

function extensionsOf(use: Use, key: KeyObject, issuer: KeyObject): Buffer {
  const authority = use === 'authority';
  // keyCertSign and cRLSign; digitalSignature.
  const usage = authority ? bits(Buffer.from([0x06]), 1) : bits(Buffer.from([0x80]), 7);
  const purpose = use === 'gateway' ? '1.3.6.1.5.5.7.3.1' : '1.3.6.1.5.5.7.3.2';
  return tlv(
    0xa3,
    sequence(
      extension('2.5.29.19', authority ? sequence(yes, Buffer.from([0x02, 0x01, 0x00])) : sequence(), true),
      extension('2.5.29.15', usage, true),
      extension('2.5.29.14', octets(keyId(key))),
      extension('2.5.29.35', sequence(tlv(0x80, keyId(issuer)))),
      ...(authority ? [] : [extension('2.5.29.37', sequence(oid(purpose)))]),
      ...(use === 'gateway' ? [extension('2.5.29.17', sequence(tlv(0x82, Buffer.from(gatewayName))))] : []),
    ),
  );
}

function issue(of: {
  readonly use: Use;
  readonly subject: string;
  readonly key: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly now: number;
}): string {
  const { use, subject, key, issuer, issuerKey, now } = of;
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    tlv(0xa0, Buffer.from([0x02, 0x01, 0x02])),
    tlv(0x02, serial),
    ecdsaWithSha256,
    nameOf(issuer),
    sequence(time(now - slack), time(now + life)),
    nameOf(subject),
    key.export({ type: 'spki', format: 'der' }),
    extensionsOf(use, key, createPublicKey(issuerKey)),
  );
  const whole = sequence(body, ecdsaWithSha256, bits(sign('sha256', body, issuerKey)));
  const lines = whole.toString('base64').replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

const authorityName = 'Isthmus hosts';
const freshKey = (): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

export function makeAuthority(now = Date.now()): Authority {
  const { publicKey, privateKey } = freshKey();
  const of = { subject: authorityName, key: publicKey, issuer: authorityName, issuerKey: privateKey, now };
  return { certificate: issue({ use: 'authority', ...of }), privateKey: pem(privateKey) };
}

const signed = (
  authority: Authority,
  use: 'host' | 'gateway',
  subject: string,
  key: KeyObject,
  now: number,
): string => {
  const issuerKey = createPrivateKey(authority.privateKey);
  return issue({ use, subject, key, issuer: authorityName, issuerKey, now });
};

/** For a key that the host keeps to itself. */
export const certifyHost = (authority: Authority, host: string, key: KeyObject, now = Date.now()): string =>
  signed(authority, 'host', host, key, now);

/** A key of the gateway's own, for as long as the process lives. Its subject tells whose gateway it is. */
export function makeGateway(authority: Authority, installationId: string, now = Date.now()): Identity {
  const { publicKey, privateKey } = freshKey();
  const own = signed(authority, 'gateway', `${gatewaySubject}${installationId}`, publicKey, now);
  return { certificate: own + authority.certificate, privateKey: pem(privateKey) };
}
