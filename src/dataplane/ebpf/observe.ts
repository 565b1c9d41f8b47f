/**
 * Reads the tables back into a NetworkSpec, and says where they contradict themselves. What is merely different from
 * what is wanted is no damage: the reconciler's diff heals that.
 */
import * as bpf from '../../kernel/bpf.ts';
import type { HalfId, PortId, RouteTableId, VpcId } from '../../model/ids.ts';
import { compareAddresses, comparePrefixes, familyOf } from '../../model/ip.ts';
import type {
  HalfSpec,
  InterfaceAddress,
  InterfaceSpec,
  NetworkSpec,
  RouteSpec,
  RouteTarget,
} from '../../model/network-spec.ts';
import {
  addressFrom,
  decodeInterface,
  decodeTarget,
  encodeHalf,
  encodeTarget,
  type RouteEntry,
  sizes,
  type TargetEntry,
  u32,
} from './layout.ts';
import type { Damage, Registry } from './registry.ts';
import type { RouteTables } from './route-tables.ts';
import type { Tables } from './tables.ts';

export interface TableView {
  readonly network: NetworkSpec;
  readonly damage: readonly Damage[];
}

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);

/** Ids of that kind by their VPC. */
function byOwner(registry: Registry, kind: 'table' | 'half' | 'interface'): ReadonlyMap<string, readonly string[]> {
  const owned = new Map<string, string[]>();
  for (const [id, { owner }] of registry.all(kind)) {
    const ids = owned.get(owner);
    if (ids === undefined) owned.set(owner, [id]);
    else ids.push(id);
  }
  return owned;
}

export function readTables(tables: Tables, registry: Registry, routes: RouteTables): TableView {
  const damage: Damage[] = [...registry.damage(), ...rogueHalves(tables, registry)];
  const missing = new Set(routes.refresh());
  for (const id of missing) {
    damage.push({
      what: `route table ${id} has no trie`,
      mend: async () => {
        routes.add(id, registry.must('table', id).owner);
        await routes.publish();
      },
    });
  }
  const addresses = readAddresses(tables, registry, damage);
  const owned = {
    table: byOwner(registry, 'table'),
    half: byOwner(registry, 'half'),
    port: byOwner(registry, 'interface'),
  };
  const vpcs = [...registry.all('vpc')]
    .map(([vpcId]) => ({
      vpcId: vpcId as VpcId,
      interfaces: (owned.port.get(vpcId) ?? [])
        .map((id) => readInterface(tables, registry, id, addresses, damage))
        .filter((spec) => spec !== undefined)
        .sort(byId),
      routeTables: (owned.table.get(vpcId) ?? [])
        .map((id) => ({ id: id as RouteTableId, routes: readRoutes(registry, routes, id, vpcId, damage) }))
        .sort(byId),
      halves: (owned.half.get(vpcId) ?? []).map((id) => readHalf(tables, registry, id, damage)).sort(byId),
    }))
    .sort((a, b) => (a.vpcId < b.vpcId ? -1 : 1));
  return { network: { vpcs }, damage };
}

/** One interface as the tables hold it, damage left out. */
export function specOf(tables: Tables, registry: Registry, portId: PortId): InterfaceSpec | undefined {
  if (registry.get('interface', portId) === undefined) return undefined;
  return readInterface(tables, registry, portId, readAddresses(tables, registry, []), []);
}

interface Held {
  readonly address: InterfaceAddress['address'];
  readonly key: Buffer;
  readonly target: TargetEntry;
}

/** The addresses of each interface slot. Entries that belong to no interface of theirs are damage. */
function readAddresses(tables: Tables, registry: Registry, damage: Damage[]): ReadonlyMap<number, readonly Held[]> {
  const held = new Map<number, Held[]>();
  for (const [key, value] of bpf.entries(tables.fd('addrs'), sizes.addressKey, sizes.target)) {
    const target = decodeTarget(value);
    const address = addressFrom(key.subarray(4));
    const portId = registry.idOf('interface', target.slot);
    const owner = portId === undefined ? undefined : registry.get('interface', portId)?.owner;
    const vpc = owner === undefined ? undefined : registry.get('vpc', owner)?.slot;
    if (address === null || vpc === undefined || target.vpc !== vpc || key.readUInt32LE(0) !== vpc) {
      damage.push({
        what: `address ${address ?? '0'} of VPC number ${key.readUInt32LE(0)} leads to no interface of that VPC`,
        mend: () => void bpf.remove(tables.fd('addrs'), key),
      });
      continue;
    }
    const list = held.get(target.slot) ?? [];
    list.push({ address, key, target });
    held.set(target.slot, list);
  }
  return held;
}

function readInterface(
  tables: Tables,
  registry: Registry,
  id: string,
  addresses: ReadonlyMap<number, readonly Held[]>,
  damage: Damage[],
): InterfaceSpec | undefined {
  const { slot, generation, owner } = registry.must('interface', id);
  const entry = decodeInterface(
    bpf.lookup(tables.fd('interfaces'), u32(slot), sizes.interface) ?? Buffer.alloc(sizes.interface),
  );
  const routeTableId = registry.idOf('table', entry.table);
  if (entry.generation !== generation || entry.vpc !== registry.get('vpc', owner)?.slot || routeTableId === undefined) {
    // Left out of the view, so that the diff writes it anew.
    damage.push({ what: `interface ${id} is not what slot ${slot} holds`, mend: () => {} });
    return undefined;
  }
  const list = (addresses.get(slot) ?? []).map(({ address, key, target }): InterfaceAddress => {
    const { primary, prefixLength } = target;
    if (target.mac !== entry.mac || target.mtu !== entry.mtu) {
      const value = encodeTarget({ ...target, mac: entry.mac, mtu: entry.mtu });
      damage.push({
        what: `address ${address} of ${id} leads to another MAC or MTU than its own`,
        mend: () => bpf.update(tables.fd('addrs'), key, value),
      });
    }
    const gateway = entry.gateway[familyOf(address)];
    return { address, primary, gateway: gateway ?? address, prefixLength };
  });
  list.sort((a, b) => compareAddresses(a.address, b.address));
  return {
    id: id as PortId,
    mac: entry.mac,
    addresses: list,
    routeTableId: routeTableId as RouteTableId,
    sanityCheck: entry.sanityCheck,
  };
}

function readRoutes(
  registry: Registry,
  routes: RouteTables,
  tableId: string,
  vpcId: string,
  damage: Damage[],
): readonly RouteSpec[] {
  const specs: RouteSpec[] = [];
  for (const { destination, route } of routes.entries(tableId)) {
    const target = route === undefined ? undefined : targetOf(registry, route, vpcId);
    if (target !== undefined) specs.push({ destination, target });
    else {
      damage.push({
        what: `route ${destination} of ${tableId} leads to nothing known`,
        mend: () => routes.remove(tableId, destination),
      });
    }
  }
  return specs.sort((a, b) => comparePrefixes(a.destination, b.destination));
}

function targetOf(registry: Registry, route: RouteEntry, vpcId: string): RouteTarget | undefined {
  if (route.vpc !== registry.get('vpc', vpcId)?.slot) return undefined;
  if (route.kind === 'local' || route.kind === 'black-hole') return { kind: route.kind };
  const kind = route.kind === 'peering' ? 'half' : 'interface';
  const id = registry.idOf(kind, route.slot);
  if (id === undefined || registry.get(kind, id)?.generation !== route.generation) return undefined;
  return route.kind === 'peering'
    ? { kind: 'peering', halfId: id as HalfId }
    : { kind: 'interface', portId: id as PortId };
}

/** Slots are given out from below, so what lies well above them was never ours. */
const slack = 64;
/** Live words in slots of no half. */
function rogueHalves(tables: Tables, registry: Registry): readonly Damage[] {
  const top = Math.max(0, ...[...registry.all('half')].map(([, { slot }]) => slot));
  const n = Math.min(top + slack, tables.limits.halves);
  const words = bpf.readArray(tables.fd('halves'), 0, n, 8);
  const damage: Damage[] = [];
  for (let slot = 0; slot < n; slot++) {
    if (words.readBigUInt64LE(slot * 8) === 0n || registry.idOf('half', slot) !== undefined) continue;
    damage.push({
      what: `slot ${slot} of halves is live, but stands for no half`,
      mend: () => bpf.update(tables.fd('halves'), u32(slot), Buffer.alloc(8)),
    });
  }
  return damage;
}

function readHalf(tables: Tables, registry: Registry, id: string, damage: Damage[]): HalfSpec {
  const { slot, generation, note } = registry.must('half', id);
  const word = bpf.lookup(tables.fd('halves'), u32(slot), 8) ?? Buffer.alloc(8);
  const dead = word.equals(Buffer.alloc(8));
  const peer = registry.get('vpc', note)?.slot;
  const right = peer !== undefined && word.equals(encodeHalf(peer, generation));
  if (!dead && !right) {
    damage.push({
      what: `half ${id} leads to VPC number ${word.readUInt32LE(0)}, which is not its peer`,
      mend: () => bpf.update(tables.fd('halves'), u32(slot), Buffer.alloc(8)),
    });
  }
  return { id: id as HalfId, remoteVpcId: note as VpcId, live: right };
}
