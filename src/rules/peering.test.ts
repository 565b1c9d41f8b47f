import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ledger } from '../../test/ledger/ledger.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import type { PeeringState } from '../model/resources.ts';
import { rememberedHalves, transitions } from './peering.ts';

type Half = PeeringState | 'none';
/** The states of A→B and B→A. */
type Pair = readonly [Half, Half];

interface Two {
  readonly ledger: Ledger;
  readonly red: AccountId;
  readonly blue: AccountId;
  readonly a: VpcId;
  readonly b: VpcId;
}
function two(): Two {
  const ledger = new Ledger();
  const [red, blue] = [ledger.account('red'), ledger.account('blue')];
  return { ledger, red, blue, a: ledger.vpc(red, '10.1.0.0/16'), b: ledger.vpc(blue, '10.2.0.0/16') };
}
const pairOf = ({ ledger, a, b }: Two): Pair => [ledger.stateOf(a, b), ledger.stateOf(b, a)];
const make = ({ ledger }: Two, from: VpcId, to: VpcId): void => void ledger.half(from, to);
const drop = ({ ledger }: Two, from: VpcId, to: VpcId): void => {
  const half = ledger.state.half(from, to);
  assert.ok(half !== undefined);
  ledger.done({ kind: 'delete-peering', halfId: half.id }, half.accountId);
};

/** How each pair of states is reached; there is no other way to one, and no other pair. */
const reach: readonly (readonly [Pair, (two: Two) => void])[] = [
  [['none', 'none'], () => {}],
  [['Initiated', 'none'], (t) => make(t, t.a, t.b)],
  [['none', 'Initiated'], (t) => make(t, t.b, t.a)],
  [['Connected', 'Connected'], (t) => [make(t, t.a, t.b), make(t, t.b, t.a)]],
  [['Disconnected', 'none'], (t) => [make(t, t.a, t.b), make(t, t.b, t.a), drop(t, t.b, t.a)]],
  [['none', 'Disconnected'], (t) => [make(t, t.a, t.b), make(t, t.b, t.a), drop(t, t.a, t.b)]],
];

/** The table of `peering.ts`, written once more: what each event of A makes of each pair; null where it is refused. */
const table = {
  create: {
    'none none': ['Initiated', 'none'],
    'Initiated none': null,
    'none Initiated': ['Connected', 'Connected'],
    'Connected Connected': null,
    'Disconnected none': null,
    'none Disconnected': ['Connected', 'Connected'],
  },
  delete: {
    'none none': null,
    'Initiated none': ['none', 'none'],
    'none Initiated': null,
    'Connected Connected': ['none', 'Disconnected'],
    'Disconnected none': ['none', 'none'],
    'none Disconnected': null,
  },
  'delete-vpc': {
    'none none': ['none', 'none'],
    'Initiated none': null,
    'none Initiated': ['none', 'Disconnected'],
    'Connected Connected': null,
    'Disconnected none': ['none', 'none'],
    'none Disconnected': ['none', 'Disconnected'],
  },
  'delete-vpc with cascade': {
    'none none': ['none', 'none'],
    'Initiated none': ['none', 'none'],
    'none Initiated': ['none', 'Disconnected'],
    'Connected Connected': ['none', 'Disconnected'],
    'Disconnected none': ['none', 'none'],
    'none Disconnected': ['none', 'Disconnected'],
  },
} as const;

for (const [event, outcomes] of Object.entries(table)) {
  for (const [start, set] of reach) {
    const expected = (outcomes as Record<string, Pair | null>)[start.join(' ')];
    const words = expected === null ? 'is refused and changes nothing' : `gives ${expected?.join(', ')}`;
    test(`${event} at ${start.join(', ')} ${words}`, () => {
      const t = two();
      set(t);
      assert.deepEqual(pairOf(t), start, 'the control: the pair is as the test says');
      const { revision } = t.ledger.state;
      const half = t.ledger.state.half(t.a, t.b)?.id ?? ('vpcpr-0000000000' as HalfId);
      const decision = t.ledger.submit(
        event === 'create'
          ? t.ledger.peering(t.a, t.b)
          : event === 'delete'
            ? { kind: 'delete-peering', halfId: half }
            : { kind: 'delete-vpc', vpcId: t.a, cascade: event !== 'delete-vpc' },
        t.red,
      );
      assert.equal(isRefusal(decision), expected === null);
      assert.deepEqual(pairOf(t), expected ?? start);
      if (isRefusal(decision)) {
        assert.equal(t.ledger.state.revision, revision);
        const codes = { create: 'peering-exists', delete: 'not-found' } as Record<string, string>;
        assert.equal(decision.code, codes[event] ?? 'vpc-has-peerings');
      }
    });
  }
}

test('the table in the code never leaves one half Connected alone', () => {
  for (const [event, row] of Object.entries(transitions)) {
    for (const [mirror, next] of Object.entries(row)) {
      assert.equal(next.own === 'Connected', next.mirror === 'Connected', `${event} at ${mirror}`);
    }
  }
});

test('1. 2. a half towards anybody else never matches, and strangers that point at a VPC change nothing for it', () => {
  const t = two();
  const c = t.ledger.vpc(t.ledger.account('green'), '10.3.0.0/16');
  make(t, t.a, t.b);
  make(t, t.b, c);
  assert.deepEqual(pairOf(t), ['Initiated', 'none']);
  const stranger = t.ledger.account('stranger');
  for (let n = 0; n < 9; n++) make(t, t.ledger.vpc(stranger, '10.1.0.0/16'), t.b); // overlaps A: of no concern to B
  assert.equal(t.ledger.stateOf(t.b, c), 'Initiated');
  make(t, t.b, t.a);
  assert.deepEqual(pairOf(t), ['Connected', 'Connected']);
  assert.equal(t.ledger.stateOf(c, t.b), 'none');
});

test('3. deleting A–B leaves A–C Connected', () => {
  const t = two();
  const c = t.ledger.vpc(t.ledger.account('green'), '10.3.0.0/16');
  for (const [from, to] of [
    [t.a, t.b],
    [t.b, t.a],
    [t.a, c],
    [c, t.a],
  ] as const)
    make(t, from, to);
  drop(t, t.a, t.b);
  assert.deepEqual(pairOf(t), ['none', 'Disconnected']);
  assert.deepEqual([t.ledger.stateOf(t.a, c), t.ledger.stateOf(c, t.a)], ['Connected', 'Connected']);
});

test('5. 6. the same half twice, and a half to itself, are refused', () => {
  const t = two();
  make(t, t.a, t.b);
  assert.equal(t.ledger.refused(t.ledger.peering(t.a, t.b, 'other name'), t.red).code, 'peering-exists');
  assert.equal(t.ledger.refused(t.ledger.peering(t.a, t.a), t.red).code, 'peering-self');
});

test('9. a half is its owner’s alone: to the mirror’s owner it is like one that does not exist', () => {
  const t = two();
  const half = t.ledger.half(t.a, t.b);
  make(t, t.b, t.a);
  const unknown = 'vpcpr-0000000000' as HalfId;
  for (const kind of ['delete-peering', 'modify-peering'] as const) {
    const theirs = t.ledger.refused({ kind, halfId: half }, t.blue);
    const none = t.ledger.refused({ kind, halfId: unknown }, t.blue);
    assert.equal(theirs.code, 'not-found');
    assert.equal(JSON.stringify(theirs).replaceAll(half, unknown), JSON.stringify(none), 'alike byte for byte');
  }
  assert.equal(t.ledger.refused(t.ledger.peering(t.a, t.b, 'x'), t.blue).code, 'not-found', 'from a VPC not its own');
  t.ledger.done({ kind: 'modify-peering', halfId: half, name: 'mine' }, t.red);
});

test('13. a Disconnected half blocks no deletion of its VPC', () => {
  const t = two();
  make(t, t.a, t.b);
  make(t, t.b, t.a);
  drop(t, t.b, t.a);
  t.ledger.done({ kind: 'delete-vpc', vpcId: t.a, cascade: false }, t.red);
  assert.deepEqual([...t.ledger.state.all('peering')], []);
  assert.deepEqual(
    [...t.ledger.state.all('half-identity')].filter(({ localVpcId }) => localVpcId === t.a),
    [],
  );
});

test('14. a half deleted and created again for the same pair has its old id, another pair a new one', () => {
  const t = two();
  const first = t.ledger.half(t.a, t.b);
  const back = t.ledger.half(t.b, t.a);
  for (const [from, to, id] of [
    [t.a, t.b, first],
    [t.b, t.a, back],
    [t.a, t.b, first],
  ] as const) {
    drop(t, from, to);
    assert.equal(t.ledger.half(from, to), id);
    assert.deepEqual(pairOf(t), ['Connected', 'Connected'], 'the waiting side does nothing');
  }
  const c = t.ledger.vpc(t.blue, '10.3.0.0/16');
  assert.notEqual(t.ledger.half(t.a, c), first);
});

test('15. an account deleted with force leaves its peers Disconnected and nothing of its own', () => {
  const t = two();
  const again = t.ledger.vpc(t.blue, '10.3.0.0/16'); // peered with its own sibling too
  for (const [from, to] of [
    [t.a, t.b],
    [t.b, t.a],
    [t.b, again],
    [again, t.b],
  ] as const)
    make(t, from, to);
  assert.equal(
    t.ledger.refused({ kind: 'delete-account', accountId: t.blue, force: false }, null).code,
    'account-in-use',
  );
  t.ledger.done({ kind: 'delete-account', accountId: t.blue, force: true }, null);
  assert.deepEqual(pairOf(t), ['Disconnected', 'none']);
  for (const kind of ['vpc', 'subnet', 'route-table', 'peering', 'interface', 'key'] as const) {
    assert.deepEqual(
      [...t.ledger.state.all(kind)].filter(({ accountId }) => accountId === t.blue),
      [],
    );
  }
});

test('the name of a half is unique in its account, in any state, and free again when it is gone', () => {
  const t = two();
  const c = t.ledger.vpc(t.blue, '10.3.0.0/16');
  const half = t.ledger.done(t.ledger.peering(t.a, t.b, 'mine'), t.red) as HalfId;
  assert.equal(t.ledger.refused(t.ledger.peering(t.a, c, 'mine'), t.red).code, 'peering-name-taken');
  t.ledger.done(t.ledger.peering(c, t.a, 'mine'), t.blue);
  const other = t.ledger.done(t.ledger.peering(t.a, c, 'second'), t.red) as HalfId;
  const rename = { kind: 'modify-peering', halfId: other, name: 'mine' } as const;
  assert.equal(t.ledger.refused(rename, t.red).code, 'peering-name-taken');
  t.ledger.done({ kind: 'modify-peering', halfId: half, name: 'mine' }, t.red); // its own name is no conflict
  t.ledger.done({ kind: 'delete-peering', halfId: half }, t.red);
  t.ledger.done(rename, t.red);
  assert.equal(t.ledger.stateOf(t.a, c), 'Connected', '16. a new name changes no peering');
});

test('before both halves exist a refusal names only the caller’s own range', () => {
  const ledger = new Ledger();
  const [red, blue] = [ledger.account('red'), ledger.account('blue')];
  const a = ledger.vpc(red, '10.0.0.0/16');
  const b = ledger.vpc(blue, '10.0.7.0/24');
  const hidden = ledger.refused(ledger.peering(a, b), red);
  assert.equal(hidden.code, 'peering-overlap-hidden');
  assert.ok(!JSON.stringify(hidden).includes('10.0.7.0'));
  assert.ok(JSON.stringify(hidden).includes('10.0.0.0/16'));
});

test('of deleted halves a VPC remembers a bounded number of ids, the newest', () => {
  const t = two();
  t.ledger.done({ kind: 'set-quota', accountId: t.blue, type: 'vpc', limit: 99 }, null);
  const ids = Array.from({ length: rememberedHalves + 3 }, (_, n) => {
    const to = t.ledger.vpc(t.blue, `10.3.${n}.0/24`);
    const half = t.ledger.half(t.a, to);
    drop(t, t.a, to);
    return [to, half] as const;
  });
  const remembered = [...t.ledger.state.all('half-identity')].filter(({ localVpcId }) => localVpcId === t.a);
  assert.equal(remembered.length, rememberedHalves);
  const [oldest, newest] = [ids[0], ids.at(-1)];
  assert.ok(oldest !== undefined && newest !== undefined);
  assert.notEqual(t.ledger.half(t.a, oldest[0]), oldest[1]);
  assert.equal(t.ledger.half(t.a, newest[0]), newest[1]);
});
