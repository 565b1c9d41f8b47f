/** A change that a host has not proven: what the answer says, where it is shown until then, to whom, and what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VpcId } from '../../src/model/ids.ts';
import type { FeedEvent } from '../../src/region/feed.ts';
import { OwingDriver } from '../hosts/owing-driver.ts';
import { Api, enveloped, estate, type Key } from './api.ts';

async function stage(t: Parameters<typeof Api.start>[0]) {
  const driver = new OwingDriver();
  const api = await Api.start(t, {}, driver);
  const [red, blue, green] = [await api.tenant('red'), await api.tenant('blue'), await api.tenant('green')];
  const [one, two] = [await estate(api, red, 1), await estate(api, blue, 2)];
  const half = async (key: Key, vpcId = '', remoteVpcId = ''): Promise<string> =>
    (await api.done(key, 'POST', '/vpcPeerings', { vpcPeeringName: 'p', vpcId, remoteVpcId })).vpcPeering.vpcPeeringId;
  const a = await half(red, one['vpcId'], two['vpcId']);
  const b = await half(blue, two['vpcId'], one['vpcId']);
  const peering = async (key: Key, id: string) => (await api.done(key, 'GET', `/vpcPeerings/${id}`)).vpcPeering;
  const vpc = async (key: Key, of: { [what: string]: string }) =>
    (await api.done(key, 'GET', `/vpcs/${of['vpcId']}`)).vpc;
  /** What an account was told of hosts, oldest first. */
  const fences = async (key: Key): Promise<readonly string[]> => {
    const { events } = (await api.done(key, 'GET', '/events?pageSize=1000')) as { events: readonly FeedEvent[] };
    return events.flatMap((event) =>
      event.event !== 'fence'
        ? []
        : [`${event.vpcPeeringId ?? event.vpcId} ${event.notFencedOn.join()}|${event.notInstalledOn.join()}`],
    );
  };
  /** Looks until it holds. */
  const soon = async (what: () => Promise<boolean>): Promise<void> => {
    for (let tries = 0; tries < 500; tries++) {
      if (await what()) return;
      await sleep(10);
    }
    assert.fail('not within five seconds');
  };
  return { driver, api, red, blue, green, one, two, a, b, half, peering, vpc, fences, soon };
}

test('a disconnect that a host has not fenced: 202 with its name, shown on both sides until it has, then nowhere', async (t) => {
  const { driver, api, red, blue, one, two, a, b, peering, vpc, fences, soon } = await stage(t);
  driver.leave('h3');
  const answer = await api.call(red, 'DELETE', `/vpcPeerings/${a}`);
  assert.equal(enveloped(answer), '');
  assert.equal(answer.status, 202);
  const { requestId, ...rest } = answer.json;
  assert.ok(requestId.length > 0);
  assert.deepEqual(rest, { result: { notFencedOn: ['h3'] }, pendingRevision: api.region.state.revision });

  const left = await peering(blue, b);
  assert.deepEqual([left.vpcPeeringState, left.notFencedOn], ['Disconnected', ['h3']]);
  const { vpcPeerings } = await api.done(blue, 'GET', '/vpcPeerings');
  assert.deepEqual(vpcPeerings[0].notFencedOn, ['h3'], 'in the list too');
  for (const [key, of] of [
    [red, one],
    [blue, two],
  ] as const) {
    assert.deepEqual((await vpc(key, of)).notFencedOn, ['h3'], 'and of the VPC, where the half itself is gone');
  }
  assert.deepEqual(await fences(red), [`${one['vpcId']} h3|`, `${a} h3|`]);
  assert.deepEqual(await fences(blue), [`${two['vpcId']} h3|`, `${b} h3|`]);
  const { owed, owedVpcs, planeProblem } = api.region.status();
  assert.equal(owedVpcs, 2);
  assert.deepEqual(
    owed.map(({ host, notFenced, notInstalled }) => [host, notFenced, notInstalled]),
    [['h3', 2, 0]],
  );
  assert.equal(planeProblem, null);

  driver.comeBack('h3');
  await soon(async () => api.region.status().owedVpcs === 0);
  assert.equal('notFencedOn' in (await peering(blue, b)), false);
  assert.equal('notFencedOn' in (await vpc(red, one)), false);
  assert.deepEqual((await fences(red)).slice(2), [`${one['vpcId']} |`, `${a} |`]);
  assert.deepEqual((await fences(blue)).slice(2), [`${two['vpcId']} |`, `${b} |`]);
  const again = await api.call(blue, 'DELETE', `/vpcPeerings/${b}`);
  assert.deepEqual(
    [again.status, again.json.result],
    [200, undefined],
    'the control: with every host there it is done',
  );
});

test('a change that a host has not installed: beside what the answer holds, and a reason in health and trace', async (t) => {
  const { driver, api, red, blue, one, two, a, b, soon, vpc } = await stage(t);
  const route = (key: Key, of: { [what: string]: string }, addressPrefix = '', nextHopId = '') => {
    const table = api.region.state.get('vpc', of['vpcId'] ?? '')?.defaultRouteTableId;
    const spec = { addressPrefix, nextHopType: 'vpc_peering', nextHopId };
    return api.call(key, 'POST', `/routeTables/${table}:addRouteTableRules`, { routeTableRuleSpecs: [spec] });
  };
  await route(blue, two, one['cidr'], b);
  assert.equal((await route(red, one, two['cidr'], a)).status, 200);
  const health = async (key: Key, id: string) => (await api.done(key, 'GET', `/vpcPeerings/${id}/health`)).health;
  assert.equal((await health(red, a)).state, 'open', 'the control');

  driver.leave('h.2', [one['vpcId'] as VpcId]);
  const made = await api.call(red, 'POST', '/networkInterfaces', { subnetId: one['subnetId'] });
  assert.equal(made.status, 202);
  assert.match(made.json.result.networkInterfaceId, /^port-/);
  assert.deepEqual(made.json.result.notInstalledOn, ['h.2']);
  assert.equal('notFencedOn' in made.json.result, false, 'what is empty is left out');
  assert.deepEqual((await vpc(red, one)).notInstalledOn, ['h.2']);
  assert.equal('notInstalledOn' in (await vpc(blue, two)), false);
  const own = await health(red, a);
  assert.equal(own.state, 'partly');
  const reasons = (of: { pairs: { blockers: { code: string; text: string; by: string }[] }[] }) =>
    of.pairs.map(({ blockers }) => blockers.map(({ code, by }) => `${code} ${by}`).join());
  assert.deepEqual(reasons(own), ['host-behind operator', 'host-behind operator']);
  assert.match(own.pairs[0].blockers[0].text, /not proven on h\.2:/);
  const theirs = await health(blue, b);
  assert.equal(theirs.state, 'partly', 'it concerns both');
  assert.equal(JSON.stringify(theirs).includes('h.2'), false, 'but which host is not the peer’s to know');
  const query = `source=${one['vpcId']}&destination=${two['vpcId']}`;
  assert.match(JSON.stringify(await api.done(red, 'GET', `/trace?${query}`)), /"host-behind"/);
  const told = async () => (await api.done(blue, 'GET', '/events?pageSize=1000')).events as readonly FeedEvent[];
  await soon(async () =>
    (await told()).some((event) => event.event === 'health' && event.health === 'partly' && event.reasons.length === 1),
  );
  driver.comeBack('h.2');
  await soon(async () => (await health(red, a)).state === 'open' && (await health(blue, b)).state === 'open');
});

test('who was never answered, or is peered no more, learns of nobody’s hosts', async (t) => {
  const { driver, api, red, blue, green, one, two, a, b, half, peering, vpc, fences } = await stage(t);
  const three = await estate(api, green, 3);
  const stranger = await half(green, three['vpcId'], two['vpcId']);
  await api.done(red, 'DELETE', `/vpcPeerings/${a}`);
  driver.leave('h.7', [two['vpcId'] as VpcId]);
  const grown = await api.call(blue, 'POST', '/networkInterfaces', { subnetId: two['subnetId'] });
  assert.deepEqual([grown.status, grown.json.result.notInstalledOn], [202, ['h.7']]);
  const cut = await api.call(blue, 'DELETE', `/networkInterfaces/${grown.json.result.networkInterfaceId}`);
  assert.deepEqual([cut.status, cut.json.result.notFencedOn], [202, ['h.7']]);
  assert.deepEqual((await vpc(blue, two)).notFencedOn, ['h.7'], 'the control: its owner sees it');
  const others = [await peering(green, stranger), await peering(blue, b), await vpc(red, one), await vpc(green, three)];
  assert.equal(JSON.stringify(others).includes('h.7'), false);
  assert.deepEqual([await fences(red), await fences(green)], [[], []]);
  assert.equal((await fences(blue)).length, 2);
});
