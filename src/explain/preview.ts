/**
 * What a change would do, before it is made: which subnets begin or cease to reach which addresses, in each direction,
 * and which rules turn into black holes. Pure: compares the network of a state with that of an overlay on it. A peer's
 * VPC is told as one place: its subnets are its owner's.
 */
import type { RouteTableId, SubnetId, VpcId } from '../model/ids.ts';
import type { Family, Prefix } from '../model/ip.ts';
import { overlaps, rangeOf } from '../model/ip.ts';
import type { Change, Resource, ResourceKind, RouteRule } from '../model/resources.ts';
import { effectivePrefixes } from '../rules/overlap.ts';
import { joined, prefixesOf, type Span } from './pieces.ts';
import { type Knowledge, sees } from './place.ts';
import { reachDifference, reachOf } from './reach.ts';

/** One object that would be made, changed or deleted. */
export interface PlannedChange {
  readonly op: 'create' | 'change' | 'delete';
  readonly kind: ResourceKind;
  /** Of an object that would be made it is not decided yet, and so not shown. */
  readonly id: string;
  readonly name: string;
  /** Of a change: what differs. */
  readonly fields: readonly string[];
}
/** One place of a plan; a peer's subnets are not told apart. */
export interface PlannedPlace {
  readonly vpcId: VpcId;
  readonly vpcName: string;
  readonly subnetId: SubnetId | null;
  readonly subnetName: string;
}
export interface PlannedReach {
  readonly from: PlannedPlace;
  readonly to: PlannedPlace;
  readonly family: Family;
  /** Addresses of `to` that packets from `from` begin to reach. */
  readonly gained: readonly Prefix[];
  /** … and cease to reach. */
  readonly lost: readonly Prefix[];
  /** Whether replies have a way once the change is made. */
  readonly back: boolean;
}
export interface PlannedBlackHole {
  readonly routeTableId: RouteTableId;
  readonly destination: Prefix;
  readonly why: string;
}
export interface Preview {
  readonly changes: readonly PlannedChange[];
  readonly reach: readonly PlannedReach[];
  readonly blackHoles: readonly PlannedBlackHole[];
}

/** Kinds that are not the reader's concern. */
const hidden: ReadonlySet<ResourceKind> = new Set(['half-identity', 'client-token', 'host-authority']);

const nameOf = (resource: Resource | undefined): string =>
  resource !== undefined && 'name' in resource ? resource.name : '';

function plannedChanges(before: Knowledge, changes: readonly Change[]): readonly PlannedChange[] {
  return changes.flatMap((change): PlannedChange[] => {
    const kind = change.op === 'put' ? change.resource.kind : change.kind;
    const id = change.op === 'put' ? change.resource.id : change.id;
    const old = before.state.get(kind, id) as Resource | undefined;
    const now = change.op === 'put' ? change.resource : undefined;
    const owner = ((old ?? now) as { accountId?: string } | undefined)?.accountId;
    const own = before.caller === null || owner === before.caller;
    if (hidden.has(kind) || !own) return [];
    if (now === undefined) return [{ op: 'delete', kind, id, name: nameOf(old), fields: [] }];
    if (old === undefined) return [{ op: 'create', kind, id: '', name: nameOf(now), fields: [] }];
    const fields = Object.keys(now).filter(
      (field) => JSON.stringify(now[field as keyof Resource]) !== JSON.stringify(old[field as keyof Resource]),
    );
    return fields.length === 0 ? [] : [{ op: 'change', kind, id, name: nameOf(now), fields }];
  });
}

interface Gathered {
  readonly from: PlannedPlace;
  readonly to: PlannedPlace;
  readonly family: Family;
  readonly gained: Span[];
  readonly lost: Span[];
}

/** The reach of an overlay against that of the state below it. */
function plannedReach(before: Knowledge, after: Knowledge, dirty: ReadonlySet<VpcId>): readonly PlannedReach[] {
  const now = reachOf(after, dirty);
  const gathered = new Map<string, Gathered>();
  const place = (vpcId: VpcId, subnetId: SubnetId): PlannedPlace => {
    const k = after.state.get('vpc', vpcId) === undefined ? before : after;
    const seen = sees(k, vpcId);
    return {
      vpcId,
      vpcName: k.state.get('vpc', vpcId)?.name ?? '',
      subnetId: seen ? subnetId : null,
      subnetName: seen
        ? ((after.state.get('subnet', subnetId) ?? before.state.get('subnet', subnetId))?.name ?? '')
        : '',
    };
  };
  for (const { flow, gained, lost } of reachDifference(reachOf(before, dirty), now)) {
    const from = place(flow.fromVpc, flow.from);
    const to = place(flow.toVpc, flow.to);
    const id = `${from.vpcId} ${from.subnetId} ${to.vpcId} ${to.subnetId} ${flow.family}`;
    const one = gathered.get(id) ?? { from, to, family: flow.family, gained: [], lost: [] };
    one.gained.push(...gained);
    one.lost.push(...lost);
    gathered.set(id, one);
  }
  const back = ({ from, to, family }: Gathered): boolean =>
    [...now.values()].some(
      (flow) =>
        flow.family === family &&
        flow.fromVpc === to.vpcId &&
        flow.toVpc === from.vpcId &&
        (to.subnetId === null || flow.from === to.subnetId) &&
        (from.subnetId === null || flow.to === from.subnetId),
    );
  return [...gathered.values()].map((one) => ({
    from: one.from,
    to: one.to,
    family: one.family,
    gained: joined(one.gained).flatMap(prefixesOf),
    lost: joined(one.lost).flatMap(prefixesOf),
    back: back(one),
  }));
}

/** Why a rule carries nothing; null when it does. */
function deadRule(k: Knowledge, vpcId: VpcId, rule: RouteRule, routes: ReadonlyMap<Prefix, string>): string | null {
  const target = routes.get(rule.destination);
  if (target === undefined) return 'it lies in an own range of the VPC, where Local wins';
  switch (rule.nextHop.kind) {
    case 'internet':
      return 'there is no egress to the internet';
    case 'interface':
      return target === 'black-hole' ? `${rule.nextHop.portId} is gone` : null;
    case 'peering': {
      const { halfId } = rule.nextHop;
      const half = k.view.half(vpcId, halfId);
      if (half?.live === true) {
        const peer = k.state.get('vpc', half.remoteVpcId);
        const there =
          peer !== undefined && effectivePrefixes(k.state, peer).some((own) => overlaps(own, rule.destination));
        return there ? null : `${half.remoteVpcId} has no address in it`;
      }
      const state = k.state.get('peering', halfId)?.state;
      return state === undefined ? `${halfId} is gone` : `${halfId} is ${state}`;
    }
  }
}

/** Every rule of the VPCs that carries nothing, by table and destination. */
function blackHoles(k: Knowledge, vpcIds: ReadonlySet<VpcId>): ReadonlyMap<string, PlannedBlackHole> {
  const found = new Map<string, PlannedBlackHole>();
  for (const vpcId of vpcIds) {
    if (!sees(k, vpcId)) continue;
    for (const table of k.state.children('route-table', vpcId)) {
      const compiled = k.view.table(vpcId, table.id)?.routes ?? [];
      const routes = new Map(compiled.map(({ destination, target }) => [destination, target.kind as string]));
      for (const rule of table.rules) {
        // That every VPC's default rule leads to the internet, which is not there, is nobody's news.
        if (rule.nextHop.kind === 'internet' && rangeOf(rule.destination).length === 0) continue;
        const why = deadRule(k, vpcId, rule, routes);
        if (why === null) continue;
        found.set(`${table.id} ${rule.destination}`, { routeTableId: table.id, destination: rule.destination, why });
      }
    }
  }
  return found;
}

/**
 * What the changes would do.
 * @param before the network as it is
 * @param after the same with the changes laid over
 * @param dirty the VPCs that the changes touch
 */
export function preview(
  before: Knowledge,
  after: Knowledge,
  changes: readonly Change[],
  dirty: ReadonlySet<VpcId>,
): Preview {
  const old = blackHoles(before, dirty);
  return {
    changes: plannedChanges(before, changes),
    reach: plannedReach(before, after, dirty),
    blackHoles: [...blackHoles(after, dirty)].filter(([id]) => !old.has(id)).map(([, hole]) => hole),
  };
}
