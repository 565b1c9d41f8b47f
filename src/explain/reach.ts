/**
 * Which addresses of which subnet packets from a subnet can reach, exactly: as the compiled tables and live halves have
 * it. Workloads are not looked at: an address is reached when a packet to it would be handed to whoever has it.
 */
import type { SubnetId, VpcId } from '../model/ids.ts';
import { type Family, familyOf } from '../model/ip.ts';
import type { Subnet } from '../model/resources.ts';
import { effectivePrefixes } from '../rules/overlap.ts';
import { cut, joined, type Span, spanOf } from './pieces.ts';
import { type Knowledge, sees } from './place.ts';

export interface Flow {
  readonly fromVpc: VpcId;
  readonly from: SubnetId;
  readonly toVpc: VpcId;
  readonly to: SubnetId;
  readonly family: Family;
  /** Sorted, apart from each other, not empty. */
  readonly spans: readonly Span[];
}
/** Flows by the pair of subnets and the family. */
export type Reach = ReadonlyMap<string, Flow>;

const key = (from: SubnetId, to: SubnetId, family: Family): string => `${from}>${to}>${family}`;

/** VPCs with which this one has a live peering. */
export const peersOf = (k: Knowledge, vpcId: VpcId): readonly VpcId[] =>
  k.state
    .children('peering', vpcId)
    .filter(({ localVpcId, state }) => localVpcId === vpcId && state === 'Connected')
    .map(({ remoteVpcId }) => remoteVpcId);

type Goal = Pick<Subnet, 'id' | 'vpcId' | 'cidrs'>;

/** What a route table reaches of a place, family by family. Subnets share tables, so it is asked once for each. */
function spansOf(k: Knowledge, from: Subnet, to: Goal): ReadonlyMap<Family, readonly Span[]> {
  const routes = k.view.table(from.vpcId, from.routeTableId)?.routes ?? [];
  const found = new Map<Family, Span[]>();
  for (const cidr of to.cidrs) {
    const spans = found.get(familyOf(cidr)) ?? [];
    found.set(familyOf(cidr), spans);
    if (from.vpcId === to.vpcId) {
      spans.push(spanOf(cidr)); // Local always wins
      continue;
    }
    for (const { span, route } of cut(routes, cidr)) {
      const half = route?.target.kind === 'peering' ? k.view.half(from.vpcId, route.target.halfId) : undefined;
      if (half?.live === true && half.remoteVpcId === to.vpcId) spans.push(span);
    }
  }
  return new Map([...found].map(([family, spans]) => [family, joined(spans)]));
}

/** Where packets into a VPC may go: its subnets, or, for whom they are not to be seen, its ranges as one place. */
function goalsIn(k: Knowledge, vpcId: VpcId): readonly Goal[] {
  const vpc = k.state.get('vpc', vpcId);
  if (vpc === undefined) return [];
  if (sees(k, vpcId)) return k.state.children('subnet', vpcId);
  return [{ id: vpcId as string as SubnetId, vpcId, cidrs: effectivePrefixes(k.state, vpc) }];
}

/** Every flow that starts or ends in one of the VPCs. */
export function reachOf(k: Knowledge, vpcIds: ReadonlySet<VpcId>): Reach {
  const reach = new Map<string, Flow>();
  const put = (from: VpcId, to: VpcId): void => {
    const goals = goalsIn(k, to);
    const known = new Map<string, ReadonlyMap<Family, readonly Span[]>>();
    for (const a of k.state.children('subnet', from)) {
      const families = new Set(a.cidrs.map(familyOf));
      for (const b of goals) {
        const id = `${a.routeTableId} ${b.id}`;
        const spans = known.get(id) ?? spansOf(k, a, b);
        known.set(id, spans);
        for (const family of families) {
          const own = spans.get(family) ?? [];
          if (own.length === 0) continue;
          const flow = { fromVpc: from, from: a.id, toVpc: to, to: b.id, family, spans: own };
          reach.set(key(a.id, b.id, family), flow);
        }
      }
    }
  };
  for (const vpcId of vpcIds) {
    put(vpcId, vpcId);
    for (const peer of peersOf(k, vpcId)) {
      put(vpcId, peer);
      put(peer, vpcId);
    }
  }
  return reach;
}

/** What of the first is not in the second; both sorted and joined. */
export function minus(spans: readonly Span[], others: readonly Span[]): readonly Span[] {
  let left = [...spans];
  for (const other of others) {
    left = left.flatMap((span): Span[] => {
      if (span.family !== other.family || other.last < span.first || other.first > span.last) return [span];
      const rest: Span[] = [];
      if (span.first < other.first) rest.push({ ...span, last: other.first - 1n });
      if (span.last > other.last) rest.push({ ...span, first: other.last + 1n });
      return rest;
    });
  }
  return left;
}

/** How the flows of one pair of subnets differ. */
export interface FlowChange {
  readonly flow: Omit<Flow, 'spans'>;
  readonly gained: readonly Span[];
  readonly lost: readonly Span[];
}

export function reachDifference(before: Reach, after: Reach): readonly FlowChange[] {
  const changes: FlowChange[] = [];
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [before.get(id), after.get(id)];
    const flow = now ?? old;
    if (flow === undefined) continue;
    const gained = minus(now?.spans ?? [], old?.spans ?? []);
    const lost = minus(old?.spans ?? [], now?.spans ?? []);
    if (gained.length === 0 && lost.length === 0) continue;
    const { spans: _, ...rest } = flow;
    changes.push({ flow: rest, gained, lost });
  }
  return changes;
}
