/** The rules of a route table: add, modify, remove, list. Parses and shows; the rules decide. */
import Type, { type Static } from 'typebox';
import type { NextHop } from '../../model/resources.ts';
import { descriptionIn, idIn, pathId, prefixIn } from '../fields.ts';
import { type Filters, filtered, page } from '../listing.ts';
import {
  Description,
  listQuery,
  type Operation,
  own,
  submit,
  Text,
  Texts,
  withBody,
  withoutBody,
} from '../operation.ts';
import { reject, rejectField } from '../refused.ts';
import { nextHopWords, RouteRuleObject, rulesView } from './objects.ts';

type Rule = Static<typeof RouteRuleObject>;
const filters: Filters<Rule> = {
  ruleIds: (rule) => rule.ruleId,
  origins: (rule) => rule.origin,
  nextHopTypes: (rule) => rule.nextHopType,
  addressPrefix: (rule) => rule.addressPrefix,
  description: (rule) => rule.description,
  nextHopId: (rule) => rule.nextHopId,
};
const tag = 'routeTables';

/** More than any table may hold; the quota decides below that. */
const mostRules = 200;
const Priority = Type.Optional(Type.Integer({ minimum: 1, maximum: 255, default: 100 }));
const NextHopType = Type.String({ description: `One of: ${Object.values(nextHopWords).join(', ')}` });
const NextHopId = Type.String({ description: "Id of a peering half or network interface, or 'internet'" });

/** @param at place in the list, for the name of a refused field */
function nextHopIn(at: string, type: string, id: string): NextHop {
  switch (type) {
    case nextHopWords.internet:
      return id === 'internet' ? { kind: 'internet' } : rejectField(`${at}.nextHopId`, "of internet it is 'internet'");
    case nextHopWords.peering:
      return { kind: 'peering', halfId: idIn('peering', `${at}.nextHopId`, id) };
    case nextHopWords.interface:
      return { kind: 'interface', portId: idIn('interface', `${at}.nextHopId`, id) };
    default:
      return rejectField(
        `${at}.nextHopType`,
        `'${type.slice(0, 64)}' is not one of ${Object.values(nextHopWords).join(', ')}`,
      );
  }
}

/** Both parts of a next hop, or neither. */
function changedHop(at: string, type: string | undefined, id: string | undefined): { nextHop?: NextHop } {
  if (type === undefined && id === undefined) return {};
  if (type === undefined) return reject('missing-argument', { field: `${at}.nextHopType` });
  if (id === undefined) return reject('missing-argument', { field: `${at}.nextHopId` });
  return { nextHop: nextHopIn(at, type, id) };
}

export const routeRuleOperations: readonly Operation[] = [
  withBody(
    {
      name: 'addRouteTableRules',
      method: 'POST',
      path: '/routeTables/{routeTableId}:addRouteTableRules',
      tag,
      summary: 'Add rules, all or none',
    },
    Type.Object({
      routeTableRuleSpecs: Type.Array(
        Type.Object({
          nextHopType: NextHopType,
          nextHopId: NextHopId,
          addressPrefix: Text,
          priority: Priority,
          description: Type.Optional(Description),
        }),
        { minItems: 1, maxItems: mostRules },
      ),
    }),
    async (call) => {
      const routes = call.body.routeTableRuleSpecs.map((spec, index) => {
        const at = `routeTableRuleSpecs[${index}]`;
        const { priority, description } = spec;
        return {
          destination: prefixIn(`${at}.addressPrefix`, spec.addressPrefix),
          nextHop: nextHopIn(at, spec.nextHopType, spec.nextHopId),
          ...(priority === undefined ? {} : { priority }),
          ...(description === undefined ? {} : { description: descriptionIn(`${at}.description`, description) }),
        };
      });
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      await submit(call, { kind: 'add-routes', routeTableId, routes });
    },
  ),
  withBody(
    {
      name: 'modifyRouteTableRules',
      method: 'POST',
      path: '/routeTables/{routeTableId}:modifyRouteTableRules',
      tag,
      summary: 'Change rules in place, all or none, without losing a packet',
    },
    Type.Object({
      modifyRouteTableRuleSpecs: Type.Array(
        Type.Object({
          ruleId: Text,
          nextHopType: Type.Optional(NextHopType),
          nextHopId: Type.Optional(NextHopId),
          addressPrefix: Type.Optional(Text),
          priority: Priority,
          description: Type.Optional(Description),
        }),
        { minItems: 1, maxItems: mostRules },
      ),
    }),
    async (call) => {
      const routes = call.body.modifyRouteTableRuleSpecs.map((spec, index) => {
        const at = `modifyRouteTableRuleSpecs[${index}]`;
        const { addressPrefix, priority, description } = spec;
        return {
          ruleId: idIn('route-rule', `${at}.ruleId`, spec.ruleId),
          ...changedHop(at, spec.nextHopType, spec.nextHopId),
          ...(addressPrefix === undefined ? {} : { destination: prefixIn(`${at}.addressPrefix`, addressPrefix) }),
          ...(priority === undefined ? {} : { priority }),
          ...(description === undefined ? {} : { description: descriptionIn(`${at}.description`, description) }),
        };
      });
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      await submit(call, { kind: 'modify-routes', routeTableId, routes });
    },
  ),
  withBody(
    {
      name: 'removeRouteTableRules',
      method: 'POST',
      path: '/routeTables/{routeTableId}:removeRouteTableRules',
      tag,
      summary: 'Remove rules, all or none',
    },
    Type.Object({ ruleIds: Texts('Ids of rules of this table', mostRules) }),
    async (call) => {
      const ruleIds = call.body.ruleIds.map((id, at) => idIn('route-rule', `ruleIds[${at}]`, id));
      const routeTableId = pathId('route-table', call.params['routeTableId'] ?? '');
      await submit(call, { kind: 'remove-routes', routeTableId, ruleIds });
    },
  ),
  withoutBody(
    {
      name: 'describeRouteTableRules',
      method: 'GET',
      path: '/routeTables/{routeTableId}/routeTableRules',
      tag,
      summary: 'List the rules of a table, Local first',
      query: listQuery(Object.keys(filters)),
      result: Type.Object({ routeTableRules: Type.Array(RouteRuleObject), totalCount: Type.Integer() }),
    },
    async (call) => {
      const table = own(call, 'route-table', call.params['routeTableId'] ?? '');
      const { items, totalCount } = page(call.query, filtered(call.query, rulesView(table), filters));
      return { routeTableRules: items, totalCount };
    },
  ),
];
