/** All counters of an account in one answer: what `isthmus top` reads every second. Counts are the data plane's own. */
import { createHash } from 'node:crypto';
import Type from 'typebox';
import type { Count, Counters } from '../../dataplane/driver.ts';
import type { Exit } from '../../model/drop-reason.ts';
import type { PeeringHalf } from '../../model/resources.ts';
import type { StateView } from '../../model/state.ts';
import { byAge } from '../listing.ts';
import { type Operation, owned, Text, withoutBody } from '../operation.ts';
import { TrafficObject } from '../usage.ts';
import { countersOf } from './counters.ts';

export const halfRow = {
  vpcPeeringId: Text,
  vpcPeeringName: Text,
  localVpcId: Text,
  remoteVpcId: Text,
  state: Text,
  sent: TrafficObject,
  received: TrafficObject,
};
export const ExitRow = Type.Object({ exit: Text, packets: Type.Integer(), bytes: Type.Integer() });
export const epochSchema = Type.String({
  description: 'Another one when the data plane began anew, and with it every count',
});
export const timeSchema = Type.String({ description: 'When the counts were read, with milliseconds' });

const none: Count = { packets: 0, bytes: 0 };

/** What a half carried, both ways: what the mirror half sent is what this side received. */
export function halfCounts(state: StateView, { halves }: Counters, half: PeeringHalf): object {
  const mirror = state.half(half.remoteVpcId, half.localVpcId);
  return {
    vpcPeeringId: half.id,
    vpcPeeringName: half.name,
    localVpcId: half.localVpcId,
    remoteVpcId: half.remoteVpcId,
    state: half.state,
    sent: halves.get(half.id) ?? none,
    received: (mirror === undefined ? undefined : halves.get(mirror.id)) ?? none,
  };
}
export const exitRows = (exits: ReadonlyMap<Exit, Count>): readonly object[] =>
  [...exits].map(([exit, { packets, bytes }]) => ({ exit, packets, bytes }));
/** The plane's epoch, without what it is made of: that names the host's boot. */
export const epochShown = ({ epoch }: Counters): string =>
  createHash('sha256').update(epoch).digest('hex').slice(0, 16);

export const trafficOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeCounters',
      method: 'GET',
      path: '/counters',
      tag: 'usage',
      summary: 'The counters of all your halves and interfaces at once (extension)',
      result: Type.Object({
        time: timeSchema,
        epoch: epochSchema,
        halves: Type.Array(Type.Object(halfRow)),
        interfaces: Type.Array(
          Type.Object({ networkInterfaceId: Text, networkInterfaceName: Text, exits: Type.Array(ExitRow) }),
        ),
      }),
    },
    async (call) => {
      const counters = await countersOf(call);
      const time = new Date().toISOString();
      const { state } = call.region;
      return {
        time,
        epoch: epochShown(counters),
        halves: [...owned(call, 'peering')].sort(byAge).map((half) => halfCounts(state, counters, half)),
        interfaces: [...owned(call, 'interface')].sort(byAge).map(({ id, name }) => ({
          networkInterfaceId: id,
          networkInterfaceName: name,
          exits: exitRows(counters.exits.get(id) ?? new Map()),
        })),
      };
    },
  ),
];
