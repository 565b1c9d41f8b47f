/**
 * Identifiers. They look like the vendor's (`vpc-` and ten of [a-z0-9], "JD Cloud: Common Declaration") and are made
 * only by `Ids`, which the region implements with the system's randomness: ten characters carry 51.7 bits, because a
 * VPC id is also the invitation to peer with it. Data-plane names derive from ids, never from user text.
 */
declare const brand: unique symbol;
type Id<K extends string> = string & { readonly [brand]: K };

export type AccountId = Id<'account'>;
export type KeyId = Id<'key'>;
export type VpcId = Id<'vpc'>;
export type SubnetId = Id<'subnet'>;
export type RouteTableId = Id<'route-table'>;
export type RouteRuleId = Id<'route-rule'>;
export type HalfId = Id<'peering'>;
export type PortId = Id<'interface'>;
/** Chosen by the operator; also the name by which OVN knows the host (its chassis). */
export type HostName = Id<'host'>;
export const isHostName = (text: string): text is HostName => /^[a-z0-9][a-z0-9.-]{0,62}$/.test(text);

export const idPrefixes = {
  account: 'acct-',
  key: 'JDC_',
  vpc: 'vpc-',
  subnet: 'subnet-',
  'route-table': 'rtb-',
  'route-rule': 'rt-',
  peering: 'vpcpr-',
  interface: 'port-',
} as const;

export type IdKind = keyof typeof idPrefixes;
export type IdOf<K extends IdKind> = Id<K>;

/** Whether the text has the shape of an id of that kind; says nothing about existence. */
export function isId<K extends IdKind>(kind: K, text: string): text is Id<K> {
  const prefix = idPrefixes[kind];
  const body = text.slice(prefix.length);
  return text.startsWith(prefix) && (kind === 'key' ? /^[0-9A-F]{32}$/ : /^[a-z0-9]{10}$/).test(body);
}

/** Source of fresh identifiers and seeds; an argument of every rule that creates something. */
export interface Ids {
  fresh<K extends IdKind>(kind: K): IdOf<K>;
  /** 40 random bits for a MAC. */
  macSeed(): bigint;
}
