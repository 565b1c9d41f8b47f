/** Declared networks through the API: plan, apply just that, refuse what has moved, name what is wrong in the file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { networkSchema } from '../../src/api/network-schema.ts';
import { Api, type Key } from './api.ts';

const file = (extra: object = {}) => ({
  network: 'shop',
  vpcs: [
    {
      name: 'front',
      cidrs: ['10.1.0.0/16', 'fd00:1::/56'],
      routes: [{ to: '10.2.0.0/16', via: { peering: 'to-back' } }],
      subnets: [{ name: 'web', cidrs: ['10.1.1.0/24', 'fd00:1::/64'], interfaces: [{ name: 'web-1' }] }],
    },
    {
      name: 'back',
      cidrs: ['10.2.0.0/16'],
      routeTables: [{ name: 'db', routes: [{ to: '10.1.0.0/16', via: { peering: 'to-front' } }] }],
      subnets: [
        {
          name: 'db',
          cidrs: ['10.2.1.0/24'],
          routeTable: 'db',
          interfaces: [{ name: 'db-1', addresses: ['10.2.1.9'] }],
        },
      ],
    },
  ],
  peerings: [
    { name: 'to-back', vpc: 'front', remote: 'back' },
    { name: 'to-front', vpc: 'back', remote: 'front' },
  ],
  ...extra,
});

const planOf = async (api: Api, key: Key, network: object) =>
  (await api.done(key, 'POST', '/networks?plan=true', { network })).plan;

test('a file is planned, applied as planned, and then there is nothing to do', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const before = api.region.state.revision;
  const plan = await planOf(api, red, file());
  assert.equal(api.region.state.revision, before, 'a plan changes nothing');
  assert.ok(plan.steps > 0);
  const pairs = plan.reach.map((one: { from: { vpcName: string }; to: { vpcName: string }; family: number }) =>
    [one.from.vpcName, one.to.vpcName, one.family].join(' '),
  );
  assert.deepEqual(pairs.sort(), ['back back 4', 'back front 4', 'front back 4', 'front front 4', 'front front 6']);
  const applied = await api.done(red, 'POST', '/networks', { network: file(), basis: plan.basis });
  assert.deepEqual([applied.steps, applied.left], [plan.steps, 0]);
  assert.equal(api.region.state.revision, before + 1, 'one change in the journal');
  const { entries } = await api.done(red, 'GET', '/journal?latest=true');
  assert.equal(entries.at(-1).operation, 'apply-network');
  const again = await planOf(api, red, file());
  assert.deepEqual([again.steps, again.changes, again.reach], [0, [], []]);
  assert.equal((await api.done(red, 'POST', '/networks', { network: file() })).steps, 0);
  assert.equal(api.region.state.revision, before + 1);
  const { vpcs } = await api.done(red, 'GET', '/vpcs');
  assert.deepEqual(
    vpcs.map(({ labels }: { labels: object }) => labels),
    [{ network: 'shop' }, { network: 'shop' }],
  );
  assert.equal((await api.done(red, 'GET', `/trace?source=${vpcs[0].vpcId}&destination=${vpcs[1].vpcId}`)).works, true);
});

test('a plan that has moved is not applied; one that others’ changes do not touch is', async (t) => {
  const api = await Api.start(t);
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const plan = await planOf(api, red, file());
  await api.done(blue, 'POST', '/vpcs', { vpcName: 'elsewhere', addressPrefix: '10.1.0.0/16' });
  await api.done(red, 'POST', '/networks', { network: file(), basis: plan.basis });
  const renamed = file({ peerings: file().peerings.map((one) => ({ ...one, description: 'new' })) });
  const second = await planOf(api, red, renamed);
  const { vpcPeerings } = await api.done(red, 'GET', '/vpcPeerings');
  const id = vpcPeerings[0].vpcPeeringId;
  await api.done(red, 'PUT', `/vpcPeerings/${id}`, { description: 'by hand' });
  const refused = await api.call(red, 'POST', '/networks', { network: renamed, basis: second.basis });
  assert.deepEqual([refused.status, refused.json.error.details[0].code], [409, 'plan-moved']);
  assert.equal((await api.done(red, 'GET', `/vpcPeerings/${id}`)).vpcPeering.description, 'by hand', 'nothing done');
  const fresh = await planOf(api, red, renamed);
  await api.done(red, 'POST', '/networks', { network: renamed, basis: fresh.basis });
});

test('a file that is wrong is refused with the field', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const [front, back] = file().vpcs;
  const faults: readonly (readonly [object, RegExp])[] = [
    [{ vpcs: [{ ...front, cidr: '10.1.0.0/16' }] }, /vpcs/],
    [{ vpcs: [front, front] }, /vpcs\[1\]\.name: 'front' is declared twice/],
    [{ vpcs: [{ ...front, cidrs: ['10.1.0.1/16'] }, back] }, /vpcs\[0\]\.cidrs\[0\]: '10\.1\.0\.1\/16' has host bits/],
    [{ peerings: [{ name: 'x', vpc: 'nobody', remote: 'back' }] }, /peerings\[0\]\.vpc: no VPC 'nobody'/],
    [{ peerings: [] }, /vpcs\[0\]\.routes\[0\]\.via: VPC front declares no peering 'to-back'/],
    [{ vpcs: [front, { ...back, routeTables: [] }] }, /vpcs\[1\]\.subnets\[0\]\.routeTable: no route table 'db'/],
    [{ network: 'a name' }, /network: 'a name' is not/],
  ];
  for (const [extra, words] of faults) {
    const answer = await api.call(red, 'POST', '/networks', { network: file(extra) });
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.json.error.message, words);
  }
  assert.equal([...api.region.state.all('vpc')].length, 0, 'nothing was made');
});

test('the published schema is the one that files are checked with', () => {
  assert.equal(readFileSync(new URL('../../docs/network.schema.json', import.meta.url), 'utf8'), networkSchema());
});
