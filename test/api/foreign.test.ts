/**
 * What belongs to a stranger answers like what does not exist, byte for byte but for the requestId and the id that was
 * asked for: in paths, bodies and filters, for every operation that takes an id.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jdcloudOperations } from '../../src/api/jdcloud/operations.ts';
import { type Answer, Api, estate, type Key } from './api.ts';

const prefixes: { readonly [name: string]: string } = {
  vpcId: 'vpc',
  subnetId: 'subnet',
  routeTableId: 'rtb',
  vpcPeeringId: 'vpcpr',
  networkInterfaceId: 'port',
};
const ruleId = 'rt-aaaaaaaaaa';
const absent = (name: string): string => `${prefixes[name]}-zzzzzzzzzz`;

/** All that a caller sees, without what differs between any two answers. */
const bare = ({ status, headers, text, json }: Answer, id: string): string => {
  const { date: _date, 'x-jdcloud-request-id': _id, ...others } = headers;
  return `${status} ${JSON.stringify(others)} ${text.replaceAll(json.requestId, 'REQUEST').replaceAll(id, 'ID')}`;
};

test('every id of a stranger is as if it did not exist', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const mine = await estate(api, red, 1);
  const theirs = await estate(api, blue, 2);
  for (const [key, estateOf, remote] of [
    [red, mine, (await api.done(red, 'POST', '/vpcs', { vpcName: 'o', addressPrefix: '10.3.0.0/16' })).vpcId],
    [blue, theirs, (await api.done(blue, 'POST', '/vpcs', { vpcName: 'o', addressPrefix: '10.4.0.0/16' })).vpcId],
  ] as const) {
    const body = { vpcPeeringName: 'p', vpcId: estateOf['vpcId'], remoteVpcId: remote };
    estateOf['vpcPeeringId'] = (await api.done(key, 'POST', '/vpcPeerings', body)).vpcPeering.vpcPeeringId;
  }
  /** Bodies that are right but for whose objects they name. */
  const bodies = (ids: { readonly [name: string]: string }): { readonly [operation: string]: object } => ({
    createSubnet: { vpcId: ids['vpcId'], subnetName: 'x', addressPrefix: '10.9.0.0/24' },
    createRouteTable: { vpcId: ids['vpcId'], routeTableName: 'x' },
    createVpcPeering: { vpcPeeringName: 'x', vpcId: ids['vpcId'], remoteVpcId: mine['vpcId'] },
    createNetworkInterface: { subnetId: ids['subnetId'] },
    associateCidr: { addressPrefix: '10.9.0.0/16' },
    disassociateCidr: { addressPrefix: '10.1.0.0/16' },
    addRouteTableRules: {
      routeTableRuleSpecs: [{ addressPrefix: '10.8.0.0/16', nextHopType: 'internet', nextHopId: 'internet' }],
    },
    modifyRouteTableRules: { modifyRouteTableRuleSpecs: [{ ruleId: ruleId, addressPrefix: '10.8.0.0/16' }] },
    removeRouteTableRules: { ruleIds: [ruleId] },
    associateRouteTable: { subnetIds: [ids['subnetId']] },
    disassociateRouteTable: { subnetId: ids['subnetId'] },
    assignSecondaryIps: { secondaryIpCount: 1 },
    unassignSecondaryIps: { secondaryIps: ['10.1.0.9'] },
  });
  let compared = 0;
  const same = async (
    what: string,
    ask: (key: Key, id: string) => Promise<Answer>,
    foreign: string,
    none: string,
    own: string,
  ) => {
    const [found, missing] = [await ask(red, foreign), await ask(red, none)];
    assert.equal(bare(found, foreign), bare(missing, none), what);
    assert.ok(found.status === 404 || found.status === 200, `${what}: ${found.text}`);
    assert.notEqual(bare(await ask(red, own), own), bare(missing, none), `control: ${what} of one's own differs`);
    compared++;
  };

  for (const { name, method, path } of jdcloudOperations) {
    const [, parameter] = /\{(\w+)\}/.exec(path) ?? [];
    if (parameter !== undefined) {
      const query = name === 'traceNetworkInterface' ? '?destination=10.1.0.1' : '';
      const ask = (key: Key, id: string): Promise<Answer> =>
        api.call(
          key,
          method,
          path.replace(`{${parameter}}`, id) + query,
          bodies(mine)[name] ?? (method === 'GET' || method === 'DELETE' ? undefined : {}),
        );
      if (method === 'DELETE') {
        // The control would delete what the others need: it is the owner's own that is gone at the end.
        const [found, missing] = [await ask(red, theirs[parameter] ?? ''), await ask(red, absent(parameter))];
        assert.equal(bare(found, theirs[parameter] ?? ''), bare(missing, absent(parameter)), name);
        assert.equal(found.status, 404, name);
        compared++;
      } else await same(name, ask, theirs[parameter] ?? '', absent(parameter), mine[parameter] ?? '');
    } else if (method === 'POST' && name !== 'createVpc' && name !== 'applyNetwork') {
      const field = name === 'createNetworkInterface' ? 'subnetId' : 'vpcId';
      const ask = (key: Key, id: string): Promise<Answer> =>
        api.call(key, method, path, bodies({ ...mine, [field]: id })[name]);
      await same(name, ask, theirs[field] ?? '', absent(field), mine[field] ?? '');
    }
  }
  // A trace starts at one's own; where it leads to may be a stranger's VPC, of which nothing is told.
  for (const end of ['networkInterfaceId', 'subnetId', 'vpcId']) {
    const from = (key: Key, id: string): Promise<Answer> =>
      api.call(key, 'GET', `/trace?source=${id}&destination=10.2.0.9`);
    await same(`trace from ${end}`, from, theirs[end] ?? '', absent(end), mine[end] ?? '');
    const to = (key: Key, id: string): Promise<Answer> =>
      api.call(key, 'GET', `/trace?source=${mine['networkInterfaceId']}&destination=${id}&size=1400`);
    await same(`trace to ${end}`, to, theirs[end] ?? '', absent(end), mine[end] ?? '');
  }
  // Objects that a body names beside the path.
  const table = `/routeTables/${mine['routeTableId']}`;
  const rule =
    (nextHopType: string) =>
    (key: Key, nextHopId: string): Promise<Answer> =>
      api.call(key, 'POST', `${table}:addRouteTableRules`, {
        routeTableRuleSpecs: [{ addressPrefix: '10.7.0.0/16', nextHopType, nextHopId }],
      });
  await same(
    'next hop, a half',
    rule('vpc_peering'),
    theirs['vpcPeeringId'] ?? '',
    absent('vpcPeeringId'),
    mine['vpcPeeringId'] ?? '',
  );
  const port = 'networkInterfaceId';
  await same(
    'next hop, an interface',
    rule('elastic_network_interface'),
    theirs[port] ?? '',
    absent(port),
    mine[port] ?? '',
  );
  const bind = (key: Key, id: string): Promise<Answer> =>
    api.call(key, 'POST', `${table}:associateRouteTable`, { subnetIds: [id] });
  await same('a subnet to bind', bind, theirs['subnetId'] ?? '', absent('subnetId'), mine['subnetId'] ?? '');
  // Filters: a list without it, either way.
  for (const [list, filter, id] of [
    ['vpcs', 'vpcIds', 'vpcId'],
    ['subnets', 'subnetIds', 'subnetId'],
    ['subnets', 'vpcId', 'vpcId'],
    ['routeTables', 'routeTableIds', 'routeTableId'],
    ['vpcPeerings', 'vpcPeeringIds', 'vpcPeeringId'],
    ['networkInterfaces', 'networkInterfaceIds', port],
  ] as const) {
    const ask = (key: Key, wanted: string): Promise<Answer> =>
      api.call(key, 'GET', `/${list}?filters.1.name=${filter}&filters.1.values.1=${wanted}`);
    await same(`${list} by ${filter}`, ask, theirs[id] ?? '', absent(id), mine[id] ?? '');
  }
  assert.ok(compared > 35, `${compared}`);

  // Deleting what is one's own does succeed, and nothing of the stranger's has gone.
  for (const [path, id] of [
    ['vpcPeerings', 'vpcPeeringId'],
    ['networkInterfaces', port],
  ] as const) {
    assert.equal((await api.call(red, 'DELETE', `/${path}/${mine[id]}`)).status, 200);
    assert.equal((await api.call(blue, 'GET', `/${path}/${theirs[id]}`)).status, 200);
  }
});

test('8. of a VPC that one was told the id of, nothing but its existence shows before both halves exist', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const [mine, theirs] = [await estate(api, red, 1), await estate(api, blue, 2)];
  const towards = { vpcPeeringName: 'p', vpcId: mine['vpcId'], remoteVpcId: theirs['vpcId'] };
  const { vpcPeering } = await api.done(red, 'POST', '/vpcPeerings', towards);
  await api.done(blue, 'PATCH', `/vpcs/${theirs['vpcId']}`, { vpcName: 'NobodysBusiness' });
  const hidden = [theirs['cidr'] ?? '', 'NobodysBusiness', blue.accountId];
  const shown = async (): Promise<string> =>
    (await api.call(red, 'GET', `/vpcPeerings/${vpcPeering.vpcPeeringId}`)).text;
  for (const secret of hidden) assert.ok(!(await shown()).includes(secret), secret);
  const over = await api.done(red, 'POST', '/vpcs', { vpcName: 'w', addressPrefix: '10.2.0.0/24' });
  const overlap = await api.call(red, 'POST', '/vpcPeerings', { ...towards, vpcPeeringName: 'q', vpcId: over.vpcId });
  assert.equal(overlap.status, 400);
  for (const secret of hidden) assert.ok(!overlap.text.includes(secret), overlap.text);
  await api.done(blue, 'POST', '/vpcPeerings', {
    vpcPeeringName: 'p',
    vpcId: theirs['vpcId'],
    remoteVpcId: mine['vpcId'],
  });
  const connected = await shown();
  assert.match(connected, /"Connected"/);
  assert.ok(connected.includes(theirs['cidr'] ?? ''), 'control: now it shows');
});
