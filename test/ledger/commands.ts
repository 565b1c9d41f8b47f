/**
 * Random commands of every kind. A draw is a few numbers that are read against what exists at that moment, so that any
 * part of a history is a history: that is what lets a failing one be shortened. The table is closed over the union of
 * commands: a new kind does not compile until it is drawn here.
 */
import fc from 'fast-check';
import { type HostName, idPrefixes } from '../../src/model/ids.ts';
import { addressAt, familyOf, type Prefix } from '../../src/model/ip.ts';
import { quotaTypes } from '../../src/model/quota.ts';
import type { NextHop, ResourceKind, ResourceOf } from '../../src/model/resources.ts';
import type { StateView } from '../../src/model/state.ts';
import { type Command, type CommandKind, operatorCommands } from '../../src/rules/commands.ts';
import { prefix } from '../wire/sketch.ts';
import type { Ledger, Of } from './ledger.ts';

export interface Draw {
  readonly kind: CommandKind;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

const pick = <T>(of: readonly T[], n: number): T | undefined => of[n % Math.max(1, of.length)];
/** One of that kind; now and then an id that nobody has, which must be refused and nothing else. */
function some<K extends ResourceKind & keyof typeof idPrefixes>(state: StateView, kind: K, n: number) {
  const none = { id: `${idPrefixes[kind]}${'0'.repeat(kind === 'key' ? 32 : 10)}` } as ResourceOf<K>;
  return n % 29 === 0 ? none : (pick([...state.all(kind)], n) ?? none);
}
/** A small world: its ranges overlap often enough. */
const range = (n: number): readonly Prefix[] =>
  [`10.${n % 5}.0.0/16`, `fd00:${n % 5}::/56`].slice(0, 1 + (n % 2)).map(prefix);
/** IPv4, both, or IPv6 alone. */
const piece = (n: number, m: number): readonly Prefix[] => {
  const [v4, v6] = [prefix(`10.${n % 5}.${m % 3}.0/28`), prefix(`fd00:${n % 5}:0:${m % 3}::/64`)];
  return m % 5 === 0 ? [v6] : m % 2 === 0 ? [v4, v6] : [v4];
};
const destination = (n: number, m: number): Prefix =>
  pick(
    [
      ...range(2 * n + 1),
      ...range(n),
      prefix('0.0.0.0/0'),
      prefix('::/0'),
      prefix('10.0.0.0/8'),
      prefix('127.0.0.0/8'),
    ],
    m,
  ) ?? prefix('::/0');

function hop(state: StateView, vpcId: string | undefined, n: number): NextHop {
  const half = pick(
    vpcId === undefined || n % 7 === 0 ? [...state.all('peering')] : state.children('peering', vpcId),
    n,
  );
  if (half !== undefined && n % 4 !== 0) return { kind: 'peering', halfId: half.id };
  return n % 3 === 0 ? { kind: 'internet' } : { kind: 'interface', portId: some(state, 'interface', n).id };
}
/** A secondary address that the interface may well have. */
function near(state: StateView, subnetId: string | undefined, n: number) {
  const cidr = pick(state.get('subnet', subnetId ?? '')?.cidrs ?? [], n);
  return cidr === undefined ? [] : [addressAt(cidr, n % (familyOf(cidr) === 4 ? 9 : 16))];
}

type Make<K extends CommandKind> = (state: StateView, a: number, b: number, c: number) => Of<K>;
const host = (n: number): HostName => `h${n % 2}` as HostName;
const named = (n: number) => ({ name: `n${n % 40}`, description: '' });

const make: { readonly [K in CommandKind]: Make<K> } = {
  'create-account': (_, a) => ({ kind: 'create-account', name: `a${a % 6}` }),
  'modify-account': (s, a, b, c) => ({
    kind: 'modify-account',
    accountId: some(s, 'account', a).id,
    ...(c % 2 === 0 ? { name: `a${b % 6}` } : { requestsPerSecond: 1 + (b % 9) }),
  }),
  'delete-account': (s, a, b) => ({ kind: 'delete-account', accountId: some(s, 'account', a).id, force: b % 2 === 0 }),
  'set-quota': (s, a, b, c) => ({
    kind: 'set-quota',
    accountId: some(s, 'account', a).id,
    type: pick(quotaTypes, b) ?? 'vpc',
    limit: c % 3 === 0 ? null : 2 + (c % 20),
  }),
  'create-key': (s, a) => ({ kind: 'create-key', accountId: some(s, 'account', a).id, description: '' }),
  'delete-key': (s, a) => ({ kind: 'delete-key', keyId: some(s, 'key', a).id }),
  'create-host-authority': (_, a) => ({ kind: 'create-host-authority', certificate: `c${a}`, privateKey: '' }),
  'invite-host': (_, a, b, c) => ({
    kind: 'invite-host',
    name: host(a),
    tokenHash: `t${b % 2}`,
    expires: c % 9 === 0 ? '2000-01-01T00:00:00Z' : '2999-01-01T00:00:00Z',
  }),
  'admit-host': (_, a, b) => ({ kind: 'admit-host', tokenHash: `t${a % 2}`, keyHash: `k${b % 3}` }),
  'drain-host': (_, a) => ({ kind: 'drain-host', name: host(a) }),
  'undrain-host': (_, a) => ({ kind: 'undrain-host', name: host(a) }),
  'remove-host': (s, a, b) => ({
    kind: 'remove-host',
    name: host(a),
    attached: b % 3 === 0 ? null : b % 3 === 1 ? [] : [some(s, 'interface', b).id],
    lost: b % 7 === 0,
  }),
  'create-vpc': (_, a, b) => ({
    kind: 'create-vpc',
    ...named(a),
    cidrs: b % 13 === 0 ? [...range(b), ...range(b)] : b % 4 === 0 ? [] : range(b),
  }),
  'modify-vpc': (s, a, b, c) => ({
    kind: 'modify-vpc',
    vpcId: some(s, 'vpc', a).id,
    name: `n${b}`,
    unlimited: c % 3 === 0,
  }),
  'add-cidr': (s, a, b, c) => ({
    kind: 'add-cidr',
    vpcId: some(s, 'vpc', a).id,
    cidr: range(b)[c % 2] ?? prefix('10.7.0.0/16'),
  }),
  'remove-cidr': (s, a, b) => {
    const vpc = some(s, 'vpc', a);
    return { kind: 'remove-cidr', vpcId: vpc.id, cidr: pick(vpc.cidrs ?? [], b) ?? prefix('10.7.0.0/16') };
  },
  'delete-vpc': (s, a, b) => ({ kind: 'delete-vpc', vpcId: some(s, 'vpc', a).id, cascade: b % 2 === 0 }),
  'create-subnet': (s, a, b, c) => {
    const vpc = some(s, 'vpc', a);
    // Mostly inside what the VPC has; of an unlimited one anywhere.
    const first = vpc.cidrs?.[0]?.split('.')[1];
    const within = first === undefined || c % 11 === 0 ? b : Number(first);
    const table = c % 3 === 0 ? pick(s.children('route-table', vpc.id), b) : undefined;
    const cidrs = piece(within, c).slice(0, vpc.cidrs?.length === 1 ? 1 : 2);
    return { kind: 'create-subnet', vpcId: vpc.id, ...named(b), cidrs, ...(table ? { routeTableId: table.id } : {}) };
  },
  'modify-subnet': (s, a, b) => ({ kind: 'modify-subnet', subnetId: some(s, 'subnet', a).id, name: `n${b}` }),
  'delete-subnet': (s, a) => ({ kind: 'delete-subnet', subnetId: some(s, 'subnet', a).id }),
  'create-route-table': (s, a, b) => ({ kind: 'create-route-table', vpcId: some(s, 'vpc', a).id, ...named(b) }),
  'modify-route-table': (s, a, b) => ({
    kind: 'modify-route-table',
    routeTableId: some(s, 'route-table', a).id,
    description: `d${b}`,
  }),
  'delete-route-table': (s, a) => ({ kind: 'delete-route-table', routeTableId: some(s, 'route-table', a).id }),
  'add-routes': (s, a, b, c) => {
    const table = some(s, 'route-table', a);
    const one = (n: number) => ({ destination: destination(n, b + n), nextHop: hop(s, table.vpcId, c + n) });
    return { kind: 'add-routes', routeTableId: table.id, routes: c % 4 === 0 ? [one(b), one(c)] : [one(b)] };
  },
  'modify-routes': (s, a, b, c) => {
    const table = some(s, 'route-table', a);
    const ruleId = pick(table.rules ?? [], b)?.id ?? table.localRuleId;
    const change = c % 2 === 0 ? { nextHop: hop(s, table.vpcId, c) } : { destination: destination(b, c) };
    return { kind: 'modify-routes', routeTableId: table.id, routes: [{ ruleId, ...change }] };
  },
  'remove-routes': (s, a, b) => {
    const table = some(s, 'route-table', a);
    return {
      kind: 'remove-routes',
      routeTableId: table.id,
      ruleIds: [pick(table.rules ?? [], b)?.id ?? table.localRuleId],
    };
  },
  'associate-route-table': (s, a, b, c) => {
    const subnet = some(s, 'subnet', a);
    const table = c % 5 === 0 ? undefined : pick(s.children('route-table', subnet.vpcId), b);
    const routeTableId = table?.id ?? some(s, 'route-table', b).id;
    return { kind: 'associate-route-table', routeTableId, subnetIds: [subnet.id] };
  },
  'disassociate-route-table': (s, a, b) => {
    const subnet = some(s, 'subnet', a);
    const routeTableId = b % 4 === 0 ? some(s, 'route-table', b).id : subnet.routeTableId;
    return { kind: 'disassociate-route-table', routeTableId, subnetId: subnet.id };
  },
  'create-peering': (s, a, b, c) => {
    // Mostly an answer to somebody: by chance alone hardly anything would ever be Connected.
    const asked = pick(
      [...s.all('peering')].filter(({ state }) => state !== 'Connected'),
      a,
    );
    const [vpcId, remoteVpcId] =
      asked !== undefined && c % 3 !== 0
        ? [asked.remoteVpcId, asked.localVpcId]
        : [some(s, 'vpc', a).id, some(s, 'vpc', b).id];
    return { kind: 'create-peering', ...named(c), vpcId, remoteVpcId };
  },
  'modify-peering': (s, a, b) => ({ kind: 'modify-peering', halfId: some(s, 'peering', a).id, name: `n${b % 40}` }),
  'delete-peering': (s, a) => ({ kind: 'delete-peering', halfId: some(s, 'peering', a).id }),
  'create-interface': (s, a, b, c) => {
    const subnet = some(s, 'subnet', a);
    return {
      kind: 'create-interface',
      subnetId: subnet.id,
      ...named(b),
      primary: b % 3 === 0 ? near(s, subnet.id, b) : [],
      secondary: c % 3 === 0 ? near(s, subnet.id, c) : [],
      secondaryCount: c % 2,
      sanityCheck: b % 4 !== 0,
    };
  },
  'modify-interface': (s, a, b) => ({
    kind: 'modify-interface',
    portId: some(s, 'interface', a).id,
    sanityCheck: b % 2 === 0,
  }),
  'delete-interface': (s, a) => ({ kind: 'delete-interface', portId: some(s, 'interface', a).id }),
  'assign-secondary': (s, a, b, c) => {
    const port = some(s, 'interface', a);
    return { kind: 'assign-secondary', portId: port.id, addresses: near(s, port.subnetId, b), count: c % 2 };
  },
  'unassign-secondary': (s, a, b) => {
    const port = some(s, 'interface', a);
    const addresses = b % 5 === 0 ? near(s, port.subnetId, b) : (port.secondary ?? []).slice(0, 1);
    return { kind: 'unassign-secondary', portId: port.id, addresses };
  },
  'apply-network': (s, a, b, c) => {
    const at = (n: number) => `10.${(a + n) % 5}.0.0`;
    const vpc = (n: number) => ({
      name: `d${(a + n) % 3}`,
      description: b % 3 === 0 ? 'b' : '',
      cidrs: [prefix(`${at(n)}/16`)],
      routes: [
        { to: destination(c, a), via: { kind: 'internet' }, description: '' } as const,
        ...(c % 2 === 0
          ? [{ to: prefix('192.168.0.0/16'), via: { kind: 'peering', peering: 'out' }, description: '' } as const]
          : []),
      ],
      routeTables: b % 2 === 0 ? [{ name: 't', description: '', routes: [] }] : [],
      subnets: [
        {
          name: `s${b % 2}`,
          description: '',
          cidrs: [prefix(`${at(n)}/24`)],
          routeTable: b % 2 === 0 ? 't' : null,
          interfaces: [{ name: 'p', description: '', addresses: [], secondary: [], sourceCheck: c % 5 !== 0 }],
        },
      ],
    });
    const peerings = [{ name: 'out', description: '', vpc: `d${a % 3}`, remote: some(s, 'vpc', b).id }];
    return {
      kind: 'apply-network',
      network: {
        name: `net${c % 2}`,
        vpcs: c % 7 === 0 ? [] : c % 4 === 0 ? [vpc(0), vpc(1)] : [vpc(0)],
        peerings: c % 7 === 0 ? [] : peerings,
      },
      most: c % 11 === 0 ? 2 : 500,
    };
  },
};

export const commandKinds = Object.keys(make) as readonly CommandKind[];
/** Making is tried more often than breaking, or little would ever be there. */
const weight: { readonly [K in CommandKind]?: number } = {
  'create-account': 2,
  'create-vpc': 5,
  'create-subnet': 6,
  'create-interface': 8,
  'create-peering': 9,
  'add-routes': 8,
  'assign-secondary': 3,
  'associate-route-table': 3,
  'create-route-table': 3,
  'invite-host': 3,
  'admit-host': 4,
  'drain-host': 2,
  'undrain-host': 2,
};
const number = fc.nat(99_999);
export const draw: fc.Arbitrary<Draw> = fc.record({
  kind: fc.constantFrom(...commandKinds.flatMap((kind) => Array<CommandKind>(weight[kind] ?? 1).fill(kind))),
  a: number,
  b: number,
  c: number,
});

/** The command that a draw is just now. */
export const commandOf = (state: StateView, { kind, a, b, c }: Draw): Command => make[kind](state, a, b, c);

/** Who gives it: the operator what is his, else mostly the owner of what it names; sometimes a thief. */
export function giverOf(ledger: Ledger, command: Command, { a, b, c }: Draw) {
  if (command.kind in operatorCommands && c % 19 !== 0) return null;
  const accounts = [...ledger.state.all('account')];
  const anybody = pick(accounts, a + b)?.id ?? null;
  if (command.kind === 'create-vpc' || c % 17 === 0) return anybody;
  for (const [field, id] of Object.entries(command)) {
    if (field === 'remoteVpcId' || typeof id !== 'string') continue;
    for (const kind of ['vpc', 'subnet', 'route-table', 'peering', 'interface'] as const) {
      const owner = ledger.state.get(kind, id)?.accountId;
      if (owner !== undefined) return owner;
    }
  }
  return anybody;
}

/** Three tenants with a VPC, subnet and interface each, two of them joined: a start that has something to lose. */
export function populate(ledger: Ledger): void {
  const vpcs = ['a0', 'a1', 'a2'].map((name, n) => {
    const vpcId = ledger.vpc(ledger.account(name), `10.${n}.0.0/16`, `fd00:${n}::/56`);
    ledger.port(ledger.subnet(vpcId, `10.${n}.0.0/28`, `fd00:${n}::/64`));
    return vpcId;
  });
  const [red, green, blue] = vpcs;
  if (red === undefined || green === undefined || blue === undefined) return;
  ledger.half(red, green);
  ledger.half(green, red);
  ledger.half(blue, green);
}
