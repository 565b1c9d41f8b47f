/**
 * Quotas as a table of data: what is limited, per what, and the vendor's defaults ("JD Cloud: Restrictions"; rows
 * marked `ours` have no published number). An account may have its own numbers; see `Account.quotas`. `most` is what a
 * data plane takes of one VPC (`spec-check.ts`): beyond it all that the region says would be refused.
 */
export const quotas = {
  vpc: { limit: 10, most: 100_000, per: 'account', noun: 'VPCs' },
  subnet: { limit: 10, most: 10_000, per: 'vpc', noun: 'subnets of the VPC' },
  routeTable: { limit: 10, most: 1_000, per: 'vpc', noun: 'route tables of the VPC, the default one included' },
  staticRoute: { limit: 50, most: 9_000, per: 'route-table', noun: 'rules of the route table, Local not counted' },
  vpcpeering: { limit: 10, most: 1_900, per: 'vpc', noun: 'peering halves of the VPC, in any state' },
  network_interface: { limit: 500, most: 10_000, per: 'account', noun: 'network interfaces', ours: true },
  cidr: { limit: 5, most: 100, per: 'vpc', noun: 'CIDRs of the VPC', ours: true },
  secondary_ip: { limit: 10, most: 900, per: 'interface', noun: 'secondary addresses of the interface', ours: true },
  access_key: { limit: 10, most: 1_000, per: 'account', noun: 'access keys', ours: true },
} as const satisfies Record<
  string,
  { limit: number; most: number; per: 'account' | 'vpc' | 'route-table' | 'interface'; noun: string; ours?: true }
>;

export type QuotaType = keyof typeof quotas;
export const quotaTypes = Object.keys(quotas) as readonly QuotaType[];

/** The number in force for an account. */
export const quotaLimit = (type: QuotaType, own: { readonly [Q in QuotaType]?: number }): number =>
  Math.min(own[type] ?? quotas[type].limit, quotas[type].most);
