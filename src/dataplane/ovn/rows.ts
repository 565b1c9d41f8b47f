/**
 * A network as rows of OVN's northbound database. Pure: what it says of a row is compared with the row that is there, so
 * that nothing is written when nothing differs and damage is seen. Every row has a uuid that follows from what it is for,
 * and the installation's name; foreign rows have neither.
 *
 * VPC = logical router. Subnet = logical switch and a router port on its route table. Interface = switch port. Peering =
 * two router ports that name each other, both on the table `peer-in`, in which no route ever lives: what comes over a
 * peering reaches connected subnets and nothing else, whatever the tenants' routes say.
 */
import { createHash } from 'node:crypto';
import type { HalfId, RouteTableId, VpcId } from '../../model/ids.ts';
import { type Address, addressOf, bitsOf, contains, familyOf, type Prefix } from '../../model/ip.ts';
import {
  gatewayMac,
  type HalfSpec,
  type InterfaceAddress,
  type InterfaceSpec,
  type RouteSpec,
  type VpcSpec,
} from '../../model/network-spec.ts';

export const tableNames = [
  'Logical_Router',
  'Logical_Router_Port',
  'Logical_Router_Static_Route',
  'Logical_Router_Policy',
  'Logical_Switch',
  'Logical_Switch_Port',
  'Port_Group',
  'ACL',
  'Address_Set',
] as const;
export type TableName = (typeof tableNames)[number];

/** A set is sorted; an optional column that is empty is an empty set. */
export type Cell = string | number | boolean | readonly string[] | { readonly [key: string]: string };
export interface WantedRow {
  readonly table: TableName;
  readonly uuid: string;
  readonly columns: { readonly [column: string]: Cell };
}

/** Columns that hold uuids of other rows. */
export const references: { readonly [T in TableName]: readonly string[] } = {
  Logical_Router: ['ports', 'static_routes', 'policies'],
  Logical_Router_Port: [],
  Logical_Router_Static_Route: [],
  Logical_Router_Policy: [],
  Logical_Switch: ['ports'],
  Logical_Switch_Port: [],
  Port_Group: ['ports', 'acls'],
  ACL: [],
  Address_Set: [],
};
/** Tables whose rows live only while another row names them. */
export const children: ReadonlySet<TableName> = new Set([
  'Logical_Router_Port',
  'Logical_Router_Static_Route',
  'Logical_Router_Policy',
  'Logical_Switch_Port',
  'ACL',
]);

export const ownerKey = 'isthmus:owner';
export const idKey = 'isthmus:id';
/** The VPC that a row is for. */
export const vpcKey = 'isthmus:vpc';
/** Holds, as JSON, what of the spec is in no column. */
export const specKey = 'isthmus:spec';
export const numberKey = 'isthmus:number';
/** The route table of what comes over a peering. */
export const peerTable = 'peer-in';

/** What a router's row keeps of its VPC's spec. */
export interface RouterSpec {
  readonly halves: readonly HalfSpec[];
  /** With the destinations that are local. */
  readonly tables: readonly { readonly id: RouteTableId; readonly local: readonly Prefix[] }[];
}

/** Raised for a spec that OVN cannot carry. */
export class UnsuitableSpecError extends Error {}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
/** The uuid of what a row is for, of version 8. */
export function uuidOf(installationId: string, table: TableName, id: string): string {
  const hex = digest(`${installationId}\n${table}\n${id}`);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const hex4 = (n: number): string => n.toString(16).padStart(4, '0');

/** The MAC of a VPC's port towards another; both by their numbers. */
export function peerMac(own: number, other: number): string {
  const [a, b] = [hex4(own), hex4(other)];
  return `0a:fe:${a.slice(0, 2)}:${a.slice(2)}:${b.slice(0, 2)}:${b.slice(2)}`;
}
/** Its link-local address (EUI-64 of that MAC). */
export function peerLinkLocal(own: number, other: number): string {
  const group = (n: number): string => n.toString(16);
  const high = (own >> 8) & 0xff;
  return `fe80::8fe:${group((high << 8) | 0xff)}:${group(0xfe00 | (own & 0xff))}:${group(other)}`;
}
/** The IPv4 address that a VPC's router has on its peerings, out of 169.254.0.0/16. */
export const routerAddress = (own: number): string => `169.254.${own >> 8}.${own & 255}`;
/** Numbers that a VPC may have. */
export const mostNumber = 65_534;

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

export interface RowsInput {
  readonly installationId: string;
  readonly spec: VpcSpec;
  /** The number of a VPC that exists. */
  readonly numberOf: (vpcId: VpcId) => number;
  readonly remote: (vpcId: VpcId) => VpcSpec | undefined;
}

/** A live half whose mirror lives too. */
function joined({ spec, remote }: RowsInput): readonly HalfSpec[] {
  return spec.halves.filter(({ live, remoteVpcId }) => {
    const mirror = remote(remoteVpcId)?.halves.find((half) => half.remoteVpcId === spec.vpcId && half.live);
    return live && mirror !== undefined;
  });
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

export const peerPortOf = (vpcId: VpcId, half: HalfId): string => `pcx-${vpcId}-${half}`;
export const safeName = (text: string): string => text.replaceAll('-', '_');

/**
 * All rows of one VPC. They depend on the VPC itself and on those that it is joined with.
 * @throws UnsuitableSpecError
 */
export function rowsOf(input: RowsInput): readonly WantedRow[] {
  const { installationId, spec, numberOf, remote } = input;
  const { vpcId } = spec;
  const rows: WantedRow[] = [];
  const uuid = (table: TableName, id: string): string => uuidOf(installationId, table, id);
  const put = (
    table: TableName,
    id: string,
    columns: WantedRow['columns'],
    more: Record<string, string> = {},
  ): string => {
    const own = { [ownerKey]: installationId, [idKey]: id, [vpcKey]: vpcId, ...more };
    rows.push({ table, uuid: uuid(table, id), columns: { ...columns, external_ids: own } });
    return uuid(table, id);
  };

  const segments = segmentsOf(spec);
  const peers = joined(input);
  const number = numberOf(vpcId);
  const routerPorts: string[] = [];
  const interfacePorts: string[] = [];
  for (const segment of segments) {
    const id = `${vpcId}|${segment.key}`;
    const name = `${vpcId}-${digest(id).slice(0, 10)}`;
    routerPorts.push(
      put('Logical_Router_Port', id, {
        name: `rp-${name}`,
        mac: gatewayMac,
        networks: segment.gateways,
        peer: [],
        options: { route_table: segment.routeTableId },
      }),
    );
    const ports = [
      put('Logical_Switch_Port', id, {
        name: `sp-${name}`,
        type: 'router',
        addresses: ['router'],
        port_security: [],
        options: { 'router-port': `rp-${name}` },
      }),
    ];
    for (const port of segment.interfaces) {
      const known = [port.mac, ...port.addresses.map(({ address }) => address)].join(' ');
      const own = put(
        'Logical_Switch_Port',
        port.id,
        {
          name: port.id,
          type: '',
          addresses: [known],
          port_security: [port.sanityCheck ? known : port.mac],
          options: {},
        },
        { [specKey]: JSON.stringify(port) },
      );
      ports.push(own);
      interfacePorts.push(own);
    }
    put('Logical_Switch', id, { name: `ls-${name}`, ports: ports.sort(byText) });
  }
  for (const half of peers) {
    const mirror = remote(half.remoteVpcId)?.halves.find((other) => other.remoteVpcId === vpcId && other.live);
    const other = numberOf(half.remoteVpcId);
    routerPorts.push(
      put('Logical_Router_Port', half.id, {
        name: peerPortOf(vpcId, half.id),
        mac: peerMac(number, other),
        networks: [`${routerAddress(number)}/32`],
        peer: [peerPortOf(half.remoteVpcId, mirror?.id ?? half.id)],
        options: { route_table: peerTable },
      }),
    );
  }

  const routes = routesOf(input, segments, peers).map(({ id, columns, route }) =>
    put('Logical_Router_Static_Route', id, columns, route === null ? {} : { [specKey]: JSON.stringify(route) }),
  );
  const router: RouterSpec = {
    halves: spec.halves,
    tables: spec.routeTables.map((table) => ({
      id: table.id,
      local: table.routes.filter(({ target }) => target.kind === 'local').map(({ destination }) => destination),
    })),
  };
  put(
    'Logical_Router',
    vpcId,
    {
      name: `lr-${vpcId}`,
      ports: routerPorts.sort(byText),
      static_routes: [...routes].sort(byText),
      policies: policies(spec, segments, put),
      options: {},
    },
    { [specKey]: JSON.stringify(router), [numberKey]: String(number) },
  );
  guard(input, peers, interfacePorts, put);
  return rows;
}

interface RouteRow {
  readonly id: string;
  readonly columns: WantedRow['columns'];
  /** null: of our own making, no route of the spec. */
  readonly route: RouteSpec | null;
}

function routesOf(
  { spec, numberOf }: RowsInput,
  segments: readonly Segment[],
  peers: readonly HalfSpec[],
): readonly RouteRow[] {
  const connected = new Set<string>(segments.flatMap(({ prefixes }) => prefixes));
  const row = (tableId: RouteTableId, destination: Prefix, hop: { nexthop: string; port: readonly string[] }) => ({
    id: `${spec.vpcId}|${tableId}|${destination}`,
    columns: {
      route_table: tableId,
      ip_prefix: destination,
      nexthop: hop.nexthop,
      output_port: hop.port,
      policy: ['dst-ip'],
    },
  });
  const nowhere = { nexthop: 'discard', port: [] };
  const hopOf = ({ destination, target }: RouteSpec): { nexthop: string; port: readonly string[] } => {
    if (target.kind === 'peering') {
      const half = peers.find(({ id }) => id === target.halfId);
      if (half === undefined) return nowhere;
      const [own, other] = [numberOf(spec.vpcId), numberOf(half.remoteVpcId)];
      const nexthop = familyOf(destination) === 4 ? routerAddress(other) : peerLinkLocal(other, own);
      return { nexthop, port: [peerPortOf(spec.vpcId, half.id)] };
    }
    if (target.kind === 'interface') {
      const segment = segments.find(({ interfaces }) => interfaces.some(({ id }) => id === target.portId));
      const port = segment?.interfaces.find(({ id }) => id === target.portId);
      const address = port?.addresses.find((one) => one.primary && familyOf(one.address) === familyOf(destination));
      if (segment === undefined || address === undefined) return nowhere;
      const name = `${spec.vpcId}-${digest(`${spec.vpcId}|${segment.key}`).slice(0, 10)}`;
      return { nexthop: address.address, port: [`rp-${name}`] };
    }
    return nowhere;
  };
  return spec.routeTables.flatMap((table) =>
    table.routes.flatMap((route): RouteRow[] => {
      if (route.target.kind !== 'local') return [{ ...row(table.id, route.destination, hopOf(route)), route }];
      // What is in the VPC's range and in no subnet must not leave by a wider route.
      return connected.has(route.destination) ? [] : [{ ...row(table.id, route.destination, nowhere), route: null }];
    }),
  );
}

type Put = (table: TableName, id: string, columns: WantedRow['columns']) => string;

const ofFamily = <T extends Prefix | Address>(family: 4 | 6, list: readonly T[]): T[] =>
  [...new Set(list)].filter((one) => familyOf(one) === family).sort(byText);
/** Matches what has this field in one of these, of either family. */
const matches = (field: 'src' | 'dst', list: readonly (Prefix | Address)[]): string =>
  ([4, 6] as const)
    .map((family) => ({ family, own: ofFamily(family, list) }))
    .filter(({ own }) => own.length > 0)
    .map(({ family, own }) => `ip${family}.${field} == {${own.join(', ')}}`)
    .join(' || ');

/**
 * What is in a subnet and no interface's address is dropped by the router. Left to itself it would ask for it in the
 * subnet, by way of ovn-controller for every packet, and deliver to whoever answers.
 */
function policies({ vpcId, interfaces }: VpcSpec, segments: readonly Segment[], put: Put): readonly string[] {
  if (segments.length === 0) return [];
  const name = `known_${safeName(vpcId)}`;
  const known = interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  for (const family of [4, 6] as const) {
    put('Address_Set', `${vpcId}|known|${family}`, { name: `${name}_${family}`, addresses: ofFamily(family, known) });
  }
  const policy = (priority: number, match: string, action: string): string =>
    put('Logical_Router_Policy', `${vpcId}|${priority}`, { priority, match, action });
  return [
    policy(20, `ip4.dst == $${name}_4 || ip6.dst == $${name}_6`, 'allow'),
    policy(
      10,
      matches(
        'dst',
        segments.flatMap(({ prefixes }) => prefixes),
      ),
      'drop',
    ),
  ].sort(byText);
}

/**
 * The destination guard: drops, on the receiver's host, what comes from neither the VPC nor one that it is joined with. A
 * host that missed a disconnect still sends; here it ends.
 *
 * Who has no source check (an appliance) may send with any address, but inside its own VPC only: its packets to a peer
 * leave its port with its own addresses or not at all. So nobody else's guard need open for it.
 */
function guard({ spec, remote }: RowsInput, peers: readonly HalfSpec[], ports: readonly string[], put: Put): void {
  const { vpcId } = spec;
  const name = safeName(vpcId);
  const theirs = peers.flatMap(({ remoteVpcId }) => {
    const vpc = remote(remoteVpcId);
    return vpc === undefined ? [] : rangesOf(vpc);
  });
  const set = (what: string, family: 4 | 6, prefixes: readonly Prefix[]): void => {
    const addresses = ofFamily(family, prefixes);
    put('Address_Set', `${vpcId}|${what}|${family}`, { name: `${what}_${name}_${family}`, addresses });
  };
  for (const family of [4, 6] as const) set('reach', family, [...rangesOf(spec), ...theirs, 'fe80::/10' as Prefix]);
  const acl = (direction: 'to-lport' | 'from-lport', priority: number, of: string, match: string, action: string) =>
    put('ACL', `${vpcId}|${direction}|${priority}|${of}`, { direction, priority, match, action });
  const appliances = spec.interfaces.filter(({ sanityCheck }) => !sanityCheck);
  const group = `pg_${name}`;
  const from = `(ip4.src == $reach_${name}_4 || ip6.src == $reach_${name}_6)`;
  const acls = [
    acl('to-lport', 1001, '', `outport == @${group} && ${from}`, 'allow-stateless'),
    acl('to-lport', 1000, '', `outport == @${group} && ip`, appliances.length > 0 ? 'allow-stateless' : 'drop'),
  ];
  if (appliances.length > 0) {
    for (const family of [4, 6] as const) set('peers', family, theirs);
    const to = `(ip4.dst == $peers_${name}_4 || ip6.dst == $peers_${name}_6)`;
    for (const { id, addresses } of appliances) {
      const own = matches(
        'src',
        addresses.map(({ address }) => address),
      );
      acls.push(
        acl('from-lport', 1001, id, `inport == "${id}" && (${own})`, 'allow-stateless'),
        acl('from-lport', 1000, id, `inport == "${id}" && ${to}`, 'drop'),
      );
    }
  }
  put('Port_Group', vpcId, { name: group, ports: [...ports].sort(byText), acls: acls.sort(byText) });
}
