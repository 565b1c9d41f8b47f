/**
 * plan = diff(observed, wanted). Pure, shared by every driver, and the only place that knows the order of steps: what a
 * route points to is made before the route, and everything is made before anything is broken.
 */
import { isDeepStrictEqual } from 'node:util';
import type { VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import type { Plan, Step } from './driver.ts';

/** Ranks of the steps inside `make` and `break`; a stable sort keeps the rest sorted by VPC and id. */
const rank = {
  'put-vpc': 0,
  'put-route-table': 1,
  'put-interface': 2,
  'put-half': 3,
  'put-route': 4,
  // The disconnect comes first: it is what a caller waits for, and the cheapest write.
  'kill-half': 0,
  'remove-route': 1,
  'remove-addresses': 2,
  'remove-interface': 3,
  'remove-half': 4,
  'remove-route-table': 5,
  'remove-vpc': 6,
} as const satisfies Record<Step['step'], number>;

const empty = (vpcId: VpcId): VpcSpec => ({ vpcId, interfaces: [], routeTables: [], halves: [] });
const keyed = <T extends { readonly id: string }>(list: readonly T[]): ReadonlyMap<T['id'], T> =>
  new Map(list.map((item) => [item.id, item]));

/** The steps from one VPC as observed to the same VPC as wanted; null on either side means: does not exist. */
function diffVpc(vpcId: VpcId, before: VpcSpec | null, after: VpcSpec | null, make: Step[], breaks: Step[]): void {
  const old = before ?? empty(vpcId);
  const now = after ?? empty(vpcId);
  if (before === null && after !== null) make.push({ step: 'put-vpc', vpcId });
  if (before !== null && after === null) breaks.push({ step: 'remove-vpc', vpcId });

  const oldHalves = keyed(old.halves);
  const newHalves = keyed(now.halves);
  for (const half of now.halves) {
    const was = oldHalves.get(half.id);
    if (was === undefined || (half.live && !was.live)) make.push({ step: 'put-half', vpcId, half });
    else if (was.live && !half.live) breaks.push({ step: 'kill-half', vpcId, halfId: half.id });
  }
  for (const { id } of old.halves) if (!newHalves.has(id)) breaks.push({ step: 'remove-half', vpcId, halfId: id });

  const oldPorts = keyed(old.interfaces);
  const newPorts = keyed(now.interfaces);
  for (const spec of now.interfaces) {
    const was = oldPorts.get(spec.id);
    if (was !== undefined && isDeepStrictEqual(was, spec)) continue;
    make.push({ step: 'put-interface', vpcId, before: was ?? null, interface: spec });
    const kept = new Set(spec.addresses.map(({ address }) => address));
    const gone = (was?.addresses ?? []).map(({ address }) => address).filter((address) => !kept.has(address));
    if (gone.length > 0) breaks.push({ step: 'remove-addresses', vpcId, portId: spec.id, addresses: gone });
  }
  for (const { id } of old.interfaces)
    if (!newPorts.has(id)) breaks.push({ step: 'remove-interface', vpcId, portId: id });

  const oldTables = keyed(old.routeTables);
  const newTables = keyed(now.routeTables);
  for (const table of now.routeTables) {
    const was = oldTables.get(table.id);
    if (was === undefined) make.push({ step: 'put-route-table', vpcId, routeTableId: table.id });
    const oldRoutes = new Map((was?.routes ?? []).map((route) => [route.destination, route]));
    for (const route of table.routes) {
      if (isDeepStrictEqual(oldRoutes.get(route.destination), route)) continue;
      make.push({ step: 'put-route', vpcId, routeTableId: table.id, route });
    }
    const kept = new Set(table.routes.map(({ destination }) => destination));
    for (const { destination } of was?.routes ?? []) {
      if (!kept.has(destination)) breaks.push({ step: 'remove-route', vpcId, routeTableId: table.id, destination });
    }
  }
  for (const { id } of old.routeTables) {
    if (!newTables.has(id)) breaks.push({ step: 'remove-route-table', vpcId, routeTableId: id });
  }
}

/**
 * The plan that turns what was observed into what is wanted.
 * @param pairs one entry a VPC in question; VPCs that are not in it are left alone
 */
export function diff(
  pairs: Iterable<{ readonly vpcId: VpcId; readonly observed: VpcSpec | null; readonly wanted: VpcSpec | null }>,
): Plan {
  const make: Step[] = [];
  const breaks: Step[] = [];
  for (const { vpcId, observed, wanted } of pairs) diffVpc(vpcId, observed, wanted, make, breaks);
  // An interface that moves to another table does so once that table's routes are in.
  const rankOf = (step: Step): number =>
    step.step === 'put-interface' && step.before !== null ? rank['put-route'] + 1 : rank[step.step];
  const ordered = (steps: Step[]): readonly Step[] => steps.sort((a, b) => rankOf(a) - rankOf(b));
  return { make: ordered(make), break: ordered(breaks) };
}

export const isEmpty = (plan: Plan): boolean => plan.make.length === 0 && plan.break.length === 0;

/** A step in a line, for logs and the drift report. */
export function describe(step: Step): string {
  const { step: name, vpcId, ...rest } = step;
  const object =
    'routeTableId' in rest
      ? `${rest.routeTableId}${'route' in rest ? ` ${rest.route.destination}` : 'destination' in rest ? ` ${rest.destination}` : ''}`
      : 'half' in rest
        ? `${rest.half.id} ${rest.half.live ? 'live' : 'dead'}`
        : 'halfId' in rest
          ? rest.halfId
          : 'interface' in rest
            ? rest.interface.id
            : 'addresses' in rest
              ? `${rest.portId} ${rest.addresses.join(' ')}`
              : 'portId' in rest
                ? rest.portId
                : '';
  return `${name} ${vpcId}${object === '' ? '' : ` ${object}`}`;
}
