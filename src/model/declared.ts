/**
 * A network as its owner writes it down: what there is to be, by names. The file that people write is checked and parsed
 * by the API; which commands lead there is decided in `rules/declared.ts`. Holds no logic.
 */
import type { Address, Prefix } from './ip.ts';

export interface DeclaredNetwork {
  /** The label that everything made for it carries. */
  readonly name: string;
  readonly vpcs: readonly DeclaredVpc[];
  readonly peerings: readonly DeclaredPeering[];
}
export interface DeclaredVpc {
  readonly name: string;
  readonly description: string;
  /** Empty: unlimited. */
  readonly cidrs: readonly Prefix[];
  /** Rules of the default route table. */
  readonly routes: readonly DeclaredRoute[];
  readonly routeTables: readonly DeclaredTable[];
  readonly subnets: readonly DeclaredSubnet[];
}
export interface DeclaredTable {
  readonly name: string;
  readonly description: string;
  readonly routes: readonly DeclaredRoute[];
}
export interface DeclaredRoute {
  readonly to: Prefix;
  readonly via: DeclaredHop;
  readonly description: string;
}
export type DeclaredHop =
  | { readonly kind: 'internet' }
  /** Names of this declaration. */
  | { readonly kind: 'peering'; readonly peering: string }
  | { readonly kind: 'interface'; readonly subnet: string; readonly interface: string };
export interface DeclaredSubnet {
  readonly name: string;
  readonly description: string;
  readonly cidrs: readonly Prefix[];
  /** null: the default table. */
  readonly routeTable: string | null;
  readonly interfaces: readonly DeclaredInterface[];
}
export interface DeclaredInterface {
  readonly name: string;
  readonly description: string;
  /** Primary ones; a family left out is picked. */
  readonly addresses: readonly Address[];
  readonly secondary: readonly Address[];
  readonly sourceCheck: boolean;
}
export interface DeclaredPeering {
  readonly name: string;
  readonly description: string;
  /** Name of a VPC of this declaration. */
  readonly vpc: string;
  /** Another name of this declaration, or the id of any VPC. */
  readonly remote: string;
}
