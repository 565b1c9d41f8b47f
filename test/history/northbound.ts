/**
 * What OVN's databases hold, by another way than the driver's: all rows as `ovsdb-client` prints them, told in the words of
 * the resources; and what they should tell of a state, by the documentation (docs/cluster.md, docs/architecture.md) and not
 * by what the driver plans.
 */
import { execFileSync } from 'node:child_process';
import type { VpcId } from '../../src/model/ids.ts';
import { addressAt, contains, type Prefix } from '../../src/model/ip.ts';
import type { RouteRule, Subnet, Vpc } from '../../src/model/resources.ts';
import type { StateView } from '../../src/model/state.ts';

type Atom = string | number | boolean;
interface Row {
  readonly uuid: string;
  /** Sets as lists, maps as records; a uuid is its text. */
  readonly columns: { readonly [column: string]: Atom | readonly Atom[] | { readonly [key: string]: Atom } };
}
export type Dump = ReadonlyMap<string, readonly Row[]>;

/** Every row of every table. */
export function dump(remote: string, database: 'OVN_Northbound' | 'OVN_Southbound'): Dump {
  const args = ['--timeout=20', '--format=json', '--data=json', 'dump', remote, database];
  const lines = execFileSync('ovsdb-client', args, { maxBuffer: 2 ** 28 })
    .toString()
    .trim()
    .split('\n');
  return new Map(
    lines.map((line) => {
      const { caption, headings, data } = JSON.parse(line) as {
        readonly caption: string;
        readonly headings: readonly string[];
        readonly data: readonly (readonly unknown[])[];
      };
      const rows = data.map((cells): Row => {
        const columns = Object.fromEntries(headings.map((heading, at) => [heading, plain(cells[at])]));
        return { uuid: String(columns['_uuid']), columns };
      });
      return [caption.replace(/ table$/, ''), rows];
    }),
  );
}
function plain(cell: unknown): Row['columns'][string] {
  if (!Array.isArray(cell)) return cell as Atom;
  const [kind, value] = cell as [string, unknown];
  if (kind === 'set') return (value as unknown[]).map((one) => plain(one) as Atom);
  if (kind === 'map') return Object.fromEntries((value as [unknown, unknown][]).map((pair) => pair.map(plain)));
  return value as Atom;
}

const list = (row: Row | undefined, column: string): readonly string[] => {
  const cell = row?.columns[column] ?? [];
  return Array.isArray(cell) ? cell.map(String) : [String(cell)];
};
const text = (row: Row | undefined, column: string): string => list(row, column).join();
const key = (row: Row | undefined, column: string, name: string): string =>
  String((row?.columns[column] as { readonly [key: string]: Atom } | undefined)?.[name] ?? '');
const idOf = (row: Row | undefined): string => key(row, 'external_ids', 'isthmus:id');

/** A line for each thing; two networks are the same when their lines are. */
export interface Told {
  readonly routers: readonly string[];
  readonly switches: readonly string[];
  readonly interfaces: readonly string[];
  readonly peerings: readonly string[];
  readonly routes: readonly string[];
  readonly guards: readonly string[];
  /** Rows that nobody should have written. */
  readonly strange: readonly string[];
}
const sorted = (told: Told): Told =>
  Object.fromEntries(Object.entries(told).map(([name, lines]) => [name, [...lines].sort()])) as unknown as Told;

const ours = [
  ...['Logical_Router', 'Logical_Router_Port', 'Logical_Router_Static_Route', 'Logical_Router_Policy'],
  ...['Logical_Switch', 'Logical_Switch_Port', 'Port_Group', 'ACL', 'Address_Set'],
];

/** What the northbound database tells. */
export function toldBy(north: Dump, installationId: string): Told {
  const rows = (table: string): readonly Row[] => north.get(table) ?? [];
  const named = (table: string, name: string): Row | undefined =>
    rows(table).find(({ columns }) => columns['name'] === name);
  const byUuid = (table: string, uuids: readonly string[]): readonly Row[] =>
    rows(table).filter(({ uuid }) => uuids.includes(uuid));
  const routerWith = (column: string, { uuid }: Row): string =>
    idOf(rows('Logical_Router').find((router) => list(router, column).includes(uuid)));
  const gateway = (port: Row): string => key(port, 'options', 'router-port');

  const routerPorts = rows('Logical_Router_Port');
  const switches = rows('Logical_Switch').map((row) => {
    const ports = byUuid('Logical_Switch_Port', list(row, 'ports'));
    const towards = ports.filter((port) => text(port, 'type') === 'router').map(gateway);
    return { ports, router: named('Logical_Router_Port', towards.join()) };
  });
  const holder = (set: string, family: 4 | 6, group: string): string =>
    [...list(named('Address_Set', `${set}_${group}_${family}`), 'addresses')].sort().join(' ');
  return sorted({
    routers: rows('Logical_Router').map(idOf),
    switches: switches.map(({ router }) => {
      const place = router === undefined ? 'no router' : routerWith('ports', router);
      return `${place} ${text(router, 'networks')} on ${key(router, 'options', 'route_table')}`;
    }),
    interfaces: switches.flatMap(({ ports, router }) =>
      ports
        .filter((port) => text(port, 'type') === '')
        .map((port) => `${idOf(port)} ${text(port, 'name')} ${text(port, 'addresses')} in ${text(router, 'networks')}`),
    ),
    peerings: routerPorts
      .filter((port) => list(port, 'peer').length > 0)
      .map((port) => {
        const other = named('Logical_Router_Port', text(port, 'peer'));
        const back = other !== undefined && text(other, 'peer') === text(port, 'name') ? idOf(other) : 'nobody';
        return `${routerWith('ports', port)} ${idOf(port)} ${back} on ${key(port, 'options', 'route_table')}`;
      }),
    routes: rows('Logical_Router_Static_Route').map((route) => {
      const port = named('Logical_Router_Port', text(route, 'output_port'));
      const via = list(port, 'peer').length > 0 ? idOf(port) : text(route, 'nexthop');
      const place = `${routerWith('static_routes', route)} ${text(route, 'route_table')}`;
      return `${place} ${text(route, 'ip_prefix')} ${via}`;
    }),
    guards: rows('Port_Group').map((group) => {
      const name = text(group, 'name').replace(/^pg_/, '');
      const ports = byUuid('Logical_Switch_Port', list(group, 'ports')).map(idOf).sort();
      const acls = byUuid('ACL', list(group, 'acls')).map((acl) => `${text(acl, 'priority')} ${text(acl, 'action')}`);
      const policies = rows('Logical_Router_Policy').filter((one) => routerWith('policies', one) === idOf(group));
      const sets = `reach ${holder('reach', 4, name)} ${holder('reach', 6, name)}, known ${holder('known', 4, name)}`;
      return `${idOf(group)} ${ports.join(' ')}: ${acls.sort().join(', ')}; ${policies.length} policies; ${sets}`;
    }),
    strange: [...north].flatMap(([table, all]) =>
      table === 'NB_Global'
        ? []
        : all
            .filter((row) => !ours.includes(table) || key(row, 'external_ids', 'isthmus:owner') !== installationId)
            .map(({ uuid }) => `${table} ${uuid}`),
    ),
  });
}

/** How many rows each table of the northbound database should have, for rows that no line above tells of. */
export const countsOf = (told: Told): { readonly [table: string]: number } => {
  const inhabited = told.guards.filter((guard) => guard.includes('; 3 policies')).length;
  return {
    Logical_Router_Port: told.switches.length + told.peerings.length,
    Logical_Switch_Port: told.switches.length + told.interfaces.length,
    Port_Group: told.routers.length,
    ACL: told.guards.flatMap((guard) => guard.match(/\d+ (drop|allow-stateless)/g) ?? []).length,
    Logical_Router_Policy: 3 * inhabited,
    Address_Set: 2 * told.routers.length + 2 * inhabited,
  };
};

/** What it should tell of a state. */
export function toldOf(state: StateView): Told {
  const vpcs = [...state.all('vpc')];
  const subnets = [...state.all('subnet')].filter(({ id }) => state.count('interface', id) > 0);
  const inside = (subnet: Subnet): string => `${addressAt(range(subnet), 1)}/${range(subnet).split('/')[1]}`;
  const connected = [...state.all('peering')].filter((half) => half.state === 'Connected');
  return sorted({
    routers: vpcs.map(({ id }) => id),
    switches: subnets.map((subnet) => `${subnet.vpcId} ${inside(subnet)} on ${subnet.routeTableId}`),
    interfaces: subnets.flatMap((subnet) =>
      state
        .children('interface', subnet.id)
        .map(({ id, mac, primary }) => `${id} ${id} ${[mac, ...primary].join(' ')} in ${inside(subnet)}`),
    ),
    peerings: connected.map(({ id, localVpcId, remoteVpcId }) => {
      const mirror = state.half(remoteVpcId, localVpcId);
      return `${localVpcId} ${id} ${mirror?.id ?? 'nobody'} on peer-in`;
    }),
    routes: vpcs.flatMap((vpc) => routesOf(state, vpc, subnets)),
    guards: vpcs.map(({ id, cidrs }) => {
      const ports = state.children('interface', id);
      const peers = connected.filter(({ localVpcId }) => localVpcId === id).map(({ remoteVpcId }) => remoteVpcId);
      const theirs = peers.flatMap((peer: VpcId) => state.get('vpc', peer)?.cidrs ?? []);
      const known = ports.flatMap(({ primary }) => primary).sort();
      const sets = `reach ${[...cidrs, ...theirs].sort().join(' ')} , known ${known.join(' ')}`;
      const names = ports.map((port) => port.id).sort();
      const policies = ports.length > 0 ? 3 : 0;
      const own = hopsOf(state, id, cidrs).flatMap(() => ofHop);
      const acls = ['1000 drop', '1001 allow-stateless', ...own].sort();
      return `${id} ${names.join(' ')}: ${acls.join(', ')}; ${policies} policies; ${sets}`;
    }),
    strange: [],
  });
}
/** What stands at the next hop of a route: its own sources, its own ARP, nothing else. */
const ofHop = ['1000 drop', '1001 allow-stateless', '1002 drop', '1003 allow-stateless', '998 drop'];
/** Interfaces that are there and that rules which count lead to. */
const hopsOf = (state: StateView, vpcId: VpcId, cidrs: readonly Prefix[]): readonly string[] => {
  const rules = state.children('route-table', vpcId).flatMap((table) => table.rules);
  const counting = rules.filter(({ destination }) => !cidrs.some((own) => contains(own, destination)));
  const hops = counting.flatMap(({ nextHop }) => (nextHop.kind === 'interface' ? [nextHop.portId] : []));
  return [...new Set(hops)].filter((portId) => state.get('interface', portId) !== undefined);
};
const range = ({ cidrs: [cidr] }: Subnet): Prefix => cidr as Prefix;

/** Rules that count, and what of the VPC's own range no subnet answers for. */
function routesOf(state: StateView, vpc: Vpc, subnets: readonly Subnet[]): readonly string[] {
  const via = ({ nextHop }: RouteRule): string => {
    if (nextHop.kind === 'peering') {
      return state.get('peering', nextHop.halfId)?.state === 'Connected' ? nextHop.halfId : 'discard';
    }
    return (nextHop.kind === 'interface' && state.get('interface', nextHop.portId)?.primary[0]) || 'discard';
  };
  return state
    .children('route-table', vpc.id)
    .flatMap(({ id, rules }) => [
      ...rules
        .filter(({ destination }) => !vpc.cidrs.some((own) => contains(own, destination)))
        .map((rule) => `${vpc.id} ${id} ${rule.destination} ${via(rule)}`),
      ...vpc.cidrs
        .filter((cidr) => !subnets.some((subnet) => subnet.vpcId === vpc.id && range(subnet) === cidr))
        .map((cidr) => `${vpc.id} ${id} ${cidr} discard`),
    ]);
}
