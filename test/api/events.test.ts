/** Health as state, and the event feed: what an account sees of what happens, live and from where it left off. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventReader } from '../../src/cli/events.ts';
import type { FeedEvent } from '../../src/region/feed.ts';
import { Api, estate, type Key } from './api.ts';

/** A follower: everything it was sent, and how to wait for one more. */
class Follower {
  readonly events: FeedEvent[] = [];
  ended = false;
  readonly #close: () => void;
  constructor(api: Api, key: Key, after: string | null) {
    const path = `/events?follow=true${after === null ? '' : `&after=${after}`}`;
    const signed = api.signed(key, 'GET', path);
    const { hostname, port } = new URL(api.url);
    const sent = request({ method: 'GET', path: signed.path, headers: signed.headers, hostname, port });
    sent.on('response', (response) => {
      assert.match(String(response.headers['content-type']), /^text\/event-stream/);
      response.setEncoding('utf8');
      const reader = eventReader((data) => this.events.push(JSON.parse(data) as FeedEvent));
      response.on('data', (text: string) => {
        this.opened = true;
        reader(text);
      });
      response.on('close', () => {
        this.ended = true;
      });
    });
    sent.on('error', () => {
      this.ended = true;
    });
    sent.end();
    this.#close = () => sent.destroy();
  }
  opened = false;
  close(): void {
    this.#close();
  }
  /** Waits until it has seen such an event. */
  async sees(what: (event: FeedEvent) => boolean): Promise<FeedEvent> {
    for (let tries = 0; tries < 500; tries++) {
      const found = this.events.find(what);
      if (found !== undefined) return found;
      await sleep(10);
    }
    assert.fail(`not seen among ${JSON.stringify(this.events)}`);
  }
}
const opened = async (follower: Follower): Promise<Follower> => {
  for (let tries = 0; tries < 500 && !follower.opened; tries++) await sleep(10);
  assert.ok(follower.opened);
  return follower;
};

async function pair(api: Api) {
  const [red, blue] = [await api.tenant('red'), await api.tenant('blue')];
  const [one, two] = [await estate(api, red, 1), await estate(api, blue, 2)];
  const half = async (key: Key, from: { [what: string]: string }, to: { [what: string]: string }) =>
    (
      await api.done(key, 'POST', '/vpcPeerings', {
        vpcPeeringName: 'p',
        vpcId: from['vpcId'],
        remoteVpcId: to['vpcId'],
      })
    ).vpcPeering.vpcPeeringId as string;
  const table = (vpcId: string | undefined) => api.region.state.get('vpc', vpcId ?? '')?.defaultRouteTableId ?? '';
  const route = (key: Key, from: { [what: string]: string }, destination: string | undefined, nextHopId: string) =>
    api.done(key, 'POST', `/routeTables/${table(from['vpcId'])}:addRouteTableRules`, {
      routeTableRuleSpecs: [{ addressPrefix: destination, nextHopType: 'vpc_peering', nextHopId }],
    });
  return { red, blue, one, two, half, route };
}

test('a Connected half says for each direction whether packets can flow, and why not', async (t) => {
  const api = await Api.start(t);
  const { red, blue, one, two, half, route } = await pair(api);
  const a = await half(red, one, two);
  const healthOf = async (key: Key, id: string) => (await api.done(key, 'GET', `/vpcPeerings/${id}/health`)).health;
  assert.equal((await healthOf(red, a)).state, null, 'not Connected yet');
  const b = await half(blue, two, one);
  const codes = (health: { pairs: { direction: string; state: string; blockers: { code: string; by: string }[] }[] }) =>
    health.pairs.map(({ direction, state, blockers }) => [
      direction,
      state,
      ...blockers.map(({ code, by }) => `${code} ${by}`),
    ]);
  assert.deepEqual(codes(await healthOf(red, a)), [
    ['out', 'blocked', 'no-route you'],
    ['in', 'blocked', 'no-route peer'],
  ]);
  await route(red, one, two['cidr'], a);
  const partly = await healthOf(red, a);
  assert.equal(partly.state, 'partly');
  assert.deepEqual(codes(partly), [
    ['out', 'open'],
    ['in', 'blocked', 'no-route peer'],
  ]);
  assert.equal(partly.pairs[1].blockers[0].text, 'The peer has no route to 10.1.0.0/16.');
  assert.equal(JSON.stringify(partly).includes(two['subnetId'] ?? '-'), false, 'a peer’s subnets are his');
  await route(blue, two, one['cidr'], b);
  assert.equal((await healthOf(red, a)).state, 'open');
  assert.equal((await api.done(red, 'GET', `/vpcPeerings/${a}`)).vpcPeering.health, 'open');
  assert.equal((await api.call(blue, 'GET', `/vpcPeerings/${a}/health`)).status, 404, 'somebody else’s');
});

test('followers see their own objects’ events and nobody else’s: changes, health, workloads', async (t) => {
  const api = await Api.start(t);
  const { red, blue, one, two, half, route } = await pair(api);
  const follower = await opened(new Follower(api, red, null));
  const other = await opened(new Follower(api, await api.tenant('green'), null));
  const a = await half(red, one, two);
  const b = await half(blue, two, one);
  await follower.sees((event) => event.event === 'health' && event.vpcPeeringId === a && event.health === 'blocked');
  const answered = await follower.sees(
    (event) =>
      event.event === 'change' && event.by === 'peer' && event.objects.some(({ state }) => state === 'Connected'),
  );
  assert.deepEqual(
    answered.event === 'change' && [answered.operation, answered.requestId, answered.objects.map(({ id }) => id)],
    [null, null, [a]],
    'of what the peer did, only what became of the own half',
  );
  await route(red, one, two['cidr'], a);
  await follower.sees((event) => event.event === 'health' && event.health === 'partly');
  await route(blue, two, one['cidr'], b);
  await follower.sees((event) => event.event === 'health' && event.health === 'open');
  await api.attach(one['networkInterfaceId'] ?? '');
  await follower.sees((event) => event.event === 'attachment' && event.state === 'attached');
  await api.done(blue, 'DELETE', `/vpcPeerings/${b}`);
  await follower.sees((event) => event.event === 'health' && event.health === null);
  const ids = follower.events.map(({ id }) => id.split('.').map(Number));
  for (const [at, [revision = 0, n = 0]] of ids.entries()) {
    const [earlier = 0, m = 0] = ids[at - 1] ?? [0, -1];
    assert.ok(revision > earlier || (revision === earlier && n > m), 'ids grow');
  }
  assert.deepEqual(other.events, []);
  follower.close();
  other.close();
});

test('who follows from the last id he saw gets exactly the rest; an id from another time says so', async (t) => {
  const api = await Api.start(t);
  const { red, one, two, half, route } = await pair(api);
  const whole = await opened(new Follower(api, red, '0'));
  const a = await half(red, one, two);
  await route(red, one, two['cidr'], a);
  await whole.sees((event) => event.event === 'change' && event.operation === 'add-routes');
  const all = [...whole.events];
  whole.close();
  const middle = all[Math.floor(all.length / 2)]?.id ?? '';
  const rest = await opened(new Follower(api, red, middle));
  await rest.sees((event) => event.id === all.at(-1)?.id);
  assert.deepEqual(rest.events, all.slice(all.findIndex(({ id }) => id === middle) + 1));
  rest.close();
  const { events } = await api.done(red, 'GET', `/events?after=${middle}`);
  assert.deepEqual(events, rest.events, 'the list is the same');
  const future = await api.done(red, 'GET', '/events?after=999999');
  assert.deepEqual(
    future.events.map(({ event }: FeedEvent) => event),
    ['reset'],
  );
  assert.equal((await api.call(red, 'GET', '/events?after=abc')).status, 400);
});

test('a stream ends with the key that opened it, and no account holds too many', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const second = await api.key(red.accountId);
  const follower = await opened(new Follower(api, second, null));
  await api.operate({ kind: 'delete-key', keyId: second.accessKeyId as never });
  await api.done(red, 'POST', '/vpcs', { vpcName: 'v' });
  for (let tries = 0; tries < 500 && !follower.ended; tries++) await sleep(10);
  assert.ok(follower.ended, 'it ends at the next event');
  assert.equal(
    follower.events.some((event) => event.event === 'change' && event.operation === 'create-vpc'),
    false,
  );
  const streams = [];
  for (let n = 0; n < 8; n++) streams.push(await opened(new Follower(api, red, null)));
  assert.equal((await api.call(red, 'GET', '/events?follow=true')).status, 429);
  for (const stream of streams) stream.close();
  for (let tries = 0; tries < 500; tries++) {
    const again = new Follower(api, red, null);
    await sleep(20);
    again.close();
    if (again.opened) return;
  }
  assert.fail('closed streams are not counted');
});
