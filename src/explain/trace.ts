/**
 * From one place to another and back: both directions of every pair of addresses, with all that is in the way. An end is
 * an interface, an address, a subnet or a VPC. Pure: it reads the resources and the compiled network, never the kernel.
 */
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import { isId, type VpcId } from '../model/ids.ts';
import { type Address, containsAddress, type Family, familyOf, parseAddress, prefixOf } from '../model/ip.ts';
import type { NetworkInterface, Vpc } from '../model/resources.ts';
import { effectivePrefixes } from '../rules/overlap.ts';
import { type Blocker, blocker } from './blockers.ts';
import { type Leg, leg, pathMtu, suggestedName } from './leg.ts';
import { acquainted, addressPlace, type Knowledge, type Place, sees, subnetPlace, vpcPlace } from './place.ts';

export interface TracePair {
  readonly family: Family;
  readonly from: EndView;
  readonly to: EndView;
  readonly forward: Leg;
  readonly back: Leg;
  /** Bytes of IP packet that pass both ways; null where there is no workload to ask. */
  readonly mtu: number | null;
}
/** An end as the caller may see it. */
export interface EndView {
  /** null for an address that belongs to no VPC known here. */
  readonly vpcId: string | null;
  readonly subnetId: string | null;
  readonly interfaceId: string | null;
  readonly address: string | null;
}
export interface Trace {
  /** Whether packets pass both ways between all of the pairs. */
  readonly works: boolean;
  readonly pairs: readonly TracePair[];
  /** Pairs beyond the most that one answer holds. */
  readonly omitted: number;
}

/** Pairs that one answer holds. */
export const mostPairs = 64;

type End =
  | { readonly kind: 'interface'; readonly port: NetworkInterface }
  | { readonly kind: 'address'; readonly vpcId: VpcId | null; readonly address: Address }
  | { readonly kind: 'subnet'; readonly subnetId: string; readonly vpcId: VpcId }
  | { readonly kind: 'vpc'; readonly vpcId: VpcId };

const notFound = (id: string): Refusal => refuse('not-found', { id: id.slice(0, 64) });

const inVpc = (k: Knowledge, vpcId: VpcId, address: Address): boolean => {
  const vpc = k.state.get('vpc', vpcId);
  return vpc !== undefined && holds(k, vpc, address);
};
const holds = (k: Knowledge, vpc: Vpc, address: Address): boolean =>
  effectivePrefixes(k.state, vpc).some((cidr) => containsAddress(cidr, address));

/** The caller's VPCs in which somebody has the address; if nobody has, those whose ranges hold it. */
function ownVpcsWith(k: Knowledge, address: Address): readonly VpcId[] {
  const holders = k.state
    .interfacesWith(address)
    .map((portId) => k.state.get('interface', portId)?.vpcId)
    .filter((vpcId) => vpcId !== undefined && sees(k, vpcId));
  if (holders.length > 0) return holders as readonly VpcId[];
  const own = k.caller === null ? [...k.state.all('vpc')] : k.state.children('vpc', k.caller);
  return own.filter((vpc) => holds(k, vpc, address)).map(({ id }) => id);
}

/** An object by its id; null for a text that is no such id. */
function byId(k: Knowledge, text: string, side: 'source' | 'destination'): End | Refusal | null {
  if (isId('interface', text)) {
    const port = k.state.get('interface', text);
    return port !== undefined && sees(k, port.vpcId) ? { kind: 'interface', port } : notFound(text);
  }
  if (isId('subnet', text)) {
    const subnet = k.state.get('subnet', text);
    if (subnet === undefined || !sees(k, subnet.vpcId)) return notFound(text);
    return { kind: 'subnet', subnetId: subnet.id, vpcId: subnet.vpcId };
  }
  if (isId('vpc', text)) {
    // A destination may be a stranger's: the answer is then the same whether or not there is such a VPC.
    return side === 'destination' || (k.state.get('vpc', text) !== undefined && sees(k, text))
      ? { kind: 'vpc', vpcId: text }
      : notFound(text);
  }
  return null;
}

function sourceOf(k: Knowledge, text: string): End | Refusal {
  const object = byId(k, text, 'source');
  if (object !== null) return object;
  const parsed = parseAddress(text);
  if (!parsed.ok) return refuse('invalid-argument', { field: 'source', problem: notAnEnd(text) });
  const candidates = ownVpcsWith(k, parsed.value);
  const [only, ...more] = candidates;
  if (only === undefined) return refuse('no-such-source', { address: parsed.value });
  if (more.length > 0) {
    const ports = candidates.slice(0, 8).map((vpcId) => k.state.interfaceAt(vpcId, parsed.value) ?? vpcId);
    return refuse('ambiguous-source', { address: parsed.value, candidates: ports.join(', ') });
  }
  return { kind: 'address', vpcId: only, address: parsed.value };
}

const notAnEnd = (text: string): string =>
  `'${text.slice(0, 64)}' is neither an address nor the id of an interface, subnet or VPC`;

/** The VPC that an address means when seen from another one: its own, where its routes lead, a peer's, one of the caller's. */
function vpcOf(k: Knowledge, from: VpcId, tables: Place['tables'], address: Address): VpcId | null {
  if (inVpc(k, from, address)) return from;
  const peers = k.state
    .children('peering', from)
    .filter(({ localVpcId }) => localVpcId === from)
    .map(({ remoteVpcId }) => remoteVpcId);
  const known = peers.find((peer) => acquainted(k, from, peer) && inVpc(k, peer, address));
  if (known !== undefined) return known;
  for (const table of tables) {
    const target = k.view.route(from, table, address)?.target;
    const half = target?.kind === 'peering' ? k.view.half(from, target.halfId) : undefined;
    if (half !== undefined) return half.remoteVpcId;
  }
  return ownVpcsWith(k, address)[0] ?? null;
}

function destinationOf(k: Knowledge, text: string, from: VpcId, tables: Place['tables']): End | Refusal {
  const object = byId(k, text, 'destination');
  if (object !== null) return object;
  const parsed = parseAddress(text);
  if (!parsed.ok) return refuse('invalid-argument', { field: 'destination', problem: notAnEnd(text) });
  return { kind: 'address', vpcId: vpcOf(k, from, tables, parsed.value), address: parsed.value };
}

const open = (k: Knowledge, start: VpcId, vpcId: VpcId): boolean => sees(k, vpcId) || acquainted(k, start, vpcId);
/** A place that is nobody's but its owner's to know. */
const closed = (vpcId: VpcId, family: Family): Place => ({
  vpcId,
  tables: [],
  ranges: [],
  family,
  subnetId: null,
  address: null,
  portId: null,
});

/** Of a peer's address that nobody has it is not told whether it lies in a subnet: packets would not show it. */
const knownPlace = (k: Knowledge, place: Place): Place =>
  place.portId !== null || sees(k, place.vpcId) ? place : { ...place, tables: [], subnetId: null };

/** The places of one family that an end stands for, as seen from a VPC. Into a stranger's VPC nothing is looked. */
function placesOf(k: Knowledge, end: End, family: Family, start: VpcId): readonly Place[] {
  const some = (place: Place | undefined): readonly Place[] => (place === undefined ? [] : [place]);
  switch (end.kind) {
    case 'interface': {
      const address = [...end.port.primary, ...end.port.secondary].find((own) => familyOf(own) === family);
      return address === undefined ? [] : [addressPlace(k, end.port.vpcId, address)];
    }
    case 'address':
      if (end.vpcId === null || familyOf(end.address) !== family) return [];
      if (!open(k, start, end.vpcId))
        return [{ ...closed(end.vpcId, family), address: end.address, ranges: [prefixOf(end.address)] }];
      return [knownPlace(k, addressPlace(k, end.vpcId, end.address))];
    case 'subnet': {
      const subnet = k.state.get('subnet', end.subnetId);
      return subnet === undefined ? [] : some(subnetPlace(subnet, family));
    }
    case 'vpc':
      if (!open(k, start, end.vpcId)) return [closed(end.vpcId, family)];
      if (!sees(k, end.vpcId)) return some(vpcPlace(k, end.vpcId, family));
      return k.state.children('subnet', end.vpcId).flatMap((subnet) => some(subnetPlace(subnet, family)));
  }
}

const viewOf = (k: Knowledge, place: Place): EndView => {
  const seen = sees(k, place.vpcId);
  return {
    vpcId: place.vpcId,
    subnetId: seen ? place.subnetId : null,
    interfaceId: seen ? place.portId : null,
    address: place.address,
  };
};

const vpcIdOf = (end: End): VpcId | null => (end.kind === 'interface' ? end.port.vpcId : end.vpcId);
const unknown = (blockers: readonly Blocker[]): Leg => ({ state: 'unknown', hops: [], blockers });

/** A VPC between two others, each of which is peered with it: what people take for a way. */
function middleOf(k: Knowledge, a: VpcId, b: VpcId): VpcId | undefined {
  return k.state
    .children('peering', a)
    .filter(({ localVpcId, state }) => localVpcId === a && state === 'Connected')
    .map(({ remoteVpcId }) => remoteVpcId)
    .find((middle) => sees(k, middle) && k.state.half(middle, b)?.state === 'Connected');
}

function pair(k: Knowledge, from: Place, to: Place, size: number | null): TracePair {
  const forward = leg(k, from, to, size);
  const back = leg(k, to, from, size);
  const middle = forward.blockers.some(({ code }) => code === 'no-half')
    ? middleOf(k, from.vpcId, to.vpcId)
    : undefined;
  const facts = { remote: to.vpcId, middle: middle ?? '', name: suggestedName(k, from.vpcId, to.vpcId) };
  const note =
    middle === undefined ? [] : [blocker('not-transitive', { vpc: from.vpcId, seen: true }, from.vpcId, facts)];
  return {
    family: from.family,
    from: viewOf(k, from),
    to: viewOf(k, to),
    forward: { ...forward, blockers: [...note, ...forward.blockers] },
    back,
    mtu: from.portId === null || to.portId === null ? null : pathMtu(k, from, to),
  };
}

/** That an address is of no VPC that is known; it may be behind a half that its peer has not answered. */
function unknownDestination(k: Knowledge, vpcId: VpcId, address: Address): Blocker {
  const waiting = k.state
    .children('peering', vpcId)
    .filter(({ localVpcId, state }) => localVpcId === vpcId && state !== 'Connected')
    .map(({ remoteVpcId }) => remoteVpcId);
  const some = waiting.slice(0, 3).join(', ');
  const pending =
    waiting.length === 0 ? '' : ` It may lie behind a peering that is not Connected: trace to ${some} itself.`;
  return blocker('unknown-destination', { vpc: vpcId, seen: true }, vpcId, { range: address, pending });
}

/** What is said of an address that belongs to nobody known. */
function nowhere(k: Knowledge, from: Place, address: Address): TracePair {
  const found = [unknownDestination(k, from.vpcId, address)];
  const to: EndView = { vpcId: null, subnetId: null, interfaceId: null, address };
  return {
    family: from.family,
    from: viewOf(k, from),
    to,
    forward: { state: 'blocked', hops: [], blockers: found },
    back: unknown([]),
    mtu: null,
  };
}

/** What an end says when it has nothing of the family that the other end is of. */
function noFamily(k: Knowledge, end: End, family: Family): Blocker {
  const vpc = vpcIdOf(end) ?? '';
  const object = end.kind === 'interface' ? end.port.id : end.kind === 'subnet' ? end.subnetId : vpc;
  const seen = vpc !== '' && sees(k, vpc as VpcId);
  return blocker('no-family', { vpc, seen }, object, { port: object, family: String(family) });
}

/**
 * Explains the way from one end to another and back.
 * @param size bytes of the IP packet; null to leave sizes out of account
 */
export function trace(k: Knowledge, source: string, destination: string, size: number | null): Trace | Refusal {
  const from = sourceOf(k, source);
  if (isRefusal(from)) return from;
  const start = vpcIdOf(from);
  if (start === null) return notFound(source);
  const tables = ([4, 6] as const).flatMap((family) =>
    placesOf(k, from, family, start).flatMap((place) => place.tables),
  );
  const to = destinationOf(k, destination, start, tables);
  if (isRefusal(to)) return to;

  const pairs: TracePair[] = [];
  let omitted = 0;
  const put = (make: () => TracePair): void => {
    if (pairs.length < mostPairs) pairs.push(make());
    else omitted++;
  };
  const lacking: Family[] = [];
  for (const family of [4, 6] as const) {
    const starts = placesOf(k, from, family, start);
    if (to.kind === 'address' && to.vpcId === null) {
      if (familyOf(to.address) === family) for (const place of starts) put(() => nowhere(k, place, to.address));
      continue;
    }
    const goals = placesOf(k, to, family, start);
    if ((starts.length === 0) !== (goals.length === 0)) lacking.push(family);
    for (const place of starts) {
      for (const goal of goals) {
        const same = place.address !== null && place.address === goal.address && place.vpcId === goal.vpcId;
        if (!same) put(() => pair(k, place, goal, size));
      }
    }
  }
  if (pairs.length === 0) {
    const remote = vpcIdOf(to);
    pairs.push(emptyPair(k, from, to, start, remote, lacking));
  }
  const works = omitted === 0 && pairs.every(({ forward, back }) => forward.state === 'open' && back.state === 'open');
  return { works, pairs, omitted };
}

/** No pair of addresses at all: consent may be missing, a family, or a subnet. */
function emptyPair(
  k: Knowledge,
  from: End,
  to: End,
  start: VpcId,
  remote: VpcId | null,
  lacking: readonly Family[],
): TracePair {
  const family = to.kind === 'address' ? familyOf(to.address) : (lacking[0] ?? 4);
  const known = remote !== null && (sees(k, remote) || acquainted(k, start, remote));
  const blockers: Blocker[] = [];
  if (remote !== null) blockers.push(...leg(k, closed(start, family), closed(remote, family)).blockers);
  if (known || remote === null) {
    for (const side of [from, to]) {
      const has = ([4, 6] as const).filter((one) => placesOf(k, side, one, start).length > 0);
      if (vpcIdOf(side) !== null && !has.includes(family)) blockers.push(noFamily(k, side, family));
    }
  }
  if (remote === null && to.kind === 'address') blockers.push(unknownDestination(k, start, to.address));
  const end = (side: End): EndView => ({
    vpcId: vpcIdOf(side),
    subnetId: side.kind === 'subnet' ? side.subnetId : null,
    interfaceId: side.kind === 'interface' ? side.port.id : null,
    address: side.kind === 'address' ? side.address : null,
  });
  return {
    family,
    from: end(from),
    to: end(to),
    forward: { state: 'blocked', hops: [], blockers },
    back: known ? { state: 'blocked', hops: [], blockers } : unknown(blockers),
    mtu: null,
  };
}
