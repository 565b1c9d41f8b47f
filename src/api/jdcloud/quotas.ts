/** Quotas: how much the caller may own, and owns. */
import Type from 'typebox';
import { type QuotaType, quotaLimit, quotas, quotaTypes } from '../../model/quota.ts';
import type { OwnedKind } from '../../model/state.ts';
import { quotaUse } from '../../rules/quotas.ts';
import { type Call, type Operation, own, Text, tenantOf, withoutBody } from '../operation.ts';
import { reject, rejectField } from '../refused.ts';

const parentKinds = {
  vpc: 'vpc',
  'route-table': 'route-table',
  interface: 'interface',
} as const satisfies Record<Exclude<(typeof quotas)[QuotaType]['per'], 'account'>, OwnedKind>;

/** The object that a quota counts for: the caller's own, '' when it counts for the account. */
function parentIn(call: Call, type: QuotaType): string {
  const { per } = quotas[type];
  if (per === 'account') return '';
  const id = call.query.get('parentResourceId');
  if (id === undefined || id === '') return reject('missing-argument', { field: 'parentResourceId' });
  return own(call, parentKinds[per], id).id;
}

export const quotaOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeQuota',
      method: 'GET',
      path: '/quotas',
      tag: 'quotas',
      summary: 'Show one quota and what is used of it',
      query: Type.Object({
        type: Type.String({ description: `One of: ${quotaTypes.join(', ')}` }),
        parentResourceId: Type.Optional(
          Type.String({ description: 'The VPC, route table or interface it counts for' }),
        ),
      }),
      result: Type.Object({
        quota: Type.Object({ type: Text, parentResourceId: Text, maxLimit: Type.Integer(), count: Type.Integer() }),
      }),
    },
    async (call) => {
      const text = call.query.get('type') ?? reject('missing-argument', { field: 'type' });
      const type = quotaTypes.find((known) => known === text);
      if (type === undefined) {
        return rejectField('type', `'${text.slice(0, 64)}' is not one of ${quotaTypes.join(', ')}`);
      }
      const { accountId } = tenantOf(call);
      const parentResourceId = parentIn(call, type);
      const state = call.region.state;
      const maxLimit = quotaLimit(type, state.get('account', accountId)?.quotas ?? {});
      return { quota: { type, parentResourceId, maxLimit, count: quotaUse(state, accountId, type, parentResourceId) } };
    },
  ),
];
