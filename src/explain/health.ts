/**
 * The health of a peering half: for each direction and pair of subnets, whether packets can flow, and if not, why. Derived
 * from the resources and the compiled network, as its owner may see it. "Connected" says that both have consented;
 * this says whether it works.
 */
import type { VpcId } from '../model/ids.ts';
import type { Family, Prefix } from '../model/ip.ts';
import type { PeeringHalf } from '../model/resources.ts';
import { type Blocker, blocker } from './blockers.ts';
import { type Leg, leg } from './leg.ts';
import { type Knowledge, type Place, sees, subnetPlace, vpcPlace } from './place.ts';

export type HealthState = 'open' | 'partly' | 'blocked';

/** One direction between two subnets; a peer's VPC is one place. */
export interface HealthPair {
  readonly direction: 'out' | 'in';
  readonly family: Family;
  /** Subnet ids; of a peer the VPC's id. */
  readonly from: string;
  readonly to: string;
  readonly fromRanges: readonly Prefix[];
  readonly toRanges: readonly Prefix[];
  readonly state: HealthState;
  readonly blockers: readonly Blocker[];
}
export interface Health {
  /** 'open': everything flows both ways. 'blocked': nothing does. */
  readonly state: HealthState;
  readonly pairs: readonly HealthPair[];
  /** Pairs beyond the most that are looked at. */
  readonly omitted: number;
}

/** Directed pairs that are looked at for one half. */
export const mostHealthPairs = 128;

/** The places of a side: subnets where they may be seen. */
const placesIn = (k: Knowledge, vpcId: PeeringHalf['localVpcId'], family: Family): readonly Place[] => {
  if (sees(k, vpcId)) {
    return k.state
      .children('subnet', vpcId)
      .map((subnet) => subnetPlace(subnet, family))
      .filter((place) => place !== undefined)
      .sort((a, b) => ((a.subnetId ?? '') < (b.subnetId ?? '') ? -1 : 1));
  }
  const whole = vpcPlace(k, vpcId, family);
  return whole === undefined ? [] : [whole];
};

const stateOf = (found: Leg): HealthState => (found.state === 'unknown' ? 'blocked' : found.state);

/** Hosts of the two sides that have not proven the newest changes; of a peer's it is only said that there are some. */
export function hostsBehind(k: Knowledge, vpcIds: readonly VpcId[]): readonly Blocker[] {
  return vpcIds.flatMap((vpcId) => {
    const { notFencedOn = [], notInstalledOn = [] } = k.behind?.(vpcId) ?? {};
    const hosts = [...notFencedOn, ...notInstalledOn];
    if (hosts.length === 0) return [];
    return [blocker('host-behind', { vpc: vpcId, seen: sees(k, vpcId) }, vpcId, { hosts: hosts.join(', ') })];
  });
}

function pair(k: Knowledge, direction: 'out' | 'in', from: Place, to: Place, behind: readonly Blocker[]): HealthPair {
  const found = leg(k, from, to);
  const shown = (place: Place): readonly Prefix[] => (sees(k, place.vpcId) ? place.ranges : []);
  return {
    direction,
    family: from.family,
    from: from.subnetId ?? from.vpcId,
    to: to.subnetId ?? to.vpcId,
    fromRanges: shown(from),
    toRanges: shown(to),
    // Between workloads on other hosts it flows.
    state: found.state === 'open' && behind.length > 0 ? 'partly' : stateOf(found),
    blockers: [...found.blockers, ...behind],
  };
}

/** Health of a Connected half, for the eyes of whom the knowledge is; null for a half that is not Connected. */
export function healthOf(k: Knowledge, half: PeeringHalf): Health | null {
  if (half.state !== 'Connected') return null;
  const pairs: HealthPair[] = [];
  let omitted = 0;
  const behind = hostsBehind(k, [half.localVpcId, half.remoteVpcId]);
  for (const family of [4, 6] as const) {
    const theirs = placesIn(k, half.remoteVpcId, family);
    for (const own of placesIn(k, half.localVpcId, family)) {
      for (const their of theirs) {
        if (pairs.length >= mostHealthPairs) omitted += 2;
        else pairs.push(pair(k, 'out', own, their, behind), pair(k, 'in', their, own, behind));
      }
    }
  }
  const open = pairs.filter(({ state }) => state === 'open').length;
  const some = pairs.some(({ state }) => state !== 'blocked');
  const state = pairs.length > 0 && open === pairs.length ? 'open' : some ? 'partly' : 'blocked';
  return { state, pairs, omitted };
}

/** What must differ for a health to count as changed. */
export const healthMark = (health: Health | null): string =>
  health === null
    ? ''
    : JSON.stringify([
        health.state,
        health.pairs.map(({ direction, family, from, to, state, blockers }) =>
          [direction, family, from, to, state, ...blockers.map(({ code, object }) => `${code} ${object}`)].join(' '),
        ),
      ]);
