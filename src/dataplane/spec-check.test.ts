import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Packet } from '../explain/explain.ts';
import type { VpcId } from '../model/ids.ts';
import { gatewayMac, type VpcSpec } from '../model/network-spec.ts';
import type { SyncUpdate } from './plane.ts';
import { Admission, checkPacket, checkSpec } from './spec-check.ts';
import { readRequest } from './wire.ts';

const vpcId = 'vpc-aaaaaaaaaa' as VpcId;

/** A VPC with one of everything; every id ends with the mark. */
const plain = (mark = 'a') => ({
  vpcId: `vpc-aaaaaaaaa${mark}`,
  interfaces: [
    {
      id: `port-aaaaaaaaa${mark}`,
      mac: '02:00:00:00:00:01',
      addresses: [
        { address: '10.0.0.4', primary: true, gateway: '10.0.0.1', prefixLength: 24 },
        { address: 'fd00::4', primary: true, gateway: 'fd00::1', prefixLength: 64 },
      ],
      routeTableId: `rtb-aaaaaaaaa${mark}`,
      sanityCheck: true,
    },
  ],
  routeTables: [
    {
      id: `rtb-aaaaaaaaa${mark}`,
      routes: [
        { destination: '10.0.0.0/24', target: { kind: 'local' } },
        { destination: '10.1.0.0/16', target: { kind: 'peering', halfId: `vpcpr-aaaaaaaaa${mark}` } },
        { destination: '10.2.0.0/16', target: { kind: 'interface', portId: `port-aaaaaaaaa${mark}` } },
        { destination: '0.0.0.0/0', target: { kind: 'black-hole' } },
      ],
    },
  ],
  halves: [{ id: `vpcpr-aaaaaaaaa${mark}`, remoteVpcId: 'vpc-zzzzzzzzzz', live: true }],
});
type Plain = ReturnType<typeof plain>;
const specOf = (of: Plain): VpcSpec => of as unknown as VpcSpec;
const updateOf = (vpcs: readonly Plain[], more: Partial<SyncUpdate> = {}): SyncUpdate => ({
  revision: 1,
  full: false,
  vpcs: vpcs.map(specOf),
  removed: [],
  ...more,
});
const requestOf = (update: unknown): string => JSON.stringify({ id: 1, method: 'sync', params: update });

/** Ways to spoil a VPC, each with what the refusal must speak of. */
const spoilt: readonly (readonly [RegExp, (of: Plain) => void])[] = [
  [/not a VPC id/, (of) => Object.assign(of, { vpcId: '../../proc/1' })],
  [/not an interface's id/, (of) => Object.assign(of.interfaces[0] ?? {}, { id: 'port-$(reboot)' })],
  [
    /not a route table's id/,
    (of) => Object.assign(of, { interfaces: [], routeTables: [{ id: 'rtb-AAAAAAAAAA', routes: [] }] }),
  ],
  [/not a half's id/, (of) => Object.assign(of.halves[0] ?? {}, { id: 'vpcpr-' })],
  [/bad remote VPC/, (of) => Object.assign(of.halves[0] ?? {}, { remoteVpcId: of.vpcId })],
  [/bad remote VPC/, (of) => Object.assign(of.halves[0] ?? {}, { remoteVpcId: 'vpc-1' })],
  [/bad MAC/, (of) => Object.assign(of.interfaces[0] ?? {}, { mac: 'FF:FF:FF:FF:FF:FF' })],
  [/bad MAC/, (of) => Object.assign(of.interfaces[0] ?? {}, { mac: '03:00:00:00:00:01' })],
  [/route table is not of/, (of) => Object.assign(of.interfaces[0] ?? {}, { routeTableId: 'rtb-bbbbbbbbbb' })],
  [/bad address/, (of) => Object.assign(of.interfaces[0]?.addresses[0] ?? {}, { address: '010.0.0.4' })],
  [/bad address/, (of) => Object.assign(of.interfaces[0]?.addresses[1] ?? {}, { address: 'FD00::4' })],
  [/bad address/, (of) => Object.assign(of.interfaces[0]?.addresses[0] ?? {}, { gateway: '' })],
  [/differ in family/, (of) => Object.assign(of.interfaces[0]?.addresses[0] ?? {}, { gateway: 'fd00::1' })],
  [/bad prefix length/, (of) => Object.assign(of.interfaces[0]?.addresses[0] ?? {}, { prefixLength: 33 })],
  [/address occurs twice/, (of) => of.interfaces[0]?.addresses.push(...of.interfaces[0].addresses)],
  [/bad destination/, (of) => Object.assign(of.routeTables[0]?.routes[0] ?? {}, { destination: '10.0.0.1/24' })],
  [/destination occurs twice/, (of) => of.routeTables[0]?.routes.push(...of.routeTables[0].routes)],
  [/half of another VPC/, (of) => Object.assign(of, { halves: [] })],
  [
    /interface of another VPC/,
    (of) =>
      Object.assign(of.routeTables[0]?.routes[2] ?? {}, { target: { kind: 'interface', portId: 'port-bbbbbbbbbb' } }),
  ],
  [/id occurs twice/, (of) => of.halves.push(...of.halves)],
  [
    /more than 2000 halves/,
    (of) => of.halves.push(...(Array.from({ length: 2000 }, () => ({ ...plain('b').halves[0] })) as Plain['halves'])),
  ],
];

for (const [says, spoil] of spoilt) {
  test(`a spec is refused whole: ${says.source}, by ${spoil.toString().replace(/\s+/g, ' ').slice(8, 70)}`, () => {
    const bad = plain();
    spoil(bad);
    assert.equal(checkSpec(specOf(plain())), null, 'control');
    assert.match(checkSpec(specOf(bad)) ?? 'admitted', says);
  });
}

test('an id that one VPC keeps is not admitted in another, at once or later, and nothing of the update is kept', () => {
  const admission = new Admission();
  const [a, b] = [plain('a'), plain('b')];
  assert.equal(admission.admit(updateOf([a, b], { full: true })), null);
  const thief = { ...plain('c'), interfaces: a.interfaces.map((one) => ({ ...one, routeTableId: 'rtb-aaaaaaaaac' })) };
  thief.routeTables[0]?.routes.splice(2, 1);
  assert.match(admission.admit(updateOf([thief])) ?? 'admitted', /port-aaaaaaaaaa' is in two VPCs/);
  assert.match(admission.admit(updateOf([a, thief], { full: true })) ?? 'admitted', /in two VPCs/);
  assert.match(admission.admit(updateOf([a, a])) ?? 'admitted', /a VPC occurs twice/);
  assert.match(admission.admit(updateOf([a], { removed: [vpcId] })) ?? 'admitted', /a VPC occurs twice/);
  // Controls: the refused updates left no mark, and an id is free once its VPC is gone or gave it up.
  assert.equal(admission.admit(updateOf([plain('c')])), null);
  assert.equal(admission.admit(updateOf([thief], { removed: [vpcId] })), null);
  assert.match(admission.admit(updateOf([a])) ?? 'admitted', /in two VPCs/);
  assert.equal(admission.admit(updateOf([a, plain('c')])), null);
  assert.equal(admission.admit(updateOf([thief], { full: true })), null);
});

test('a packet to be traced is checked as well; a multicast destination is a packet', () => {
  const packet = {
    from: 'port-aaaaaaaaaa',
    sourceMac: '02:00:00:00:00:01',
    destinationMac: gatewayMac,
    source: '10.0.0.4',
    destination: 'fd00::1',
    ttl: 64,
    length: 100,
    protocol: 'udp',
  } as Packet;
  const check = (change: object): string | null => checkPacket({ ...packet, ...change } as Packet);
  assert.equal(check({}), null);
  assert.equal(check({ destinationMac: 'ff:ff:ff:ff:ff:ff' }), null);
  assert.match(check({ from: 'port-' }) ?? '', /not an interface's id/);
  assert.equal(check({ sourceMac: 'ff:ff:ff:ff:ff:ff' }), 'bad MAC');
  assert.equal(check({ destinationMac: '' }), 'bad MAC');
  assert.equal(check({ source: '::ffff:10.0.0.4' }), 'bad address');
  assert.equal(check({ destination: '10.0.0.256' }), 'bad address');
});

/** Every way to one value inside another. */
function pathsIn(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsIn(inner, [...path, key]))];
}
function replaceAt(value: unknown, path: readonly string[], by: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[key] = replaceAt(copy[key], rest, by);
  return copy;
}
const strings = (value: unknown): readonly string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(strings)
      : [];
/** What any text in an admitted update may look like, said without the parsers. */
const harmless =
  /^((vpc|rtb|port|vpcpr)-[a-z0-9]{10}|local|black-hole|peering|interface|[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f.:]{2,39}(\/[0-9]{1,3})?)$/;

test('of 5,000 spoilt updates none is admitted with a text that is neither id, address, prefix nor MAC', () => {
  const whole = { revision: 7, full: true, vpcs: [plain('a'), plain('b')], removed: ['vpc-cccccccccc'] };
  assert.ok(
    strings(whole).every((text) => harmless.test(text)),
    'control',
  );
  const request = readRequest(requestOf(whole));
  assert.ok('params' in request && new Admission().admit(request.params as SyncUpdate) === null, 'control');
  const paths = pathsIn(whole);
  let refused = 0;
  const junk = fc.oneof(
    fc.string(),
    fc.jsonValue(),
    fc.constantFrom('../x', '__proto__', 'vpc-aaaaaaaaaa\n', 'port-aaaaaaaaab', 'rtb-aaaaaaaaab', -1, 1e300, 'local'),
    fc
      .constantFrom(...paths)
      .map((path) => path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], whole)),
  );
  fc.assert(
    fc.property(fc.constantFrom(...paths), junk, (path, by) => {
      const line = requestOf(replaceAt(whole, path, by));
      const read = readRequest(line);
      const problem = 'problem' in read ? read.problem : new Admission().admit(read.params as SyncUpdate);
      if (problem !== null) {
        refused++;
        return true;
      }
      return strings((read as { params: unknown }).params).every((text) => harmless.test(text));
    }),
    { numRuns: 5000 },
  );
  assert.ok(refused > 2500, `control: ${refused} were refused`);
});
