/** What an owner can see: a reason and an id for each drop, counters that never go back, one answer to a retry. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { Exit } from '../../src/model/drop-reason.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { HalfId, PortId } from '../../src/model/ids.ts';
import { type Address, familyOf, type Mac } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { Region } from '../../src/region/region.ts';
import type { Command } from '../../src/rules/commands.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { Api } from '../api/api.ts';
import type { World } from '../matrix/world.ts';
import { House } from '../processes/house.ts';
import { udpFrame } from '../wire/frame.ts';
import { cannotRun } from '../wire/lab.ts';
import { address } from '../wire/sketch.ts';
import { addressesOf, enough, inKernel, onBoth, oneFamily, pair, stateOf } from './ground.ts';

const families = [4, 6] as const;
const exitsOf = async (w: World, portId: PortId): Promise<ReadonlyMap<Exit, number>> => {
  const found = (await w.region.counters()).exits.get(portId) ?? new Map();
  return new Map([...found].map(([exit, { packets }]) => [exit, packets]));
};
/** What was counted since, but for what an IPv6 stack says to its link and the answers to it. */
async function counted(w: World, portId: PortId, before: ReadonlyMap<Exit, number>): Promise<readonly string[]> {
  const grown = [...(await exitsOf(w, portId))].filter(([exit, packets]) => packets !== (before.get(exit) ?? 0));
  const loud = grown.filter(([exit]) => exit !== 'Answered' && exit !== 'NotToGateway');
  return loud.map(([exit, packets]) => `${exit} ${packets - (before.get(exit) ?? 0)}`);
}

onBoth('61. each dropped packet is counted under one reason, and the trace names one object for it', async (w) => {
  const [a, b] = await pair(w);
  const [ab, ba] = await w.join(a.vpcId, b.vpcId);
  const idle = await w.port(b.subnetId, { attach: false });
  const dead = await w.half(a.vpcId, (await w.site('green', 'c', 3)).vpcId);
  await w.unroute(a.tableId, '0.0.0.0/0');
  await w.route(a.tableId, 'internet', '10.66.0.0/16', 'fd00:66::/64');
  await w.route(a.tableId, dead, '10.3.0.0/16', 'fd00:3::/64');
  const { mac } = w.interface(a.portId);
  const cases: readonly (readonly [string, string, readonly (string | Address)[]])[] = [
    ['NoRoute', a.tableId, ['198.51.100.7', '2001:db8::7']],
    ['BlackHole', a.tableId, ['10.66.0.9', 'fd00:66::9']],
    ['NoPeering', dead, ['10.3.0.4', 'fd00:3::4']],
    ['NoSuchAddress', a.vpcId, ['10.1.99.99', 'fd00:1::9999']],
    ['NoSuchAddress', b.vpcId, ['10.2.99.99', 'fd00:2::9999']],
    ['TargetGone', idle, w.interface(idle).primary],
  ];
  for (const [reason, object, targets] of cases) {
    for (const text of targets) {
      const destination = address(text);
      const source = oneFamily(addressesOf(w, a), familyOf(destination));
      const before = await exitsOf(w, a.portId);
      const probe = await w.carrier.probe(a.portId, destination, false);
      assert.deepEqual(probe, { exit: reason }, text);
      assert.deepEqual(await counted(w, a.portId, before), [`${reason} 1`], 'once, and under nothing else');
      const verdict = await w.region.trace({
        from: a.portId,
        sourceMac: mac,
        destinationMac: gatewayMac,
        source,
        destination,
        ttl: 64,
        length: 60,
        protocol: 'udp',
      });
      assert.ok(verdict.kind === 'dropped');
      assert.deepEqual([verdict.reason, verdict.object], [reason, object], text);
    }
  }
  const before = await exitsOf(w, a.portId);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
  assert.deepEqual(await counted(w, a.portId, before), ['Forwarded 2']);
  assert.ok(stateOf(w, ab) === 'Connected' && stateOf(w, ba) === 'Connected');
});

inKernel('61. of frames that no stack would send, too, the reason counted is the reason traced', async (w, lab) => {
  const [a, b] = await pair(w);
  await w.join(a.vpcId, b.vpcId);
  const small = await w.port(b.subnetId, { attach: false });
  await w.attach(small, 1400);
  const near = await w.port(a.subnetId);
  const { mac } = w.interface(a.portId);
  const raw = lab.workload(a.portId).frames();
  for (const family of families) {
    const good = {
      source: oneFamily(addressesOf(w, a), family),
      destination: oneFamily(addressesOf(w, b), family),
      sourceMac: mac,
      destinationMac: gatewayMac,
      ttl: 64,
    };
    const header = family === 4 ? 28 : 48;
    for (const [reason, object, bent, length] of [
      ['WrongSourceMac', a.portId, { sourceMac: '02:00:00:00:00:99' as Mac }, 60],
      [
        'SpoofedAddress',
        a.portId,
        { source: good.destination, destination: oneFamily(w.interface(near).primary, family) },
        60,
      ],
      ['TtlExpired', a.portId, { ttl: 1 }, 60],
      ['TooBig', small, { destination: oneFamily(w.interface(small).primary, family) }, 1401],
      ['NotToGateway', a.portId, { destinationMac: '02:00:00:00:00:98' as Mac }, 60],
    ] as const) {
      const packet = { ...good, ...bent };
      const before = await exitsOf(w, a.portId);
      raw.send(udpFrame(packet, { from: 7, to: 7 }, Buffer.alloc(length - header)));
      const grown = async (): Promise<number> =>
        ((await exitsOf(w, a.portId)).get(reason) ?? 0) - (before.get(reason) ?? 0);
      await lab.until(`${reason} is counted`, async () => (await grown()) > 0);
      const expected = reason === 'NotToGateway' ? [] : [`${reason} 1`];
      assert.deepEqual(await counted(w, a.portId, before), expected);
      const verdict = await w.region.trace({ ...packet, from: a.portId, length, protocol: 'udp' });
      assert.ok(verdict.kind === 'dropped');
      assert.deepEqual([verdict.reason, verdict.object], [reason, object]);
    }
    assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
  }
});

onBoth('62. counters never go back when halves, routes and tables are written anew', async (w) => {
  const [a, b] = await pair(w);
  const [ab, ba] = await w.join(a.vpcId, b.vpcId);
  const totals = async (): Promise<readonly number[]> => {
    const { halves } = await w.region.counters();
    const of = (half: HalfId): number => halves.get(half)?.packets ?? 0;
    return [of(ab), of(ba), (await exitsOf(w, a.portId)).get('Forwarded') ?? 0];
  };
  let expected = [0, 0, 0] as readonly number[];
  const exchange = async (): Promise<void> => {
    assert.deepEqual(await totals(), expected, 'nothing was forgotten, nothing was added');
    assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    assert.equal(await w.sends(b.portId, a.portId), 'delivered');
    expected = expected.map((count) => count + 2); // both families
    assert.deepEqual(await totals(), expected);
  };
  await exchange();
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  await w.half(b.vpcId, a.vpcId);
  await exchange();
  for (const cidr of b.cidrs) await w.unroute(a.tableId, cidr);
  await w.route(a.tableId, ab, ...b.cidrs);
  await exchange();
  // Written anew by the reconciler, after somebody's hand.
  await w.carrier.tamper({ make: [], break: [{ step: 'kill-half', vpcId: a.vpcId, halfId: ab }] });
  assert.ok((await w.carrier.plane.checkDrift()).length > 0, 'control: it was healed');
  await exchange();
  await w.give(a.vpcId, { kind: 'delete-peering', halfId: ab });
  await w.half(a.vpcId, b.vpcId);
  await exchange();
});

test('62. counters survive the death and return of every process', { skip: cannotRun, timeout: 120_000 }, async (t) => {
  const house = await House.start(t);
  const { red, blue, redHalf } = await house.peered();
  interface Usage {
    readonly sent: { readonly packets: number; readonly bytes: number };
  }
  const usage = async (): Promise<Usage['sent']> =>
    ((await red.client.get(`/vpcPeerings/${redHalf}/usage`)) as Usage).sent;
  let total = 0;
  const traffic = async (): Promise<void> => {
    const stream = await house.stream(red, blue);
    await enough([stream], 20);
    const { sent, lost } = await house.lost([stream]);
    assert.equal(lost, 0);
    total += sent;
    assert.equal((await usage()).packets, total, 'to the packet');
  };
  await traffic();
  const before = house.syncs().length;
  house.kill('agent');
  house.kill('region');
  await house.met(before);
  assert.equal((await usage()).packets, total, 'after a kill of both');
});

onBoth('63. a VPC with halves is deleted as documented: refused, or with all that hangs on it', async (w) => {
  const [a, b] = await pair(w);
  const remove = (vpcId: typeof a.vpcId, cascade: boolean): Command => ({ kind: 'delete-vpc', vpcId, cascade });
  const bare = await w.vpc('red', 'bare', '10.8.0.0/16');
  const toB = await w.half(bare, b.vpcId);
  assert.equal(await w.refused(bare, remove(bare, false)), 'vpc-has-peerings', 'Initiated');
  const fromB = await w.half(b.vpcId, bare);
  assert.equal(await w.refused(bare, remove(bare, false)), 'vpc-has-peerings', 'Connected');
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: fromB });
  assert.equal(stateOf(w, toB), 'Disconnected');
  await w.give(bare, remove(bare, false));
  assert.deepEqual([w.state.get('vpc', bare), stateOf(w, toB)], [undefined, 'gone']);

  const [, ba] = await w.join(a.vpcId, b.vpcId);
  assert.equal(await w.sends(b.portId, a.portId), 'delivered', 'control');
  const targets = addressesOf(w, a);
  assert.equal(await w.refused(a.vpcId, remove(a.vpcId, false)), 'vpc-has-subnets');
  assert.equal(await w.sends(b.portId, a.portId), 'delivered', 'a refusal changes nothing');
  await w.give(a.vpcId, remove(a.vpcId, true));
  assert.equal(stateOf(w, ba), 'Disconnected');
  for (const to of targets) assert.deepEqual(await w.carrier.probe(b.portId, to, false), { exit: 'NoPeering' });
  const left = (['subnet', 'interface', 'route-table'] as const).filter((kind) => w.state.count(kind, a.vpcId) > 0);
  assert.deepEqual(left, []);
  assert.equal((await w.carrier.observed()).view.vpc(a.vpcId), undefined);
  await w.matrix();
});

test('65. sixteen retries of a create at once, with one token, make one object and one answer', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const create = (key: typeof red, vpcName: string, clientToken?: string) =>
    api.call(key, 'POST', '/vpcs/', { vpcName, ...(clientToken === undefined ? {} : { clientToken }) });
  const answers = await Promise.all(Array.from({ length: 16 }, () => create(red, 'one', 'once')));
  answers.push(await create(red, 'one', 'once'));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal(new Set(answers.map(({ json }) => json.result.vpcId)).size, 1);
  const count = (): number => [...api.region.state.all('vpc')].length;
  assert.equal(count(), 1);
  const other = await create(red, 'two', 'once');
  assert.equal(other.status, 409, 'another request with that token');
  assert.equal((await create(blue, 'one', 'once')).status, 200, 'another tenant’s token is another');
  await create(blue, 'one', 'twice');
  assert.equal(count(), 3, 'control: another token makes another');
});

test('65. a token is remembered over a restart, and for a day', async () => {
  const store = new SqliteStore(':memory:');
  let now = Date.parse('2026-01-01T00:00:00Z');
  const start = () =>
    Region.start({
      name: 'test',
      version: '0',
      store,
      plane: new Reconciler(new FakeDriver(), { driftInterval: 0 }),
      clock: () => now,
    });
  const first = await start();
  const submit = async (region: Region, command: Command, principal: Parameters<Region['submit']>[1]['principal']) => {
    const outcome = await region.submit(command, { principal, requestId: 'r', clientToken: 'once' });
    assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
    return outcome.result.id ?? '';
  };
  const accountId = (await submit(first, { kind: 'create-account', name: 'red' }, { kind: 'operator' })) as never;
  const red = { kind: 'tenant', accountId, keyId: '' as never } as const;
  const vpc = { kind: 'create-vpc', name: 'v', description: '', cidrs: [] } as const;
  const id = await submit(first, vpc, red);
  const second = await start();
  now += 23 * 3600 * 1000;
  assert.equal(await submit(second, vpc, red), id);
  now += 2 * 3600 * 1000;
  assert.notEqual(await submit(second, vpc, red), id, 'control: a day later it is a new request');
  await second.close();
});
