import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, addressOf, macOf, type Prefix } from '../../model/ip.ts';
import * as layout from './layout.ts';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(model, { noNullPrototype: true });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const v4 = fc.bigInt(0n, 2n ** 32n - 1n).map((bits) => addressOf(4, bits));
// Not ::, which stands for "none", nor ::ffff:0:0/96, which stands for IPv4.
const v6 = fc
  .bigInt(1n, 2n ** 128n - 1n)
  .filter((bits) => bits >> 32n !== 0xffffn)
  .map((bits) => addressOf(6, bits));
const address = fc.oneof(v4, v6);
const prefix = fc.oneof(
  fc.tuple(fc.bigInt(0n, 2n ** 32n - 1n), fc.integer({ min: 0, max: 32 })).map(([bits, length]) => {
    const host = 32n - BigInt(length);
    return `${addressOf(4, (bits >> host) << host)}/${length}` as Prefix;
  }),
  fc.tuple(fc.bigInt(2n ** 125n, 2n ** 128n - 1n), fc.integer({ min: 0, max: 128 })).map(([bits, length]) => {
    const host = 128n - BigInt(length);
    return `${addressOf(6, (bits >> host) << host)}/${length}` as Prefix;
  }),
);
const mac = fc.bigInt(0n, 2n ** 40n - 1n).map(macOf);
const text = (most: number) =>
  fc.array(fc.constantFrom(...'abcxyz0189-'), { maxLength: most }).map((letters) => letters.join(''));
const orNone = (of: fc.Arbitrary<Address>) => fc.option(of, { nil: null });

test('every value comes back from its bytes, which have the declared size', () => {
  fc.assert(
    fc.property(
      record({
        ifindex: u32,
        vpc: u32,
        table: u32,
        generation: u32,
        mac,
        sanityCheck: fc.boolean(),
        mtu: u32,
        gateway: record({ 4: orNone(v4), 6: orNone(v6) }),
        primary: record({ 4: orNone(v4), 6: orNone(v6) }),
      }),
      (entry) => {
        const bytes = layout.encodeInterface(entry);
        assert.equal(bytes.length, layout.sizes.interface);
        assert.deepEqual(layout.decodeInterface(bytes), entry);
      },
    ),
  );
  const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
  fc.assert(
    fc.property(record({ slot: u32, generation: u32, packets: u64, bytes: u64 }), (entry) => {
      const bytes = layout.encodeRetirement(entry);
      assert.equal(bytes.length, layout.sizes.registration);
      assert.deepEqual(layout.decodeRetirement(bytes), entry);
      assert.equal(layout.decodeRegistration(bytes), undefined, 'no resource');
    }),
  );
  const routeKind = fc.constantFrom(...(Object.keys(layout.routeKinds) as (keyof typeof layout.routeKinds)[]));
  fc.assert(
    fc.property(record({ kind: routeKind, slot: u32, generation: u32, vpc: u32 }), (entry) => {
      const bytes = layout.encodeRoute(entry);
      assert.equal(bytes.length, layout.sizes.route);
      assert.deepEqual(layout.decodeRoute(bytes), entry);
    }),
  );
  const prefixLength = fc.integer({ min: 0, max: 128 });
  fc.assert(
    fc.property(record({ vpc: u32, slot: u32, mtu: u32, mac, primary: fc.boolean(), prefixLength }), (entry) => {
      const bytes = layout.encodeTarget(entry);
      assert.equal(bytes.length, layout.sizes.target);
      assert.deepEqual(layout.decodeTarget(bytes), entry);
    }),
  );
  const kind = fc.constantFrom(...(Object.keys(layout.kinds) as layout.Kind[]));
  const registration = { kind, slot: u32, generation: u32, attached: fc.boolean(), owner: text(32), note: text(96) };
  fc.assert(
    fc.property(record(registration), (entry) => {
      const bytes = layout.encodeRegistration(entry);
      assert.equal(bytes.length, layout.sizes.registration);
      assert.deepEqual(layout.decodeRegistration(bytes), entry);
    }),
  );
  const objectHash = fc.bigInt(0n, 2n ** 128n - 1n).map((bits) => bits.toString(16).padStart(32, '0'));
  const meta = { version: u32, nextVpc: u32, nextGeneration: u32, installationId: text(32), objectHash };
  fc.assert(
    fc.property(record(meta), (entry) => {
      const bytes = layout.encodeMeta(entry);
      assert.equal(bytes.length, layout.sizes.meta);
      assert.deepEqual(layout.decodeMeta(bytes), entry);
    }),
  );
});

test('every key comes back from its bytes, and different keys have different bytes', () => {
  fc.assert(
    fc.property(prefix, (destination) => {
      const bytes = layout.encodeRouteKey(destination);
      assert.equal(bytes.length, layout.sizes.routeKey);
      assert.equal(layout.decodeRouteKey(bytes), destination);
    }),
  );
  fc.assert(
    fc.property(u32, address, (vpc, of) => {
      const bytes = layout.encodeAddressKey(vpc, of);
      assert.equal(bytes.length, layout.sizes.addressKey);
      assert.equal(bytes.readUInt32LE(0), vpc);
      assert.equal(layout.addressFrom(bytes.subarray(4)), of);
    }),
  );
  fc.assert(
    fc.property(u32, address, u32, address, (vpc, one, otherVpc, other) => {
      const equal = vpc === otherVpc && one === other;
      assert.equal(layout.encodeAddressKey(vpc, one).equals(layout.encodeAddressKey(otherVpc, other)), equal);
    }),
  );
  fc.assert(fc.property(text(32), (id) => assert.equal(layout.idFrom(layout.idKey(id)), id)));
});

test('the bytes of a live half are one word, and all zeroes are a dead one', () => {
  const live = layout.encodeHalf(0x01020304, 0x0a0b0c0d);
  assert.equal(live.readBigUInt64LE(0), 0x0a0b0c0d01020304n);
  assert.equal(layout.deadHalf().readBigUInt64LE(0), 0n);
});

test('counters add up over all CPUs', () => {
  const cpu = (packets: bigint, bytes: bigint): Buffer => Buffer.from(BigUint64Array.of(packets, bytes).buffer);
  assert.deepEqual(layout.sumCounts(Buffer.concat([cpu(2n, 100n), cpu(0n, 0n), cpu(5n, 2n ** 40n)])), {
    packets: 7,
    bytes: 100 + 2 ** 40,
  });
});

test('what cannot be decoded is said to be so, not guessed', () => {
  assert.equal(layout.decodeRoute(Buffer.alloc(layout.sizes.route)), undefined);
  assert.equal(layout.decodeRegistration(Buffer.alloc(layout.sizes.registration)), undefined);
  assert.equal(layout.addressFrom(layout.none()), null);
});

test('the sizes of keys, values and structs are those that bpf/maps.h declares', () => {
  const header = readFileSync(new URL('../../../bpf/maps.h', import.meta.url), 'utf8');
  const number = (name: string): number => Number(new RegExp(`#define ${name} (\\d+)`).exec(header)?.[1]);
  assert.equal(number('EXITS_PER_INTERFACE'), layout.exitsPerInterface);
  const widths: Record<string, number> = { __u8: 1, __u16: 2, __u32: 4, __u64: 8, 'struct addr': 16 };
  const sizeOf = (name: string): number => {
    const body = new RegExp(`struct ${name} \\{\\n([^}]*)\\}`).exec(header)?.[1] ?? assert.fail(`no struct ${name}`);
    let size = 0;
    for (const [, type = '', names = ''] of body.matchAll(/^\t(__u\d+|struct addr) ([^;]+);/gm)) {
      const width = widths[type] ?? assert.fail(type);
      for (const one of names.split(',')) size += width * Number(/\[(\d+)\]/.exec(one)?.[1] ?? 1);
    }
    return size;
  };
  assert.equal(sizeOf('iface'), layout.sizes.interface);
  assert.equal(sizeOf('route_key'), layout.sizes.routeKey);
  assert.equal(sizeOf('route'), layout.sizes.route);
  assert.equal(sizeOf('addr_key'), layout.sizes.addressKey);
  assert.equal(sizeOf('target'), layout.sizes.target);
  assert.equal(sizeOf('count'), layout.sizes.count);
  assert.match(header, new RegExp(`BPF_MAP_TYPE_ARRAY, 4, ${layout.sizes.meta}, 1\\) meta`));
  assert.match(header, new RegExp(`BPF_MAP_TYPE_HASH, ${layout.sizes.id}, ${layout.sizes.registration}, \\d+\\) ids`));
});
