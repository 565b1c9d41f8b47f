/** What the caller's peering connections carried, deleted ones included, and its price. Reads the books of usage. */
import Type from 'typebox';
import { pathId } from '../fields.ts';
import { type Operation, Text, tenantOf, withoutBody } from '../operation.ts';
import { reject } from '../refused.ts';
import { price, priceRule, TrafficObject, trafficView, UsageObject, UsageQueryObject, usageIn } from '../usage.ts';
import { answered } from './counters.ts';

export const usageOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeVpcPeeringUsage',
      method: 'GET',
      path: '/vpcPeerings/{vpcPeeringId}/usage',
      tag: 'usage',
      summary: 'What the connection ever carried, exact at the moment of the call, and its price (extension)',
      result: Type.Object({ sent: TrafficObject, received: TrafficObject, price: Text, priceRule: Text }),
    },
    async (call) => {
      const id = call.params['vpcPeeringId'] ?? '';
      const { accountId } = tenantOf(call);
      const { meter } = call.region;
      const halfId = pathId('peering', id);
      if ((await meter.half(halfId))?.accountId !== accountId) return reject('not-found', { id: id.slice(0, 64) });
      await answered(() => meter.book());
      const booked = (await meter.half(halfId)) ?? reject('not-found', { id: id.slice(0, 64) });
      return { sent: trafficView(booked.sent), received: trafficView(booked.received), price, priceRule };
    },
  ),
  withoutBody(
    {
      name: 'describeUsage',
      method: 'GET',
      path: '/usage',
      tag: 'usage',
      summary: 'What each of your connections carried, hour by hour, and its price (extension)',
      query: UsageQueryObject,
      result: UsageObject,
    },
    (call) => usageIn(call, tenantOf(call).accountId),
  ),
];
