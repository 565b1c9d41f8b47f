/** Consent and matching: nothing of anybody's changes but by its owner, and both owners must have agreed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { peeringView } from '../../src/api/jdcloud/objects.ts';
import { compileVpc } from '../../src/compile/compile.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { VpcId } from '../../src/model/ids.ts';
import type { PeeringHalf } from '../../src/model/resources.ts';
import type { Command } from '../../src/rules/commands.ts';
import { onFake } from '../matrix/carriers.ts';
import { World } from '../matrix/world.ts';
import { onBoth, pair, sites, stateOf, three } from './ground.ts';

const mirrorOf = (vpcId: VpcId, remoteVpcId: VpcId, name = 'm'): Command & { kind: 'create-peering' } => ({
  kind: 'create-peering',
  name,
  description: '',
  vpcId,
  remoteVpcId,
});

onBoth('1. while A waits for B, a half of B towards C connects nobody', async (w) => {
  const [a, b, c] = await three(w);
  const ab = await w.half(a.vpcId, b.vpcId);
  const bc = await w.half(b.vpcId, c.vpcId);
  await w.route(a.tableId, ab, ...b.cidrs, ...c.cidrs);
  await w.route(b.tableId, bc, ...a.cidrs, ...c.cidrs);
  assert.deepEqual([stateOf(w, ab), stateOf(w, bc)], ['Initiated', 'Initiated']);
  for (const [from, to] of [
    [a, b],
    [a, c],
    [b, a],
    [b, c],
  ] as const) {
    assert.equal(await w.sends(from.portId, to.portId), 'NoPeering');
  }
  await w.matrix();
  // Control: C answers B. That joins these two, and leaves A waiting.
  await w.half(c.vpcId, b.vpcId);
  assert.deepEqual([stateOf(w, ab), stateOf(w, bc)], ['Initiated', 'Connected']);
  assert.equal(await w.sends(b.portId, c.portId), 'delivered');
  assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
  assert.equal(await w.sends(a.portId, c.portId), 'NoPeering');
});

onBoth('2. a dozen strangers point at B: nothing of B changes, and it connects with A all the same', async (w) => {
  const [a, b] = await pair(w);
  const compiled = JSON.stringify(compileVpc(w.state, b.vpcId));
  const strangers = [];
  for (let n = 3; n < 15; n++) {
    // Half of them claim A's own range, to be in its way.
    const vpcId = await w.vpc(`s${n}`, `s${n}`, n % 2 === 0 ? '10.1.0.0/16' : `10.${n}.0.0/16`);
    const half = await w.half(vpcId, b.vpcId);
    await w.route(w.tableOf(vpcId), half, ...b.cidrs.slice(0, 1));
    strangers.push(half);
  }
  assert.equal(JSON.stringify(compileVpc(w.state, b.vpcId)), compiled);
  const own = [...w.state.all('peering')].filter(({ localVpcId }) => localVpcId === b.vpcId);
  assert.deepEqual(own, [], 'none of them is a half of B');
  await w.join(a.vpcId, b.vpcId);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered');
  assert.equal(await w.sends(b.portId, a.portId), 'delivered');
  assert.deepEqual([...new Set(strangers.map((half) => stateOf(w, half)))], ['Initiated']);
});

onBoth('3. B deletes its peering with A; the one with C stays Connected and carries', async (w) => {
  const [a, b, c] = await three(w);
  const [, ba] = await w.join(a.vpcId, b.vpcId);
  const bc = await w.join(b.vpcId, c.vpcId);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  assert.deepEqual(
    bc.map((half) => stateOf(w, half)),
    ['Connected', 'Connected'],
  );
  assert.equal(await w.sends(b.portId, c.portId), 'delivered');
  assert.equal(await w.sends(c.portId, b.portId), 'delivered');
  assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
  assert.equal(await w.sends(b.portId, a.portId), 'NoPeering');
});

onBoth('5. the same half twice, one after the other or at once, is one half', async (w) => {
  const [a, b] = await pair(w);
  const { accountId, keyId } = await w.tenant('red');
  const submit = (name: string) =>
    w.region.submit(mirrorOf(a.vpcId, b.vpcId, name), {
      principal: { kind: 'tenant', accountId, keyId },
      requestId: name,
    });
  const outcomes = await Promise.all(['x', 'y', 'z'].map(submit));
  outcomes.push(await submit('later'));
  const codes = outcomes.map((outcome) => (isRefusal(outcome) ? outcome.code : 'done'));
  assert.deepEqual(codes, ['done', 'peering-exists', 'peering-exists', 'peering-exists']);
  const rows = () => [...w.state.all('peering')].filter(({ localVpcId }) => localVpcId === a.vpcId);
  assert.equal(rows().length, 1);
  const { view } = await w.carrier.observed();
  assert.deepEqual(
    view.vpc(a.vpcId)?.halves.map(({ id }) => id),
    rows().map(({ id }) => id),
    'and one in the plane',
  );
});

onBoth('6. a half of a VPC to itself is refused and changes nothing', async (w) => {
  const [a, b] = await pair(w);
  const before = await w.matrix();
  assert.equal(await w.refused(a.vpcId, mirrorOf(a.vpcId, a.vpcId)), 'peering-self');
  assert.deepEqual(await w.matrix(), before);
  await w.give(a.vpcId, mirrorOf(a.vpcId, b.vpcId)); // control: to another it is done
});

onBoth('7. both halves at the same instant end Connected once, whoever is first', async (w) => {
  const [a, b] = await pair(w);
  const joined = await w.join(a.vpcId, b.vpcId);
  for (let round = 0; round < 10; round++) {
    for (const [at, halfId] of joined.entries()) {
      await w.give(at === 0 ? a.vpcId : b.vpcId, { kind: 'delete-peering', halfId });
    }
    assert.equal(await w.sends(a.portId, b.portId), 'NoPeering', 'control: parted');
    const sides = [() => w.half(a.vpcId, b.vpcId), () => w.half(b.vpcId, a.vpcId)];
    if (round % 2 === 1) sides.reverse();
    const ids = await Promise.all(sides.map((side) => side()));
    assert.deepEqual([...ids].sort(), [...joined].sort());
    assert.deepEqual(
      [...w.state.all('peering')].map(({ state }) => state),
      ['Connected', 'Connected'],
    );
    const { view } = await w.carrier.observed();
    const live = [a, b].flatMap(({ vpcId }) => view.vpc(vpcId)?.halves ?? []);
    assert.deepEqual(
      live.map((half) => half.live),
      [true, true],
      'one pair in the plane',
    );
    assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    assert.equal(await w.sends(b.portId, a.portId), 'delivered');
  }
});

// An unknown id is 404 here (the id is the invitation); so what must not show is everything but the VPC's existence.
test('8. a half towards a stranger says the same, whatever the stranger’s VPC is like', async (t) => {
  const w = await World.start(onFake, t);
  const [a] = await sites(w, 'red');
  assert.ok(a !== undefined);
  const shown: string[] = [];
  for (const [name, cidrs] of [
    ['empty', []],
    ['one-range', ['10.50.0.0/16']],
    ['ten-ranges', ['10.60.0.0/16', '10.61.0.0/16', 'fd00:60::/64']],
  ] as const) {
    const vpcId = await w.vpc(`owner-of-${name}`, name, ...cidrs);
    if (name === 'ten-ranges') await w.subnet(vpcId, 'secret', '10.60.1.0/24');
    const half: PeeringHalf = w.state.get('peering', await w.half(a.vpcId, vpcId, 'x')) ?? assert.fail();
    const text: string = JSON.stringify(peeringView(w.region, half));
    for (const secret of [name, 'owner-of', '10.5', '10.6', 'secret']) assert.ok(!text.includes(secret), text);
    shown.push(text.replaceAll(half.id, 'HALF').replaceAll(vpcId, 'VPC'));
    await w.give(a.vpcId, { kind: 'delete-peering', halfId: half.id });
  }
  assert.equal(new Set(shown.map((text) => text.replace(/"createdTime":"[^"]*"/, ''))).size, 1, shown.join('\n'));
  const overlapping = await w.vpc('blue', 'overlapping', '10.1.128.0/17');
  assert.equal(await w.refused('red', mirrorOf(a.vpcId, overlapping)), 'peering-overlap-hidden');
  // Unknown ids are refused alike, and only so many of them; a known one does not use up the attempts.
  const unknown = (n: number): VpcId => `vpc-${String(n).padStart(10, '0')}` as VpcId;
  const codes = new Map<string, number>();
  for (let n = 0; n < 40; n++) {
    const code = await w.refused('red', mirrorOf(a.vpcId, unknown(n)));
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  assert.deepEqual([...codes.keys()], ['not-found', 'too-many-unknown-ids']);
  const other = await w.vpc('green', 'green');
  assert.equal(
    await w.refused('green', mirrorOf(other, unknown(1))),
    'not-found',
    'another tenant has its own attempts',
  );
  await w.give('green', mirrorOf(other, a.vpcId));
});

onBoth('9. a half is its owner’s alone, and shows of the other side what was consented to', async (w) => {
  const [a, b, c] = await three(w);
  const ab = await w.half(a.vpcId, b.vpcId);
  const rename: Command = { kind: 'modify-peering', halfId: ab, name: 'stolen' };
  const strange = 'vpcpr-aaaaaaaaaa' as typeof ab;
  for (const who of ['blue', 'green']) {
    assert.equal(await w.refused(who, rename), 'not-found');
    assert.equal(await w.refused(who, { kind: 'delete-peering', halfId: ab }), 'not-found');
    assert.equal(await w.refused(who, { kind: 'delete-peering', halfId: strange }), 'not-found', 'like one of nobody');
    const routes = [{ destination: '10.77.0.0/16' as never, nextHop: { kind: 'peering', halfId: ab } as const }];
    const routeTableId = who === 'blue' ? b.tableId : c.tableId;
    assert.equal(await w.refused(who, { kind: 'add-routes', routeTableId, routes }), 'not-found');
  }
  const view = (halfId: string) => peeringView(w.region, w.state.get('peering', halfId) ?? assert.fail());
  assert.deepEqual(view(ab).remoteVpcInfo, { vpcId: b.vpcId, vpcName: '', addressPrefix: [] });
  const ba = await w.half(b.vpcId, a.vpcId);
  assert.deepEqual(view(ab).remoteVpcInfo, { vpcId: b.vpcId, vpcName: 'blue', addressPrefix: [...b.cidrs] });
  assert.deepEqual(view(ba).remoteVpcInfo, { vpcId: a.vpcId, vpcName: 'red', addressPrefix: [...a.cidrs] });
  // Connected gives B no more right to A's half than before.
  assert.equal(await w.refused('blue', rename), 'not-found');
  assert.equal(await w.refused('blue', { kind: 'delete-peering', halfId: ab }), 'not-found');
  await w.give('red', { ...rename, name: 'mine' }); // control
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  assert.deepEqual(view(ab).remoteVpcInfo.addressPrefix, [], 'consent withdrawn');
});
