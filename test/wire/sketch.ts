/** Draws a NetworkSpec for a test in few words: VPCs, interfaces, halves, routes. Decides nothing that `rules/` decides. */
import type { HalfId, PortId, RouteTableId, VpcId } from '../../src/model/ids.ts';
import {
  type Address,
  addressAt,
  compareAddresses,
  comparePrefixes,
  containsAddress,
  familyOf,
  type Mac,
  macOf,
  type Prefix,
  parseAddress,
  parsePrefix,
  rangeOf,
} from '../../src/model/ip.ts';
import type {
  HalfSpec,
  InterfaceSpec,
  NetworkSpec,
  RouteSpec,
  RouteTarget,
  VpcSpec,
} from '../../src/model/network-spec.ts';

function must<T>(
  parsed: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string },
): T {
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
}
export const address = (text: string): Address => must(parseAddress(text));
export const prefix = (text: string): Prefix => must(parsePrefix(text));
const suffix = (name: string): string => name.padEnd(10, '0').slice(0, 10);
const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);

export interface PortOptions {
  readonly secondary?: readonly string[];
  readonly sanityCheck?: boolean;
  readonly table?: RouteTableId;
}
interface Site {
  readonly cidrs: readonly Prefix[];
  readonly table: RouteTableId;
  readonly ports: Map<PortId, InterfaceSpec>;
  readonly tables: Map<RouteTableId, Map<Prefix, RouteSpec>>;
  readonly halves: Map<HalfId, HalfSpec>;
}

export class Sketch {
  readonly #sites = new Map<VpcId, Site>();
  #macs = 1n;

  /** A VPC with one route table that holds its Local rules. @param name at most 10 of [a-z0-9] */
  vpc(name: string, ...cidrs: readonly string[]): VpcId {
    const id = `vpc-${suffix(name)}` as VpcId;
    const table = `rtb-${suffix(name)}` as RouteTableId;
    this.#sites.set(id, {
      cidrs: cidrs.map(prefix),
      table,
      ports: new Map(),
      tables: new Map(),
      halves: new Map(),
    });
    this.table(id, name);
    return id;
  }
  /** Another route table of the VPC. */
  table(vpc: VpcId, name: string): RouteTableId {
    const id = `rtb-${suffix(name)}` as RouteTableId;
    const site = this.site(vpc);
    site.tables.set(id, new Map());
    for (const cidr of site.cidrs) this.route(vpc, cidr, { kind: 'local' }, id);
    return id;
  }
  site(vpc: VpcId): Site {
    const site = this.#sites.get(vpc);
    if (site === undefined) throw new Error(`no ${vpc} in this sketch`);
    return site;
  }
  removeVpc(vpc: VpcId): void {
    this.#sites.delete(vpc);
  }

  /** An interface with these primary addresses (one a family); the gateway is the first address of the VPC's range. */
  port(vpc: VpcId, name: string, primary: readonly string[], of: PortOptions = {}): PortId {
    const id = `port-${suffix(name)}` as PortId;
    const site = this.site(vpc);
    const mac: Mac = site.ports.get(id)?.mac ?? macOf((0xaan << 32n) | this.#macs++);
    const place = (text: string, isPrimary: boolean) => {
      const at = address(text);
      const alike = site.cidrs.filter((own) => familyOf(own) === familyOf(at));
      const cidr = alike.find((own) => containsAddress(own, at)) ?? alike[0] ?? prefix('0.0.0.0/0');
      return { address: at, primary: isPrimary, gateway: addressAt(cidr, 1), prefixLength: rangeOf(cidr).length };
    };
    const addresses = [
      ...primary.map((text) => place(text, true)),
      ...(of.secondary ?? []).map((text) => place(text, false)),
    ].sort((a, b) => compareAddresses(a.address, b.address));
    site.ports.set(id, {
      id,
      mac,
      addresses,
      routeTableId: of.table ?? site.table,
      sanityCheck: of.sanityCheck ?? true,
    });
    return id;
  }
  spec(vpc: VpcId, port: PortId): InterfaceSpec {
    const spec = this.site(vpc).ports.get(port);
    if (spec === undefined) throw new Error(`no ${port} in this sketch`);
    return spec;
  }
  half(vpc: VpcId, remote: VpcId, live: boolean): HalfId {
    const id = `vpcpr-${vpc.slice(4, 9)}${remote.slice(4, 9)}` as HalfId;
    this.site(vpc).halves.set(id, { id, remoteVpcId: remote, live });
    return id;
  }
  /** Both halves of a peering. */
  peer(a: VpcId, b: VpcId, live = true): readonly [HalfId, HalfId] {
    return [this.half(a, b, live), this.half(b, a, live)];
  }
  route(vpc: VpcId, destination: string, target: RouteTarget, table?: RouteTableId): void {
    const routes = this.site(vpc).tables.get(table ?? this.site(vpc).table);
    routes?.set(prefix(destination), { destination: prefix(destination), target });
  }
  /** Peered, with a route to every range of the other on both sides. */
  join(a: VpcId, b: VpcId): readonly [HalfId, HalfId] {
    const halves = this.peer(a, b);
    for (const cidr of this.site(b).cidrs) this.route(a, cidr, { kind: 'peering', halfId: halves[0] });
    for (const cidr of this.site(a).cidrs) this.route(b, cidr, { kind: 'peering', halfId: halves[1] });
    return halves;
  }

  network(): NetworkSpec {
    const vpcs = [...this.#sites].map(
      ([vpcId, { ports, tables, halves }]): VpcSpec => ({
        vpcId,
        interfaces: [...ports.values()].sort(byId),
        routeTables: [...tables]
          .map(([id, routes]) => ({
            id,
            routes: [...routes.values()].sort((a, b) => comparePrefixes(a.destination, b.destination)),
          }))
          .sort(byId),
        halves: [...halves.values()].sort(byId),
      }),
    );
    return { vpcs: vpcs.sort((a, b) => (a.vpcId < b.vpcId ? -1 : 1)) };
  }
}

/** Two peered VPCs with an interface each, both families: what most tests start from. */
export function twoSites(): {
  readonly sketch: Sketch;
  readonly red: VpcId;
  readonly blue: VpcId;
  readonly r1: PortId;
  readonly b1: PortId;
  readonly halves: readonly [HalfId, HalfId];
} {
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16', 'fd00:1::/64');
  const blue = sketch.vpc('blue', '10.2.0.0/16', 'fd00:2::/64');
  const r1 = sketch.port(red, 'r1', ['10.1.0.4', 'fd00:1::4']);
  const b1 = sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4']);
  return { sketch, red, blue, r1, b1, halves: sketch.join(red, blue) };
}
