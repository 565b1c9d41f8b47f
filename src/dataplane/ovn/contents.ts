/**
 * What the northbound database holds: the network that its rows tell of, what of them contradicts itself, and whose the
 * others are; and the operations that turn rows into others. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import type { RouteTableId, VpcId } from '../../model/ids.ts';
import { comparePrefixes } from '../../model/ip.ts';
import type { InterfaceSpec, NetworkSpec, RouteSpec, VpcSpec } from '../../model/network-spec.ts';
import type { Operation } from './ovsdb.ts';
import { type ColumnType, type Row, type Value, wireOf } from './ovsdb-wire.ts';
import {
  type Cell,
  children,
  idKey,
  mostNumber,
  numberKey,
  ownerKey,
  type RouterSpec,
  references,
  rowsOf,
  specKey,
  type TableName,
  tableNames,
  vpcKey,
  type WantedRow,
} from './rows.ts';
import { UnsuitableSpecError } from './segments.ts';

/** A copy of the database. */
export interface Copy {
  rows(table: string): ReadonlyMap<string, Row>;
  typeOf(table: string, column: string): ColumnType;
}

export interface Damage {
  /** A row that is not as it shall be; one that belongs to nothing; what is mended by writing the VPC anew. */
  readonly kind: 'differs' | 'unwanted' | 'unreadable';
  readonly what: string;
  /** Of one that differs: how it shall be. */
  readonly wanted: WantedRow | null;
  readonly table: TableName;
  readonly uuid: string;
}
export interface Contents {
  readonly network: NetworkSpec;
  readonly numbers: ReadonlyMap<VpcId, number>;
  readonly damage: readonly Damage[];
  /** Rows in our tables that are not ours, by name. */
  readonly foreign: readonly string[];
}

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);
const mapOf = (row: Row | undefined): { readonly [key: string]: string } =>
  (row?.['external_ids'] ?? {}) as { readonly [key: string]: string };
const uuidsOf = (row: Row, column: string): readonly string[] => (row[column] ?? []) as readonly string[];
const nameOf = (table: TableName, uuid: string, row: Row): string =>
  `${table} ${String(row['name'] ?? row['ip_prefix'] ?? row['match'] ?? '') || uuid}`;

/** JSON that a row keeps for us; undefined when it is none, and by somebody else's hand then. */
function kept<T extends object>(row: Row): T | undefined {
  try {
    const value: unknown = JSON.parse(mapOf(row)[specKey] ?? '');
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}

const isRouter = ({ halves, tables }: Partial<RouterSpec>): boolean =>
  Array.isArray(halves) &&
  halves.every((half) => typeof half?.id === 'string' && typeof half.remoteVpcId === 'string') &&
  Array.isArray(tables) &&
  tables.every((table) => typeof table?.id === 'string' && Array.isArray(table.local));
const isInterface = ({ id, addresses, mac }: Partial<InterfaceSpec>): boolean =>
  typeof id === 'string' &&
  typeof mac === 'string' &&
  Array.isArray(addresses) &&
  addresses.length > 0 &&
  addresses.every((one) => typeof one?.address === 'string' && typeof one.gateway === 'string');
const isRoute = ({ destination, target }: Partial<RouteSpec>): boolean =>
  typeof destination === 'string' && typeof target?.kind === 'string';

/** Reads everything. */
export function contentsOf(installationId: string, copy: Copy): Contents {
  const owned = new Map<TableName, Map<string, Row>>();
  const foreign: string[] = [];
  for (const table of tableNames) {
    const ours = new Map<string, Row>();
    for (const [uuid, row] of copy.rows(table)) {
      if (mapOf(row)[ownerKey] === installationId) ours.set(uuid, row);
      else foreign.push(nameOf(table, uuid, row));
    }
    owned.set(table, ours);
  }
  const rows = (table: TableName): ReadonlyMap<string, Row> => owned.get(table) ?? new Map();

  const damage: Damage[] = [];
  const unreadable = new Set<string>();
  const interfaces = interfacesByVpc(rows, damage);
  const specs = new Map<VpcId, VpcSpec>();
  const numbers = new Map<VpcId, number>();
  const taken = new Set<number>();
  for (const [uuid, row] of rows('Logical_Router')) {
    const vpcId = mapOf(row)[idKey] as VpcId;
    const router = kept<RouterSpec>(row);
    const number = Number(mapOf(row)[numberKey]);
    if (
      router === undefined ||
      !isRouter(router) ||
      !(Number.isInteger(number) && number > 0 && number <= mostNumber) ||
      taken.has(number)
    ) {
      unreadable.add(vpcId);
      damage.push({ what: `${nameOf('Logical_Router', uuid, row)} cannot be read`, ...whole('Logical_Router', uuid) });
      continue;
    }
    numbers.set(vpcId, number);
    taken.add(number);
    specs.set(vpcId, specOf(vpcId, router, row, rows, interfaces.get(vpcId) ?? []));
  }
  const network = { vpcs: [...specs.values()].sort((a, b) => (a.vpcId < b.vpcId ? -1 : 1)) };
  const contents = { network, numbers, foreign: foreign.sort() };
  damage.push(...differences(installationId, contents, unreadable, rows));
  return { ...contents, damage };
}

/** Of what is only told, and mended by writing the VPC anew. */
const whole = (table: TableName, uuid: string): Omit<Damage, 'what'> => ({
  kind: 'unreadable',
  wanted: null,
  table,
  uuid,
});

function interfacesByVpc(
  rows: (table: TableName) => ReadonlyMap<string, Row>,
  damage: Damage[],
): ReadonlyMap<string, readonly InterfaceSpec[]> {
  const found = new Map<string, InterfaceSpec[]>();
  for (const row of rows('Logical_Switch').values()) {
    const vpcId = mapOf(row)[vpcKey] ?? '';
    const list = found.get(vpcId) ?? [];
    found.set(vpcId, list);
    for (const uuid of uuidsOf(row, 'ports')) {
      const port = rows('Logical_Switch_Port').get(uuid);
      if (port === undefined || mapOf(port)[specKey] === undefined) continue;
      const spec = kept<InterfaceSpec>(port);
      if (spec !== undefined && isInterface(spec)) list.push(spec);
      else {
        const what = `${nameOf('Logical_Switch_Port', uuid, port)} cannot be read`;
        damage.push({ what, ...whole('Logical_Switch_Port', uuid) });
      }
    }
  }
  return found;
}

function specOf(
  vpcId: VpcId,
  router: RouterSpec,
  row: Row,
  rows: (table: TableName) => ReadonlyMap<string, Row>,
  interfaces: readonly InterfaceSpec[],
): VpcSpec {
  const routes = new Map<RouteTableId, RouteSpec[]>();
  for (const { id, local } of router.tables) {
    routes.set(
      id,
      local.map((destination) => ({ destination, target: { kind: 'local' } })),
    );
  }
  for (const uuid of uuidsOf(row, 'static_routes')) {
    const stored = rows('Logical_Router_Static_Route').get(uuid);
    const route = stored === undefined ? undefined : kept<RouteSpec>(stored);
    if (route !== undefined && isRoute(route)) routes.get(String(stored?.['route_table']) as RouteTableId)?.push(route);
  }
  return {
    vpcId,
    interfaces: [...interfaces].sort(byId),
    routeTables: [...routes]
      .map(([id, list]) => ({ id, routes: list.sort((a, b) => comparePrefixes(a.destination, b.destination)) }))
      .sort(byId),
    halves: [...router.halves].sort(byId),
  };
}

const sorted = (cell: Cell | Value): Cell | Value => (Array.isArray(cell) ? [...cell].sort() : cell);
const same = (wanted: Cell, there: Value | undefined): boolean =>
  there !== undefined && isDeepStrictEqual(sorted(wanted), sorted(there));
/** Columns in which a row is not as wanted. */
const differing = ({ columns }: WantedRow, there: Row): readonly string[] =>
  Object.keys(columns).filter((column) => !same(columns[column] ?? '', there[column]));

function differences(
  installationId: string,
  { network, numbers }: Pick<Contents, 'network' | 'numbers'>,
  unreadable: ReadonlySet<string>,
  rows: (table: TableName) => ReadonlyMap<string, Row>,
): readonly Damage[] {
  const damage: Damage[] = [];
  const specs = new Map(network.vpcs.map((spec) => [spec.vpcId, spec]));
  const wanted = new Set<string>();
  const bad = new Set(unreadable);
  for (const spec of network.vpcs) {
    try {
      const numberOf = (vpcId: VpcId): number => numbers.get(vpcId) ?? 0;
      for (const row of rowsOf({ installationId, spec, numberOf, remote: (vpcId) => specs.get(vpcId) })) {
        wanted.add(row.uuid);
        const there = rows(row.table).get(row.uuid);
        const at = { kind: 'differs', table: row.table, uuid: row.uuid, wanted: row } as const;
        const id = (row.columns['external_ids'] as { readonly [key: string]: string })[idKey];
        if (there === undefined) damage.push({ what: `${row.table} of ${id} is missing`, ...at });
        else {
          const columns = differing(row, there);
          if (columns.length > 0) {
            damage.push({ what: `${nameOf(row.table, row.uuid, there)} has another ${columns.join(', ')}`, ...at });
          }
        }
      }
    } catch (error) {
      if (!(error instanceof UnsuitableSpecError)) throw error;
      bad.add(spec.vpcId);
      damage.push({ what: error.message, ...whole('Logical_Router', '') });
    }
  }
  for (const table of tableNames) {
    for (const [uuid, row] of rows(table)) {
      if (wanted.has(uuid) || bad.has(mapOf(row)[vpcKey] ?? '')) continue;
      damage.push({
        kind: 'unwanted',
        what: `${nameOf(table, uuid, row)} belongs to nothing`,
        wanted: null,
        table,
        uuid,
      });
    }
  }
  return damage;
}

/**
 * What turns rows into others, in one transaction. Rows that are as wanted are left alone.
 * @param unwanted rows that shall not be; those that do not exist do not matter
 */
export function operationsFor(
  copy: Copy,
  wanted: Iterable<WantedRow>,
  unwanted: Iterable<Pick<WantedRow, 'table' | 'uuid'>>,
): readonly Operation[] {
  const operations: Operation[] = [];
  const cell = (table: TableName, column: string, value: Cell): unknown => wireOf(copy.typeOf(table, column), value);
  for (const row of wanted) {
    const { table, uuid, columns } = row;
    const there = copy.rows(table).get(uuid);
    if (there === undefined) {
      const values = Object.entries(columns).map(([column, value]) => [column, cell(table, column, value)]);
      operations.push({ op: 'insert', table, uuid, row: Object.fromEntries(values) });
      continue;
    }
    const where = [['_uuid', '==', ['uuid', uuid]]];
    const changed = differing(row, there);
    if (changed.length === 0) continue;
    // Still there: a row that somebody took away meanwhile is not written past.
    operations.push({ op: 'wait', table, timeout: 0, where, columns: ['external_ids'], until: '!=', rows: [] });
    const values: [string, unknown][] = [];
    for (const column of changed) {
      const value = columns[column] ?? '';
      if (!references[table].includes(column)) {
        values.push([column, cell(table, column, value)]);
        continue;
      }
      const [before, after] = [new Set(uuidsOf(there, column)), new Set(value as readonly string[])];
      const mutations = [
        ['delete', [...before].filter((one) => !after.has(one))],
        ['insert', [...after].filter((one) => !before.has(one))],
      ] as const;
      for (const [mutator, uuids] of mutations) {
        if (uuids.length === 0) continue;
        operations.push({ op: 'mutate', table, where, mutations: [[column, mutator, cell(table, column, uuids)]] });
      }
    }
    if (values.length > 0) operations.push({ op: 'update', table, where, row: Object.fromEntries(values) });
  }
  for (const { table, uuid } of unwanted) {
    // The others go with the last row that names them.
    if (children.has(table) || !copy.rows(table).has(uuid)) continue;
    operations.push({ op: 'delete', table, where: [['_uuid', '==', ['uuid', uuid]]] });
  }
  return operations;
}
