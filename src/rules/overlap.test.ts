import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ledger } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import { isRefusal } from '../model/errors.ts';
import { addressOf, containsAddress, type Prefix } from '../model/ip.ts';
import { effectivePrefixes, findOverlap, localRangeOver } from './overlap.ts';

/** The last 4 bits of an IPv4 or the last 4 of an IPv6 range: small enough to count every address. */
const smallPrefix: fc.Arbitrary<Prefix> = fc
  .tuple(fc.constantFrom<4 | 6>(4, 6), fc.nat(4), fc.nat(15))
  .map(([family, length, bits]) => {
    const base = family === 4 ? 0x0a000000n : 0xfd00n << 112n;
    const first = base | BigInt((bits >> (4 - length)) << (4 - length));
    return `${addressOf(family, first)}/${(family === 4 ? 28 : 124) + length}` as Prefix;
  });
/** Every address of that small world. */
const everyAddress = [0x0a000000n, 0xfd00n << 112n].flatMap((base, six) =>
  Array.from({ length: 16 }, (_, n) => addressOf(six === 1 ? 6 : 4, base | BigInt(n))),
);

/** How two ranges may lie, by the example of both families. */
const cases = [
  { how: 'equal', a: ['10.0.0.0/16'], b: ['10.0.0.0/16'], overlap: true },
  { how: 'containing', a: ['10.0.0.0/8'], b: ['10.9.0.0/16'], overlap: true },
  { how: 'containing at its very end', a: ['10.0.0.0/16'], b: ['10.0.255.255/32'], overlap: true },
  { how: 'partly shared lists', a: ['10.0.0.0/16', '10.2.0.0/16'], b: ['10.1.0.0/16', '10.2.128.0/17'], overlap: true },
  { how: 'everything', a: ['0.0.0.0/0'], b: ['203.0.113.0/24'], overlap: true },
  { how: 'neighbours', a: ['10.0.0.0/17'], b: ['10.0.128.0/17'], overlap: false },
  { how: 'interleaved lists', a: ['10.0.0.0/24', '10.0.2.0/24'], b: ['10.0.1.0/24', '10.0.3.0/24'], overlap: false },
  { how: 'equal, IPv6', a: ['fd00:1::/48'], b: ['fd00:1::/48'], overlap: true },
  { how: 'containing, IPv6', a: ['fd00::/16'], b: ['fd00:1::/48'], overlap: true },
  { how: 'containing at its very end, IPv6', a: ['fd00::/64'], b: ['fd00::ffff:ffff:ffff:ffff/128'], overlap: true },
  { how: 'partly shared lists, IPv6', a: ['fd00:1::/48', 'fd00:2::/48'], b: ['fd00:2:0:8000::/49'], overlap: true },
  { how: 'everything, IPv6', a: ['::/0'], b: ['2001:db8::/32'], overlap: true },
  { how: 'neighbours, IPv6', a: ['fd00:0:0:0::/65'], b: ['fd00:0:0:0:8000::/65'], overlap: false },
  { how: 'only the IPv6 half shared', a: ['10.0.0.0/16', 'fd00::/56'], b: ['10.1.0.0/16', 'fd00::/64'], overlap: true },
  { how: 'different families', a: ['0.0.0.0/0'], b: ['::/0'], overlap: false },
] as const;

for (const { how, a, b, overlap } of cases) {
  test(`17. 20. peering ${how} ranges is ${overlap ? 'refused' : 'allowed'}, whoever comes first`, () => {
    for (const [first, second] of [
      [a, b],
      [b, a],
    ] as const) {
      const ledger = new Ledger();
      const red = ledger.account('red');
      const from = ledger.vpc(red, ...first);
      const to = ledger.vpc(ledger.account('blue'), ...second);
      const decision = ledger.submit(ledger.peering(from, to), red);
      assert.equal(isRefusal(decision) ? decision.code : 'done', overlap ? 'peering-overlap-hidden' : 'done');
      // Within one account nothing is hidden: both ranges are named, and each belongs to the side it is said to.
      const own = ledger.submit(ledger.peering(from, ledger.vpc(red, ...second)), red);
      assert.equal(isRefusal(own) ? own.code : 'done', overlap ? 'peering-overlap' : 'done');
      if (!isRefusal(own)) continue;
      const { ours = '', theirs = '' } = own.params;
      assert.ok(first.map(prefix).includes(ours as Prefix), ours);
      assert.ok(second.map(prefix).includes(theirs as Prefix), theirs);
    }
  });
}

test('17. overlap is symmetric and says exactly whether an address is in both lists', () => {
  const list = fc.array(smallPrefix, { maxLength: 4 });
  let found = 0;
  fc.assert(
    fc.property(list, list, (a, b) => {
      const shared = everyAddress.some(
        (address) => a.some((one) => containsAddress(one, address)) && b.some((one) => containsAddress(one, address)),
      );
      const there = findOverlap(a, b);
      const back = findOverlap(b, a);
      assert.equal(there !== null, shared);
      assert.equal(back !== null, shared);
      if (there === null || back === null) return;
      found++;
      assert.ok(a.includes(there.ours) && b.includes(there.theirs) && b.includes(back.ours) && a.includes(back.theirs));
      assert.ok(everyAddress.some((x) => containsAddress(there.ours, x) && containsAddress(there.theirs, x)));
    }),
    { numRuns: 500 },
  );
  assert.ok(found > 20 && found < 480, `both answers occur: ${found} of 500 overlap`);
});

test('what a VPC occupies is its CIDRs, or, when it has none, its subnets', () => {
  const ledger = new Ledger();
  const red = ledger.account('red');
  const preset = ledger.vpc(red, '10.0.0.0/16', 'fd00::/56');
  ledger.subnet(preset, '10.0.1.0/24');
  assert.deepEqual(effectivePrefixes(ledger.state, ledger.get('vpc', preset)), ['10.0.0.0/16', 'fd00::/56']);
  const unlimited = ledger.vpc(red);
  assert.deepEqual(effectivePrefixes(ledger.state, ledger.get('vpc', unlimited)), []);
  ledger.subnet(unlimited, '10.0.1.0/24', 'fd00::/64');
  ledger.subnet(unlimited, '10.0.2.0/24');
  assert.deepEqual([...effectivePrefixes(ledger.state, ledger.get('vpc', unlimited))].sort(), [
    '10.0.1.0/24',
    '10.0.2.0/24',
    'fd00::/64',
  ]);
});

test('17. an unlimited VPC is compared by its subnets, and may not grow one into a Connected peer', () => {
  for (const [own, theirs] of [
    ['10.0.0.0/24', '10.0.1.0/24'],
    ['fd00:1::/64', 'fd00:2::/64'],
  ] as const) {
    const ledger = new Ledger();
    const red = ledger.account('red');
    const blue = ledger.account('blue');
    const a = ledger.vpc(red);
    const b = ledger.vpc(blue, theirs);
    ledger.subnet(a, own);
    ledger.half(a, b);
    const back = ledger.half(b, a);
    assert.equal(ledger.stateOf(a, b), 'Connected');
    const into = { kind: 'create-subnet', vpcId: a, name: 's', description: '', cidrs: [prefix(theirs)] } as const;
    const refusal = ledger.refused(into, red);
    assert.equal(refusal.code, 'growth-overlaps-peer');
    assert.equal(refusal.params['theirs'], theirs);
    // The control: a half that is not Connected constrains nobody, and the mirror that would overlap is refused then.
    ledger.done({ kind: 'delete-peering', halfId: back }, blue);
    ledger.done(into, red);
    assert.equal(ledger.refused(ledger.peering(b, a, 'again'), blue).code, 'peering-overlap');
  }
});

test('17. dropping the CIDRs only shrinks what a VPC occupies; a subnet beside them then still meets the peer', () => {
  const ledger = new Ledger();
  const red = ledger.account('red');
  const a = ledger.vpc(red, '10.0.0.0/16');
  const b = ledger.vpc(ledger.account('blue'), '10.1.0.0/16');
  ledger.half(a, b);
  ledger.half(b, a);
  ledger.done({ kind: 'modify-vpc', vpcId: a, unlimited: true }, red);
  const into = (cidr: string) =>
    ({ kind: 'create-subnet', vpcId: a, name: 's', description: '', cidrs: [prefix(cidr)] }) as const;
  assert.equal(ledger.refused(into('10.1.5.0/24'), red).code, 'growth-overlaps-peer');
  ledger.done(into('10.2.5.0/24'), red);
});

test('26. Local holds a destination only when one own range holds all of it', () => {
  const ledger = new Ledger();
  const vpc = ledger.get('vpc', ledger.vpc(ledger.account('red'), '10.0.0.0/16', 'fd00::/56'));
  const over = (text: string): Prefix | undefined => localRangeOver(ledger.state, vpc, prefix(text));
  assert.equal(over('10.0.0.0/16'), '10.0.0.0/16');
  assert.equal(over('10.0.3.0/24'), '10.0.0.0/16');
  assert.equal(over('fd00:0:0:1::/64'), 'fd00::/56');
  assert.equal(over('10.0.0.0/15'), undefined, 'wider than Local');
  assert.equal(over('10.1.0.0/16'), undefined);
});
