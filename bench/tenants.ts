/**
 * Isthmus as its users run it, on the real driver: region, reconciler, eBPF, and two tenants with a VPC each, peered and
 * routed, IPv4 and IPv6. Alice has two interfaces, Bob one. Everything is driven by commands, nothing is written by hand.
 */
import { join } from 'node:path';
import { EbpfDriver, type EbpfOptions, purgePlane } from '../src/dataplane/ebpf/driver.ts';
import { Reconciler } from '../src/dataplane/reconciler.ts';
import type { AccountId, HalfId, KeyId, PortId, RouteTableId, SubnetId, VpcId } from '../src/model/ids.ts';
import { type Address, familyOf, type Prefix, parsePrefix } from '../src/model/ip.ts';
import { Region } from '../src/region/region.ts';
import type { Command } from '../src/rules/commands.ts';
import { SqliteStore } from '../src/store/sqlite.ts';
import type { Path } from './paths.ts';
import type { Sandbox } from './sandbox.ts';

export const prefix = (text: string): Prefix => {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
};

/** Gives a command and returns the id it made. @throws Error when it is refused or the plane did not follow */
export async function command(region: Region, of: Command, accountId: AccountId | null): Promise<string> {
  const principal =
    accountId === null
      ? ({ kind: 'operator' } as const)
      : ({ kind: 'tenant', accountId, keyId: 'bench' as KeyId } as const);
  const outcome = await region.submit(of, { principal, requestId: 'bench' });
  if (outcome.kind !== 'done') throw new Error(`${of.kind} was refused: ${JSON.stringify(outcome)}`);
  if (!outcome.applied) throw new Error(`${of.kind}: the plane did not follow: ${region.status().planeProblem}`);
  return outcome.result.id ?? '';
}

export interface Port {
  readonly id: PortId;
  readonly namespace: string;
  readonly v4: Address;
  readonly v6: Address;
}
export interface Tenant {
  readonly accountId: AccountId;
  readonly vpcId: VpcId;
  readonly ports: readonly Port[];
}

type Place = Pick<EbpfOptions, 'bpffsPath' | 'namespaceName'>;

export class Tenants {
  readonly driver: EbpfDriver;
  readonly region: Region;
  readonly alice: Tenant;
  readonly bob: Tenant;

  readonly #place: Place;

  private constructor(place: Place, driver: EbpfDriver, region: Region, alice: Tenant, bob: Tenant) {
    this.#place = place;
    this.driver = driver;
    this.region = region;
    this.alice = alice;
    this.bob = bob;
  }

  /** Starts a region and brings it to two peered tenants. @param options what of the driver shall differ */
  static async start(
    sandbox: Sandbox,
    options: Pick<EbpfOptions, 'objectPath' | 'fence' | 'limits'> = {},
  ): Promise<Tenants> {
    const name = sandbox.name('plane');
    const place = { bpffsPath: join(sandbox.folder, name), namespaceName: name };
    sandbox.atEnd(() => purgePlane(place));
    const store = new SqliteStore(join(sandbox.folder, `${name}.db`));
    const driver = new EbpfDriver({ ...options, ...place, installationId: store.installationId });
    const plane = new Reconciler(driver, { driftInterval: 0 }); // a drift check in the middle would be measured too
    const region = await Region.start({ name: 'bench', version: '0', store, plane });
    const alice = await tenant(sandbox, region, plane, {
      name: 'alice',
      v4: '10.1.0.0/16',
      v6: 'fd00:1::/48',
      ports: 2,
    });
    const bob = await tenant(sandbox, region, plane, { name: 'bob', v4: '10.2.0.0/16', v6: 'fd00:2::/48', ports: 1 });
    const tenants = new Tenants(place, driver, region, alice, bob);
    const [ours, theirs] = [await tenants.join(alice, bob), await tenants.join(bob, alice)];
    await tenants.#route(alice, ours, ['10.2.0.0/16', 'fd00:2::/48']);
    await tenants.#route(bob, theirs, ['10.1.0.0/16', 'fd00:1::/48']);
    return tenants;
  }

  async join(of: Tenant, to: Tenant): Promise<HalfId> {
    const { vpcId } = of;
    const name = `half-${vpcId.slice(-10)}`;
    const create = { kind: 'create-peering', name, description: '', vpcId, remoteVpcId: to.vpcId } as const;
    return (await command(this.region, create, of.accountId)) as HalfId;
  }
  async part(of: Tenant, halfId: HalfId): Promise<void> {
    await command(this.region, { kind: 'delete-peering', halfId }, of.accountId);
  }
  half(of: Tenant, to: Tenant): HalfId {
    const half = this.region.state.half(of.vpcId, to.vpcId);
    if (half === undefined) throw new Error('no such half');
    return half.id;
  }

  async #route(of: Tenant, halfId: HalfId, destinations: readonly string[]): Promise<void> {
    const routeTableId = this.region.state.get('vpc', of.vpcId)?.defaultRouteTableId as RouteTableId;
    const routes = destinations.map((text) => ({
      destination: prefix(text),
      nextHop: { kind: 'peering', halfId } as const,
    }));
    await command(this.region, { kind: 'add-routes', routeTableId, routes }, of.accountId);
  }

  /** From Alice's first interface to Bob's. */
  get peered(): Path {
    const { from, to } = { from: portOf(this.alice, 0), to: portOf(this.bob, 0) };
    return { name: 'peered', from: from.namespace, to: to.namespace, address: to.v4 };
  }
  get peeredV6(): Path {
    const { from, to } = { from: portOf(this.alice, 0), to: portOf(this.bob, 0) };
    return { name: 'peered-v6', from: from.namespace, to: to.namespace, address: to.v6 };
  }
  /** From Alice's first interface to her second. */
  get sameVpc(): Path {
    const { from, to } = { from: portOf(this.alice, 0), to: portOf(this.alice, 1) };
    return { name: 'same-vpc', from: from.namespace, to: to.namespace, address: to.v4 };
  }

  /** Ends the region and removes its plane. */
  async close(): Promise<void> {
    await this.region.close();
    purgePlane(this.#place);
  }
}

export function portOf(tenant: Tenant, index: number): Port {
  const port = tenant.ports[index];
  if (port === undefined) throw new Error(`the tenant has no interface ${index}`);
  return port;
}

async function tenant(
  sandbox: Sandbox,
  region: Region,
  plane: Reconciler,
  of: { readonly name: string; readonly v4: string; readonly v6: string; readonly ports: number },
): Promise<Tenant> {
  const accountId = (await command(region, { kind: 'create-account', name: of.name }, null)) as AccountId;
  const give = (what: Command): Promise<string> => command(region, what, accountId);
  const text = { name: of.name, description: '' };
  const cidrs = [prefix(of.v4), prefix(of.v6)];
  const vpcId = (await give({ kind: 'create-vpc', ...text, cidrs })) as VpcId;
  const subnetCidrs = [prefix(of.v4.replace('/16', '/24')), prefix(of.v6.replace('/48', '/64'))];
  const subnetId = (await give({ kind: 'create-subnet', ...text, vpcId, cidrs: subnetCidrs })) as SubnetId;
  const ports: Port[] = [];
  for (let index = 0; index < of.ports; index++) {
    const id = (await give({
      kind: 'create-interface',
      ...text,
      name: `${of.name}-${index}`,
      subnetId,
      primary: [],
      secondary: [],
      secondaryCount: 0,
      sanityCheck: true,
    })) as PortId;
    const namespace = sandbox.namespace(`${of.name}-${index}`);
    await plane.attach({ portId: id, target: { kind: 'netns', name: namespace } });
    const primary = region.state.get('interface', id)?.primary ?? [];
    const v4 = primary.find((address) => familyOf(address) === 4);
    const v6 = primary.find((address) => familyOf(address) === 6);
    if (v4 === undefined || v6 === undefined) throw new Error(`${id} has no address of each family`);
    ports.push({ id, namespace, v4, v6 });
  }
  return { accountId, vpcId, ports };
}
