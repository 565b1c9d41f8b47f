/** What the steps of a plan make of a VPC's spec: for planes that are written as a whole. Pure. */
import { compareAddresses, comparePrefixes } from '../model/ip.ts';
import type { HalfSpec, InterfaceSpec, RouteTableSpec, VpcSpec } from '../model/network-spec.ts';
import type { Step } from './driver.ts';

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);
const without = <T extends { id: string }>(list: readonly T[], id: string): T[] =>
  list.filter((item) => item.id !== id);

/** @returns null when the VPC is gone */
export function afterStep(vpc: VpcSpec, step: Step): VpcSpec | null {
  const withHalf = (half: HalfSpec): VpcSpec => ({
    ...vpc,
    halves: [...without(vpc.halves, half.id), half].sort(byId),
  });
  const withTable = (table: RouteTableSpec): VpcSpec => ({
    ...vpc,
    routeTables: [...without(vpc.routeTables, table.id), table].sort(byId),
  });
  const withInterface = (spec: InterfaceSpec): VpcSpec => ({
    ...vpc,
    interfaces: [...without(vpc.interfaces, spec.id), spec].sort(byId),
  });
  switch (step.step) {
    case 'put-vpc':
      return vpc;
    case 'put-route-table': {
      const known = vpc.routeTables.some(({ id }) => id === step.routeTableId);
      return known ? vpc : withTable({ id: step.routeTableId, routes: [] });
    }
    case 'put-half':
      return withHalf(step.half);
    case 'put-interface': {
      const before = vpc.interfaces.find(({ id }) => id === step.interface.id);
      const kept = (before?.addresses ?? []).filter(
        ({ address }) => !step.interface.addresses.some((added) => added.address === address),
      );
      const addresses = [...step.interface.addresses, ...kept];
      addresses.sort((a, b) => compareAddresses(a.address, b.address));
      return withInterface({ ...step.interface, addresses });
    }
    case 'put-route': {
      const table = vpc.routeTables.find(({ id }) => id === step.routeTableId);
      const others = (table?.routes ?? []).filter(({ destination }) => destination !== step.route.destination);
      const routes = [...others, step.route].sort((a, b) => comparePrefixes(a.destination, b.destination));
      return withTable({ id: step.routeTableId, routes });
    }
    case 'remove-route': {
      const table = vpc.routeTables.find(({ id }) => id === step.routeTableId);
      if (table === undefined) return vpc;
      return withTable({
        ...table,
        routes: table.routes.filter(({ destination }) => destination !== step.destination),
      });
    }
    case 'kill-half': {
      const half = vpc.halves.find(({ id }) => id === step.halfId);
      return half === undefined ? vpc : withHalf({ ...half, live: false });
    }
    case 'remove-addresses': {
      const spec = vpc.interfaces.find(({ id }) => id === step.portId);
      if (spec === undefined) return vpc;
      return withInterface({
        ...spec,
        addresses: spec.addresses.filter(({ address }) => !step.addresses.includes(address)),
      });
    }
    case 'remove-interface':
      return { ...vpc, interfaces: without(vpc.interfaces, step.portId) };
    case 'remove-half':
      return { ...vpc, halves: without(vpc.halves, step.halfId) };
    case 'remove-route-table':
      return { ...vpc, routeTables: without(vpc.routeTables, step.routeTableId) };
    case 'remove-vpc':
      return null;
  }
}
