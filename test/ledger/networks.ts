/**
 * Random NetworkSpecs as compile makes them: sorted, an address at one interface of its VPC, routes only to what the
 * VPC has. Few ids, so that two of them have much in common and differ in everything that can differ.
 */
import fc from 'fast-check';
import type { HalfId, PortId, RouteTableId, VpcId } from '../../src/model/ids.ts';
import { compareAddresses, comparePrefixes } from '../../src/model/ip.ts';
import type {
  InterfaceAddress,
  InterfaceSpec,
  NetworkSpec,
  RouteSpec,
  RouteTarget,
  VpcSpec,
} from '../../src/model/network-spec.ts';
import { address, prefix } from '../wire/sketch.ts';

const sites = ['a', 'b', 'c'] as const;
type Site = (typeof sites)[number];
const idOf = (kind: string, site: string, n: number | string): string =>
  `${kind}-${site}${n}`.padEnd(kind.length + 11, '0');
export const vpcIds: readonly VpcId[] = sites.map((site) => idOf('vpc', site, '') as VpcId);

const destinations = ['0.0.0.0/0', '10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16', '::/0', 'fd00:1::/64'].map(prefix);
const v4Slots = [4, 5, 6, 7, 8];
const v6Slots = [4, 5, 6];
/** Most of a list: few would leave little to compare. */
const most = <T>(of: readonly T[]): fc.Arbitrary<readonly T[]> =>
  fc
    .array(fc.nat(4), { minLength: of.length, maxLength: of.length })
    .map((chances) => of.filter((_, at) => chances[at] !== 0));

/** Which interface holds which of the addresses; -1 for nobody. The first of a family that an interface has is primary. */
function interfaces(site: Site): fc.Arbitrary<readonly InterfaceSpec[]> {
  const of = sites.indexOf(site) + 1;
  return fc
    .record({
      there: most([0, 1, 2, 3]),
      holders: fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 8, maxLength: 8 }),
      tables: fc.array(fc.nat(1), { minLength: 4, maxLength: 4 }),
      sanity: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    })
    .map(({ there, holders, tables, sanity }) =>
      there.map((n): InterfaceSpec => {
        const holds = (
          slots: readonly number[],
          shift: number,
          text: (slot: number) => string,
          gateway: string,
          length: number,
        ) =>
          slots
            .filter((_, at) => holders[at + shift] === n)
            .map(
              (slot, at): InterfaceAddress => ({
                address: address(text(slot)),
                primary: at === 0,
                gateway: address(gateway),
                prefixLength: length,
              }),
            );
        const v4 = holds(v4Slots, 0, (slot) => `10.${of}.0.${slot}`, `10.${of}.0.1`, 16);
        const v6 = holds(v6Slots, v4Slots.length, (slot) => `fd00:${of}::${slot}`, `fd00:${of}::1`, 64);
        return {
          id: idOf('port', site, n) as PortId,
          mac: `02:00:00:00:0${of}:0${n}` as InterfaceSpec['mac'],
          addresses: [...v4, ...v6].sort((a, b) => compareAddresses(a.address, b.address)),
          routeTableId: idOf('rtb', site, tables[n] ?? 0) as RouteTableId,
          sanityCheck: sanity[n] ?? true,
        };
      }),
    );
}

function vpc(site: Site): fc.Arbitrary<VpcSpec> {
  const others = sites.filter((other) => other !== site);
  return fc
    .record({
      interfaces: interfaces(site),
      halves: most(others),
      live: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
      third: fc.boolean(),
      picks: fc.array(fc.array(fc.nat(7), { minLength: 6, maxLength: 6 }), { minLength: 3, maxLength: 3 }),
    })
    .map((of): VpcSpec => {
      const halves = of.halves.map((other) => ({
        id: idOf('vpcpr', site, other) as HalfId,
        remoteVpcId: idOf('vpc', other, '') as VpcId,
        live: of.live[sites.indexOf(other)] ?? false,
      }));
      const targets: readonly (RouteTarget | undefined)[] = [
        { kind: 'black-hole' },
        { kind: 'local' },
        ...halves.map(({ id }): RouteTarget => ({ kind: 'peering', halfId: id })),
        ...of.interfaces.slice(0, 2).map(({ id }): RouteTarget => ({ kind: 'interface', portId: id })),
      ];
      const table = (n: number) => ({
        id: idOf('rtb', site, n) as RouteTableId,
        routes: destinations
          .map((destination, at): RouteSpec | undefined => {
            const target = targets[of.picks[n]?.[at] ?? 0];
            return target && { destination, target };
          })
          .filter((route) => route !== undefined)
          .sort((a, b) => comparePrefixes(a.destination, b.destination)),
      });
      return {
        vpcId: idOf('vpc', site, '') as VpcId,
        interfaces: of.interfaces,
        routeTables: [table(0), table(1), ...(of.third ? [table(2)] : [])],
        halves,
      };
    });
}

/** Any network of up to three VPCs. */
export const network: fc.Arbitrary<NetworkSpec> = fc
  .tuple(most(sites), ...sites.map(vpc))
  .map(([there, ...all]) => ({ vpcs: all.filter((_, n) => there.includes(sites[n] ?? 'a')) }));
