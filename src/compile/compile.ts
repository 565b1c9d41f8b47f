/**
 * State → NetworkSpec, VPC by VPC. Pure and deterministic: equal states give equal specs, byte for byte. Decides
 * nothing about consent; it writes down what the rules have decided.
 */
import type { HalfId, PortId, VpcId } from '../model/ids.ts';
import { compareAddresses, comparePrefixes, contains, containsAddress, type Prefix, rangeOf } from '../model/ip.ts';
import type {
  HalfSpec,
  InterfaceAddress,
  InterfaceSpec,
  NetworkSpec,
  RouteSpec,
  RouteTableSpec,
  RouteTarget,
  VpcSpec,
} from '../model/network-spec.ts';
import type { NetworkInterface, RouteRule, RouteTable, Vpc } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';
import { gatewayOf } from '../rules/interfaces.ts';
import { effectivePrefixes } from '../rules/overlap.ts';

const byId = <T extends { readonly id: string }>(a: T, b: T): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** The spec of one VPC, or undefined when it does not exist. */
export function compileVpc(state: StateView, vpcId: VpcId): VpcSpec | undefined {
  const vpc = state.get('vpc', vpcId);
  if (vpc === undefined) return undefined;
  const halves = compileHalves(state, vpc);
  const known = new Set(halves.map(({ id }) => id));
  return {
    vpcId,
    interfaces: state
      .children('interface', vpcId)
      .map((port) => compileInterface(state, port))
      .filter((spec) => spec !== undefined)
      .sort(byId),
    routeTables: state
      .children('route-table', vpcId)
      .map((table) => compileTable(state, vpc, table, known))
      .sort(byId),
    halves,
  };
}

/** The spec of a whole region. */
export function compileAll(state: StateView): NetworkSpec {
  const ids = [...state.all('vpc')].map(({ id }) => id).sort();
  return { vpcs: ids.map((id) => compileVpc(state, id)).filter((spec) => spec !== undefined) };
}

function compileInterface(state: StateView, port: NetworkInterface): InterfaceSpec | undefined {
  const subnet = state.get('subnet', port.subnetId);
  if (subnet === undefined) return undefined; // cannot be: a subnet with interfaces is not deleted
  const addresses: InterfaceAddress[] = [];
  for (const [list, primary] of [
    [port.primary, true],
    [port.secondary, false],
  ] as const) {
    for (const address of list) {
      const cidr = subnet.cidrs.find((own) => containsAddress(own, address));
      if (cidr === undefined) continue;
      addresses.push({ address, primary, gateway: gatewayOf(cidr), prefixLength: rangeOf(cidr).length });
    }
  }
  addresses.sort((a, b) => compareAddresses(a.address, b.address));
  return {
    id: port.id,
    mac: port.mac,
    addresses,
    routeTableId: subnet.routeTableId,
    sanityCheck: port.sanityCheck,
  };
}

/** Local first and unbeatable: a rule inside an own range would win by length, so it is left out. */
function compileTable(state: StateView, vpc: Vpc, table: RouteTable, halves: ReadonlySet<HalfId>): RouteTableSpec {
  const local = effectivePrefixes(state, vpc);
  const beaten = (destination: Prefix): boolean => local.some((own) => contains(own, destination));
  const routes: RouteSpec[] = [
    ...local.map((destination): RouteSpec => ({ destination, target: { kind: 'local' } })),
    ...table.rules
      .filter((rule) => !beaten(rule.destination))
      .map((rule) => ({ destination: rule.destination, target: compileTarget(state, vpc, rule, halves) })),
  ];
  return { id: table.id, routes: routes.sort((a, b) => comparePrefixes(a.destination, b.destination)) };
}

function compileTarget(state: StateView, vpc: Vpc, rule: RouteRule, halves: ReadonlySet<HalfId>): RouteTarget {
  switch (rule.nextHop.kind) {
    case 'internet':
      return { kind: 'black-hole' }; // no egress exists yet
    case 'peering':
      // A half in any state is named, so that it works again when it reconnects; one that is forgotten is a black hole.
      return halves.has(rule.nextHop.halfId)
        ? { kind: 'peering', halfId: rule.nextHop.halfId }
        : { kind: 'black-hole' };
    case 'interface': {
      const port = state.get('interface', rule.nextHop.portId);
      return port?.vpcId === vpc.id ? { kind: 'interface', portId: port.id as PortId } : { kind: 'black-hole' };
    }
  }
}

function compileHalves(state: StateView, vpc: Vpc): readonly HalfSpec[] {
  return state
    .children('half-identity', vpc.id)
    .filter((identity) => identity.localVpcId === vpc.id)
    .map(({ halfId, remoteVpcId }) => ({
      id: halfId,
      remoteVpcId,
      live: state.half(vpc.id, remoteVpcId)?.state === 'Connected',
    }))
    .sort(byId);
}
