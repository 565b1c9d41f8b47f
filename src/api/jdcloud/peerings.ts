/** Peering halves: the vendor's five operations. Parses and shows; the rules decide. */
import Type from 'typebox';
import type { PeeringHalf } from '../../model/resources.ts';
import { budget } from '../budget.ts';
import { descriptionIn, idIn, nameIn, pathId, tokenIn } from '../fields.ts';
import { byAge, type Filters, filtered, page } from '../listing.ts';
import {
  ClientToken,
  Description,
  listQuery,
  Name,
  type Operation,
  own,
  owned,
  submit,
  Text,
  tenantOf,
  withBody,
  withoutBody,
} from '../operation.ts';
import { PeeringObject, peeringView } from './objects.ts';
import { BlockerObject } from './trace.ts';

const filters: Filters<PeeringHalf> = {
  vpcPeeringIds: (half) => half.id,
  vpcPeeringNames: (half) => half.name,
  vpcId: (half) => half.localVpcId,
  remoteVpcId: (half) => half.remoteVpcId,
};
const tag = 'vpcPeerings';

const HealthStates = ['open', 'partly', 'blocked'] as const;
const HealthObject = Type.Object({
  state: Type.Union([Type.Enum([...HealthStates]), Type.Null()], { description: 'null while it is not Connected' }),
  pairs: Type.Array(
    Type.Object({
      direction: Type.Enum(['out', 'in']),
      family: Type.Integer(),
      from: Type.String({ description: "A subnet; on the peer's side its VPC" }),
      to: Text,
      fromRanges: Type.Array(Text),
      toRanges: Type.Array(Text),
      state: Type.Enum([...HealthStates]),
      blockers: Type.Array(BlockerObject),
    }),
  ),
  omitted: Type.Integer({ description: 'Pairs beyond the most that are looked at' }),
  lastSent: Type.Union([Text, Type.Null()], { description: 'When the meter last saw packets to the peer, to 5 s' }),
  lastReceived: Type.Union([Text, Type.Null()], { description: '… and from the peer' }),
});

export const peeringOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeVpcPeerings',
      method: 'GET',
      path: '/vpcPeerings',
      tag,
      summary: 'List your halves of peering connections',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ vpcPeerings: Type.Array(PeeringObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const found = filtered(call.query, [...owned(call, 'peering')].sort(byAge), filters);
      const { items, totalCount } = page(call.query, found);
      return { vpcPeerings: items.map((half) => peeringView(call.region, half)), totalCount };
    },
  ),
  withBody(
    {
      name: 'createVpcPeering',
      method: 'POST',
      path: '/vpcPeerings',
      tag,
      summary: 'Create your half; with the other side’s half it is Connected',
      result: Type.Object({ vpcPeering: PeeringObject }),
    },
    Type.Object({
      vpcPeeringName: Name,
      vpcId: Text,
      remoteVpcId: Type.String({ description: 'The id that its owner gave you' }),
      description: Type.Optional(Description),
      clientToken: ClientToken,
    }),
    async (call) => {
      const { vpcPeeringName, vpcId, remoteVpcId, description = '', clientToken } = call.body;
      const asked = {
        name: nameIn('vpcPeeringName', vpcPeeringName),
        description: descriptionIn('description', description),
      };
      const pair = { local: idIn('vpc', 'vpcId', vpcId), remote: idIn('vpc', 'remoteVpcId', remoteVpcId) };
      const made = await submit(
        call,
        { kind: 'create-peering', ...asked, vpcId: pair.local, remoteVpcId: pair.remote },
        clientToken === undefined ? undefined : tokenIn(clientToken),
      );
      const id = pathId('peering', made.id ?? '');
      // It may be gone again: deleted while its fence was waited for, or since the first answer to the same token.
      const half = call.region.state.get('peering', id) ?? {
        ...asked,
        kind: 'peering',
        id,
        accountId: tenantOf(call).accountId,
        localVpcId: pair.local,
        remoteVpcId: pair.remote,
        state: 'Disconnected',
        createdTime: '',
      };
      return { vpcPeering: peeringView(call.region, half) };
    },
  ),
  withoutBody(
    {
      name: 'describeVpcPeering',
      method: 'GET',
      path: '/vpcPeerings/{vpcPeeringId}',
      tag,
      summary: 'Show your half',
      result: Type.Object({ vpcPeering: PeeringObject }),
    },
    async (call) => ({
      vpcPeering: peeringView(call.region, own(call, 'peering', call.params['vpcPeeringId'] ?? '')),
    }),
  ),
  withBody(
    {
      name: 'modifyVpcPeering',
      method: 'PUT',
      path: '/vpcPeerings/{vpcPeeringId}',
      tag,
      summary: 'Rename or describe your half',
    },
    Type.Object({ vpcPeeringName: Type.Optional(Name), description: Type.Optional(Description) }),
    async (call) => {
      const { vpcPeeringName, description } = call.body;
      await submit(call, {
        kind: 'modify-peering',
        halfId: pathId('peering', call.params['vpcPeeringId'] ?? ''),
        ...(vpcPeeringName === undefined ? {} : { name: nameIn('vpcPeeringName', vpcPeeringName) }),
        ...(description === undefined ? {} : { description: descriptionIn('description', description) }),
      });
    },
  ),
  withoutBody(
    {
      name: 'deleteVpcPeering',
      method: 'DELETE',
      path: '/vpcPeerings/{vpcPeeringId}',
      tag,
      summary: 'Delete your half: no packet crosses once this is answered',
    },
    async (call) => {
      await submit(call, { kind: 'delete-peering', halfId: pathId('peering', call.params['vpcPeeringId'] ?? '') });
    },
  ),
  withoutBody(
    {
      name: 'describeVpcPeeringHealth',
      method: 'GET',
      path: '/vpcPeerings/{vpcPeeringId}/health',
      tag,
      summary: 'For each direction and pair of subnets, whether packets can flow, and if not why (extension)',
      result: Type.Object({ health: HealthObject }),
    },
    async (call) => {
      const half = own(call, 'peering', call.params['vpcPeeringId'] ?? '');
      const health = budget.spend(half.accountId, () => call.region.health(half));
      const mirror = call.region.state.half(half.remoteVpcId, half.localVpcId);
      const lastSent = call.region.lastCarried(half.id);
      const lastReceived = mirror === undefined ? null : call.region.lastCarried(mirror.id);
      return { health: { ...(health ?? { state: null, pairs: [], omitted: 0 }), lastSent, lastReceived } };
    },
  ),
];
