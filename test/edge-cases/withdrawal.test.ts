/** Consent withdrawn: what is left of a peering when one side has broken it, renamed itself or is gone. */
import assert from 'node:assert/strict';
import { compileVpc } from '../../src/compile/compile.ts';
import { addressesOf, onBoth, pair, reaches, stateOf, three } from './ground.ts';

onBoth('13. after B deletes its half, A’s is Disconnected and stands in the way of no deletion', async (w) => {
  for (const what of ['vpc', 'table', 'account'] as const) {
    const a = await w.site(`a-${what}`, 'a', 1);
    const b = await w.site(`b-${what}`, 'b', 2);
    const [ab, ba] = await w.join(a.vpcId, b.vpcId);
    assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
    const made = { kind: 'create-route-table', vpcId: a.vpcId, name: 'x', description: '' } as const;
    const routeTableId = (await w.give(a.vpcId, made)) as typeof a.tableId;
    await w.route(routeTableId, ab, ...b.cidrs);
    await w.give(a.vpcId, { kind: 'delete-interface', portId: a.portId });
    await w.give(a.vpcId, { kind: 'delete-subnet', subnetId: a.subnetId });
    const remove = { kind: 'delete-vpc', vpcId: a.vpcId, cascade: false } as const;
    if (what === 'vpc') assert.equal(await w.refused(a.vpcId, remove), 'vpc-has-peerings', 'control: Connected blocks');
    await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
    assert.equal(stateOf(w, ab), 'Disconnected');
    const { accountId } = await w.tenant(`a-${what}`);
    if (what === 'table') await w.give(a.vpcId, { kind: 'delete-route-table', routeTableId });
    if (what !== 'account') await w.give(a.vpcId, remove);
    await w.give('operator', { kind: 'delete-account', accountId, force: what === 'account' });
    await w.matrix();
    assert.equal(stateOf(w, ab), 'gone');
    await w.give(b.vpcId, { kind: 'delete-vpc', vpcId: b.vpcId, cascade: true });
  }
});

onBoth('14. B deletes its half and makes it again: traffic is back without A doing anything', async (w) => {
  const [a, b] = await pair(w);
  const [ab, ba] = await w.join(a.vpcId, b.vpcId);
  const before = JSON.stringify(w.state.get('peering', ab));
  await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
  assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
  assert.equal(await w.sends(b.portId, a.portId), 'NoPeering');
  assert.equal(await w.half(b.vpcId, a.vpcId), ba, 'the old id, so B’s own routes work again too');
  assert.equal(JSON.stringify(w.state.get('peering', ab)), before);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered');
  assert.equal(await w.sends(b.portId, a.portId), 'delivered');
});

onBoth('15. tenant B is deleted by force: its halves and what leads to it are gone in one step', async (w) => {
  const [a, b, c] = await three(w);
  const [ab] = await w.join(a.vpcId, b.vpcId);
  await w.join(a.vpcId, c.vpcId);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
  const addresses = addressesOf(w, b);
  const { revision } = w.region.state;
  const { accountId } = await w.tenant('blue');
  await w.give('operator', { kind: 'delete-account', accountId, force: true });
  assert.equal(w.region.state.revision, revision + 1, 'one step');
  assert.equal(stateOf(w, ab), 'Disconnected');
  for (const kind of ['vpc', 'subnet', 'interface', 'route-table', 'peering', 'key'] as const) {
    const left = [...w.state.all(kind)].filter((one) => one.accountId === accountId);
    assert.deepEqual(left, [], kind);
  }
  const { view } = await w.carrier.observed();
  assert.equal(view.vpc(b.vpcId), undefined);
  assert.deepEqual(
    view
      .vpc(a.vpcId)
      ?.halves.filter(({ live }) => live)
      .map(({ remoteVpcId }) => remoteVpcId),
    [c.vpcId],
    'nothing live leads to it from A',
  );
  for (const to of addresses) assert.equal(await reaches(w, a.portId, to), 'NoPeering');
  assert.equal(await w.sends(a.portId, c.portId), 'delivered');
  await w.matrix();
});

onBoth('16. renaming VPCs, halves and tenants changes no peering', async (w) => {
  const [a, b] = await pair(w);
  const [ab, ba] = await w.join(a.vpcId, b.vpcId);
  const plane = async () => JSON.stringify([a, b].map(({ vpcId }) => compileVpc(w.state, vpcId)));
  const before = await plane();
  const matrix = await w.matrix();
  // Each takes the name that the other had.
  for (const [side, name] of [
    [a, 'blue'],
    [b, 'red'],
  ] as const) {
    await w.give(side.vpcId, { kind: 'modify-vpc', vpcId: side.vpcId, name });
  }
  await w.give('operator', { kind: 'modify-account', accountId: (await w.tenant('red')).accountId, name: 'other' });
  await w.give(a.vpcId, { kind: 'modify-peering', halfId: ab, name: 'Ω' });
  assert.equal(w.state.get('vpc', a.vpcId)?.name, 'blue', 'control: it was renamed');
  assert.equal(await plane(), before, 'no name reaches the plane');
  assert.deepEqual(await w.matrix(), matrix);
  assert.deepEqual([stateOf(w, ab), stateOf(w, ba)], ['Connected', 'Connected']);
  assert.equal(await w.sends(a.portId, b.portId), 'delivered');
});
