/** What the whole region carried, for the operator: usage of every account, and the counters that `isthmus top` shows. */
import Type from 'typebox';
import type { Count } from '../dataplane/driver.ts';
import type { Exit } from '../model/drop-reason.ts';
import { countersOf } from './jdcloud/counters.ts';
import { ExitRow, epochSchema, epochShown, exitRows, halfCounts, halfRow, timeSchema } from './jdcloud/traffic.ts';
import { type Operation, Text, withoutBody } from './operation.ts';
import { RegionUsageObject, UsageQueryObject, usageIn } from './usage.ts';

/** Every exit of the region, summed over all interfaces. */
export function sumExits(exits: Iterable<ReadonlyMap<Exit, Count>>): ReadonlyMap<Exit, Count> {
  const sums = new Map<Exit, { packets: number; bytes: number }>();
  for (const one of exits) {
    for (const [exit, { packets, bytes }] of one) {
      const sum = sums.get(exit) ?? { packets: 0, bytes: 0 };
      sum.packets += packets;
      sum.bytes += bytes;
      sums.set(exit, sum);
    }
  }
  return sums;
}

const tag = 'admin';

export const adminUsageOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'usage',
      method: 'GET',
      path: '/usage',
      tag,
      summary: 'What every connection carried, by account',
      query: UsageQueryObject,
      result: RegionUsageObject,
    },
    (call) => usageIn(call),
  ),
  withoutBody(
    {
      name: 'traffic',
      method: 'GET',
      path: '/traffic',
      tag,
      summary: 'Counters of every half, and how packets left the data plane',
      result: Type.Object({
        time: timeSchema,
        epoch: epochSchema,
        halves: Type.Array(Type.Object({ accountId: Text, ...halfRow })),
        exits: Type.Array(ExitRow),
      }),
    },
    async (call) => {
      const counters = await countersOf(call);
      const time = new Date().toISOString();
      const { state } = call.region;
      return {
        time,
        epoch: epochShown(counters),
        halves: [...state.all('peering')].map((half) => ({
          accountId: half.accountId,
          ...halfCounts(state, counters, half),
        })),
        exits: exitRows(sumExits([...counters.exits.values(), counters.unowned])),
      };
    },
  ),
];
