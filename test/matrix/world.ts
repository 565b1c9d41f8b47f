/**
 * A region with tenants for a test, on either carrier, and the connectivity matrix: after a step every pair of interfaces
 * is judged from the resources, explained from the plane as read back, and really sent; the three must agree, reason
 * included.
 */
import assert from 'node:assert/strict';
import { explain } from '../../src/explain/explain.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, HalfId, KeyId, PortId, RouteTableId, SubnetId, VpcId } from '../../src/model/ids.ts';
import { type Address, addressAt, familyOf, type Prefix } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import type { NetworkInterface, NextHop } from '../../src/model/resources.ts';
import { Region } from '../../src/region/region.ts';
import type { Principal } from '../../src/region/service.ts';
import type { Command } from '../../src/rules/commands.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Ending, Probe } from '../wire/lab.ts';
import { address, prefix } from '../wire/sketch.ts';
import { type Carrier, type MakeCarrier, type Shot, wordsOf } from './carriers.ts';
import { brokenHalves, type Expectation, expected } from './oracle.ts';

type Of<K extends Command['kind']> = Extract<Command, { kind: K }>;
const operator: Principal = { kind: 'operator' };

/** One cell of the matrix. */
export interface Cell {
  readonly from: PortId;
  readonly to: Address;
  readonly words: string;
}

/** Addresses that nobody has, outside every VPC of these tests. */
const elsewhere = ['198.51.100.7', '2001:db8::7'].map(address);

export class World {
  readonly region: Region;
  readonly carrier: Carrier;
  readonly #tenants = new Map<string, Principal & { kind: 'tenant' }>();
  /** Cells checked so far: a matrix that checks nothing proves nothing. */
  cells = 0;

  private constructor(region: Region, carrier: Carrier) {
    this.region = region;
    this.carrier = carrier;
  }

  static async start(make: MakeCarrier, ending: Ending): Promise<World> {
    const carrier = await make(ending);
    const { plane } = carrier;
    const region = await Region.start({ name: 'test', version: '0', store: new SqliteStore(':memory:'), plane });
    return new World(region, carrier);
  }
  get state() {
    return this.region.state;
  }

  /** The tenant of that name; its account and key are made when first asked for. */
  async tenant(name: string): Promise<Principal & { kind: 'tenant' }> {
    let tenant = this.#tenants.get(name);
    if (tenant === undefined) {
      const accountId = (await this.#done({ kind: 'create-account', name }, operator)) as AccountId;
      const keyId = (await this.#done({ kind: 'create-key', accountId, description: '' }, operator)) as KeyId;
      tenant = { kind: 'tenant', accountId, keyId };
      this.#tenants.set(name, tenant);
    }
    return tenant;
  }
  async #principal(of: string): Promise<Principal> {
    if (of === 'operator') return operator;
    // The owner of an object by its id, or a tenant by name.
    for (const kind of ['vpc', 'subnet', 'route-table', 'peering', 'interface'] as const) {
      const object = this.state.get(kind, of);
      if (object === undefined) continue;
      for (const tenant of this.#tenants.values()) if (tenant.accountId === object.accountId) return tenant;
    }
    return this.tenant(of);
  }
  async #done(command: Command, principal: Principal): Promise<string> {
    const outcome = await this.region.submit(command, { principal, requestId: 'r' });
    assert.ok(!isRefusal(outcome), `${command.kind}: ${JSON.stringify(outcome)}`);
    assert.ok(outcome.applied, `${command.kind} did not reach the plane: ${this.region.status().planeProblem}`);
    return outcome.result.id ?? outcome.result.ids?.[0] ?? '';
  }

  /** Gives a command. @param of 'operator', a tenant's name, or the id of something it owns @returns the id made */
  async give(of: string, command: Command): Promise<string> {
    const id = await this.#done(command, await this.#principal(of));
    this.forgetGone();
    return id;
  }
  /** Gives a command that must be refused and change nothing. @returns the code of the refusal */
  async refused(of: string, command: Command): Promise<string> {
    const before = this.region.state.revision;
    const outcome = await this.region.submit(command, { principal: await this.#principal(of), requestId: 'r' });
    assert.ok(isRefusal(outcome), `${command.kind} was not refused`);
    assert.equal(this.region.state.revision, before, 'a refusal changes nothing');
    return outcome.code;
  }
  /** Workloads of interfaces that a command took away. */
  forgetGone(): void {
    for (const portId of this.#attachedOnce) {
      if (this.state.get('interface', portId) !== undefined) continue;
      this.carrier.forget(portId);
      this.#attachedOnce.delete(portId);
    }
  }
  readonly #attachedOnce = new Set<PortId>();

  async vpc(tenant: string, name: string, ...cidrs: readonly string[]): Promise<VpcId> {
    const command = { kind: 'create-vpc', name, description: '', cidrs: cidrs.map(prefix) } as const;
    return (await this.give(tenant, command)) as VpcId;
  }
  async subnet(vpcId: VpcId, name: string, ...cidrs: readonly string[]): Promise<SubnetId> {
    const command = { kind: 'create-subnet', vpcId, name, description: '', cidrs: cidrs.map(prefix) } as const;
    return (await this.give(vpcId, command)) as SubnetId;
  }
  /** An interface with a workload on it. @param primary addresses; picked from the subnet if none is given */
  async port(
    subnetId: SubnetId,
    of: Partial<Of<'create-interface'>> & { readonly attach?: boolean } = {},
  ): Promise<PortId> {
    const { attach = true, ...rest } = of;
    const portId = (await this.give(subnetId, {
      kind: 'create-interface',
      subnetId,
      name: 'p',
      description: '',
      primary: [],
      secondary: [],
      secondaryCount: 0,
      sanityCheck: true,
      ...rest,
    })) as PortId;
    if (attach) await this.attach(portId);
    return portId;
  }
  async attach(portId: PortId, mtu?: number): Promise<void> {
    await this.carrier.attach(portId, mtu);
    this.#attachedOnce.add(portId);
  }
  /** A VPC of both families, 10.N.0.0/16 and fd00:N::/64, with one subnet on all of it and one workload. */
  async site(tenant: string, name: string, n: number) {
    const cidrs = [`10.${n}.0.0/16`, `fd00:${n}::/64`] as const;
    const vpcId = await this.vpc(tenant, name, ...cidrs);
    const subnetId = await this.subnet(vpcId, name, ...cidrs);
    return { vpcId, subnetId, portId: await this.port(subnetId), tableId: this.tableOf(vpcId), cidrs };
  }
  tableOf(vpcId: VpcId): RouteTableId {
    const vpc = this.state.get('vpc', vpcId);
    assert.ok(vpc !== undefined);
    return vpc.defaultRouteTableId;
  }
  async half(vpcId: VpcId, remoteVpcId: VpcId, name = `${vpcId.slice(4)}-${remoteVpcId.slice(4)}`): Promise<HalfId> {
    const command = { kind: 'create-peering', name: name.slice(0, 32), description: '', vpcId, remoteVpcId } as const;
    return (await this.give(vpcId, command)) as HalfId;
  }
  /** Rules towards a half (by its id), an interface (by its id) or 'internet'. */
  async route(routeTableId: RouteTableId, towards: string, ...destinations: readonly string[]): Promise<void> {
    const nextHop: NextHop =
      towards === 'internet'
        ? { kind: 'internet' }
        : towards.startsWith('port-')
          ? { kind: 'interface', portId: towards as PortId }
          : { kind: 'peering', halfId: towards as HalfId };
    const routes = destinations.map((text) => ({ destination: prefix(text), nextHop }));
    await this.give(routeTableId, { kind: 'add-routes', routeTableId, routes });
  }
  /** The rule of a table with that destination. */
  rule(routeTableId: RouteTableId, destination: string) {
    const rule = this.state.get('route-table', routeTableId)?.rules.find((one) => one.destination === destination);
    assert.ok(rule !== undefined, `no rule for ${destination}`);
    return rule;
  }
  async unroute(routeTableId: RouteTableId, destination: string): Promise<void> {
    const ruleIds = [this.rule(routeTableId, destination).id];
    await this.give(routeTableId, { kind: 'remove-routes', routeTableId, ruleIds });
  }
  /** Both halves and the routes of both default tables to all ranges of the other. */
  async join(a: VpcId, b: VpcId): Promise<readonly [HalfId, HalfId]> {
    const halves = [await this.half(a, b), await this.half(b, a)] as const;
    await this.route(this.tableOf(a), halves[0], ...this.rangesOf(b));
    await this.route(this.tableOf(b), halves[1], ...this.rangesOf(a));
    return halves;
  }
  rangesOf(vpcId: VpcId): readonly Prefix[] {
    const cidrs = this.state.get('vpc', vpcId)?.cidrs ?? [];
    return cidrs.length > 0 ? cidrs : this.state.children('subnet', vpcId).flatMap((subnet) => subnet.cidrs);
  }
  interface(portId: PortId): NetworkInterface {
    const port = this.state.get('interface', portId);
    assert.ok(port !== undefined, `no ${portId}`);
    return port;
  }
  addressOf(portId: PortId, family: 4 | 6): Address {
    const found = this.interface(portId).primary.find((own) => familyOf(own) === family);
    assert.ok(found !== undefined, `${portId} has no IPv${family} address`);
    return found;
  }

  /** 'delivered', or the exits that counted it: one for both families, or where they differ both, joined by a slash. */
  async sends(from: PortId, to: PortId): Promise<string> {
    const words = new Set<string>();
    for (const own of this.interface(from).primary) {
      const target = this.interface(to).primary.find((their) => familyOf(their) === familyOf(own));
      if (target !== undefined) words.add(wordsOf(await this.carrier.probe(from, target, false)));
    }
    assert.ok(words.size > 0, `${from} and ${to} have no family in common`);
    return [...words].map((said) => (said === `to ${to}` ? 'delivered' : said)).join('/');
  }

  /** Every address worth sending to: each interface's, each subnet's gateway and one of nobody in it, and elsewhere. */
  #targets(): readonly Address[] {
    const ports = [...this.state.all('interface')].flatMap(({ primary, secondary }) => [...primary, ...secondary]);
    const subnets = [...this.state.all('subnet')].flatMap(({ cidrs }) => cidrs);
    return [
      ...new Set([...ports, ...subnets.flatMap((cidr) => [addressAt(cidr, 1), addressAt(cidr, 200)]), ...elsewhere]),
    ];
  }

  async #probeAll(shots: readonly Shot[]): Promise<readonly Probe[]> {
    if (this.carrier.probeAll !== undefined) return this.carrier.probeAll(shots);
    const probes: Probe[] = [];
    for (const { from, to, handed } of shots) probes.push(await this.carrier.probe(from, to, handed));
    return probes;
  }

  /** Checks every cell. @returns them. @throws AssertionError with the cells that disagree */
  async matrix(): Promise<readonly Cell[]> {
    assert.deepEqual(brokenHalves(this.state), []);
    const { view, attached } = await this.carrier.observed();
    const judgements: (Shot & Expectation & { readonly explained: string })[] = [];
    const targets = this.#targets();
    for (const portId of attached.keys()) {
      const port = this.interface(portId);
      for (const to of targets) {
        const source = port.primary.find((own) => familyOf(own) === familyOf(to));
        if (source === undefined || port.primary.includes(to) || port.secondary.includes(to)) continue;
        const judged = expected(this.state, attached, port, to);
        const verdict = explain(view, (id) => attached.get(id) ?? null, {
          from: portId,
          sourceMac: port.mac,
          destinationMac: gatewayMac,
          source,
          destination: to,
          ttl: 64,
          length: 60,
          protocol: 'udp',
        });
        const explained =
          verdict.kind === 'dropped' ? verdict.reason : verdict.kind === 'delivered' ? `to ${verdict.to}` : 'Answered';
        judgements.push({ from: portId, to, awaited: judged.words.startsWith('to '), ...judged, explained });
      }
    }
    const probes = await this.#probeAll(judgements);
    const wrong: string[] = [];
    const cells = judgements.map(({ from, to, words, handed, explained }, at): Cell => {
      const probe = probes[at] ?? { exit: 'Internal' };
      const sent = handed && 'exit' in probe && probe.exit === 'Forwarded' ? words : wordsOf(probe);
      if (words !== explained || explained !== sent) {
        wrong.push(`${from} → ${to}: resources say ${words}, the plane ${explained}, the packet ${sent}`);
      }
      return { from, to, words: sent };
    });
    this.cells += cells.length;
    assert.deepEqual(wrong, []);
    return cells;
  }
}
