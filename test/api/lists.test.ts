/** Lists: pages, filters and their operators, the same for every noun; quotas and the journal as their owner sees them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quotaTypes } from '../../src/model/quota.ts';
import { Api, enveloped, estate, type Key } from './api.ts';

const query = (filters: readonly (readonly [string, readonly string[], string?])[], rest = ''): string =>
  `?${filters
    .flatMap(([name, values, operator], at) => [
      `filters.${at + 1}.name=${name}`,
      ...values.map((value, n) => `filters.${at + 1}.values.${n + 1}=${encodeURIComponent(value)}`),
      ...(operator === undefined ? [] : [`filters.${at + 1}.operator=${operator}`]),
    ])
    .join('&')}${rest}`;

test('pages hold every object once, oldest first, within the limits of a page', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  await api.operate({ kind: 'set-quota', accountId: red.accountId, type: 'vpc', limit: 40 });
  for (let n = 0; n < 33; n++) await api.done(red, 'POST', '/vpcs', { vpcName: `v${n}` });
  const names = async (rest: string): Promise<readonly string[]> => {
    const { vpcs, totalCount } = await api.done(red, 'GET', `/vpcs${rest}`);
    assert.equal(totalCount, 33);
    return vpcs.map(({ vpcName }: { vpcName: string }) => vpcName);
  };
  assert.equal((await names('')).length, 20, 'the default');
  const pages = [1, 2, 3, 4].map((page) => names(`?pageSize=10&pageNumber=${page}`));
  const all = (await Promise.all(pages)).flat();
  assert.equal(new Set(all).size, 33);
  assert.equal(all.length, 33);
  assert.deepEqual(
    await names('?pageSize=10&pageNumber=99'),
    await names('?pageSize=10&pageNumber=4'),
    'beyond the last',
  );
  assert.equal((await names('?pageSize=100')).length, 33);
  for (const wrong of ['pageSize=9', 'pageSize=101', 'pageNumber=0', 'pageNumber=-1', 'pageSize=1e1', 'pageNumber=x']) {
    assert.equal((await api.call(red, 'GET', `/vpcs?${wrong}`)).status, 400, wrong);
  }
  assert.equal((await api.call(red, 'GET', '/vpcs?pageSize=10&pageSize=20')).status, 400, 'given twice');
});

test('each filter of each list finds what it names, and only that', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const [one, two] = [await estate(api, red, 1), await estate(api, red, 2)];
  const half = async (a: typeof one, b: typeof one, name: string): Promise<void> => {
    const body = { vpcPeeringName: name, vpcId: a['vpcId'], remoteVpcId: b['vpcId'] };
    a['vpcPeeringId'] = (await api.done(red, 'POST', '/vpcPeerings', body)).vpcPeering.vpcPeeringId;
  };
  await half(one, two, 'h1');
  await half(two, one, 'h2');
  const cases = [
    [
      'vpcs',
      'vpcs',
      'vpcId',
      [
        ['vpcIds', one['vpcId']],
        ['vpcNames', 'v1'],
        ['VPCIDS', one['vpcId']],
      ],
    ],
    [
      'subnets',
      'subnets',
      'subnetId',
      [
        ['subnetIds', one['subnetId']],
        ['subnetNames', 's1'],
        ['vpcId', one['vpcId']],
      ],
    ],
    [
      'routeTables',
      'routeTables',
      'routeTableId',
      [
        ['routeTableIds', one['routeTableId']],
        ['routeTableNames', 't1'],
      ],
    ],
    [
      'vpcPeerings',
      'vpcPeerings',
      'vpcPeeringId',
      [
        ['vpcPeeringIds', one['vpcPeeringId']],
        ['vpcPeeringNames', 'h1'],
        ['vpcId', one['vpcId']],
        ['remoteVpcId', two['vpcId']],
      ],
    ],
    [
      'networkInterfaces',
      'networkInterfaces',
      'networkInterfaceId',
      [
        ['networkInterfaceIds', one['networkInterfaceId']],
        ['vpcId', one['vpcId']],
        ['subnetId', one['subnetId']],
      ],
    ],
  ] as const;
  for (const [path, member, id, filters] of cases) {
    for (const [name, value] of filters) {
      const found = await api.done(red, 'GET', `/${path}${query([[name, [value ?? '']]])}`);
      assert.deepEqual(
        found[member].map((object: { [field: string]: string }) => object[id]),
        [one[id]],
        `${path} ${name}`,
      );
      assert.equal(found.totalCount, 1);
      const none = await api.done(red, 'GET', `/${path}${query([[name, ['nothing-like-it']]])}`);
      assert.equal(none.totalCount, 0);
    }
    for (const wrong of ['colour', 'vpcIdx', '__proto__', 'constructor', '']) {
      const answer = await api.call(red, 'GET', `/${path}${query([[wrong, ['x']]])}`);
      assert.equal(answer.status, 400, `${path} ${wrong}`);
      assert.equal(enveloped(answer), 'unknown-filter');
    }
  }
});

test('64. filters: values are joined by or, filters by and; what is not supported is refused, never ignored', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  for (const vpcName of ['apple', 'apricot', 'banana']) await api.done(red, 'POST', '/vpcs', { vpcName });
  const names = async (...filters: Parameters<typeof query>[0][number][]): Promise<string> => {
    const { vpcs } = await api.done(red, 'GET', `/vpcs${query(filters)}`);
    return vpcs
      .map(({ vpcName }: { vpcName: string }) => vpcName)
      .sort() // those of one second have no order
      .join(' ');
  };
  assert.equal(await names(['vpcNames', ['apple', 'banana']]), 'apple banana');
  assert.equal(await names(['vpcNames', ['ap'], 'like']), 'apple apricot');
  assert.equal(await names(['vpcNames', ['apple'], 'ne']), 'apricot banana');
  assert.equal(await names(['vpcNames', ['ap'], 'like'], ['vpcNames', ['apple'], 'ne']), 'apricot');
  for (const wrong of [
    query([['vpcNames', ['x'], 'gt']]),
    query([['vpcNames', ['x'], 'constructor']]),
    '?filters.1.name=vpcNames',
    '?filters.1.values.1=x',
    '?filters.0.name=vpcNames&filters.0.values.1=x',
    '?filters.1.colour=x',
    '?filters=x',
    '?tags.1.key=a',
    '?sorts.1.name=vpcName',
  ]) {
    assert.equal((await api.call(red, 'GET', `/vpcs${wrong}`)).status, 400, wrong);
  }
});

test('every quota is shown with its use, for its parent', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const one = await estate(api, red, 1);
  const parents: { readonly [type: string]: string | undefined } = {
    subnet: one['vpcId'],
    routeTable: one['vpcId'],
    vpcpeering: one['vpcId'],
    cidr: one['vpcId'],
    staticRoute: one['routeTableId'],
    secondary_ip: one['networkInterfaceId'],
  };
  const used: { readonly [type: string]: number } = {
    vpc: 1,
    subnet: 1,
    routeTable: 2,
    network_interface: 1,
    cidr: 1,
    access_key: 1,
  };
  const show = (key: Key, type: string, parent = parents[type]) =>
    api.call(key, 'GET', `/quotas?type=${type}${parent === undefined ? '' : `&parentResourceId=${parent}`}`);
  for (const type of quotaTypes) {
    const { json, status, text } = await show(red, type);
    assert.equal(status, 200, text);
    assert.deepEqual([json.result.quota.type, json.result.quota.count], [type, used[type] ?? 0], type);
  }
  assert.equal((await show(red, 'subnet', '')).status, 400, 'a parent is needed');
  assert.equal((await show(red, 'elephants')).status, 400);
  assert.equal((await show(await api.tenant('blue'), 'subnet')).status, 404, "a stranger's parent");
  await api.operate({ kind: 'set-quota', accountId: red.accountId, type: 'vpc', limit: 1 });
  const over = await api.call(red, 'POST', '/vpcs', { vpcName: 'x' });
  assert.deepEqual([over.status, enveloped(over)], [429, 'quota-exceeded'], over.text);
});

test('the journal shows an account its own changes and nobody else’s', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const [one, two] = [await estate(api, red, 1), await estate(api, blue, 2)];
  const half = (key: Key, a: typeof one, b: typeof one) =>
    api.done(key, 'POST', '/vpcPeerings', { vpcPeeringName: 'p', vpcId: a['vpcId'], remoteVpcId: b['vpcId'] });
  await half(red, one, two);
  const { vpcPeering } = await half(blue, two, one);
  await api.done(blue, 'DELETE', `/vpcPeerings/${vpcPeering.vpcPeeringId}`);
  const { entries } = await api.done(red, 'GET', '/journal?pageSize=1000');
  const text = JSON.stringify(entries);
  assert.deepEqual(
    entries.map(({ operation }: { operation: string }) => operation),
    ['create-vpc', 'create-subnet', 'create-route-table', 'create-interface', 'create-peering'],
  );
  for (const hidden of [
    blue.accountId,
    blue.accessKeyId,
    two['cidr'] ?? '',
    two['subnetId'] ?? '',
    vpcPeering.vpcPeeringId,
    red.secretAccessKey,
  ]) {
    assert.ok(!text.includes(hidden), hidden);
  }
  const later = await api.done(red, 'GET', `/journal?afterRevision=${entries[1].revision}&pageSize=2`);
  assert.deepEqual(later.entries, entries.slice(2, 4));
  const newest = await api.done(red, 'GET', '/journal?latest=true&pageSize=2');
  assert.deepEqual(newest.entries, entries.slice(-2), 'oldest first, even so');
});
