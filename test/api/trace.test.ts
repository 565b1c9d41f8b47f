/** What an owner is told of where a packet would go. Beyond a peering it ends; what goes to many stations is said so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Api, estate } from './api.ts';

test('a trace names the reason that would count, also for multicast and broadcast', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const [one, two] = [await estate(api, red, 1), await estate(api, blue, 2)];
  const port = one['networkInterfaceId'] ?? '';
  await api.attach(port);
  const said = async (destination: string): Promise<string> => {
    const { verdict, reason } = await api.done(
      red,
      'GET',
      `/networkInterfaces/${port}:trace?destination=${destination}`,
    );
    return reason ?? verdict;
  };
  assert.equal(await said('10.1.0.1'), 'answered');
  assert.equal(await said('10.1.9.9'), 'NoSuchAddress');
  assert.equal(await said('198.51.100.1'), 'BlackHole');
  for (const many of ['224.0.0.1', '255.255.255.255', '10.1.255.255'])
    assert.equal(await said(many), 'NotToGateway', many);

  const half = { vpcPeeringName: 'p', vpcId: one['vpcId'], remoteVpcId: two['vpcId'] };
  const { vpcPeering } = await api.done(red, 'POST', '/vpcPeerings', half);
  const rule = { addressPrefix: two['cidr'], nextHopType: 'vpc_peering', nextHopId: vpcPeering.vpcPeeringId };
  const { routeTables } = await api.done(red, 'GET', '/routeTables');
  const table = routeTables.find((one_: { routeTableType: string }) => one_.routeTableType === 'default').routeTableId;
  await api.done(red, 'POST', `/routeTables/${table}:addRouteTableRules`, { routeTableRuleSpecs: [rule] });
  assert.equal(await said('10.2.0.3'), 'NoPeering');
  await api.done(blue, 'POST', '/vpcPeerings', { ...half, vpcId: two['vpcId'], remoteVpcId: one['vpcId'] });
  assert.equal(await said('10.2.0.3'), 'handed-to-peer');
  assert.equal(await said('10.2.0.77'), 'handed-to-peer', 'alike, whether or not somebody has the address');

  const path = `/networkInterfaces/${port}:trace?destination=10.1.0.1`;
  const many = await Promise.all(Array.from({ length: 40 }, () => api.call(red, 'GET', path)));
  const seen = new Set(many.map(({ status }) => status));
  assert.ok(seen.has(200) && [...seen].every((status) => status === 200 || status === 429));
  assert.equal((await api.call(red, 'GET', path)).status, 200, 'and afterwards as before');
});
