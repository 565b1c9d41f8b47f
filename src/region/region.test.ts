import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Plan } from '../dataplane/driver.ts';
import { FakeDriver } from '../dataplane/fake/driver.ts';
import { Reconciler } from '../dataplane/reconciler.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HalfId, KeyId, PortId, RouteTableId, SubnetId, VpcId } from '../model/ids.ts';
import { type Address, type Prefix, parsePrefix } from '../model/ip.ts';
import { gatewayMac } from '../model/network-spec.ts';
import type { NetworkInterface } from '../model/resources.ts';
import type { Command } from '../rules/commands.ts';
import { SqliteStore } from '../store/sqlite.ts';
import { Region } from './region.ts';
import type { Principal } from './service.ts';

const prefix = (text: string): Prefix => {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok);
  return parsed.value;
};
const operator: Principal = { kind: 'operator' };

interface Side {
  readonly principal: Principal;
  readonly vpcId: VpcId;
  readonly port: NetworkInterface;
  readonly routeTableId: RouteTableId;
  readonly cidr: Prefix;
}

/** A region in memory with two strangers who could reach each other, were they allowed to. */
async function twoStrangers(driver = new FakeDriver()) {
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const store = new SqliteStore(':memory:');
  const region = await Region.start({ name: 'test', version: '0', store, plane });
  const give = async (command: Command, principal: Principal): Promise<string> => {
    const outcome = await region.submit(command, { principal, requestId: 'r' });
    assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
    assert.ok(outcome.applied);
    return outcome.result.id ?? '';
  };
  const refused = async (command: Command, principal: Principal): Promise<string> => {
    const before = region.state.revision;
    const outcome = await region.submit(command, { principal, requestId: 'r' });
    assert.ok(isRefusal(outcome), JSON.stringify(outcome));
    assert.equal(region.state.revision, before, 'a refusal changes nothing');
    return outcome.code;
  };
  const side = async (name: string, text: string): Promise<Side> => {
    const accountId = (await give({ kind: 'create-account', name }, operator)) as AccountId;
    const keyId = (await give({ kind: 'create-key', accountId, description: '' }, operator)) as KeyId;
    const principal: Principal = { kind: 'tenant', accountId, keyId };
    const cidr = prefix(text);
    const vpcId = (await give({ kind: 'create-vpc', name, description: '', cidrs: [cidr] }, principal)) as VpcId;
    const draft = { kind: 'create-subnet', vpcId, name, description: '', cidrs: [cidr] } as const;
    const subnetId = (await give(draft, principal)) as SubnetId;
    const portId = (await give(
      {
        kind: 'create-interface',
        subnetId,
        name,
        description: '',
        primary: [],
        secondary: [],
        secondaryCount: 0,
        sanityCheck: true,
      },
      principal,
    )) as PortId;
    await driver.attach({ portId, target: { kind: 'netns', name } });
    const port = region.state.get('interface', portId);
    const routeTableId = region.state.get('vpc', vpcId)?.defaultRouteTableId;
    assert.ok(port !== undefined && routeTableId !== undefined);
    return { principal, vpcId, port, routeTableId, cidr };
  };
  /** What became of a packet: 'delivered', or the reason of its drop. */
  const send = (from: Side, to: Side): string => {
    const verdict = driver.send({
      from: from.port.id,
      sourceMac: from.port.mac,
      destinationMac: gatewayMac,
      source: from.port.primary[0] as Address,
      destination: to.port.primary[0] as Address,
      ttl: 64,
      length: 100,
      protocol: 'udp',
    });
    return verdict.kind === 'dropped' ? verdict.reason : verdict.kind;
  };
  const peer = async (from: Side, to: Side, name: string): Promise<HalfId> =>
    (await give(
      { kind: 'create-peering', name, description: '', vpcId: from.vpcId, remoteVpcId: to.vpcId },
      from.principal,
    )) as HalfId;
  const route = (from: Side, to: Side, halfId: HalfId): Promise<string> =>
    give(
      {
        kind: 'add-routes',
        routeTableId: from.routeTableId,
        routes: [{ destination: to.cidr, nextHop: { kind: 'peering', halfId } }],
      },
      from.principal,
    );
  return { region, driver, give, refused, side, send, peer, route };
}

test('two tenants join, exchange packets along routes on both sides, and part', async () => {
  const { region, give, side, send, peer, route } = await twoStrangers();
  const a = await side('red', '10.0.0.0/24');
  const b = await side('blue', '10.1.0.0/24');
  assert.equal(send(a, b), 'BlackHole');
  const ab = await peer(a, b, 'ab');
  assert.equal(region.state.get('peering', ab)?.state, 'Initiated');
  await route(a, b, ab);
  assert.equal(send(a, b), 'NoPeering');
  const ba = await peer(b, a, 'ba');
  assert.equal(region.state.get('peering', ab)?.state, 'Connected');
  assert.equal(send(a, b), 'delivered');
  assert.equal(send(b, a), 'BlackHole', 'no route back');
  await route(b, a, ba);
  assert.equal(send(b, a), 'delivered');

  await give({ kind: 'delete-peering', halfId: ba }, b.principal);
  assert.equal(region.state.get('peering', ab)?.state, 'Disconnected');
  assert.equal(send(a, b), 'NoPeering');
  assert.equal(send(b, a), 'NoPeering');
  assert.equal(await peer(b, a, 'ba'), ba, 'the half regains its id');
  assert.equal(send(b, a), 'delivered');
  assert.equal((await region.counters()).halves.get(ab)?.packets, 1);
  await region.close();
});

test('a change that leaves the network alone is answered at once, and counts as applied', async () => {
  const { region, give } = await twoStrangers();
  await give({ kind: 'create-account', name: 'green' }, { kind: 'operator' });
  const { revision } = region.status();
  for (let turns = 0; region.status().appliedRevision < revision; turns++) {
    assert.ok(turns < 20, `revision ${region.status().appliedRevision} of ${revision}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await region.close();
});

test('18. growth that overlaps a Connected peer is refused, and allowed once they have parted', async () => {
  const { region, give, refused, side, peer } = await twoStrangers();
  const a = await side('red', '10.0.0.0/24');
  const b = await side('blue', '10.1.0.0/24');
  await peer(a, b, 'ab');
  const ba = await peer(b, a, 'ba');
  const grow = { kind: 'add-cidr', vpcId: a.vpcId, cidr: prefix('10.1.0.0/25') } as const;
  assert.equal(await refused(grow, a.principal), 'growth-overlaps-peer');
  await give({ kind: 'delete-peering', halfId: ba }, b.principal);
  await give(grow, a.principal);
  const again = { kind: 'create-peering', name: 'ba', description: '', vpcId: b.vpcId, remoteVpcId: a.vpcId } as const;
  assert.equal(await refused(again, b.principal), 'peering-overlap', 'the mirror that would now overlap');
  await region.close();
});

test('8. an unknown VPC id is 404, attempts are limited, and a stranger says nothing but that it exists', async () => {
  const { region, refused, side } = await twoStrangers();
  const a = await side('red', '10.0.0.0/24');
  const b = await side('blue', '10.0.0.0/25');
  const towards = (remoteVpcId: VpcId): Command => ({
    kind: 'create-peering',
    name: 'x',
    description: '',
    vpcId: a.vpcId,
    remoteVpcId,
  });
  const overlap = await region.submit(towards(b.vpcId), { principal: a.principal, requestId: 'r' });
  assert.ok(isRefusal(overlap));
  assert.equal(overlap.code, 'peering-overlap-hidden');
  assert.ok(!JSON.stringify(overlap).includes('10.0.0.0/25'), "the stranger's range stays hidden");
  // The overlap was the first of the twenty: ranges are not to be found by trying either.
  for (let n = 0; n < 19; n++) assert.equal(await refused(towards(`vpc-${n}` as VpcId), a.principal), 'not-found');
  assert.equal(await refused(towards('vpc-x' as VpcId), a.principal), 'too-many-unknown-ids');
  await region.close();
});

test('65. a create repeated with its token answers with the same object; another request with it is refused', async () => {
  const { region, side } = await twoStrangers();
  const { principal } = await side('red', '10.0.0.0/24');
  const create = (name: string): Command => ({ kind: 'create-vpc', name, description: '', cidrs: [] });
  const context = { principal, requestId: 'r', clientToken: 'once' };
  const all = await Promise.all([1, 2, 3].map(() => region.submit(create('one'), context)));
  const ids = new Set(all.map((outcome) => (isRefusal(outcome) ? outcome.code : outcome.result.id)));
  assert.equal(ids.size, 1, 'parallel retries make one');
  const other = await region.submit(create('two'), context);
  assert.ok(isRefusal(other) && other.code === 'token-reused');
  await region.close();
});

/** A plane that can be made to wait with what it is told. */
class SlowDriver extends FakeDriver {
  gate: Promise<void> = Promise.resolve();
  override async apply(plan: Plan): Promise<void> {
    await this.gate;
    await super.apply(plan);
  }
}

test('who asks again for what was done is answered no sooner than who asked first', async () => {
  const driver = new SlowDriver();
  const { region, side } = await twoStrangers(driver);
  const a = await side('red', '10.0.0.0/24');
  const { principal } = a;
  const again = {
    'a create with its token': { kind: 'create-vpc', name: 'v', description: '', cidrs: [prefix('10.7.0.0/24')] },
    'a change that changes nothing': { kind: 'modify-interface', portId: a.port.id, sanityCheck: false },
  } as const satisfies Record<string, Command>;
  for (const [what, command] of Object.entries(again)) {
    const { promise, resolve: open } = Promise.withResolvers<void>();
    driver.gate = promise;
    const order: string[] = [];
    const ask = async (who: string): Promise<void> => {
      const outcome = await region.submit(command, { principal, requestId: 'r', clientToken: 'once' });
      assert.ok(!isRefusal(outcome) && outcome.applied, what);
      order.push(who);
    };
    const revision = region.state.revision;
    const all = [ask('first'), ask('second')];
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(region.state.revision, revision + 1, `${what} is done once`);
    assert.deepEqual(order, [], `${what}: the plane does not hold it yet`);
    open();
    await Promise.all(all);
    await ask('third'); // at once: the plane is known to hold it
    assert.deepEqual(order.sort(), ['first', 'second', 'third']);
  }
  await region.close();
});

test('63. a VPC with live peerings is deleted only with cascade, and the peer is left Disconnected', async () => {
  const { region, give, refused, side, peer } = await twoStrangers();
  const a = await side('red', '10.0.0.0/24');
  const b = await side('blue', '10.1.0.0/24');
  await peer(a, b, 'ab');
  const ba = await peer(b, a, 'ba');
  assert.equal(await refused({ kind: 'delete-vpc', vpcId: a.vpcId, cascade: false }, a.principal), 'vpc-has-subnets');
  await give({ kind: 'delete-vpc', vpcId: a.vpcId, cascade: true }, a.principal);
  assert.equal(region.state.get('peering', ba)?.state, 'Disconnected');
  assert.equal(region.state.count('interface', a.vpcId), 0);
  await region.close();
});

test('a restarted region has the same state, and its store keeps secrets out of the journal', async () => {
  const store = new SqliteStore(':memory:');
  const start = () =>
    Region.start({
      name: 'test',
      version: '0',
      store,
      plane: new Reconciler(new FakeDriver(), { driftInterval: 0 }),
    });
  const first = await start();
  const made = await first.submit({ kind: 'create-account', name: 'red' }, { principal: operator, requestId: 'r' });
  assert.ok(!isRefusal(made));
  const accountId = made.result.id as AccountId;
  const key = await first.submit(
    { kind: 'create-key', accountId, description: '' },
    { principal: operator, requestId: 'r' },
  );
  assert.ok(!isRefusal(key) && key.secret !== undefined);
  assert.ok(!JSON.stringify(store.entriesAfter(0, 100)).includes(key.secret));
  const second = await start();
  assert.deepEqual(second.state.get('account', accountId), first.state.get('account', accountId));
  assert.equal(second.secretOf(key.result.id ?? ''), key.secret);
  assert.equal(second.state.revision, first.state.revision);
});

test('tokens are for what makes something new, and bounded for each account', async () => {
  let now = Date.parse('2026-05-04T00:00:00Z');
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({
    name: 'test',
    version: '0',
    store: new SqliteStore(':memory:'),
    plane,
    clock: () => now,
    mostTokens: 20,
  });
  const made = await region.submit({ kind: 'create-account', name: 'red' }, { principal: operator, requestId: 'r' });
  assert.ok(!isRefusal(made));
  const accountId = made.result.id as AccountId;
  await region.submit(
    { kind: 'set-quota', accountId, type: 'vpc', limit: 20_000 },
    { principal: operator, requestId: 'r' },
  );
  const principal: Principal = { kind: 'tenant', accountId, keyId: 'JDC_x' as KeyId };
  const create = (clientToken: string) =>
    region.submit(
      { kind: 'create-vpc', name: 'v', description: '', cidrs: [] },
      { principal, requestId: 'r', clientToken },
    );
  const first = await create('t0');
  assert.ok(!isRefusal(first));
  const vpcId = first.result.id as VpcId;
  for (const name of ['a', 'b']) {
    const again = await region.submit(
      { kind: 'modify-vpc', vpcId, name },
      { principal, requestId: 'r', clientToken: 'same' },
    );
    assert.ok(!isRefusal(again), 'a change is not remembered under its token');
  }
  assert.equal(region.state.count('client-token', accountId), 1);
  for (let n = 1; n < 20; n++) await create(`t${n}`);
  const over = await create('one-more');
  assert.ok(isRefusal(over) && over.code === 'too-many-tokens');
  const known = await create('t0');
  assert.ok(!isRefusal(known) && known.result.id === vpcId, 'those that are known still answer');
  now += 24 * 3600 * 1000;
  const later = await create('t0');
  assert.ok(!isRefusal(later) && later.result.id !== vpcId, 'a day later it is a new one');
  assert.equal(region.state.count('client-token', accountId), 1, 'and the old ones are gone');
  await region.close();
});
