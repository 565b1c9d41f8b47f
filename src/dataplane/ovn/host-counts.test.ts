import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HalfId, PortId, RouteTableId, VpcId } from '../../model/ids.ts';
import type { Mac } from '../../model/ip.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import type { HalfReading } from '../driver.ts';
import { HostCounts, partiesOf } from './host-counts.ts';
import type { HostReading, MeterRequest } from './hosts.ts';

const idOf = (from: string, to: string): HalfId => `vpcpr-${from}${to}` as HalfId;
/** A VPC with one interface, and a half towards each of those. */
function vpc(name: string, ...remotes: readonly string[]): readonly [VpcId, VpcSpec] {
  const port = { id: `port-${name}` as PortId, mac: '02:00:00:00:00:01' as Mac, addresses: [], sanityCheck: true };
  const vpcId = `vpc-${name}` as VpcId;
  const halves = remotes.map((to) => ({ id: idOf(name, to), remoteVpcId: `vpc-${to}` as VpcId, live: true }));
  return [vpcId, { vpcId, interfaces: [{ ...port, routeTableId: 'rtb-1' as RouteTableId }], routeTables: [], halves }];
}
/** a and b are joined, a and c are; d points at a, which knows nothing of it. */
const specs = new Map([vpc('a', 'b', 'c'), vpc('b', 'a'), vpc('c', 'a'), vpc('d', 'a')]);
const at = (places: { readonly [vpc: string]: string }) =>
  new Map(Object.entries(places).map(([name, host]) => [`port-${name}`, { host }]));
const places = at({ a: 'h1', b: 'h2', c: 'h3', d: 'h4' });

test('party to a half are the hosts of both its VPCs, once those are joined, and nobody else', () => {
  const parties = partiesOf(specs, places);
  const of = (host: string) => [...(parties.get(host) ?? [])].sort();
  assert.deepEqual(of('h1'), [idOf('a', 'b'), idOf('a', 'c'), idOf('b', 'a'), idOf('c', 'a')]);
  assert.deepEqual(of('h2'), [idOf('a', 'b'), idOf('b', 'a')]);
  assert.deepEqual(of('h3'), [idOf('a', 'c'), idOf('c', 'a')]);
  assert.deepEqual(of('h4'), [idOf('d', 'a')]);
  assert.deepEqual(of('h5'), []);
});

const count = (halfId: HalfId, life: string): HalfReading => ({ halfId, life, packets: 7n, bytes: 700n });
function make() {
  const asked: (readonly [string, MeterRequest])[] = [];
  const told = new Map<string, HostReading>();
  const counts = new HostCounts({
    connected: () => new Set(told.keys()),
    meter: async (host, request) => {
      asked.push([host, request]);
      return told.get(host) ?? { running: [], retired: [] };
    },
  });
  const request = (...halves: readonly HalfId[]): MeterRequest => {
    return { epoch: 'e', halves: halves.map((id) => [id, '']), booked: ['h1/x', 'h2/x', 'h2/y', 'h22/z', 'x'] };
  };
  const all = request(...[...specs.values()].flatMap(({ halves }) => halves.map(({ id }) => id)));
  return { counts, asked, told, request, all };
}

test('a life is of the host that spoke it: no host speaks for another, or hears of its lives', async () => {
  const { counts, asked, told, all } = make();
  counts.look(specs, places);
  const running = [count(idOf('a', 'b'), 'x')];
  for (const host of ['h1', 'h2', 'h3']) told.set(host, { running, retired: [] });
  const lives = async (host: string) => (await counts.meter(host, all)).running.map(({ life }) => life);
  assert.deepEqual([await lives('h1'), await lives('h2')], [['h1/x'], ['h2/x']]);
  told.set('h2', { running: [count(idOf('a', 'b'), 'h1/x')], retired: [] });
  assert.deepEqual(await lives('h2'), ['h2/h1/x']);
  assert.deepEqual(
    asked.slice(0, 2).map(([host, { booked }]) => [host, booked]),
    [
      ['h1', ['x']],
      ['h2', ['x', 'y']],
    ],
  );
});

test('what a host tells of halves that are none of its business is doubted, and one that grows it has once', async () => {
  const { counts, told, all } = make();
  counts.look(specs, places);
  const halves = [idOf('a', 'b'), idOf('a', 'c'), idOf('d', 'a'), 'vpcpr-nobody' as HalfId];
  const running = [...halves.map((id) => count(id, `of ${id}`)), count(idOf('a', 'b'), 'again')];
  told.set('h2', { running, retired: halves.map((id) => count(id, `past ${id}`)) });
  const answer = await counts.meter('h2', all);
  for (const part of [answer.running, answer.retired]) {
    assert.deepEqual(
      part.map(({ halfId, doubtful }) => [halfId, doubtful === true]),
      halves.map((id) => [id, id !== idOf('a', 'b')]),
    );
  }
});

test('where a workload was is remembered as long as the half is there, or its host has a final count of it', async () => {
  const { counts, told, request, all } = make();
  const half = idOf('a', 'b');
  const isDoubted = async (of: MeterRequest): Promise<boolean> => {
    const { running, retired } = await counts.meter('h1', of);
    return [...running, ...retired].some(({ doubtful }) => doubtful === true);
  };
  told.set('h1', { running: [count(half, 'x')], retired: [] });
  assert.equal(await isDoubted(all), true, 'the control: not seen there yet');
  counts.look(specs, places);
  counts.look(specs, at({ a: 'h2', b: 'h2' }));
  assert.equal(await isDoubted(all), false);
  told.set('h1', { running: [], retired: [count(half, 'x')] });
  assert.equal(await isDoubted(request()), false, 'the half is gone, and this is what it came to');
  assert.equal(await isDoubted(request()), false);
  told.set('h1', { running: [], retired: [] });
  await counts.meter('h1', request());
  told.set('h1', { running: [count(half, 'y')], retired: [] });
  assert.equal(await isDoubted(all), true);
});
