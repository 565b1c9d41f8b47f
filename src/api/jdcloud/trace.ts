/**
 * `trace`: the way from one place to another and back, with everything that is in the way and what mends it. Read-only.
 * What belongs to somebody else is told only as far as `src/explain` allows.
 */
import Type, { type Static } from 'typebox';
import { type Blocker, blocker } from '../../explain/blockers.ts';
import { hostsBehind } from '../../explain/health.ts';
import type { Leg } from '../../explain/leg.ts';
import type { Knowledge } from '../../explain/place.ts';
import { type TracePair, trace } from '../../explain/trace.ts';
import { isRefusal } from '../../model/errors.ts';
import type { AccountId, PortId, VpcId } from '../../model/ids.ts';
import { type Address, parseAddress } from '../../model/ip.ts';
import { gatewayMac } from '../../model/network-spec.ts';
import type { RegionService } from '../../region/service.ts';
import { budget } from '../budget.ts';
import { type Call, type Operation, Text, tenantOf, withoutBody } from '../operation.ts';
import { Refused, reject } from '../refused.ts';
import { answered } from './counters.ts';
import { limited } from './observations.ts';

const Nullable = Type.Union([Text, Type.Null()]);
export const BlockerObject = Type.Object({
  code: Type.String({ description: 'See docs/trace.md' }),
  object: Type.String({ description: "The one id to blame; a peer's VPC where the rest is not yours to see" }),
  text: Text,
  by: Type.Enum(['you', 'peer', 'operator', 'owner'], {
    description: "Whose hand it needs; 'owner', of the VPC, when the operator asks",
  }),
  commands: Type.Array(Text, { description: 'What mends it, in order; words in capitals are for you to choose' }),
});
const LegObject = Type.Object({
  state: Type.Enum(['open', 'partly', 'blocked', 'unknown']),
  hops: Type.Array(Type.Object({ hop: Text, object: Text, detail: Text })),
  blockers: Type.Array(BlockerObject),
});
const EndObject = Type.Object({ vpcId: Nullable, subnetId: Nullable, interfaceId: Nullable, address: Nullable });
export const TraceObject = Type.Object({
  works: Type.Boolean({ description: 'Whether packets pass both ways between all pairs' }),
  pairs: Type.Array(
    Type.Object({
      family: Type.Integer(),
      from: EndObject,
      to: EndObject,
      forward: LegObject,
      back: LegObject,
      mtu: Type.Union([Type.Integer(), Type.Null()], { description: 'Bytes of IP packet that pass both ways' }),
    }),
  ),
  omitted: Type.Integer(),
});

const TraceQuery = Type.Object({
  source: Type.String({ description: 'An interface, subnet or VPC of yours by id, or an address' }),
  destination: Type.String({ description: 'An interface, subnet, VPC or address' }),
  size: Type.Optional(Type.Integer({ minimum: 20, maximum: 65_535, description: 'Bytes of the IP packet' })),
  plane: Type.Optional(Type.Boolean({ description: 'Compare with what the data plane really holds' })),
});

export const knowledgeOf = (region: RegionService, caller: AccountId | null): Knowledge => ({
  state: region.state,
  view: region.view,
  workload: (portId) => region.attachment(portId),
  behind: (vpcId) => region.behind(vpcId),
  caller,
});

/** What the data plane itself gets wrong about one leg. */
async function planeBlockers(
  region: RegionService,
  caller: AccountId | null,
  from: TracePair['from'],
  to: TracePair['to'],
  compare: boolean,
): Promise<readonly Blocker[]> {
  const found: Blocker[] = [];
  for (const vpcId of new Set([from.vpcId, to.vpcId])) {
    if (vpcId === null) continue;
    const problem = region.planeProblem(vpcId as VpcId);
    if (problem !== null)
      found.push(blocker('plane-behind', { vpc: vpcId, seen: caller === null }, vpcId, { problem }));
    found.push(...hostsBehind(knowledgeOf(region, caller), [vpcId as VpcId]));
  }
  const port = from.interfaceId === null ? undefined : region.state.get('interface', from.interfaceId);
  if (!compare || port === undefined || from.address === null || to.address === null) return found;
  const verdict = await answered(() => region.trace(probeOf(port.id, port.mac, from.address ?? '', to.address ?? '')));
  if (verdict.kind !== 'dropped' || verdict.reason === 'TargetGone' || verdict.reason === 'NoPort') return found;
  const facts = { reason: verdict.reason, blamed: verdict.object };
  const vpc = from.vpcId ?? '';
  return [...found, blocker('plane-differs', { vpc, seen: caller === null }, vpc, facts)];
}

const probeOf = (from: PortId, mac: string, source: string, destination: string) => {
  const at = (text: string): Address => {
    const parsed = parseAddress(text);
    if (!parsed.ok) throw new Error(parsed.problem);
    return parsed.value;
  };
  return {
    from,
    sourceMac: mac as typeof gatewayMac,
    destinationMac: gatewayMac,
    source: at(source),
    destination: at(destination),
    ttl: 64,
    length: 84,
    protocol: 'udp',
  } as const;
};

/** To the operator nothing is his own: what an owner must do is said to be the owner's. */
const forOperator = (leg: Leg): Leg => ({
  ...leg,
  blockers: leg.blockers.map((one) => (one.by === 'you' ? { ...one, by: 'owner' } : one)),
});

const withMore = (leg: Leg, more: readonly Blocker[]): Leg =>
  more.length === 0
    ? leg
    : {
        ...leg,
        // A host that is behind is in the way of its own workloads only.
        state:
          leg.state !== 'open' ? leg.state : more.every(({ code }) => code === 'host-behind') ? 'partly' : 'blocked',
        blockers: [...leg.blockers, ...more],
      };

/** Traces for an account, or for the operator (null). @throws Refused */
export async function traceFor(call: Call, caller: AccountId | null): Promise<Static<typeof TraceObject>> {
  const need = (field: string): string => call.query.get(field) || reject('missing-argument', { field });
  const [source, destination] = [need('source'), need('destination')];
  const size =
    call.query.get('size') === undefined ? null : call.query.integer('size', { min: 20, max: 65_535, fallback: 84 });
  const compare = call.query.flag('plane');
  const found = budget.spend(caller, () => trace(knowledgeOf(call.region, caller), source, destination, size));
  if (isRefusal(found)) throw new Refused(found);
  const pairs: TracePair[] = [];
  for (const pair of found.pairs) {
    // Only where the resources say that it works: what they explain needs no second reason.
    const ask = async (leg: Leg, from: TracePair['from'], to: TracePair['to']): Promise<Leg> =>
      withMore(leg, await planeBlockers(call.region, caller, from, to, compare && leg.state === 'open'));
    const forward = await ask(pair.forward, pair.from, pair.to);
    const back = await ask(pair.back, pair.to, pair.from);
    pairs.push(
      caller === null
        ? { ...pair, forward: forOperator(forward), back: forOperator(back) }
        : { ...pair, forward, back },
    );
  }
  const works = found.works && pairs.every(({ forward, back }) => forward.state === 'open' && back.state === 'open');
  return { works, pairs: pairs as Static<typeof TraceObject>['pairs'], omitted: found.omitted };
}

export const traceOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'trace',
      method: 'GET',
      path: '/trace',
      tag: 'trace',
      summary: 'The way from one place to another and back, all that blocks it, and what mends it (extension)',
      query: TraceQuery,
      result: TraceObject,
    },
    async (call) => {
      const { accountId } = tenantOf(call);
      // Reading the plane is work for the agent, so it is limited; the resources alone are cheap.
      return call.query.flag('plane') ? limited(call, () => traceFor(call, accountId)) : traceFor(call, accountId);
    },
  ),
];

/** The operator's: sees into every VPC. */
export const adminTraceOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'trace',
      method: 'GET',
      path: '/trace',
      tag: 'admin',
      summary: 'As the tenants’, and into every VPC',
      query: TraceQuery,
      result: TraceObject,
    },
    (call) => traceFor(call, null),
  ),
];
