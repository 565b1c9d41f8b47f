/**
 * Quotas as a table of data: what is limited, per what, and the vendor's defaults ("JD Cloud: Restrictions"; rows
 * marked `ours` have no published number). An account may have its own numbers; see `Account.quotas`.
 */
export const quotas = {
  vpc: { limit: 10, per: 'account', noun: 'VPCs' },
  subnet: { limit: 10, per: 'vpc', noun: 'subnets of the VPC' },
  routeTable: { limit: 10, per: 'vpc', noun: 'route tables of the VPC, the default one included' },
  staticRoute: { limit: 50, per: 'route-table', noun: 'rules of the route table, Local not counted' },
  vpcpeering: { limit: 10, per: 'vpc', noun: 'peering halves of the VPC, in any state' },
  network_interface: { limit: 500, per: 'account', noun: 'network interfaces', ours: true },
  cidr: { limit: 5, per: 'vpc', noun: 'CIDRs of the VPC', ours: true },
  secondary_ip: { limit: 10, per: 'interface', noun: 'secondary addresses of the interface', ours: true },
  access_key: { limit: 10, per: 'account', noun: 'access keys', ours: true },
} as const satisfies Record<
  string,
  { limit: number; per: 'account' | 'vpc' | 'route-table' | 'interface'; noun: string; ours?: true }
>;

export type QuotaType = keyof typeof quotas;
export const quotaTypes = Object.keys(quotas) as readonly QuotaType[];

/** The number in force for an account. */
export const quotaLimit = (type: QuotaType, own: { readonly [Q in QuotaType]?: number }): number =>
  own[type] ?? quotas[type].limit;
