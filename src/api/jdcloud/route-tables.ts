/** Route tables and which subnets use them: the vendor's seven operations. The rules of a table: route-rules.ts. */
import Type from 'typebox';
import type { RouteTable } from '../../model/resources.ts';
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
  Texts,
  withBody,
  withoutBody,
} from '../operation.ts';
import { RouteTableObject, routeTableView } from './objects.ts';

const filters: Filters<RouteTable> = {
  routeTableIds: (table) => table.id,
  routeTableNames: (table) => table.name,
  vpcId: (table) => table.vpcId,
};
const tag = 'routeTables';

export const routeTableOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeRouteTables',
      method: 'GET',
      path: '/routeTables',
      tag,
      summary: 'List route tables',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ routeTables: Type.Array(RouteTableObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const found = filtered(call.query, [...owned(call, 'route-table')].sort(byAge), filters);
      const { items, totalCount } = page(call.query, found);
      return { routeTables: items.map((table) => routeTableView(call.region.state, table)), totalCount };
    },
  ),
  withBody(
    {
      name: 'createRouteTable',
      method: 'POST',
      path: '/routeTables',
      tag,
      summary: 'Create a custom route table, with the Local rule only',
      result: Type.Object({ routeTableId: Text }),
    },
    Type.Object({
      vpcId: Text,
      routeTableName: Name,
      description: Type.Optional(Description),
      associateType: Type.Optional(Type.Enum(['subnet'], { description: 'Only subnet' })),
      clientToken: ClientToken,
    }),
    async (call) => {
      const { vpcId, routeTableName, description = '', clientToken } = call.body;
      const made = await submit(
        call,
        {
          kind: 'create-route-table',
          vpcId: idIn('vpc', 'vpcId', vpcId),
          name: nameIn('routeTableName', routeTableName),
          description: descriptionIn('description', description),
        },
        clientToken === undefined ? undefined : tokenIn(clientToken),
      );
      return { routeTableId: made.id };
    },
  ),
  withoutBody(
    {
      name: 'describeRouteTable',
      method: 'GET',
      path: '/routeTables/{routeTableId}',
      tag,
      summary: 'Show a route table',
      result: Type.Object({ routeTable: RouteTableObject }),
    },
    async (call) => ({
      routeTable: routeTableView(call.region.state, own(call, 'route-table', call.params['routeTableId'] ?? '')),
    }),
  ),
  withBody(
    {
      name: 'modifyRouteTable',
      method: 'PATCH',
      path: '/routeTables/{routeTableId}',
      tag,
      summary: 'Rename or describe a route table',
    },
    Type.Object({ routeTableName: Type.Optional(Name), description: Type.Optional(Description) }),
    async (call) => {
      const { routeTableName, description } = call.body;
      await submit(call, {
        kind: 'modify-route-table',
        routeTableId: pathId('route-table', call.params['routeTableId'] ?? ''),
        ...(routeTableName === undefined ? {} : { name: nameIn('routeTableName', routeTableName) }),
        ...(description === undefined ? {} : { description: descriptionIn('description', description) }),
      });
    },
  ),
  withoutBody(
    {
      name: 'deleteRouteTable',
      method: 'DELETE',
      path: '/routeTables/{routeTableId}',
      tag,
      summary: 'Delete a custom route table that no subnet uses',
    },
    async (call) => {
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      await submit(call, { kind: 'delete-route-table', routeTableId });
    },
  ),
  withBody(
    {
      name: 'associateRouteTable',
      method: 'POST',
      path: '/routeTables/{routeTableId}:associateRouteTable',
      tag,
      summary: 'Bind subnets to a table; they leave their old one',
    },
    Type.Object({ subnetIds: Texts('Subnets of the same VPC', 100) }),
    async (call) => {
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      const subnetIds = call.body.subnetIds.map((id, at) => idIn('subnet', `subnetIds[${at}]`, id));
      await submit(call, { kind: 'associate-route-table', routeTableId, subnetIds });
    },
  ),
  withBody(
    {
      name: 'disassociateRouteTable',
      method: 'POST',
      path: '/routeTables/{routeTableId}:disassociateRouteTable',
      tag,
      summary: 'Put a subnet back on the default table of its VPC',
    },
    // The vendor's schema says a string, its example sends a list of one.
    Type.Object({ subnetId: Type.Union([Text, Type.Array(Text, { minItems: 1, maxItems: 1 })]) }),
    async (call) => {
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      const { subnetId } = call.body;
      const id = idIn('subnet', 'subnetId', typeof subnetId === 'string' ? subnetId : (subnetId[0] ?? ''));
      await submit(call, { kind: 'disassociate-route-table', routeTableId, subnetId: id });
    },
  ),
];
