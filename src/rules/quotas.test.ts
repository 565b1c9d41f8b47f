import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from '../../test/ledger/ledger.ts';
import { address, prefix } from '../../test/wire/sketch.ts';
import type { AccountId, PortId, RouteTableId, SubnetId, VpcId } from '../model/ids.ts';
import { type QuotaType, quotas, quotaTypes } from '../model/quota.ts';
import type { Command } from './commands.ts';
import { quotaUse } from './quotas.ts';

/** A tenant with one of everything that a quota can count for. */
interface Tenant {
  readonly ledger: Ledger;
  readonly account: AccountId;
  readonly vpcId: VpcId;
  readonly subnetId: SubnetId;
  readonly tableId: RouteTableId;
  readonly portId: PortId;
  /** VPCs of somebody else to point halves at. */
  readonly others: readonly VpcId[];
}
/** Peerings that a VPC may have. */
const peerings = quotas.vpcpeering.limit;

function tenant(): Tenant {
  const ledger = new Ledger();
  const account = ledger.account('red');
  const vpcId = ledger.vpc(account, '10.0.0.0/16');
  const subnetId = ledger.subnet(vpcId, '10.0.0.0/21');
  const portId = ledger.port(subnetId);
  const tableId = ledger.done(
    { kind: 'create-route-table', vpcId, name: 't', description: '' },
    account,
  ) as RouteTableId;
  const blue = ledger.account('blue');
  ledger.done({ kind: 'set-quota', accountId: blue, type: 'vpc', limit: 2 * peerings }, null);
  const others = Array.from({ length: 2 * peerings }, (_, n) => ledger.vpc(blue, `172.16.${n}.0/24`));
  return { ledger, account, vpcId, subnetId, tableId, portId, others };
}

/** For each quota: the command that takes one more, and what it counts for. */
const oneMore: {
  readonly [Q in QuotaType]: {
    readonly parent: (of: Tenant) => string;
    readonly next: (of: Tenant, n: number) => Command;
  };
} = {
  vpc: {
    parent: (of) => of.account,
    next: () => ({ kind: 'create-vpc', name: 'v', description: '', cidrs: [] }),
  },
  subnet: {
    parent: (of) => of.vpcId,
    next: ({ vpcId }, n) => ({
      kind: 'create-subnet',
      vpcId,
      name: 's',
      description: '',
      cidrs: [prefix(`10.0.${100 + n}.0/24`)],
    }),
  },
  routeTable: {
    parent: (of) => of.vpcId,
    next: ({ vpcId }) => ({ kind: 'create-route-table', vpcId, name: 't', description: '' }),
  },
  staticRoute: {
    parent: (of) => of.tableId,
    next: ({ tableId }, n) => ({
      kind: 'add-routes',
      routeTableId: tableId,
      routes: [{ destination: prefix(`192.168.${n}.0/24`), nextHop: { kind: 'internet' } }],
    }),
  },
  vpcpeering: {
    parent: (of) => of.vpcId,
    next: ({ ledger, vpcId, others }, n) => ledger.peering(vpcId, others[n] ?? vpcId),
  },
  network_interface: {
    parent: (of) => of.account,
    next: ({ subnetId }) => ({
      kind: 'create-interface',
      subnetId,
      name: 'p',
      description: '',
      primary: [],
      secondary: [],
      secondaryCount: 0,
      sanityCheck: true,
    }),
  },
  cidr: {
    parent: (of) => of.vpcId,
    next: ({ vpcId }, n) => ({ kind: 'add-cidr', vpcId, cidr: prefix(`192.168.${n}.0/24`) }),
  },
  secondary_ip: {
    parent: (of) => of.portId,
    next: ({ portId }) => ({ kind: 'assign-secondary', portId, addresses: [], count: 1 }),
  },
  access_key: {
    parent: (of) => of.account,
    next: ({ account }) => ({ kind: 'create-key', accountId: account, description: '' }),
  },
};
const use = (of: Tenant, type: QuotaType): number =>
  quotaUse(of.ledger.state, of.account, type, oneMore[type].parent(of));
const giver = (of: Tenant, type: QuotaType): AccountId | null => (type === 'access_key' ? null : of.account);

/** Fills a quota up. @returns the refusal of one more */
function fill(of: Tenant, type: QuotaType, limit: number) {
  while (use(of, type) < limit) {
    const before = use(of, type);
    of.ledger.done(oneMore[type].next(of, before), giver(of, type));
    assert.equal(use(of, type), before + 1, 'each takes one');
  }
  const refusal = of.ledger.refused(oneMore[type].next(of, limit), giver(of, type));
  assert.equal(refusal.code, 'quota-exceeded');
  assert.equal(use(of, type), limit);
  return refusal;
}

for (const type of quotaTypes) {
  const { limit, noun } = quotas[type];
  test(`quota ${type}: ${limit} are had, one more is refused and names the number`, () => {
    const refusal = fill(tenant(), type, limit);
    assert.equal(refusal.http, 429);
    assert.ok(refusal.text.includes(`${limit} ${noun}`), refusal.text);
    assert.ok(refusal.remedy.includes(type), refusal.remedy);
  });

  test(`quota ${type} may be set for one account, holds for no other, and goes back to the default`, () => {
    const of = tenant();
    const set = (n: number | null) =>
      of.ledger.done({ kind: 'set-quota', accountId: of.account, type, limit: n }, null);
    set(4);
    fill(of, type, 4);
    set(5);
    fill(of, type, 5);
    // Lowered below what there is: nothing is taken away, and nothing more is had.
    set(2);
    const { next } = oneMore[type];
    assert.equal(of.ledger.refused(next(of, 5), giver(of, type)).code, 'quota-exceeded');
    assert.equal(use(of, type), 5);
    // Back at the default of 5 CIDRs the VPC is full; all others have room again.
    set(null);
    if (limit > 5) of.ledger.done(next(of, 5), giver(of, type));
    else assert.equal(of.ledger.refused(next(of, 5), giver(of, type)).params['limit'], String(limit));
    set(0);
    const other = of.ledger.site('green', '10.8.0.0/16');
    if (type === 'vpcpeering') of.ledger.half(other.vpcId, of.vpcId);
    if (type === 'access_key') of.ledger.done({ kind: 'create-key', accountId: other.account, description: '' }, null);
  });
}

test('what a create brings with it counts: CIDRs of a VPC, secondary addresses of an interface', () => {
  const { ledger, account, subnetId } = tenant();
  const cidrs = Array.from({ length: 6 }, (_, n) => prefix(`10.${n}.0.0/16`));
  const vpc = { kind: 'create-vpc', name: 'v', description: '' } as const;
  assert.equal(ledger.refused({ ...vpc, cidrs }, account).params['type'], 'cidr');
  ledger.done({ ...vpc, cidrs: cidrs.slice(1) }, account);

  const secondary = [50, 51, 52].map((n) => address(`10.0.0.${n}`));
  const port = {
    kind: 'create-interface',
    subnetId,
    name: 'p',
    description: '',
    primary: [],
    sanityCheck: true,
  } as const;
  const over = { ...port, secondary, secondaryCount: 8 } as const;
  assert.equal(ledger.refused(over, account).params['type'], 'secondary_ip');
  const portId = ledger.done({ ...over, secondaryCount: 7 }, account);
  assert.equal(ledger.get('interface', portId).secondary.length, 10);
});

test('halves count in any state, and those that others point at a VPC do not', () => {
  const { ledger, account, vpcId, others } = tenant();
  const blue = ledger.get('vpc', others[0] ?? '').accountId;
  for (const other of others) ledger.half(other, vpcId); // strangers
  for (const other of others.slice(0, peerings)) ledger.half(vpcId, other);
  for (const other of others.slice(0, 5)) {
    const half = ledger.state.half(other, vpcId);
    ledger.done({ kind: 'delete-peering', halfId: half?.id ?? ('' as never) }, blue);
  }
  assert.equal(ledger.stateOf(vpcId, others[0] ?? vpcId), 'Disconnected');
  assert.equal(ledger.refused(ledger.peering(vpcId, others[peerings] ?? vpcId), account).params['type'], 'vpcpeering');
  const own = ledger.state.half(vpcId, others[peerings - 1] ?? vpcId);
  ledger.done({ kind: 'delete-peering', halfId: own?.id ?? ('' as never) }, account);
  ledger.half(vpcId, others[peerings] ?? vpcId);
});
