/** What the API says of usage: exact, of deleted halves too, each account its own; and all counters in one answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAdminServer } from '../../src/api/admin.ts';
import type { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import type { PortId } from '../../src/model/ids.ts';
import type { Address, Mac, Prefix } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { Api, type Key } from './api.ts';

interface Side {
  readonly key: Key;
  readonly vpcId: string;
  readonly portId: PortId;
  readonly tableId: string;
  readonly cidr: string;
}

async function side(api: Api, name: string, cidr: string): Promise<Side> {
  const key = await api.tenant(name);
  const { vpcId } = await api.done(key, 'POST', '/vpcs', { vpcName: name, addressPrefix: cidr });
  const { subnetId } = await api.done(key, 'POST', '/subnets', { vpcId, subnetName: name, addressPrefix: cidr });
  const { networkInterfaceId: portId } = await api.done(key, 'POST', '/networkInterfaces', { subnetId });
  const tableId = api.region.state.get('vpc', vpcId)?.defaultRouteTableId ?? '';
  await api.attach(portId);
  return { key, vpcId, portId, tableId, cidr };
}
async function half(api: Api, from: Side, to: Side): Promise<string> {
  const { vpcPeering } = await api.done(from.key, 'POST', '/vpcPeerings', {
    vpcPeeringName: 'p',
    vpcId: from.vpcId,
    remoteVpcId: to.vpcId,
  });
  const { vpcPeeringId } = vpcPeering;
  const rule = { nextHopType: 'vpc_peering', nextHopId: vpcPeeringId, addressPrefix: to.cidr as Prefix };
  const known = api.region.state.tablesTowards(vpcPeeringId);
  if (known.length === 0) {
    await api.done(from.key, 'POST', `/routeTables/${from.tableId}:addRouteTableRules`, {
      routeTableRuleSpecs: [rule],
    });
  }
  return vpcPeeringId;
}
function send(api: Api, driver: FakeDriver, from: Side, to: Side, times: number): void {
  const at = (portId: PortId) => api.region.state.get('interface', portId);
  for (let n = 0; n < times; n++) {
    const verdict = driver.send({
      from: from.portId,
      sourceMac: at(from.portId)?.mac as Mac,
      destinationMac: gatewayMac,
      source: at(from.portId)?.primary[0] as Address,
      destination: at(to.portId)?.primary[0] as Address,
      ttl: 64,
      length: 86, // 100 with its Ethernet header
      protocol: 'udp',
    });
    assert.equal(verdict.kind, 'delivered');
  }
}
const traffic = (packets: number) => ({ packets, bytes: packets * 100 });

test('usage is exact at the call, by hour, sum and total, each account its own, deleted halves included', async (t) => {
  const api = await Api.start(t);
  const red = await side(api, 'red', '10.0.1.0/24');
  const blue = await side(api, 'blue', '10.1.1.0/24');
  const [redHalf, blueHalf] = [await half(api, red, blue), await half(api, blue, red)];
  send(api, api.driver, red, blue, 7);
  send(api, api.driver, blue, red, 2);
  const usage = (key: Key, id: string) => api.done(key, 'GET', `/vpcPeerings/${id}/usage`);
  const rule = 'Peering within one region carries no charge (JD Cloud: Price)';
  assert.deepEqual(await usage(red.key, redHalf), {
    sent: traffic(7),
    received: traffic(2),
    price: '0.00',
    priceRule: rule,
  });
  send(api, api.driver, red, blue, 1);
  assert.deepEqual((await usage(blue.key, blueHalf)).received, traffic(8), 'at the moment of the call');
  assert.equal((await api.call(blue.key, 'GET', `/vpcPeerings/${redHalf}/usage`)).status, 404);

  await api.done(red.key, 'DELETE', `/vpcPeerings/${redHalf}`);
  const hours = await api.done(red.key, 'GET', '/usage');
  assert.equal(hours.priceRule, rule);
  assert.match(hours.meteredUntil, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const row = {
    vpcPeeringId: redHalf,
    vpcPeeringName: null,
    localVpcId: red.vpcId,
    remoteVpcId: blue.vpcId,
    sent: traffic(8),
    received: traffic(2),
    price: '0.00',
  };
  const sum = (rows: readonly { sent: { packets: number } }[]) => rows.reduce((all, one) => all + one.sent.packets, 0);
  assert.equal(sum(hours.usage), 8, 'in one hour, or two if one ended just now');
  assert.match(hours.usage[0].hour, /^\d{4}-\d\d-\d\dT\d\d:00:00Z$/);
  assert.deepEqual((await api.done(red.key, 'GET', '/usage?by=half')).usage, [{ ...row, hour: null }]);
  assert.deepEqual((await api.done(red.key, 'GET', '/usage?by=total')).usage, [{ ...row, hour: null }]);
  assert.deepEqual((await usage(red.key, redHalf)).sent, traffic(8), 'of the deleted half too');
  const [theirs, ...others] = (await api.done(blue.key, 'GET', '/usage?by=total')).usage;
  assert.deepEqual([theirs.vpcPeeringId, theirs.vpcPeeringName, others.length], [blueHalf, 'p', 0]);
  const past = await api.done(red.key, 'GET', '/usage?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z');
  assert.deepEqual([past.usage, past.from, past.to], [[], '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z']);

  // Created again it has its old id, and its total goes on.
  assert.equal(await half(api, red, blue), redHalf);
  send(api, api.driver, red, blue, 1);
  assert.deepEqual((await usage(red.key, redHalf)).sent, traffic(9));

  const admin = await createAdminServer({ region: api.region });
  t.after(() => admin.close());
  const { result } = JSON.parse((await admin.inject('/usage?by=total')).payload);
  assert.deepEqual(
    result.usage.map((of: { accountId: string; vpcPeeringId: string }) => [of.accountId, of.vpcPeeringId]).sort(),
    [
      [red.key.accountId, redHalf],
      [blue.key.accountId, blueHalf],
    ].sort(),
  );
});

test('what is asked for in a way that cannot be is refused, naming the parameter', async (t) => {
  const api = await Api.start(t);
  const key = await api.tenant('red');
  for (const [query, field] of [
    ['from=yesterday', 'from'],
    ['from=2026-05-04T07:30:00Z', 'from'],
    ['to=2026-13-01T00:00:00Z', 'to'],
    ['from=2026-05-04T07:00:00Z&to=2026-05-04T07:00:00Z', 'from'],
    ['by=day', 'by'],
    ['by=total&from=2026-05-04T07:00:00Z', 'from'],
  ] as const) {
    const answer = await api.call(key, 'GET', `/usage?${query}`);
    assert.equal(answer.status, 400, query);
    assert.match(answer.json.error.message, new RegExp(`^${field}: `), query);
  }
  for (const query of ['', '?from=2026-05-04T07', '?from=2026-05-04T07:00Z&to=2026-05-04T09:00:00.000Z&by=half']) {
    assert.deepEqual((await api.done(key, 'GET', `/usage${query}`)).usage, [], 'control');
  }
});

test('all counters of an account come in one answer; the operator sees the region’s', async (t) => {
  const api = await Api.start(t);
  const red = await side(api, 'red', '10.0.1.0/24');
  const blue = await side(api, 'blue', '10.1.1.0/24');
  const [redHalf, blueHalf] = [await half(api, red, blue), await half(api, blue, red)];
  send(api, api.driver, red, blue, 3);
  send(api, api.driver, blue, red, 1);
  const counters = await api.done(red.key, 'GET', '/counters');
  assert.deepEqual(counters.halves, [
    {
      vpcPeeringId: redHalf,
      vpcPeeringName: 'p',
      localVpcId: red.vpcId,
      remoteVpcId: blue.vpcId,
      state: 'Connected',
      sent: traffic(3),
      received: traffic(1),
    },
  ]);
  assert.deepEqual(
    counters.interfaces.map((of: { networkInterfaceId: string; exits: unknown }) => [of.networkInterfaceId, of.exits]),
    [[red.portId, [{ exit: 'Forwarded', ...traffic(3) }]]],
  );
  assert.match(counters.epoch, /^[0-9a-f]{16}$/);
  const admin = await createAdminServer({ region: api.region });
  t.after(() => admin.close());
  const { result } = JSON.parse((await admin.inject('/traffic')).payload);
  assert.deepEqual(
    result.halves.map((of: { vpcPeeringId: string }) => of.vpcPeeringId).sort(),
    [redHalf, blueHalf].sort(),
  );
  assert.deepEqual(result.exits, [{ exit: 'Forwarded', ...traffic(4) }]);
  assert.equal(result.epoch, counters.epoch);
});
