/**
 * What should become of a packet, judged from the resources alone: an account of the rules that shares no code with
 * `compile`, `explain` or a driver, so that a mistake in one of those cannot hide. Slow and plain on purpose.
 */
import type { PortId, VpcId } from '../../src/model/ids.ts';
import { type Address, containsAddress, rangeOf } from '../../src/model/ip.ts';
import type { NetworkInterface } from '../../src/model/resources.ts';
import type { StateView } from '../../src/model/state.ts';

/** `handed`: the interface gets the packet although the destination is not its own, as a next hop does. */
export interface Expectation {
  readonly words: string;
  readonly handed: boolean;
}

const reason = (words: string): Expectation => ({ words, handed: false });

export function expected(
  state: StateView,
  attached: ReadonlyMap<PortId, number>,
  from: NetworkInterface,
  to: Address,
): Expectation {
  const holders = (vpcId: VpcId): NetworkInterface[] =>
    [...state.all('interface')].filter((port) => port.vpcId === vpcId && hasAddress(port, to));
  const deliver = (vpcId: VpcId): Expectation => {
    const [port, second] = holders(vpcId);
    if (second !== undefined) throw new Error(`${port?.id} and ${second.id} both hold ${to}`);
    if (port === undefined) return reason('NoSuchAddress');
    return reason(attached.has(port.id) ? `to ${port.id}` : 'TargetGone');
  };

  if (ownRanges(state, from.vpcId).some((range) => containsAddress(range, to))) return deliver(from.vpcId);
  const table = state.get('subnet', from.subnetId)?.routeTableId ?? '';
  const rules = (state.get('route-table', table)?.rules ?? [])
    .filter(({ destination }) => containsAddress(destination, to))
    .sort((a, b) => rangeOf(b.destination).length - rangeOf(a.destination).length);
  const hop = rules[0]?.nextHop;
  switch (hop?.kind) {
    case undefined:
      return reason('NoRoute');
    case 'internet':
      return reason('BlackHole');
    case 'interface': {
      const next = state.get('interface', hop.portId);
      if (next === undefined || next.vpcId !== from.vpcId) return reason('BlackHole');
      if (!attached.has(next.id)) return reason('TargetGone');
      return { words: `to ${next.id}`, handed: !hasAddress(next, to) };
    }
    case 'peering': {
      const half = state.get('peering', hop.halfId);
      const known = [...state.all('half-identity')].some(
        ({ halfId, localVpcId }) => halfId === hop.halfId && localVpcId === from.vpcId,
      );
      if (!known) return reason('BlackHole');
      if (half === undefined || half.state !== 'Connected') return reason('NoPeering');
      return deliver(half.remoteVpcId);
    }
  }
}

const hasAddress = (port: NetworkInterface, address: Address): boolean =>
  port.primary.includes(address) || port.secondary.includes(address);

/** What Local covers: the VPC's CIDRs, or its subnets when it has none. */
export function ownRanges(state: StateView, vpcId: VpcId) {
  const cidrs = state.get('vpc', vpcId)?.cidrs ?? [];
  if (cidrs.length > 0) return cidrs;
  return [...state.all('subnet')].filter((subnet) => subnet.vpcId === vpcId).flatMap((subnet) => subnet.cidrs);
}

/** What must hold of the halves themselves, whatever happened. @returns what does not */
export function brokenHalves(state: StateView): readonly string[] {
  const broken: string[] = [];
  const halves = [...state.all('peering')];
  const pairs = new Set<string>();
  for (const half of halves) {
    const pair = `${half.localVpcId}>${half.remoteVpcId}`;
    if (pairs.has(pair)) broken.push(`two halves ${pair}`);
    pairs.add(pair);
    const mirror = halves.find(
      (other) => other.localVpcId === half.remoteVpcId && other.remoteVpcId === half.localVpcId,
    );
    if ((half.state === 'Connected') !== (mirror !== undefined)) {
      broken.push(`${half.id} is ${half.state}, its mirror ${mirror === undefined ? 'does not exist' : mirror.state}`);
    }
    if (half.state !== 'Connected') continue;
    for (const ours of ownRanges(state, half.localVpcId)) {
      for (const theirs of ownRanges(state, half.remoteVpcId)) {
        const [a, b] = [rangeOf(ours), rangeOf(theirs)];
        if (a.family === b.family && a.first <= b.last && b.first <= a.last)
          broken.push(`${half.id} joins ${ours} and ${theirs}`);
      }
    }
  }
  return broken;
}
