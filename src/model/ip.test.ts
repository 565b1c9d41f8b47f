import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Address,
  addressAt,
  addressOf,
  bitsOf,
  compareAddresses,
  comparePrefixes,
  contains,
  containsAddress,
  type Family,
  familyOf,
  macOf,
  overlaps,
  type Prefix,
  parseAddress,
  parseMac,
  parsePrefix,
  prefixOf,
  rangeOf,
  widthOf,
} from './ip.ts';

const address = (text: string): Address => {
  const parsed = parseAddress(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
};
const prefix = (text: string): Prefix => {
  const parsed = parsePrefix(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
};

const anyFamily: fc.Arbitrary<Family> = fc.constantFrom(4, 6);
/** Numbers of a family; zeros and ones are frequent, for that is where runs of groups and edges are. */
const bitsOfFamily = (family: Family): fc.Arbitrary<bigint> => {
  const groups = family === 4 ? 2 : 8;
  const group = fc.oneof(fc.constantFrom(0, 1, 0xffff), fc.nat(0xffff));
  return fc
    .array(group, { minLength: groups, maxLength: groups })
    .map((all) => all.reduce((bits, one) => (bits << 16n) | BigInt(one), 0n))
    .filter((bits) => family === 4 || bits >> 32n !== 0xffffn);
};
const anyAddress = anyFamily.chain((family) => bitsOfFamily(family).map((bits) => ({ family, bits })));
const anyPrefix: fc.Arbitrary<Prefix> = anyAddress.chain(({ family, bits }) =>
  fc.nat(widthOf(family)).map((length) => {
    const host = BigInt(widthOf(family) - length);
    return `${addressOf(family, (bits >> host) << host)}/${length}` as Prefix;
  }),
);
/** Prefixes with few significant bits: most pairs of them touch. */
const closePrefix: fc.Arbitrary<Prefix> = fc.tuple(anyFamily, fc.nat(4), fc.nat(15)).map(([family, length, bits]) => {
  const host = BigInt(widthOf(family) - length);
  return `${addressOf(family, (BigInt(bits) >> BigInt(4 - length)) << host)}/${length}` as Prefix;
});

test('an address survives being written and read, and there is one text for it', () => {
  fc.assert(
    fc.property(anyAddress, ({ family, bits }) => {
      const text = addressOf(family, bits);
      assert.deepEqual(parseAddress(text), { ok: true, value: text });
      assert.deepEqual(bitsOf(text), { family, bits });
      assert.equal(familyOf(text), family);
    }),
  );
});

test('an IPv6 address in any spelling becomes the one of RFC 5952', () => {
  for (const [written, canonical] of [
    ['FD00::ABCD', 'fd00::abcd'],
    ['fd00:0:0:0:0:0:0:1', 'fd00::1'],
    ['fd00:0001:0:1:0:1:0:1', 'fd00:1:0:1:0:1:0:1'], // a run of one group is not shortened
    ['0:0:1:0:0:0:1:0', '0:0:1::1:0'], // the longest run is
    ['1:0:0:2:0:0:3:4', '1::2:0:0:3:4'], // of equal ones the first
    ['0:0:0:0:0:0:0:0', '::'],
    ['1::', '1::'],
    ['::1:2:3:4:5:6:7', '0:1:2:3:4:5:6:7'],
  ] as const) {
    assert.equal(address(written), canonical, written);
  }
});

test('a prefix survives being written and read, and its range is as long as its length says', () => {
  fc.assert(
    fc.property(anyPrefix, (text) => {
      assert.deepEqual(parsePrefix(text), { ok: true, value: text });
      const { family, length, first, last } = rangeOf(text);
      assert.equal(last - first + 1n, 1n << BigInt(widthOf(family) - length));
      assert.equal(addressAt(text, 0), addressOf(family, first));
      assert.equal(addressAt(text, -1), addressOf(family, last));
      assert.ok(containsAddress(text, addressAt(text, 0)) && containsAddress(text, addressAt(text, -1)));
    }),
  );
});

test('21. a CIDR that is not canonical is refused, and the refusal says why', () => {
  const control = ['10.0.0.0/8', '0.0.0.0/0', '10.1.2.3/32', '::/0', 'fd00::/8', 'fd00::1/128'];
  for (const text of control) assert.ok(parsePrefix(text).ok, `the control ${text}`);
  for (const [text, why] of [
    ['10.0.0.1/8', 'host bits set; the network is 10.0.0.0/8'],
    ['fd00::1/64', 'host bits set; the network is fd00::/64'],
    ['10.0.0.0/33', 'the length is at most 32'],
    ['fd00::/129', 'the length is at most 128'],
    ['010.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['10.00.0.0/8', 'not an IPv4 or IPv6 address'],
    ['10.0.0/8', 'not an IPv4 or IPv6 address'],
    ['10.0.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['256.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['0x0a.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['-1.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['１0.0.0.0/8', 'not an IPv4 or IPv6 address'], // a full-width digit
    ['::ffff:10.0.0.0/104', 'not an IPv4 or IPv6 address'],
    ['::ffff:a00:0/104', 'IPv4-mapped'],
    ['fe80::%eth0/64', 'not an IPv4 or IPv6 address'],
    ['fd00:/64', 'not an IPv4 or IPv6 address'],
    ['fd00:::/64', 'not an IPv4 or IPv6 address'],
    ['fd00::1::/64', 'not an IPv4 or IPv6 address'],
    ['1:2:3:4:5:6:7:8::/128', 'not an IPv4 or IPv6 address'],
    ['1:2:3:4:5:6:7/128', 'not an IPv4 or IPv6 address'],
    ['fd000::/64', 'not an IPv4 or IPv6 address'],
    ['00000::/64', 'not an IPv4 or IPv6 address'],
    ['', 'the prefix length is missing'],
    ['10.0.0.0', 'the prefix length is missing'],
    ['10.0.0.0/', 'bad prefix length'],
    ['10.0.0.0/08', 'bad prefix length'],
    ['10.0.0.0/+8', 'bad prefix length'],
    ['10.0.0.0/-8', 'bad prefix length'],
    ['10.0.0.0/8.0', 'bad prefix length'],
    ['10.0.0.0/8/8', 'bad prefix length'],
    ['10.0.0.0/255.0.0.0', 'bad prefix length'],
    ['/8', 'not an IPv4 or IPv6 address'],
    [' 10.0.0.0/8', 'not an IPv4 or IPv6 address'],
    ['10.0.0.0 /8', 'not an IPv4 or IPv6 address'],
    ['10.0.0.0/8 ', 'bad prefix length'],
    ['10.0.0.0/8\n', 'bad prefix length'],
    ['fd00::\n/8', 'not an IPv4 or IPv6 address'],
    ['10.0.0.0\n/8', 'not an IPv4 or IPv6 address'],
  ] as const) {
    const parsed = parsePrefix(text);
    assert.ok(!parsed.ok, `'${text}' was accepted`);
    assert.ok(parsed.problem.includes(why), `'${text}': ${parsed.problem}`);
  }
});

test('21. IPv6 in capitals or with leading zeros is normalised, so that one range has one text', () => {
  assert.equal(prefix('FD00:0:0:0A::/64'), 'fd00:0:0:a::/64');
  assert.equal(prefix('fd00:0000::/32'), 'fd00::/32');
});

test('21. any text is refused or becomes canonical, and canonical text is a fixed point', () => {
  const near = fc.array(fc.constantFrom(...'0123456789abF:./ %\n'), { maxLength: 24 }).map((all) => all.join(''));
  fc.assert(
    fc.property(fc.oneof(near, fc.string(), anyPrefix), (text) => {
      for (const parse of [parseAddress, parsePrefix]) {
        const once = parse(text);
        if (!once.ok) assert.ok(once.problem.length > 0 && once.problem.length < 200);
        else assert.deepEqual(parse(once.value), once);
      }
    }),
    { numRuns: 500 },
  );
});

test('ranges at the edges of the number space neither wrap nor lose their last address', () => {
  for (const [text, first, second, last] of [
    ['0.0.0.0/0', '0.0.0.0', '0.0.0.1', '255.255.255.255'],
    ['255.255.255.254/31', '255.255.255.254', '255.255.255.255', '255.255.255.255'],
    ['128.0.0.0/1', '128.0.0.0', '128.0.0.1', '255.255.255.255'],
    ['::/0', '::', '::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    ['fd00::/64', 'fd00::', 'fd00::1', 'fd00::ffff:ffff:ffff:ffff'],
  ] as const) {
    assert.deepEqual(
      [addressAt(prefix(text), 0), addressAt(prefix(text), 1), addressAt(prefix(text), -1)],
      [first, second, last],
    );
  }
  const host = prefix('255.255.255.255/32');
  assert.equal(addressAt(host, 0), addressAt(host, -1));
  assert.ok(overlaps(prefix('0.0.0.0/0'), host) && overlaps(host, prefix('0.0.0.0/0')));
  assert.ok(!overlaps(prefix('10.0.0.0/25'), prefix('10.0.0.128/25')), 'neighbours do not overlap');
  assert.ok(!overlaps(prefix('0.0.0.0/0'), prefix('::/0')), 'families never overlap');
  assert.ok(!containsAddress(prefix('::/0'), address('10.0.0.1')));
  assert.ok(!containsAddress(prefix('10.0.0.0/25'), address('10.0.0.128')));
});

test('overlap is one of three: equal, containing, contained; and none is longer than what it lies in', () => {
  fc.assert(
    fc.property(closePrefix, closePrefix, (a, b) => {
      assert.equal(overlaps(a, b), overlaps(b, a));
      assert.equal(overlaps(a, b), contains(a, b) || contains(b, a));
      if (contains(a, b)) assert.ok(rangeOf(a).length <= rangeOf(b).length);
      if (contains(a, b) && contains(b, a)) assert.equal(a, b);
      const inside = containsAddress(a, addressAt(b, 0)) && containsAddress(a, addressAt(b, -1));
      assert.equal(contains(a, b), inside);
    }),
    { numRuns: 1000 },
  );
});

test('the order of prefixes is total: IPv4 first, then by number, then the wider first', () => {
  fc.assert(
    fc.property(fc.array(closePrefix, { maxLength: 12 }), (list) => {
      const sorted = [...list].sort(comparePrefixes);
      assert.deepEqual([...list].reverse().sort(comparePrefixes), sorted);
      for (const [at, one] of sorted.entries()) {
        for (const other of sorted.slice(at + 1)) {
          assert.ok(comparePrefixes(one, other) <= 0);
          assert.equal(comparePrefixes(one, other) === 0, one === other);
          assert.equal(Math.sign(comparePrefixes(one, other)), -Math.sign(comparePrefixes(other, one)) + 0);
          // What contains another stands before it: a scan meets the wider range first.
          if (contains(other, one)) assert.equal(one, other);
        }
      }
    }),
  );
  const order = ['0.0.0.0/0', '9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/16', '10.0.1.0/24', '::/0', 'fd00::/8'].map(prefix);
  assert.deepEqual([...order].reverse().sort(comparePrefixes), order);
  assert.ok(compareAddresses(address('10.0.0.9'), address('10.0.0.10')) < 0, 'by number, not by text');
});

test('the prefix of an address holds that address alone', () => {
  assert.equal(prefixOf(address('10.0.0.1')), '10.0.0.1/32');
  assert.equal(prefixOf(address('fd00::1')), 'fd00::1/128');
});

test('a MAC is read in any case, multicast ones are refused, and a made one is local and unicast', () => {
  assert.deepEqual(parseMac('02:AB:00:00:00:01'), { ok: true, value: '02:ab:00:00:00:01' });
  for (const text of ['01:00:00:00:00:01', 'ff:ff:ff:ff:ff:ff', '02:00:00:00:00', '02-00-00-00-00-01', '']) {
    assert.ok(!parseMac(text).ok, text);
  }
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (seed) => {
      const mac = macOf(seed);
      assert.deepEqual(parseMac(mac), { ok: true, value: mac });
      assert.ok(mac.startsWith('02:'));
    }),
  );
});
