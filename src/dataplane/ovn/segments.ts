/** The subnets and ranges of a VPC, as its spec tells. Pure. */
import type { RouteTableId } from '../../model/ids.ts';
import { type Address, addressOf, bitsOf, contains, familyOf, type Prefix } from '../../model/ip.ts';
import type { InterfaceAddress, InterfaceSpec, VpcSpec } from '../../model/network-spec.ts';

/** Raised for a spec that OVN cannot carry. */
export class UnsuitableSpecError extends Error {}

/** A subnet, as the interfaces in it tell. */
export interface Segment {
  /** Its first prefix: unique in the VPC. */
  readonly key: string;
  readonly routeTableId: RouteTableId;
  /** Gateway and length, by family. */
  readonly gateways: readonly string[];
  readonly prefixes: readonly Prefix[];
  readonly interfaces: readonly InterfaceSpec[];
}

/** In the order of code units, as OVSDB's sets are kept. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const gatewayOf = ({ gateway, prefixLength }: InterfaceAddress): string => `${gateway}/${prefixLength}`;

/** Interfaces that share a gateway are in one subnet, also by way of others. */
export function segmentsOf({ vpcId, interfaces }: VpcSpec): readonly Segment[] {
  const root = new Map<string, string>();
  const find = (gateway: string): string => {
    let at = gateway;
    for (let up = root.get(at); up !== undefined && up !== at; up = root.get(at)) at = up;
    return at;
  };
  for (const { addresses } of interfaces) {
    const [first, ...others] = [...new Set(addresses.map(gatewayOf))].sort(byText);
    if (first === undefined) continue;
    if (!root.has(first)) root.set(first, first);
    for (const other of others) {
      if (!root.has(other)) root.set(other, other);
      root.set(find(other), find(first));
    }
  }
  const members = new Map<string, InterfaceSpec[]>();
  for (const spec of interfaces) {
    const [address] = spec.addresses;
    if (address === undefined) throw new UnsuitableSpecError(`${spec.id} has no address`);
    const at = find(gatewayOf(address));
    members.set(at, [...(members.get(at) ?? []), spec]);
  }
  return [...members.values()]
    .map((specs): Segment => {
      const gateways = [...new Set(specs.flatMap(({ addresses }) => addresses.map(gatewayOf)))].sort(byText);
      const [first] = specs;
      const other = specs.find(({ routeTableId }) => routeTableId !== first?.routeTableId);
      if (first === undefined || other !== undefined) {
        throw new UnsuitableSpecError(
          `${vpcId}: ${first?.id} and ${other?.id} are in one subnet, but not on one route table`,
        );
      }
      const prefixes = gateways.map((gateway) => networkOf(gateway));
      return { key: gateways[0] ?? '', routeTableId: first.routeTableId, gateways, prefixes, interfaces: specs };
    })
    .sort((a, b) => byText(a.key, b.key));
}

/** 10.1.0.1/24 → 10.1.0.0/24 */
function networkOf(gateway: string): Prefix {
  const [address = '', length = '0'] = gateway.split('/');
  const family = familyOf(address as Address);
  const bits = (family === 4 ? 32 : 128) - Number(length);
  const value = bitsOf(address as Address).bits;
  return `${addressOf(family, (value >> BigInt(bits)) << BigInt(bits))}/${length}` as Prefix;
}

/** The prefixes that are a VPC's own: what is local, and its subnets where they are not in that. */
export function rangesOf(spec: VpcSpec): readonly Prefix[] {
  const local = new Set(
    spec.routeTables.flatMap(({ routes }) =>
      routes.filter(({ target }) => target.kind === 'local').map(({ destination }) => destination),
    ),
  );
  const subnets = segmentsOf(spec).flatMap(({ prefixes }) => prefixes);
  return [...new Set([...local, ...subnets.filter((subnet) => ![...local].some((wide) => contains(wide, subnet)))])];
}
