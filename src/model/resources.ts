/**
 * The nouns of the system, as they are stored and journalled: plain frozen JSON, one interface per noun, discriminated
 * by `kind`. Holds no logic. Secret keys are not here: they never enter a document or the journal (see store/).
 */
import type { AccountId, HalfId, HostName, KeyId, PortId, RouteRuleId, RouteTableId, SubnetId, VpcId } from './ids.ts';
import type { Address, Mac, Prefix } from './ip.ts';
import type { QuotaType } from './quota.ts';

/** Labels say whose an object is: `network` names the declared network (rules/declared.ts) that made it. */
export interface Labels {
  readonly network?: string;
}
interface Labelled {
  readonly labels?: Labels;
}

/** An owner of resources: a tenant. */
export interface Account {
  readonly kind: 'account';
  readonly id: AccountId;
  readonly name: string;
  /** Quotas that differ from the default table in `model/quota.ts`. */
  readonly quotas: { readonly [Q in QuotaType]?: number };
  /** Requests a second that each of its access keys may make. */
  readonly requestsPerSecond: number;
  readonly createdTime: string;
}

/** The public half of a key pair; its secret lives in the store's own table. */
export interface AccessKey {
  readonly kind: 'key';
  readonly id: KeyId;
  readonly accountId: AccountId;
  readonly description: string;
  readonly createdTime: string;
}

/** A virtual private cloud. `cidrs` empty means unlimited: its range is then that of its subnets. */
export interface Vpc extends Labelled {
  readonly kind: 'vpc';
  readonly id: VpcId;
  readonly accountId: AccountId;
  readonly name: string;
  readonly description: string;
  readonly cidrs: readonly Prefix[];
  readonly defaultRouteTableId: RouteTableId;
  readonly createdTime: string;
}

/** A range of one VPC, bound to one route table. At most one prefix of each family, at least one in all. */
export interface Subnet extends Labelled {
  readonly kind: 'subnet';
  readonly id: SubnetId;
  readonly accountId: AccountId;
  readonly vpcId: VpcId;
  readonly name: string;
  readonly description: string;
  readonly cidrs: readonly Prefix[];
  readonly routeTableId: RouteTableId;
  readonly createdTime: string;
}

export type NextHop =
  | { readonly kind: 'internet' }
  | { readonly kind: 'peering'; readonly halfId: HalfId }
  | { readonly kind: 'interface'; readonly portId: PortId };

/** One rule of a route table. The Local rule is not stored: it always exists, first and unbeatable. */
export interface RouteRule extends Labelled {
  readonly id: RouteRuleId;
  readonly destination: Prefix;
  readonly nextHop: NextHop;
  /** 1–255, smaller wins; kept for the vendor's clients: no two rules of a table share a destination. */
  readonly priority: number;
  readonly description: string;
}

export interface RouteTable extends Labelled {
  readonly kind: 'route-table';
  readonly id: RouteTableId;
  readonly accountId: AccountId;
  readonly vpcId: VpcId;
  readonly name: string;
  readonly description: string;
  readonly type: 'default' | 'custom';
  /** Id under which clients see the implied Local rule. */
  readonly localRuleId: RouteRuleId;
  readonly rules: readonly RouteRule[];
  readonly createdTime: string;
}

export type PeeringState = 'Initiated' | 'Connected' | 'Disconnected';

/** One owner's half of a peering connection: local VPC → remote VPC. */
export interface PeeringHalf extends Labelled {
  readonly kind: 'peering';
  readonly id: HalfId;
  readonly accountId: AccountId;
  readonly localVpcId: VpcId;
  readonly remoteVpcId: VpcId;
  readonly name: string;
  readonly description: string;
  readonly state: PeeringState;
  readonly createdTime: string;
}

/**
 * Remembers the id that a half of this ordered pair has or had, so that a half deleted and created again gets it back.
 * Its data-plane slot, hence its counters, lives as long as this record. `id` is `local>remote`.
 */
export interface HalfIdentity {
  readonly kind: 'half-identity';
  readonly id: string;
  readonly halfId: HalfId;
  readonly localVpcId: VpcId;
  readonly remoteVpcId: VpcId;
  /** Set while no half exists: when it was deleted. */
  readonly deletedTime: string | null;
}

/** A network interface ("port-…"). Whether a workload is attached is an observed fact, not part of it. */
export interface NetworkInterface extends Labelled {
  readonly kind: 'interface';
  readonly id: PortId;
  readonly accountId: AccountId;
  readonly vpcId: VpcId;
  readonly subnetId: SubnetId;
  readonly name: string;
  readonly description: string;
  readonly mac: Mac;
  /** One primary address of each family that the subnet has. */
  readonly primary: readonly Address[];
  readonly secondary: readonly Address[];
  /** false lets it send from foreign source addresses inside its own VPC (an appliance); never across a peering. */
  readonly sanityCheck: boolean;
  readonly createdTime: string;
}

/** What a create with a client token made, so that a retry answers with the same object. `id` is `account/token`. */
export interface ClientToken {
  readonly kind: 'client-token';
  readonly id: string;
  readonly accountId: AccountId;
  readonly commandHash: string;
  readonly result: CommandResult;
  readonly time: string;
}

/** What a command made or changed; ids only, since replies are read from the state. */
export interface CommandResult {
  readonly id?: string;
  readonly ids?: readonly string[];
  /** Of a declared network: steps that were carried out, and that are left for the next time. */
  readonly steps?: number;
  readonly left?: number;
}

export type HostState = 'invited' | 'active' | 'draining';

/** A machine that carries packets, in a region of many of them. Whether it is connected is an observed fact. */
export interface Host {
  readonly kind: 'host';
  readonly id: HostName;
  readonly state: HostState;
  /** SHA-256 of its certificate's public key, in hexadecimal: no other certificate speaks for it. null until it joins. */
  readonly keyHash: string | null;
  /** SHA-256 of the token with which it may join, or has: until it expires, the key that used it may ask again. */
  readonly tokenHash: string | null;
  readonly tokenExpires: string | null;
  readonly createdTime: string;
}

/** Who signs the certificates of hosts and of what they speak to. Its private key is a secret of the store. */
export interface HostAuthority {
  readonly kind: 'host-authority';
  readonly id: 'host-authority';
  /** PEM. */
  readonly certificate: string;
  readonly createdTime: string;
}

export type Resource =
  | Account
  | AccessKey
  | Vpc
  | Subnet
  | RouteTable
  | PeeringHalf
  | HalfIdentity
  | NetworkInterface
  | ClientToken
  | Host
  | HostAuthority;
export type ResourceKind = Resource['kind'];
const everyKind: { readonly [K in ResourceKind]: true } = {
  account: true,
  key: true,
  vpc: true,
  subnet: true,
  'route-table': true,
  peering: true,
  'half-identity': true,
  interface: true,
  'client-token': true,
  host: true,
  'host-authority': true,
};
export const resourceKinds = Object.keys(everyKind) as readonly ResourceKind[];
export type ResourceOf<K extends ResourceKind> = Extract<Resource, { kind: K }>;

/** One step from a state to the next. A command's changes are committed and folded together or not at all. */
export type Change =
  | { readonly op: 'put'; readonly resource: Resource }
  | { readonly op: 'delete'; readonly kind: ResourceKind; readonly id: string };

export const pairKey = (local: VpcId, remote: VpcId): string => `${local}>${remote}`;
