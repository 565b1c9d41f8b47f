/**
 * What the agent believes of a spec that crossed the privilege line: nothing. Every id, address, prefix and MAC must have
 * its shape, and every reference must stay inside its VPC. No I/O.
 */
import type { Packet } from '../explain/explain.ts';
import { isId, type VpcId } from '../model/ids.ts';
import { familyOf, type Parsed, parseAddress, parseMac, parsePrefix } from '../model/ip.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import type { SyncUpdate } from './plane.ts';

const most = { interfaces: 10_000, addresses: 1000, routeTables: 1000, routes: 10_000, halves: 2000 } as const;

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

/** What is wrong with a packet to be traced, or null. */
export function checkPacket(packet: Packet): string | null {
  if (!isId('interface', packet.from)) return `'${packet.from}' is not an interface's id`;
  if (!canonical(parseMac, packet.sourceMac) || !canonical(anyMac, packet.destinationMac)) return 'bad MAC';
  const addresses = [packet.source, packet.destination];
  return addresses.every((one) => canonical(parseAddress, one)) ? null : 'bad address';
}

/** As `parseMac`, multicast and broadcast too: a workload may send to any. */
const anyMac = (text: string): Parsed<string> =>
  /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text) ? { ok: true, value: text } : { ok: false, problem: 'no MAC' };

/**
 * Whose every id is: ids are unique in a region, so an interface, table or half belongs to one VPC. Knows what was
 * admitted before; an update that takes an id out of a VPC that keeps it is not admitted.
 */
export class Admission {
  #owners = new Map<string, VpcId>();
  #idsOf = new Map<VpcId, readonly string[]>();

  /** Admits an update, whole or not at all. @returns what is wrong with it, or null */
  admit({ full, vpcs, removed }: Pick<SyncUpdate, 'full' | 'vpcs' | 'removed'>): string | null {
    for (const spec of vpcs) {
      const problem = checkSpec(spec);
      if (problem !== null) return problem;
    }
    const changed = [...vpcs.map(({ vpcId }) => vpcId), ...removed];
    if (!unique(changed)) return 'a VPC occurs twice';
    const gone = new Set<VpcId>(changed);
    const taken = new Set<string>();
    for (const spec of vpcs) {
      for (const id of idsIn(spec)) {
        const owner = full ? undefined : this.#owners.get(id);
        const elsewhere = owner !== undefined && !gone.has(owner);
        if (taken.has(id) || elsewhere) return `${spec.vpcId}: '${id}' is in two VPCs`;
        taken.add(id);
      }
    }
    this.#record(full, vpcs, changed);
    return null;
  }

  #record(full: boolean, vpcs: readonly VpcSpec[], changed: readonly VpcId[]): void {
    if (full) {
      this.#owners = new Map();
      this.#idsOf = new Map();
    }
    for (const vpcId of changed) {
      for (const id of this.#idsOf.get(vpcId) ?? []) this.#owners.delete(id);
      this.#idsOf.delete(vpcId);
    }
    for (const spec of vpcs) {
      const ids = idsIn(spec);
      this.#idsOf.set(spec.vpcId, ids);
      for (const id of ids) this.#owners.set(id, spec.vpcId);
    }
  }
}

const idsIn = ({ interfaces, routeTables, halves }: VpcSpec): readonly string[] =>
  [...interfaces, ...routeTables, ...halves].map(({ id }) => id);
