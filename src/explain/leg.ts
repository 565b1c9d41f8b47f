/**
 * One direction of a path: from a place, along its route tables and the halves of both owners, to a place. Names every
 * blocker there is and not only the first one, so that whoever mends them all is done. Judges the network as compiled:
 * the very tables that packets are forwarded with.
 */
import type { HalfId, RouteTableId, VpcId } from '../model/ids.ts';
import { addressAt, contains, containsAddress, familyOf, type Prefix } from '../model/ip.ts';
import { defaultMtu, type RouteSpec } from '../model/network-spec.ts';
import { pairKey } from '../model/resources.ts';
import { effectivePrefixes, findOverlap } from '../rules/overlap.ts';
import { type Blocker, blocker, whereOf } from './blockers.ts';
import { cut, prefixesOf } from './pieces.ts';
import { acquainted, type Knowledge, type Place, sees, type Workload } from './place.ts';

/** One step of a leg, in the order a packet takes it; only what the caller may see. */
export interface LegHop {
  readonly hop: 'interface' | 'subnet' | 'route-table' | 'rule' | 'half' | 'vpc';
  readonly object: string;
  readonly detail: string;
}

export interface Leg {
  /** 'partly': some of the addresses, or from some of the subnets. 'unknown': not the caller's to know. */
  readonly state: 'open' | 'partly' | 'blocked' | 'unknown';
  readonly hops: readonly LegHop[];
  readonly blockers: readonly Blocker[];
}

/** A name for a half that does not exist yet, the same each time: commands of a remedy refer to it. */
export function suggestedName(k: Knowledge, vpcId: VpcId, remote: VpcId): string {
  const known = acquainted(k, vpcId, remote) ? (k.state.get('vpc', remote)?.name ?? '') : '';
  const name = `to-${known === '' ? remote : known}`.slice(0, 32);
  const owner = k.state.get('vpc', vpcId)?.accountId ?? '';
  return k.state.named('peering', owner, name) === undefined ? name : `to-${remote}`;
}

/** The half of that pair, or the id it will have again; undefined when there never was one. */
const halfIdOf = (k: Knowledge, from: VpcId, to: VpcId): HalfId | undefined =>
  k.state.half(from, to)?.id ?? k.state.get('half-identity', pairKey(from, to))?.halfId;

const halfName = (k: Knowledge, from: VpcId, to: VpcId): string =>
  k.state.half(from, to)?.id ?? suggestedName(k, from, to);

/** Missing consent between two VPCs, of either side, and what makes consent impossible. */
export function consentBlockers(k: Knowledge, a: VpcId, b: VpcId): readonly Blocker[] {
  if (a === b) return [];
  const found: Blocker[] = [];
  const [own, mirror] = [k.state.half(a, b), k.state.half(b, a)];
  const sameOwner = sees(k, a) && sees(k, b);
  for (const [from, to, half] of [
    [a, b, own],
    [b, a, mirror],
  ] as const) {
    if (half !== undefined) continue;
    const seen = sees(k, from);
    found.push(blocker('no-half', { vpc: from, seen }, from, { remote: to, name: suggestedName(k, from, to) }));
  }
  if (found.length > 0 && sameOwner) {
    const [x, y] = [k.state.get('vpc', a), k.state.get('vpc', b)];
    const overlap =
      x === undefined || y === undefined
        ? null
        : findOverlap(effectivePrefixes(k.state, x), effectivePrefixes(k.state, y));
    if (overlap !== null) found.push(blocker('overlap', { vpc: a, seen: true }, a, { range: overlap.theirs }));
  }
  return found;
}

/** Where a rule leads, in words. */
function hopWords(k: Knowledge, table: RouteTableId, route: RouteSpec): string {
  switch (route.target.kind) {
    case 'local':
      return 'the VPC itself';
    case 'peering':
      return route.target.halfId;
    case 'interface':
      return `${route.target.portId} inside the VPC`;
    case 'black-hole': {
      const rule = k.state
        .get('route-table', table)
        ?.rules.find(({ destination }) => destination === route.destination);
      return rule === undefined || rule.nextHop.kind === 'internet'
        ? 'the internet, which has no egress'
        : 'something that is gone';
    }
  }
}

/** The range of the target VPC around this one that a rule should name: all of a CIDR where the caller may know it. */
function ruleRange(k: Knowledge, from: VpcId, to: VpcId, range: Prefix): Prefix {
  const vpc = k.state.get('vpc', to);
  if (vpc === undefined || !acquainted(k, from, to)) return range;
  return effectivePrefixes(k.state, vpc).find((cidr) => contains(cidr, range)) ?? range;
}

interface Routed {
  readonly blocker: Blocker | null;
  readonly route: RouteSpec | undefined;
  readonly table: RouteTableId;
}

/** What one rule does with a part of the target's addresses. */
function judge(
  k: Knowledge,
  from: VpcId,
  table: RouteTableId,
  to: VpcId,
  part: Prefix,
  route: RouteSpec | undefined,
): Routed {
  const right = halfIdOf(k, from, to);
  const target = route?.target;
  const answer = (found: Blocker | null): Routed => ({ blocker: found, route, table });
  if (target?.kind === 'local' && from === to) return answer(null);
  if (target?.kind === 'peering' && target.halfId === right) return answer(null);
  const place = { vpc: from, seen: sees(k, from) };
  if (target?.kind === 'local') return answer(blocker('overlap', place, from, { range: part }));
  const range = ruleRange(k, from, to, part);
  const half = halfName(k, from, to);
  if (route === undefined) return answer(blocker('no-route', place, table, { table, range, half, taken: '' }));
  const hop = hopWords(k, table, route);
  const { destination } = route;
  const facts = { table, range, half, hop, destination };
  const shorter = (k.view.table(from, table)?.routes ?? []).find(
    (other) => other.target.kind === 'peering' && other.target.halfId === right && contains(other.destination, part),
  );
  if (shorter !== undefined)
    return answer(blocker('shadowed', place, table, { ...facts, shorter: shorter.destination }));
  if (contains(range, destination)) return answer(blocker('wrong-next-hop', place, table, facts));
  return answer(
    blocker('no-route', place, table, { ...facts, taken: `: the one for ${destination} takes it to ${hop}` }),
  );
}

/** The rules that decide between two places, for every part of the target's addresses. */
export function routesBetween(k: Knowledge, from: Place, to: Place): readonly Routed[] {
  return from.tables.flatMap((table) =>
    to.ranges.flatMap((range) =>
      cut(k.view.table(from.vpcId, table)?.routes ?? [], range).map(({ span, route }) =>
        judge(k, from.vpcId, table, to.vpcId, prefixesOf(span)[0] ?? range, route),
      ),
    ),
  );
}

/** What is wrong with the workload on an interface. */
function workloadBlockers(k: Knowledge, place: Place, size: number | null): readonly Blocker[] {
  const { portId, vpcId, address } = place;
  if (portId === null) return address === null ? [] : [addressBlocker(k, place)];
  const at = { vpc: vpcId, seen: sees(k, vpcId) };
  const workload: Workload | undefined = k.workload(portId);
  const facts = {
    port: portId,
    address: address ?? portId,
    target: workload?.target ?? '',
    device: workload?.device ?? 'eth0',
    where: whereOf(workload?.target ?? ''),
    mtu: String(workload?.mtu ?? defaultMtu),
  };
  if (workload === undefined) return [blocker('detached', at, portId, facts)];
  if (workload.state === 'vanished') return [blocker('vanished', at, portId, facts)];
  const found: Blocker[] = [];
  if (workload.up === false) found.push(blocker('link-down', at, portId, facts));
  if (size !== null && size > workload.mtu) {
    found.push(blocker('too-big', at, portId, { ...facts, size: String(size), mtu: String(workload.mtu) }));
  }
  return found;
}

/** Why nobody has this address. */
function addressBlocker(k: Knowledge, { vpcId, subnetId, address }: Place): Blocker {
  const at = { vpc: vpcId, seen: sees(k, vpcId) };
  const facts = { address: address ?? '', subnet: subnetId ?? 'SUBNET' };
  // Of a peer's subnets nothing is said.
  if (!at.seen) return blocker('no-address', at, vpcId, facts);
  if (subnetId === null) return blocker('no-subnet', at, vpcId, facts);
  const cidr = k.state.get('subnet', subnetId)?.cidrs.find((own) => address !== null && containsAddress(own, address));
  const reserved = cidr === undefined ? undefined : reservedAs(cidr, address);
  return reserved === undefined
    ? blocker('no-address', at, vpcId, facts)
    : blocker('reserved-address', at, subnetId, { ...facts, what: reserved });
}

const reservedAs = (cidr: Prefix, address: Place['address']): string | undefined => {
  const kept: readonly (readonly [number, string])[] = [
    [0, 'network address'],
    [1, 'gateway'],
    [2, 'DHCP address'],
    ...(familyOf(cidr) === 4 ? [[-1, 'broadcast address'] as const] : []),
  ];
  return kept.find(([offset]) => addressAt(cidr, offset) === address)?.[1];
};

const unique = (found: readonly Blocker[]): readonly Blocker[] => {
  const seen = new Set<string>();
  return found.filter(({ code, object, text }) => {
    const key = `${code}|${object}|${text}`;
    return !seen.has(key) && seen.add(key) !== undefined;
  });
};

/**
 * The leg from one place to another.
 * @param size bytes of the IP packet, or null to leave sizes out of account
 */
export function leg(k: Knowledge, from: Place, to: Place, size: number | null = null): Leg {
  const consent = consentBlockers(k, from.vpcId, to.vpcId);
  // What a stranger's tables say is his to know until both have consented.
  const mayKnow = sees(k, from.vpcId) || acquainted(k, from.vpcId, to.vpcId);
  if (!mayKnow) return { state: 'unknown', hops: [], blockers: consent };
  const routed = routesBetween(k, from, to);
  const wrong = routed.filter(({ blocker: one }) => one !== null);
  const routes = wrong.map(({ blocker: one }) => one).filter((one) => one !== null);
  // Of a stranger's place nothing is looked at before both have consented, not even whether it is there.
  const open = sees(k, to.vpcId) || acquainted(k, from.vpcId, to.vpcId);
  const ends = [...workloadBlockers(k, from, null), ...(open ? workloadBlockers(k, to, size) : [])];
  const blockers = unique([...consent, ...routes, ...ends]);
  const some = consent.length === 0 && ends.length === 0 && wrong.length < routed.length;
  const state = blockers.length === 0 ? 'open' : some ? 'partly' : 'blocked';
  return { state, hops: hopsOf(k, from, to, routed), blockers };
}

/** The MTU of the way, in bytes of IP packet: what both workloads take. */
export const pathMtu = (k: Knowledge, from: Place, to: Place): number =>
  Math.min(...[from, to].map(({ portId }) => (portId === null ? defaultMtu : (k.workload(portId)?.mtu ?? defaultMtu))));

function hopsOf(k: Knowledge, from: Place, to: Place, routed: readonly Routed[]): readonly LegHop[] {
  const hops: LegHop[] = [];
  const end = (place: Place): LegHop => {
    const seen = sees(k, place.vpcId);
    if (seen && place.portId !== null) {
      const workload = k.workload(place.portId);
      const where = workload === undefined ? 'no workload' : `${workload.target} ${workload.device}`;
      return { hop: 'interface', object: place.portId, detail: `${place.address ?? ''} (${where})` };
    }
    if (seen && place.subnetId !== null)
      return { hop: 'subnet', object: place.subnetId, detail: place.ranges.join(', ') };
    return { hop: 'vpc', object: place.vpcId, detail: place.address ?? (seen ? place.ranges.join(', ') : '') };
  };
  hops.push(end(from));
  let crosses = false;
  for (const { table, route } of routed.slice(0, 16)) {
    crosses ||= route?.target.kind === 'peering';
    if (!sees(k, from.vpcId)) continue;
    const detail = route === undefined ? 'no rule' : `${route.destination} → ${hopWords(k, table, route)}`;
    hops.push({ hop: 'rule', object: table, detail });
  }
  if (crosses && from.vpcId !== to.vpcId) {
    for (const [a, b] of [
      [from.vpcId, to.vpcId],
      [to.vpcId, from.vpcId],
    ] as const) {
      const half = sees(k, a) ? k.state.half(a, b) : undefined;
      if (half !== undefined) hops.push({ hop: 'half', object: half.id, detail: half.state });
    }
  }
  hops.push(end(to));
  return hops;
}
