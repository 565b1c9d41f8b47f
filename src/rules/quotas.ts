/** Counts against the quota table. The only place that refuses for a quota. */
import { type Refusal, refuse } from '../model/errors.ts';
import type { AccountId } from '../model/ids.ts';
import { type QuotaType, quotaLimit, quotas } from '../model/quota.ts';
import type { StateView } from '../model/state.ts';

/**
 * Refuses when `have + more` would exceed the account's quota.
 * @param scope the object that the quota counts for (a VPC, a table …), or null for the account itself
 */
export function checkQuota(
  state: StateView,
  accountId: AccountId,
  type: QuotaType,
  scope: string | null,
  have: number,
  more = 1,
): Refusal | null {
  const limit = quotaLimit(type, state.get('account', accountId)?.quotas ?? {});
  if (have + more <= limit) return null;
  return refuse('quota-exceeded', {
    type,
    limit: String(limit),
    noun: quotas[type].noun,
    scope: scope === null ? '' : ` (${scope})`,
  });
}

/** How much of a quota is used. @param parent the VPC, table or interface that it counts for; the account otherwise */
export function quotaUse(state: StateView, accountId: AccountId, type: QuotaType, parent: string): number {
  switch (type) {
    case 'vpc':
      return state.count('vpc', accountId);
    case 'subnet':
      return state.count('subnet', parent);
    case 'routeTable':
      return state.count('route-table', parent);
    case 'staticRoute':
      return state.get('route-table', parent)?.rules.length ?? 0;
    case 'vpcpeering':
      return state.children('peering', parent).filter((half) => half.localVpcId === parent).length;
    case 'network_interface':
      return state.count('interface', accountId);
    case 'cidr':
      return state.get('vpc', parent)?.cidrs.length ?? 0;
    case 'secondary_ip':
      return state.get('interface', parent)?.secondary.length ?? 0;
    case 'access_key':
      return state.count('key', accountId);
  }
}
