/**
 * Overlap of addresses between VPCs (P6 in docs/architecture.md): one symmetric function, called by every command that
 * can create an overlap. A foreign one-sided half never constrains a VPC; nor do own halves that are not Connected.
 */
import type { VpcId } from '../model/ids.ts';
import { contains, overlaps, type Prefix } from '../model/ip.ts';
import type { PeeringHalf, Vpc } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';

/** The ranges that a VPC occupies: its CIDRs, or, when it has none, its subnets ("JD Cloud: VPC Features"). */
export function effectivePrefixes(state: StateView, vpc: Vpc): readonly Prefix[] {
  return vpc.cidrs.length > 0 ? vpc.cidrs : state.children('subnet', vpc.id).flatMap((subnet) => subnet.cidrs);
}

/** The first pair of prefixes, one of each side, that share an address. */
export function findOverlap(
  ours: readonly Prefix[],
  theirs: readonly Prefix[],
): { readonly ours: Prefix; readonly theirs: Prefix } | null {
  for (const a of ours) {
    for (const b of theirs) if (overlaps(a, b)) return { ours: a, theirs: b };
  }
  return null;
}

/** The Connected half of a VPC whose remote side a new prefix would overlap. */
export function overlappingPeer(
  state: StateView,
  vpcId: VpcId,
  grown: readonly Prefix[],
): { readonly half: PeeringHalf; readonly cidr: Prefix; readonly theirs: Prefix } | null {
  for (const half of state.children('peering', vpcId)) {
    if (half.localVpcId !== vpcId || half.state !== 'Connected') continue;
    const remote = state.get('vpc', half.remoteVpcId);
    if (remote === undefined) continue;
    const found = findOverlap(grown, effectivePrefixes(state, remote));
    if (found !== null) return { half, cidr: found.ours, theirs: found.theirs };
  }
  return null;
}

/** The own range of the VPC that holds this destination entirely, if any: Local would win over such a rule. */
export function localRangeOver(state: StateView, vpc: Vpc, destination: Prefix): Prefix | undefined {
  return effectivePrefixes(state, vpc).find((own) => contains(own, destination));
}
