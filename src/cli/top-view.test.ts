import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOf, ratesOf, type Sample, short } from './top-view.ts';

const plain = (_tone: string, text: string): string => text;
const half = (name: string, sent: number, received = 0) => ({
  vpcPeeringId: `vpcpr-${name}`,
  vpcPeeringName: name,
  state: 'Connected',
  sent: { packets: sent, bytes: sent * 100 },
  received: { packets: received, bytes: received * 100 },
});
const port = (name: string, exits: { readonly [exit: string]: number }) => ({
  networkInterfaceId: `port-${name}`,
  networkInterfaceName: name,
  exits: Object.entries(exits).map(([exit, packets]) => ({ exit, packets, bytes: packets * 60 })),
});
const sample = (second: number, of: Partial<Sample>): Sample => ({
  time: new Date(Date.UTC(2030, 0, 1, 0, 0, 0) + second * 1000).toISOString(),
  epoch: 'one',
  halves: [],
  interfaces: [],
  ...of,
});

test('rates are differences a second, busiest first; a half that is new starts from nothing', () => {
  const before = sample(0, { halves: [half('a', 10), half('b', 5, 5)] });
  const after = sample(2, { halves: [half('a', 20), half('b', 5, 105), half('new', 1000)] });
  const { seconds, halves } = ratesOf(before, after);
  assert.equal(seconds, 2);
  assert.deepEqual(
    halves.map(({ vpcPeeringName, sent, received }) => [
      vpcPeeringName,
      sent.packetsPerSecond,
      received.packetsPerSecond,
    ]),
    [
      ['b', 0, 50],
      ['a', 5, 0],
      ['new', 0, 0],
    ],
  );
  assert.equal(halves[0]?.received.bytesPerSecond, 5000);
});

test('counts that began anew give no rate, and none below zero', () => {
  const before = sample(0, { halves: [half('a', 1000)], interfaces: [port('i', { NoRoute: 9 })] });
  const anew = sample(1, { epoch: 'two', halves: [half('a', 2000)], interfaces: [port('i', { NoRoute: 12 })] });
  assert.equal(ratesOf(before, anew).halves[0]?.sent.packetsPerSecond, 0);
  assert.equal(ratesOf(before, anew).drops[0]?.packetsPerSecond, 0);
  const same = { ...anew, epoch: 'one' };
  assert.equal(ratesOf(before, same).halves[0]?.sent.packetsPerSecond, 1000, 'control');
  assert.equal(ratesOf(same, { ...before, time: sample(2, {}).time }).halves[0]?.sent.packetsPerSecond, 0);
});

test('drops are summed by reason, with the interface that loses most now; what is no drop is left out', () => {
  const before = sample(0, { interfaces: [port('i', { NoRoute: 5, Forwarded: 9 }), port('j', {})] });
  const after = sample(1, {
    interfaces: [port('i', { NoRoute: 6, Forwarded: 99, NoPeering: 0 }), port('j', { NoRoute: 3, Answered: 7 })],
  });
  assert.deepEqual(
    ratesOf(before, after).drops.map((drop) => [drop.reason, drop.packetsPerSecond, drop.packets, drop.interface]),
    [
      ['NoRoute', 4, 9, 'j'],
      ['NoPeering', 0, 0, 'i'],
    ],
  );
  const region = (packets: number, second: number): Sample => {
    const { interfaces: _none, ...of } = sample(second, { exits: [{ exit: 'NoRoute', packets, bytes: 0 }] });
    return of;
  };
  const [drop] = ratesOf(region(1, 0), region(4, 1)).drops;
  assert.deepEqual([drop?.packetsPerSecond, drop?.interface], [3, null]);
});

test('a picture has never more lines than the terminal, nor wider ones where names can be cut', () => {
  const many = Array.from({ length: 60 }, (_, n) => half(`a-rather-long-name-of-peering-${n}`, n));
  const drops = Object.fromEntries(['NoRoute', 'NoPeering', 'TooBig', 'BlackHole'].map((name, n) => [name, n]));
  const rates = ratesOf(
    sample(0, { halves: many, interfaces: [] }),
    sample(1, { halves: many, interfaces: [port('i', drops)] }),
  );
  for (const [columns, rows] of [
    [80, 24],
    [200, 100],
    [78, 10],
    [80, 5],
    [80, 3],
    [80, 1],
  ] as const) {
    const lines = linesOf(rates, 'title', plain, { columns, rows });
    assert.ok(lines.length <= rows, `${lines.length} of ${rows}`);
    for (const line of lines) assert.ok(line.length <= columns, `${line.length} of ${columns}: ${line}`);
    if (rows === 24) {
      assert.match(lines.join('\n'), /… and \d+ more\n\nDROPPED FOR/);
      assert.match(lines.join('\n'), /TooBig/);
    }
  }
  assert.ok(linesOf(rates, 't', plain, null).length > 60, 'all of it where nobody looks');
  const empty = ratesOf(sample(0, {}), sample(1, {}));
  assert.deepEqual(linesOf(empty, 't', plain, { columns: 80, rows: 24 }), ['t', '', 'No peering half here.']);
});

test('numbers are short', () => {
  assert.deepEqual([0, 7, 999, 999.6, 1000, 12_345, 999_499, 1_500_000, 2e13, 0.5].map(short), [
    '0',
    '7',
    '999',
    '1.00k',
    '1.00k',
    '12.3k',
    '999k',
    '1.50M',
    '20.0T',
    '0.50',
  ]);
});
