/**
 * A random walk of three tenants through everything they may do. An action is a few numbers that are read against what
 * exists at that moment, so that any part of a walk is a walk: that is what lets a failing one be shortened.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isRefusal } from '../../src/model/errors.ts';
import type { PortId } from '../../src/model/ids.ts';
import { addressAt, type Prefix } from '../../src/model/ip.ts';
import type { NextHop, Vpc } from '../../src/model/resources.ts';
import type { Outcome, Principal } from '../../src/region/service.ts';
import type { TenantCommand } from '../../src/rules/commands.ts';
import type { Ending } from '../wire/lab.ts';
import { prefix } from '../wire/sketch.ts';
import type { MakeCarrier } from './carriers.ts';
import { World } from './world.ts';

export const tenants = ['red', 'green', 'blue'] as const;
/** More interfaces than this make the matrix slow without making it better. */
const mostInterfaces = 9;
/** More VPCs than this meet too rarely. */
const mostVpcs = 6;

/** How often each is tried. Joining is tried more often than parting, or little would ever flow. */
const weights = {
  'create-vpc': 2,
  'create-subnet': 3,
  'create-interface': 5,
  'create-peering': 14,
  'add-route': 22,
  'modify-route': 4,
  'remove-route': 3,
  'create-table': 2,
  associate: 3,
  secondary: 4,
  cidr: 3,
  rename: 2,
  sanity: 2,
  workload: 4,
  'delete-peering': 4,
  'delete-interface': 2,
  'delete-subnet': 1,
  'delete-table': 1,
  'delete-vpc': 1,
} as const;
type What = keyof typeof weights;

export interface Action {
  readonly what: What;
  /** A thief tries it on what is somebody else's. */
  readonly tenant: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}
const names = Object.keys(weights) as readonly What[];
const number = fc.nat(9999);
export const action: fc.Arbitrary<Action> = fc.record({
  what: fc.constantFrom(...names.flatMap((what) => Array<What>(weights[what]).fill(what))),
  tenant: fc.nat(19),
  a: number,
  b: number,
  c: number,
});

/** A range of a small world: its parts overlap often enough. */
const ranges = (n: number): readonly Prefix[] => {
  const of = 1 + (n % 6);
  return [`10.${of}.0.0/16`, `fd00:${of}::/56`].map(prefix);
};
const piece = (n: number): readonly Prefix[] => {
  const [of, part] = [1 + (n % 6), n % 3];
  return [`10.${of}.${part}.0/24`, `fd00:${of}:0:${part}::/64`].map(prefix);
};
const destinations = (n: number): Prefix => {
  const all = [
    ...ranges(n),
    ...piece(n),
    prefix('0.0.0.0/0'),
    prefix('::/0'),
    prefix('10.0.0.0/8'),
    prefix('fd00::/16'),
  ];
  return all[(n >> 3) % all.length] ?? prefix('::/0');
};

const pick = <T>(of: readonly T[], n: number): T | undefined => of[n % Math.max(1, of.length)];

export type Around = (
  command: TenantCommand,
  principal: Principal,
  carryOut: () => Promise<Outcome>,
) => Promise<Outcome>;

export class Walk {
  readonly world: World;
  /** Commands that were done, refused, and cells in which a packet crossed from one VPC to another. */
  done = 0;
  refused = 0;
  crossed = 0;
  #serial = 0;
  /** Stands around each command, for what is to be seen before and after it. */
  readonly #around: Around;

  constructor(world: World, around: Around = (_command, _principal, carryOut) => carryOut()) {
    this.world = world;
    this.#around = around;
  }

  /** The command that an action is just now; null when there is nothing to do it to. */
  #commandOf({ what, a, b, c }: Action): TenantCommand | null {
    const { state } = this.world;
    const vpc = pick([...state.all('vpc')], a);
    const table = pick([...state.all('route-table')], a);
    const rule = table === undefined ? undefined : pick(table.rules, b);
    const half = pick([...state.all('peering')], a);
    const subnet = pick([...state.all('subnet')], a);
    const port = pick([...state.all('interface')], a);
    const name = `n${++this.#serial}`;
    const base = { name, description: '' } as const;
    switch (what) {
      case 'create-vpc':
        if ([...state.all('vpc')].length >= mostVpcs) return null;
        return { kind: 'create-vpc', ...base, cidrs: c % 4 === 0 ? [] : ranges(b) };
      case 'create-subnet':
        return vpc === undefined
          ? null
          : { kind: 'create-subnet', vpcId: vpc.id, ...base, cidrs: this.#within(vpc, b) };
      case 'create-interface':
        if (subnet === undefined || [...state.all('interface')].length >= mostInterfaces) return null;
        return {
          kind: 'create-interface',
          subnetId: subnet.id,
          ...base,
          primary: [],
          secondary: [],
          secondaryCount: c % 2,
          sanityCheck: b % 4 !== 0,
        };
      case 'create-peering': {
        const remote = pick([...state.all('vpc')], b);
        if (vpc === undefined || remote === undefined) return null;
        // Mostly an answer to somebody: by chance alone hardly anything would ever be Connected.
        const asked = pick(
          [...state.all('peering')].filter((one) => one.state !== 'Connected'),
          a,
        );
        if (asked !== undefined && c % 3 !== 0) {
          return { kind: 'create-peering', ...base, vpcId: asked.remoteVpcId, remoteVpcId: asked.localVpcId };
        }
        return { kind: 'create-peering', ...base, vpcId: vpc.id, remoteVpcId: remote.id };
      }
      case 'add-route': {
        const used = pick([...state.all('subnet')], a)?.routeTableId;
        const to = state.get('route-table', used ?? '') ?? table;
        if (to === undefined) return null;
        const routes = [{ destination: this.#towards(to.vpcId, b, c), nextHop: this.#hop(to.vpcId, b) }];
        return { kind: 'add-routes', routeTableId: to.id, routes };
      }
      case 'modify-route':
        if (table === undefined || rule === undefined) return null;
        return {
          kind: 'modify-routes',
          routeTableId: table.id,
          routes: [{ ruleId: rule.id, nextHop: this.#hop(table.vpcId, c) }],
        };
      case 'remove-route':
        return table === undefined || rule === undefined
          ? null
          : { kind: 'remove-routes', routeTableId: table.id, ruleIds: [rule.id] };
      case 'create-table':
        return vpc === undefined ? null : { kind: 'create-route-table', vpcId: vpc.id, ...base };
      case 'associate':
        if (table === undefined || subnet === undefined) return null;
        if (c % 3 === 0)
          return { kind: 'disassociate-route-table', routeTableId: subnet.routeTableId, subnetId: subnet.id };
        return {
          kind: 'associate-route-table',
          routeTableId: pick(state.children('route-table', subnet.vpcId), b)?.id ?? table.id,
          subnetIds: [subnet.id],
        };
      case 'secondary': {
        if (port === undefined) return null;
        const portId = port.id;
        if (c % 2 === 0 && port.secondary.length > 0) {
          return { kind: 'unassign-secondary', portId, addresses: port.secondary.slice(0, 1) };
        }
        const cidr = pick(state.get('subnet', port.subnetId)?.cidrs ?? [], b);
        if (cidr === undefined) return null;
        return { kind: 'assign-secondary', portId, addresses: [addressAt(cidr, 100 + (b % 4))], count: 0 };
      }
      case 'cidr': {
        if (vpc === undefined) return null;
        const cidr = pick(c % 3 === 0 ? vpc.cidrs : ranges(b), c) ?? prefix('10.9.0.0/16');
        if (c % 7 === 0) return { kind: 'modify-vpc', vpcId: vpc.id, unlimited: true };
        return { kind: c % 3 === 0 ? 'remove-cidr' : 'add-cidr', vpcId: vpc.id, cidr };
      }
      case 'rename':
        return half === undefined ? null : { kind: 'modify-peering', halfId: half.id, name };
      case 'sanity':
        return port === undefined ? null : { kind: 'modify-interface', portId: port.id, sanityCheck: c % 2 === 0 };
      case 'delete-peering':
        return half === undefined ? null : { kind: 'delete-peering', halfId: half.id };
      case 'delete-interface':
        return port === undefined ? null : { kind: 'delete-interface', portId: port.id };
      case 'delete-subnet':
        return subnet === undefined ? null : { kind: 'delete-subnet', subnetId: subnet.id };
      case 'delete-table':
        return table === undefined ? null : { kind: 'delete-route-table', routeTableId: table.id };
      case 'delete-vpc':
        return vpc === undefined ? null : { kind: 'delete-vpc', vpcId: vpc.id, cascade: c % 3 !== 0 };
      case 'workload':
        return null;
    }
  }
  #within(vpc: Vpc, n: number): readonly Prefix[] {
    const [first] = vpc.cidrs;
    return first?.startsWith('10.') === true ? piece(6 * (n % 3) + Number(first.split('.')[1]) - 1) : piece(n);
  }
  /** Mostly what lies behind the half that the rule will name, sometimes anything. */
  #towards(vpcId: string, b: number, c: number): Prefix {
    const half = pick(this.world.state.children('peering', vpcId), b);
    const theirs = half === undefined ? [] : this.world.rangesOf(half.remoteVpcId);
    return c % 4 === 0 ? destinations(c) : (pick(theirs, c) ?? destinations(c));
  }
  #hop(vpcId: string, n: number): NextHop {
    const { state } = this.world;
    if (n % 12 === 0) return { kind: 'internet' };
    if (n % 12 === 1) {
      const port = pick(state.children('interface', vpcId), n);
      if (port !== undefined) return { kind: 'interface', portId: port.id };
    }
    // Its own half, mostly; a child of a VPC is also the half that points at it, and that must be refused.
    const half = pick(state.children('peering', vpcId), n);
    return half === undefined ? { kind: 'internet' } : { kind: 'peering', halfId: half.id };
  }

  async step(action: Action): Promise<void> {
    const { world } = this;
    if (action.what === 'workload') return this.#workload(action);
    const command = this.#commandOf(action);
    if (command === null) return;
    const thief = action.tenant % 20 === 0;
    const owner = command.kind === 'create-vpc' ? (tenants[action.tenant % 3] ?? 'red') : this.#ownerOf(command);
    const as = thief && command.kind !== 'create-vpc' ? (tenants.find((name) => name !== owner) ?? 'red') : owner;
    const principal = await world.tenant(as);
    const before = world.state.revision;
    const outcome = await this.#around(command, principal, async () => {
      const done = await world.region.submit(command, { principal, requestId: 'r' });
      world.forgetGone();
      return done;
    });
    if (isRefusal(outcome)) {
      assert.equal(world.state.revision, before, 'a refusal changes nothing');
      this.refused++;
    } else {
      assert.ok(as === owner, `${as} could ${command.kind} of ${owner}`);
      assert.ok(outcome.applied, `${command.kind}: ${world.region.status().planeProblem}`);
      this.done++;
      if (command.kind === 'create-interface') await world.attach(outcome.result.id as PortId);
    }
  }
  /** The whole matrix. */
  async look(): Promise<void> {
    const { world } = this;
    for (const { from, words } of await world.matrix()) {
      const to = /^to (port-\S+)$/.exec(words)?.[1];
      if (to !== undefined && world.interface(to as PortId).vpcId !== world.interface(from).vpcId) this.crossed++;
    }
  }

  #ownerOf(command: TenantCommand): string {
    const { state } = this.world;
    const ids = Object.entries(command).filter(([field]) => field !== 'remoteVpcId');
    for (const [, id] of ids) {
      for (const kind of ['vpc', 'subnet', 'route-table', 'peering', 'interface'] as const) {
        const object = typeof id === 'string' ? state.get(kind, id) : undefined;
        const account = object === undefined ? undefined : state.get('account', object.accountId);
        if (account !== undefined) return account.name;
      }
    }
    return 'red';
  }
  async #workload({ a }: Action): Promise<void> {
    const { world } = this;
    const port = pick([...world.state.all('interface')], a);
    if (port === undefined) return;
    if (world.region.attachment(port.id) === undefined) await world.attach(port.id);
    else await world.carrier.detach(port.id);
    this.done++;
  }
}

/** Plays a walk from the beginning, the matrix after every step, and leaves nothing behind. */
export async function play(make: MakeCarrier, actions: readonly Action[]): Promise<Walk> {
  const closers: (() => unknown)[] = [];
  const ending: Ending = { after: (close) => void closers.push(close as () => unknown) };
  try {
    const world = await World.start(make, ending);
    const walk = new Walk(world);
    const sites = [];
    for (const [at, name] of tenants.entries()) sites.push(await world.site(name, name, at + 1));
    // Two are joined from the start and the third waits for an answer, so that there is something to lose.
    const [red, green, blue] = sites;
    assert.ok(red !== undefined && green !== undefined && blue !== undefined);
    await world.join(red.vpcId, green.vpcId);
    await world.half(blue.vpcId, green.vpcId);
    await walk.look();
    for (const one of actions) {
      await walk.step(one);
      await walk.look();
    }
    return walk;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}
