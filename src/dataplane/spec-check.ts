/**
 * What the agent believes of a spec that crossed the privilege line: nothing. Every id, address, prefix and MAC must have
 * its shape, and every reference must stay inside its VPC. Pure.
 */
import { isId } from '../model/ids.ts';
import { familyOf, type Parsed, parseAddress, parseMac, parsePrefix } from '../model/ip.ts';
import type { VpcSpec } from '../model/network-spec.ts';

const most = { interfaces: 10_000, addresses: 1000, routeTables: 1000, routes: 10_000, halves: 1000 } as const;

/** Canonical text only: what is parsed and written again must be the same. */
const canonical = <T extends string>(parse: (text: string) => Parsed<T>, text: string): boolean => {
  const parsed = parse(text);
  return parsed.ok && parsed.value === text;
};
const unique = (ids: readonly string[]): boolean => new Set(ids).size === ids.length;

/** @returns what is wrong with the spec, or null */
export function checkSpec(spec: VpcSpec): string | null {
  const { vpcId, interfaces, routeTables, halves } = spec;
  if (!isId('vpc', vpcId)) return `'${vpcId}' is not a VPC id`;
  if (interfaces.length > most.interfaces) return `${vpcId}: more than ${most.interfaces} interfaces`;
  if (routeTables.length > most.routeTables) return `${vpcId}: more than ${most.routeTables} route tables`;
  if (halves.length > most.halves) return `${vpcId}: more than ${most.halves} halves`;
  const lists = [interfaces, routeTables, halves];
  if (lists.some((list) => !unique(list.map(({ id }) => id)))) return `${vpcId}: an id occurs twice`;

  for (const half of halves) {
    if (!isId('peering', half.id)) return `${vpcId}: '${half.id}' is not a half's id`;
    if (!isId('vpc', half.remoteVpcId) || half.remoteVpcId === vpcId) return `${half.id}: bad remote VPC`;
  }
  return checkInterfaces(spec) ?? checkTables(spec);
}

function checkInterfaces({ vpcId, interfaces, routeTables }: VpcSpec): string | null {
  const tables = new Set<string>(routeTables.map(({ id }) => id));
  const addresses: string[] = [];
  for (const port of interfaces) {
    if (!isId('interface', port.id)) return `${vpcId}: '${port.id}' is not an interface's id`;
    if (!canonical(parseMac, port.mac)) return `${port.id}: bad MAC`;
    if (!tables.has(port.routeTableId)) return `${port.id}: its route table is not of ${vpcId}`;
    if (port.addresses.length > most.addresses) return `${port.id}: more than ${most.addresses} addresses`;
    for (const { address, gateway, prefixLength } of port.addresses) {
      if (!canonical(parseAddress, address) || !canonical(parseAddress, gateway)) return `${port.id}: bad address`;
      if (familyOf(address) !== familyOf(gateway)) return `${port.id}: address and gateway differ in family`;
      if (prefixLength > (familyOf(address) === 4 ? 32 : 128)) return `${port.id}: bad prefix length`;
      addresses.push(address);
    }
  }
  return unique(addresses) ? null : `${vpcId}: an address occurs twice`;
}

function checkTables({ vpcId, interfaces, routeTables, halves }: VpcSpec): string | null {
  const ports = new Set<string>(interfaces.map(({ id }) => id));
  const known = new Set<string>(halves.map(({ id }) => id));
  for (const table of routeTables) {
    if (!isId('route-table', table.id)) return `${vpcId}: '${table.id}' is not a route table's id`;
    if (table.routes.length > most.routes) return `${table.id}: more than ${most.routes} routes`;
    if (!unique(table.routes.map(({ destination }) => destination))) return `${table.id}: a destination occurs twice`;
    for (const { destination, target } of table.routes) {
      if (!canonical(parsePrefix, destination)) return `${table.id}: bad destination`;
      if (target.kind === 'peering' && !known.has(target.halfId)) return `${table.id}: names a half of another VPC`;
      if (target.kind === 'interface' && !ports.has(target.portId)) {
        return `${table.id}: names an interface of another VPC`;
      }
    }
  }
  return null;
}

/**
 * Whether ids that are unique in a region are so in this update: an interface, table or half belongs to one VPC.
 * @returns what is wrong, or null
 */
export function checkUpdate(specs: readonly VpcSpec[]): string | null {
  for (const spec of specs) {
    const problem = checkSpec(spec);
    if (problem !== null) return problem;
  }
  const ids = specs.flatMap(({ vpcId, interfaces, routeTables, halves }) => [
    vpcId as string,
    ...[...interfaces, ...routeTables, ...halves].map(({ id }) => id as string),
  ]);
  return unique(ids) ? null : 'an id occurs in two VPCs';
}
