/** Subnets: the vendor's five operations, with an IPv6 range beside the IPv4 one. Parses and shows; the rules decide. */
import Type from 'typebox';
import { familyOf, type Prefix } from '../../model/ip.ts';
import type { Subnet } from '../../model/resources.ts';
import { descriptionIn, idIn, nameIn, networkIn, pathId, tokenIn } from '../fields.ts';
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
  withBody,
  withoutBody,
} from '../operation.ts';
import { reject, rejectField } from '../refused.ts';
import { SubnetObject, subnetView } from './objects.ts';

/** Access control lists, zones and edge subnets are not covered: every subnet is standard, without a list or a zone. */
const filters: Filters<Subnet> = {
  subnetIds: (subnet) => subnet.id,
  subnetNames: (subnet) => subnet.name,
  routeTableId: (subnet) => subnet.routeTableId,
  vpcId: (subnet) => subnet.vpcId,
  aclId: () => '',
  subnetType: () => 'standard',
  azs: () => '',
};
const tag = 'subnets';

/** One range of each family at most; the vendor's field may carry either. */
function cidrsIn(addressPrefix: string | undefined, ipv6AddressPrefix: string | undefined): Prefix[] {
  const main = addressPrefix === undefined || addressPrefix === '' ? [] : [networkIn('addressPrefix', addressPrefix)];
  const given = ipv6AddressPrefix === undefined || ipv6AddressPrefix === '' ? undefined : ipv6AddressPrefix;
  const v6 = given === undefined ? [] : [networkIn('ipv6AddressPrefix', given)];
  const [first, second] = [main[0], v6[0]];
  if (second !== undefined && familyOf(second) !== 6) rejectField('ipv6AddressPrefix', `${second} is not IPv6`);
  if (first !== undefined && second !== undefined && familyOf(first) === 6) {
    rejectField('addressPrefix', `${first} is IPv6 as well as ipv6AddressPrefix`);
  }
  if (first === undefined && second === undefined) reject('missing-argument', { field: 'addressPrefix' });
  return [...main, ...v6];
}

/** The vendor reserves part of a subnet for whole blocks with a mask length here; we give single addresses only. */
const MaskLength = Type.Optional(Type.Integer({ minimum: 0, maximum: 0, description: 'Only 0: single addresses' }));

export const subnetOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeSubnets',
      method: 'GET',
      path: '/subnets',
      tag,
      summary: 'List subnets',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ subnets: Type.Array(SubnetObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const found = filtered(call.query, [...owned(call, 'subnet')].sort(byAge), filters);
      const { items, totalCount } = page(call.query, found);
      return { subnets: items.map((subnet) => subnetView(call.region.state, subnet)), totalCount };
    },
  ),
  withBody(
    {
      name: 'createSubnet',
      method: 'POST',
      path: '/subnets',
      tag,
      summary: 'Create a subnet',
      result: Type.Object({ subnetId: Text }),
    },
    Type.Object({
      vpcId: Text,
      subnetName: Name,
      addressPrefix: Type.Optional(Type.String({ description: 'A CIDR, IPv4 or IPv6' })),
      ipv6AddressPrefix: Type.Optional(Type.String({ description: 'The IPv6 range beside an IPv4 one (extension)' })),
      routeTableId: Type.Optional(Type.String({ description: 'Default: the default table of the VPC' })),
      description: Type.Optional(Description),
      ipMaskLen: MaskLength,
      dryRun: Type.Optional(Type.Boolean({ description: 'Only false' })),
      clientToken: ClientToken,
    }),
    async (call) => {
      const { vpcId, subnetName, addressPrefix, ipv6AddressPrefix, description = '', clientToken } = call.body;
      const { routeTableId, dryRun } = call.body;
      if (dryRun === true) rejectField('dryRun', 'a dry run is not offered');
      const made = await submit(
        call,
        {
          kind: 'create-subnet',
          vpcId: idIn('vpc', 'vpcId', vpcId),
          name: nameIn('subnetName', subnetName),
          description: descriptionIn('description', description),
          cidrs: cidrsIn(addressPrefix, ipv6AddressPrefix),
          ...(routeTableId === undefined || routeTableId === ''
            ? {}
            : { routeTableId: idIn('route-table', 'routeTableId', routeTableId) }),
        },
        clientToken === undefined ? undefined : tokenIn(clientToken),
      );
      return { subnetId: made.id };
    },
  ),
  withoutBody(
    {
      name: 'describeSubnet',
      method: 'GET',
      path: '/subnets/{subnetId}',
      tag,
      summary: 'Show a subnet',
      result: Type.Object({ subnet: SubnetObject }),
    },
    async (call) => ({ subnet: subnetView(call.region.state, own(call, 'subnet', call.params['subnetId'] ?? '')) }),
  ),
  withBody(
    { name: 'modifySubnet', method: 'PATCH', path: '/subnets/{subnetId}', tag, summary: 'Rename or describe a subnet' },
    Type.Object({
      subnetName: Type.Optional(Name),
      description: Type.Optional(Description),
      ipMaskLen: MaskLength,
    }),
    async (call) => {
      const { subnetName, description } = call.body;
      await submit(call, {
        kind: 'modify-subnet',
        subnetId: pathId('subnet', call.params['subnetId'] ?? ''),
        ...(subnetName === undefined ? {} : { name: nameIn('subnetName', subnetName) }),
        ...(description === undefined ? {} : { description: descriptionIn('description', description) }),
      });
    },
  ),
  withoutBody(
    { name: 'deleteSubnet', method: 'DELETE', path: '/subnets/{subnetId}', tag, summary: 'Delete an empty subnet' },
    async (call) => {
      await submit(call, { kind: 'delete-subnet', subnetId: pathId('subnet', call.params['subnetId'] ?? '') });
    },
  ),
];
