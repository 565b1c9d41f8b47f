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
import { type Address, familyOf, linkLocalOf, type Mac, type Prefix } from '../../model/ip.ts';
import { gatewayMac, type HalfSpec, type RouteSpec, type VpcSpec } from '../../model/network-spec.ts';
import { accessLists, isOpen, matches, nextHops, ofFamily, safeName } from './acls.ts';
import { byText, rangesOf, type Segment, segmentsOf } from './segments.ts';

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

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
/** The uuid of what a row is for, of version 8. */
export function uuidOf(installationId: string, table: TableName, id: string): string {
  const hex = digest(`${installationId}\n${table}\n${id}`);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
/** What the rows of a subnet are called by, after what they are. */
const segmentName = (vpcId: VpcId, { key }: Segment): string => `${vpcId}-${digest(`${vpcId}|${key}`).slice(0, 10)}`;
const routerPortOf = (vpcId: VpcId, segment: Segment): string => `rp-${segmentName(vpcId, segment)}`;
const hex4 = (n: number): string => n.toString(16).padStart(4, '0');

/** The MAC of a VPC's port towards another; both by their numbers. */
export function peerMac(own: number, other: number): Mac {
  const [a, b] = [hex4(own), hex4(other)];
  return `0a:fe:${a.slice(0, 2)}:${a.slice(2)}:${b.slice(0, 2)}:${b.slice(2)}` as Mac;
}
/** Its link-local address. */
export const peerLinkLocal = (own: number, other: number): Address => linkLocalOf(peerMac(own, other));
/** The IPv4 address that a VPC's router has on its peerings, out of 169.254.0.0/16. */
export const routerAddress = (own: number): string => `169.254.${own >> 8}.${own & 255}`;
/**
 * OVN's own key for a switch or router in the tunnels. Left to itself it gives the key of one that was deleted to the next
 * that comes, and a host that missed the deletion still sends there. Drawn from 2^23, so hardly ever of one that was before;
 * of two that draw the same OVN chooses another for the second.
 */
const tunnelKey = 'requested-tnl-key';
export const tunnelKeyOf = (uuid: string): string => String(1 + (Number.parseInt(uuid.slice(0, 8), 16) & 0x7fffff));
/** Numbers that a VPC may have. */
export const mostNumber = 65_534;

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

export const peerPortOf = (vpcId: VpcId, half: HalfId): string => `pcx-${vpcId}-${half}`;

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
  const hops = nextHops(spec);
  const peers = joined(input);
  const number = numberOf(vpcId);
  const routerPorts: string[] = [];
  const interfacePorts: string[] = [];
  for (const segment of segments) {
    const id = `${vpcId}|${segment.key}`;
    const [name, routerPort] = [segmentName(vpcId, segment), routerPortOf(vpcId, segment)];
    routerPorts.push(
      put('Logical_Router_Port', id, {
        name: routerPort,
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
        options: { 'router-port': routerPort },
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
          port_security: [isOpen(port, hops) ? port.mac : known],
          options: {},
        },
        { [specKey]: JSON.stringify(port) },
      );
      ports.push(own);
      interfacePorts.push(own);
    }
    put('Logical_Switch', id, {
      name: `ls-${name}`,
      ports: ports.sort(byText),
      other_config: { [tunnelKey]: tunnelKeyOf(uuid('Logical_Switch', id)) },
    });
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
      options: { [tunnelKey]: tunnelKeyOf(uuid('Logical_Router', vpcId)), always_learn_from_arp_request: 'false' },
    },
    { [specKey]: JSON.stringify(router), [numberKey]: String(number) },
  );
  const theirs = peers.flatMap(({ remoteVpcId }) => {
    const vpc = remote(remoteVpcId);
    return vpc === undefined ? [] : rangesOf(vpc);
  });
  accessLists(spec, theirs, interfacePorts, put);
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
      return { nexthop: address.address, port: [routerPortOf(spec.vpcId, segment)] };
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
    // Link-local sources end at their link: RFC 4291, section 2.5.6.
    policy(30, 'ip6.src == fe80::/10', 'drop'),
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
