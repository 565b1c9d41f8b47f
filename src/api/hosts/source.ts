/** Where a connection comes from, as limits count it: one source is what one caller can have all of. */
import { addressOf, bitsOf, parseAddress } from '../../model/ip.ts';

/** An IPv4 address; of IPv6 the first 64 bits, for whoever has one address of such a network has them all. */
export function sourceOf(remoteAddress: string | undefined): string {
  const text = (remoteAddress ?? '').replace(/^::ffff:(?=.*\.)/, '').replace(/%.*$/, '');
  const address = parseAddress(text);
  if (!address.ok) return text;
  const { family, bits } = bitsOf(address.value);
  return family === 4 ? address.value : `${addressOf(6, (bits >> 64n) << 64n)}/64`;
}
