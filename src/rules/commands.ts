/**
 * The closed union of everything that can be asked of a region, already parsed: ids have their shape, prefixes are
 * canonical, names and descriptions are checked. Whether a command is allowed is decided in `decide.ts` and nowhere else.
 */
import type { DeclaredNetwork } from '../model/declared.ts';
import type {
  AccountId,
  HalfId,
  HostName,
  KeyId,
  PortId,
  RouteRuleId,
  RouteTableId,
  SubnetId,
  VpcId,
} from '../model/ids.ts';
import type { Address, Prefix } from '../model/ip.ts';
import type { QuotaType } from '../model/quota.ts';
import type { NextHop } from '../model/resources.ts';

export interface RouteDraft {
  readonly destination: Prefix;
  readonly nextHop: NextHop;
  /** 1–255, default 100. */
  readonly priority?: number;
  readonly description?: string;
}

/** Commands that only the operator gives. */
export type OperatorCommand =
  | { readonly kind: 'create-account'; readonly name: string }
  | {
      readonly kind: 'modify-account';
      readonly accountId: AccountId;
      readonly name?: string;
      readonly requestsPerSecond?: number;
    }
  /** `force` takes everything it owns with it. */
  | { readonly kind: 'delete-account'; readonly accountId: AccountId; readonly force: boolean }
  | {
      readonly kind: 'set-quota';
      readonly accountId: AccountId;
      readonly type: QuotaType;
      /** null goes back to the default. */
      readonly limit: number | null;
    }
  | { readonly kind: 'create-key'; readonly accountId: AccountId; readonly description: string }
  | { readonly kind: 'delete-key'; readonly keyId: KeyId }
  /** Once for a region; its private key goes to the secrets of the store and nowhere else. */
  | { readonly kind: 'create-host-authority'; readonly certificate: string; readonly privateKey: string }
  | {
      readonly kind: 'invite-host';
      readonly name: HostName;
      readonly tokenHash: string;
      /** When the token expires. */
      readonly expires: string;
    }
  /** A machine shows the token: from now on its key, and no other, speaks for the host. */
  | { readonly kind: 'admit-host'; readonly tokenHash: string; readonly keyHash: string }
  | { readonly kind: 'drain-host'; readonly name: HostName }
  | { readonly kind: 'undrain-host'; readonly name: HostName }
  | {
      readonly kind: 'remove-host';
      readonly name: HostName;
      /** Interfaces that have a workload there; null: nobody can tell, its agent is away. */
      readonly attached: readonly PortId[] | null;
      /** The machine is gone for good. */
      readonly lost: boolean;
    };

/** Commands that a tenant gives; the account is part of the context. */
export type TenantCommand =
  | {
      readonly kind: 'create-vpc';
      readonly name: string;
      readonly description: string;
      /** Empty: unlimited. */
      readonly cidrs: readonly Prefix[];
    }
  | {
      readonly kind: 'modify-vpc';
      readonly vpcId: VpcId;
      readonly name?: string;
      readonly description?: string;
      /** Drops all CIDRs; the range is then that of the subnets. */
      readonly unlimited?: boolean;
    }
  | {
      readonly kind: 'add-cidr';
      readonly vpcId: VpcId;
      readonly cidr: Prefix;
      /** Further ones in the same step: an unlimited VPC may need one of each family at once. */
      readonly more?: readonly Prefix[];
    }
  | { readonly kind: 'remove-cidr'; readonly vpcId: VpcId; readonly cidr: Prefix }
  | { readonly kind: 'delete-vpc'; readonly vpcId: VpcId; readonly cascade: boolean }
  | {
      readonly kind: 'create-subnet';
      readonly vpcId: VpcId;
      readonly name: string;
      readonly description: string;
      readonly cidrs: readonly Prefix[];
      readonly routeTableId?: RouteTableId;
    }
  | {
      readonly kind: 'modify-subnet';
      readonly subnetId: SubnetId;
      readonly name?: string;
      readonly description?: string;
    }
  | { readonly kind: 'delete-subnet'; readonly subnetId: SubnetId }
  | { readonly kind: 'create-route-table'; readonly vpcId: VpcId; readonly name: string; readonly description: string }
  | {
      readonly kind: 'modify-route-table';
      readonly routeTableId: RouteTableId;
      readonly name?: string;
      readonly description?: string;
    }
  | { readonly kind: 'delete-route-table'; readonly routeTableId: RouteTableId }
  | { readonly kind: 'add-routes'; readonly routeTableId: RouteTableId; readonly routes: readonly RouteDraft[] }
  | {
      readonly kind: 'modify-routes';
      readonly routeTableId: RouteTableId;
      readonly routes: readonly (Partial<RouteDraft> & { readonly ruleId: RouteRuleId })[];
    }
  | { readonly kind: 'remove-routes'; readonly routeTableId: RouteTableId; readonly ruleIds: readonly RouteRuleId[] }
  | {
      readonly kind: 'associate-route-table';
      readonly routeTableId: RouteTableId;
      readonly subnetIds: readonly SubnetId[];
    }
  | { readonly kind: 'disassociate-route-table'; readonly routeTableId: RouteTableId; readonly subnetId: SubnetId }
  | {
      readonly kind: 'create-peering';
      readonly name: string;
      readonly description: string;
      readonly vpcId: VpcId;
      readonly remoteVpcId: VpcId;
    }
  | { readonly kind: 'modify-peering'; readonly halfId: HalfId; readonly name?: string; readonly description?: string }
  | { readonly kind: 'delete-peering'; readonly halfId: HalfId }
  | {
      readonly kind: 'create-interface';
      readonly subnetId: SubnetId;
      readonly name: string;
      readonly description: string;
      /** At most one of each family; a family left out is picked from the subnet. */
      readonly primary: readonly Address[];
      readonly secondary: readonly Address[];
      /** How many further IPv4 addresses (IPv6 in an IPv6-only subnet) to pick as secondary ones. */
      readonly secondaryCount: number;
      readonly sanityCheck: boolean;
    }
  | {
      readonly kind: 'modify-interface';
      readonly portId: PortId;
      readonly name?: string;
      readonly description?: string;
      readonly sanityCheck?: boolean;
    }
  | { readonly kind: 'delete-interface'; readonly portId: PortId }
  | {
      readonly kind: 'assign-secondary';
      readonly portId: PortId;
      readonly addresses: readonly Address[];
      readonly count: number;
    }
  | { readonly kind: 'unassign-secondary'; readonly portId: PortId; readonly addresses: readonly Address[] };

/** What a declared network lacks, all in one step or, beyond `most`, its first steps. */
export interface NetworkCommand {
  readonly kind: 'apply-network';
  readonly network: DeclaredNetwork;
  /** Steps at once. */
  readonly most: number;
}

export type Command = OperatorCommand | TenantCommand | NetworkCommand;
export type CommandKind = Command['kind'];

/** The operator's commands by name, so that no tenant's request can carry one. */
export const operatorCommands = {
  'create-account': true,
  'modify-account': true,
  'delete-account': true,
  'set-quota': true,
  'create-key': true,
  'delete-key': true,
  'create-host-authority': true,
  'invite-host': true,
  'admit-host': true,
  'drain-host': true,
  'undrain-host': true,
  'remove-host': true,
} as const satisfies Record<OperatorCommand['kind'], true>;
