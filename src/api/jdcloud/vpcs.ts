/** VPCs: the vendor's five operations, and our two for further CIDRs. Parses and shows; the rules decide. */
import Type from 'typebox';
import type { Prefix } from '../../model/ip.ts';
import type { Vpc } from '../../model/resources.ts';
import { descriptionIn, nameIn, networkIn, pathId, prefixIn, tokenIn } from '../fields.ts';
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
  Texts,
  withBody,
  withoutBody,
} from '../operation.ts';
import { reject, rejectField } from '../refused.ts';
import { VpcObject, vpcView } from './objects.ts';

const filters: Filters<Vpc> = { vpcIds: (vpc) => vpc.id, vpcNames: (vpc) => vpc.name };
const tag = 'vpcs';

/** One CIDR in the vendor's field or any number in ours; both empty means unlimited. */
function cidrsIn(addressPrefix: string | undefined, addressPrefixes: readonly string[] | undefined): Prefix[] {
  const single = addressPrefix === undefined || addressPrefix === '' ? [] : [networkIn('addressPrefix', addressPrefix)];
  const many = (addressPrefixes ?? []).map((text, at) => networkIn(`addressPrefixes[${at}]`, text));
  // Both may be given, as an answer shows both: the one in addressPrefix is then not counted twice.
  return [...single, ...many.filter((cidr) => !single.includes(cidr))];
}

export const vpcOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeVpcs',
      method: 'GET',
      path: '/vpcs',
      tag,
      summary: 'List VPCs',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ vpcs: Type.Array(VpcObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const found = filtered(call.query, [...owned(call, 'vpc')].sort(byAge), filters);
      const { items, totalCount } = page(call.query, found);
      return { vpcs: items.map((vpc) => vpcView(call.region, vpc)), totalCount };
    },
  ),
  withBody(
    {
      name: 'createVpc',
      method: 'POST',
      path: '/vpcs',
      tag,
      summary: 'Create a VPC with its default route table',
      result: Type.Object({ vpcId: Text }),
    },
    Type.Object({
      vpcName: Name,
      addressPrefix: Type.Optional(Type.String({ description: "A CIDR; '' or absent for unlimited" })),
      addressPrefixes: Type.Optional(Texts('Several CIDRs, IPv4 or IPv6 (extension)', 20)),
      description: Type.Optional(Description),
      clientToken: ClientToken,
    }),
    async (call) => {
      const { vpcName, addressPrefix, addressPrefixes, description = '', clientToken } = call.body;
      const made = await submit(
        call,
        {
          kind: 'create-vpc',
          name: nameIn('vpcName', vpcName),
          description: descriptionIn('description', description),
          cidrs: cidrsIn(addressPrefix, addressPrefixes),
        },
        clientToken === undefined ? undefined : tokenIn(clientToken),
      );
      return { vpcId: made.id };
    },
  ),
  withoutBody(
    {
      name: 'describeVpc',
      method: 'GET',
      path: '/vpcs/{vpcId}',
      tag,
      summary: 'Show a VPC',
      result: Type.Object({ vpc: VpcObject }),
    },
    async (call) => ({ vpc: vpcView(call.region, own(call, 'vpc', call.params['vpcId'] ?? '')) }),
  ),
  withBody(
    { name: 'modifyVpc', method: 'PATCH', path: '/vpcs/{vpcId}', tag, summary: 'Rename a VPC or make it unlimited' },
    Type.Object({
      vpcName: Type.Optional(Name),
      description: Type.Optional(Description),
      addressPrefix: Type.Optional(Type.String({ description: "Only '': drop all CIDRs" })),
    }),
    async (call) => {
      const { vpcName, description, addressPrefix } = call.body;
      if (addressPrefix !== undefined && addressPrefix !== '') {
        rejectField('addressPrefix', "only '' is accepted: the CIDR of a VPC can be dropped, not changed");
      }
      await submit(call, {
        kind: 'modify-vpc',
        vpcId: pathId('vpc', call.params['vpcId'] ?? ''),
        ...(vpcName === undefined ? {} : { name: nameIn('vpcName', vpcName) }),
        ...(description === undefined ? {} : { description: descriptionIn('description', description) }),
        ...(addressPrefix === undefined ? {} : { unlimited: true }),
      });
    },
  ),
  withoutBody(
    {
      name: 'deleteVpc',
      method: 'DELETE',
      path: '/vpcs/{vpcId}',
      tag,
      summary: 'Delete a VPC; with cascade, everything in it',
      query: Type.Object({ cascade: Type.Optional(Type.Boolean({ description: 'Extension' })) }),
    },
    async (call) => {
      const vpcId = pathId('vpc', call.params['vpcId'] ?? '');
      await submit(call, { kind: 'delete-vpc', vpcId, cascade: call.query.flag('cascade') });
    },
  ),
  withBody(
    {
      name: 'associateCidr',
      method: 'POST',
      path: '/vpcs/{vpcId}:associateCidr',
      tag,
      summary: 'Add CIDRs to a VPC, all or none (extension)',
    },
    Type.Object({
      addressPrefix: Type.Optional(Text),
      addressPrefixes: Type.Optional(Texts('Several, IPv4 or IPv6', 20)),
    }),
    async (call) => {
      const vpcId = pathId('vpc', call.params['vpcId'] ?? '');
      const [cidr, ...more] = cidrsIn(call.body.addressPrefix, call.body.addressPrefixes);
      if (cidr === undefined) return reject('missing-argument', { field: 'addressPrefix' });
      await submit(call, { kind: 'add-cidr', vpcId, cidr, ...(more.length === 0 ? {} : { more }) });
    },
  ),
  withBody(
    {
      name: 'disassociateCidr',
      method: 'POST',
      path: '/vpcs/{vpcId}:disassociateCidr',
      tag,
      summary: 'Take a CIDR from a VPC (extension)',
    },
    Type.Object({ addressPrefix: Text }),
    async (call) => {
      const vpcId = pathId('vpc', call.params['vpcId'] ?? '');
      await submit(call, { kind: 'remove-cidr', vpcId, cidr: prefixIn('addressPrefix', call.body.addressPrefix) });
    },
  ),
];
