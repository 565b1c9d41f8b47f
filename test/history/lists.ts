/** Everything that a server lists to a tenant, and what a state holds of that. */
import assert from 'node:assert/strict';
import type { StateView } from '../../src/model/state.ts';
import type { Caller } from './caller.ts';

const nouns = ['vpcs', 'subnets', 'networkInterfaces', 'routeTables', 'vpcPeerings'] as const;
type Listed = { readonly [field: string]: unknown };
export type Lists = { readonly [N in (typeof nouns)[number]]: readonly Listed[] };

/** @param atLeast the revision that the server must know */
export async function listsOf(caller: Caller, url: string, atLeast: number): Promise<Lists> {
  const lists: Record<string, readonly Listed[]> = {};
  for (const noun of nouns) {
    let found: readonly Listed[] = [];
    for (let page = 1, total = 1; found.length < total; page++) {
      const got = await caller.send(url, 'GET', `/${noun}/?pageSize=100&pageNumber=${page}`, undefined, atLeast);
      assert.ok(typeof got !== 'string' && got.status === 200, JSON.stringify(got));
      const result = got.body.result as unknown as { readonly totalCount: number; readonly [N: string]: unknown };
      found = [...found, ...(result[noun] as readonly Listed[])];
      total = result.totalCount;
    }
    lists[noun] = found;
  }
  return lists as Lists;
}

const lines = (of: Iterable<readonly unknown[]>): readonly string[] => [...of].map((one) => JSON.stringify(one)).sort();
type Lines = { readonly [noun: string]: readonly string[] };

/** What of the lists follows from a state. */
export const linesOf = (lists: Lists): Lines => ({
  vpcs: lines(lists.vpcs.map((vpc) => [vpc['vpcId'], vpc['description'], vpc['addressPrefixes']])),
  subnets: lines(lists.subnets.map((one) => ['subnetId', 'vpcId', 'addressPrefix', 'routeTableId'].map((f) => one[f]))),
  interfaces: lines(
    lists.networkInterfaces.map((port) => [
      ...['networkInterfaceId', 'subnetId', 'macAddress'].map((field) => port[field]),
      (port['primaryIp'] as Listed)['privateIpAddress'],
    ]),
  ),
  tables: lines(
    lists.routeTables.map((table) => {
      const rules = (table['routeTableRules'] as readonly Listed[]).slice(1);
      return [
        ...[table['routeTableId'], table['vpcId']],
        rules.map((rule) => ['ruleId', 'addressPrefix', 'nextHopId', 'description'].map((field) => rule[field])),
      ];
    }),
  ),
  halves: lines(
    lists.vpcPeerings.map((half) => [
      ...[half['vpcPeeringId'], (half['vpcInfo'] as Listed)['vpcId'], (half['remoteVpcInfo'] as Listed)['vpcId']],
      half['vpcPeeringState'],
    ]),
  ),
});
export const linesOfState = (state: StateView): Lines => ({
  vpcs: lines([...state.all('vpc')].map(({ id, description, cidrs }) => [id, description, cidrs])),
  subnets: lines([...state.all('subnet')].map((one) => [one.id, one.vpcId, one.cidrs[0], one.routeTableId])),
  interfaces: lines([...state.all('interface')].map((port) => [port.id, port.subnetId, port.mac, port.primary[0]])),
  tables: lines(
    [...state.all('route-table')].map((table) => [
      ...[table.id, table.vpcId],
      table.rules.map(({ id, destination, nextHop: hop, description }) => [
        ...[id, destination],
        hop.kind === 'peering' ? hop.halfId : hop.kind === 'interface' ? hop.portId : hop.kind,
        description,
      ]),
    ]),
  ),
  halves: lines([...state.all('peering')].map((half) => [half.id, half.localVpcId, half.remoteVpcId, half.state])),
});
