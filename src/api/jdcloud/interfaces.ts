/** Network interfaces: the vendor's seven operations. Parses and shows; the rules decide. */
import Type from 'typebox';
import { type Address, familyOf } from '../../model/ip.ts';
import type { NetworkInterface } from '../../model/resources.ts';
import { addressIn, descriptionIn, idIn, nameIn, pathId, tokenIn } from '../fields.ts';
import { byAge, type Filters, filtered, page } from '../listing.ts';
import {
  ClientToken,
  Description,
  listQuery,
  type Operation,
  own,
  owned,
  submit,
  Text,
  Texts,
  withBody,
  withoutBody,
} from '../operation.ts';
import { rejectField } from '../refused.ts';
import { InterfaceObject, interfaceView } from './objects.ts';

/** An instance's primary interface is the vendor's own affair: every interface made here is a secondary one. */
const filters: Filters<NetworkInterface> = {
  networkInterfaceIds: (port) => port.id,
  networkInterfaceNames: (port) => port.name,
  vpcId: (port) => port.vpcId,
  subnetId: (port) => port.subnetId,
  role: () => 'Secondary',
};
const tag = 'networkInterfaces';

/** More than any interface may hold; the quota decides below that. */
const mostAddresses = 100;
const Count = Type.Optional(Type.Integer({ minimum: 0, maximum: mostAddresses }));
const SanityCheck = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 1, description: '1 drops foreign source addresses (default); 0 lets them pass' }),
);
/** Security groups are not covered: asking for one is refused, not ignored. */
const NoSecurityGroups = Type.Optional(Type.Array(Text, { maxItems: 0, description: 'Only empty: not covered' }));
const NoCidrs = Type.Optional(Type.Array(Text, { maxItems: 0, description: 'Only empty: not covered' }));

const addressesIn = (field: string, texts: readonly string[] | undefined): readonly Address[] =>
  (texts ?? []).map((text, at) => addressIn(`${field}[${at}]`, text));
/** A name may be left out; the vendor's is empty then. */
const optionalName = (text: string | undefined): string =>
  text === undefined || text === '' ? '' : nameIn('networkInterfaceName', text);

function primaryIn(v4: string | undefined, v6: string | undefined): readonly Address[] {
  const main = v4 === undefined || v4 === '' ? [] : [addressIn('primaryIpAddress', v4)];
  const other = v6 === undefined || v6 === '' ? [] : [addressIn('primaryIpv6Address', v6)];
  if (other[0] !== undefined && familyOf(other[0]) !== 6) rejectField('primaryIpv6Address', `${other[0]} is not IPv6`);
  if (main[0] !== undefined && other[0] !== undefined && familyOf(main[0]) === 6) {
    rejectField('primaryIpAddress', `${main[0]} is IPv6 as well as primaryIpv6Address`);
  }
  return [...main, ...other];
}

export const interfaceOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeNetworkInterfaces',
      method: 'GET',
      path: '/networkInterfaces',
      tag,
      summary: 'List network interfaces',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ networkInterfaces: Type.Array(InterfaceObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const found = filtered(call.query, [...owned(call, 'interface')].sort(byAge), filters);
      const { items, totalCount } = page(call.query, found);
      return { networkInterfaces: items.map((port) => interfaceView(call.region, port)), totalCount };
    },
  ),
  withBody(
    {
      name: 'createNetworkInterface',
      method: 'POST',
      path: '/networkInterfaces',
      tag,
      summary: 'Create a network interface',
      result: Type.Object({ networkInterfaceId: Text }),
    },
    Type.Object({
      subnetId: Text,
      networkInterfaceName: Type.Optional(Text),
      az: Type.Optional(Type.String({ description: 'Accepted and without effect: one host is one zone' })),
      primaryIpAddress: Type.Optional(Text),
      primaryIpv6Address: Type.Optional(Type.String({ description: 'In a dual-stack subnet (extension)' })),
      secondaryIpAddresses: Type.Optional(Texts('Addresses of the subnet', mostAddresses)),
      secondaryIpCount: Count,
      securityGroups: NoSecurityGroups,
      sanityCheck: SanityCheck,
      description: Type.Optional(Description),
      clientToken: ClientToken,
    }),
    async (call) => {
      const { body } = call;
      const made = await submit(
        call,
        {
          kind: 'create-interface',
          subnetId: idIn('subnet', 'subnetId', body.subnetId),
          name: optionalName(body.networkInterfaceName),
          description: descriptionIn('description', body.description ?? ''),
          primary: primaryIn(body.primaryIpAddress, body.primaryIpv6Address),
          secondary: addressesIn('secondaryIpAddresses', body.secondaryIpAddresses),
          secondaryCount: body.secondaryIpCount ?? 0,
          sanityCheck: (body.sanityCheck ?? 1) === 1,
        },
        body.clientToken === undefined ? undefined : tokenIn(body.clientToken),
      );
      return { networkInterfaceId: made.id };
    },
  ),
  withoutBody(
    {
      name: 'describeNetworkInterface',
      method: 'GET',
      path: '/networkInterfaces/{networkInterfaceId}',
      tag,
      summary: 'Show a network interface',
      result: Type.Object({ networkInterface: InterfaceObject }),
    },
    async (call) => ({
      networkInterface: interfaceView(call.region, own(call, 'interface', call.params['networkInterfaceId'] ?? '')),
    }),
  ),
  withBody(
    {
      name: 'modifyNetworkInterface',
      method: 'PATCH',
      path: '/networkInterfaces/{networkInterfaceId}',
      tag,
      summary: 'Rename or describe an interface, or switch its source check',
    },
    Type.Object({
      networkInterfaceName: Type.Optional(Text),
      description: Type.Optional(Description),
      securityGroups: NoSecurityGroups,
      sanityCheck: SanityCheck,
    }),
    async (call) => {
      const { networkInterfaceName, description, sanityCheck } = call.body;
      await submit(call, {
        kind: 'modify-interface',
        portId: pathId('interface', call.params['networkInterfaceId'] ?? ''),
        ...(networkInterfaceName === undefined ? {} : { name: optionalName(networkInterfaceName) }),
        ...(description === undefined ? {} : { description: descriptionIn('description', description) }),
        ...(sanityCheck === undefined ? {} : { sanityCheck: sanityCheck === 1 }),
      });
    },
  ),
  withoutBody(
    {
      name: 'deleteNetworkInterface',
      method: 'DELETE',
      path: '/networkInterfaces/{networkInterfaceId}',
      tag,
      summary: 'Delete a network interface; its workload loses its device',
    },
    async (call) => {
      const portId = pathId('interface', call.params['networkInterfaceId'] ?? '');
      await submit(call, { kind: 'delete-interface', portId });
    },
  ),
  withBody(
    {
      name: 'assignSecondaryIps',
      method: 'POST',
      path: '/networkInterfaces/{networkInterfaceId}:assignSecondaryIps',
      tag,
      summary: 'Give an interface secondary addresses, named or picked',
    },
    Type.Object({
      secondaryIps: Type.Optional(Texts('Addresses of the subnet', mostAddresses)),
      secondaryIpCount: Count,
      force: Type.Optional(
        Type.Boolean({ description: 'Only false: an address is never taken from another interface' }),
      ),
      secondaryIpMaskLen: Type.Optional(
        Type.Integer({ minimum: 0, maximum: 0, description: 'Only 0: single addresses' }),
      ),
    }),
    async (call) => {
      const { secondaryIps, secondaryIpCount = 0, force } = call.body;
      if (force === true) rejectField('force', 'an address is never taken from another interface');
      await submit(call, {
        kind: 'assign-secondary',
        portId: pathId('interface', call.params['networkInterfaceId'] ?? ''),
        addresses: addressesIn('secondaryIps', secondaryIps),
        count: secondaryIpCount,
      });
    },
  ),
  withBody(
    {
      name: 'unassignSecondaryIps',
      method: 'POST',
      path: '/networkInterfaces/{networkInterfaceId}:unassignSecondaryIps',
      tag,
      summary: 'Take secondary addresses away',
    },
    Type.Object({
      secondaryIps: Type.Optional(Texts('Its secondary addresses', mostAddresses)),
      secondaryCidrs: NoCidrs,
    }),
    async (call) => {
      await submit(call, {
        kind: 'unassign-secondary',
        portId: pathId('interface', call.params['networkInterfaceId'] ?? ''),
        addresses: addressesIn('secondaryIps', call.body.secondaryIps),
      });
    },
  ),
];
