/** Ranges: what overlaps is not joined, and a range has one text. The comparison itself is tested beside its rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../../src/model/errors.ts';
import type { Command } from '../../src/rules/commands.ts';
import { Api } from '../api/api.ts';
import type { World } from '../matrix/world.ts';
import { address, prefix } from '../wire/sketch.ts';
import { onBoth, pair, reaches, stateOf } from './ground.ts';

/** The words of the refusal that the tenant reads. */
async function said(w: World, tenant: string, command: Command): Promise<string> {
  const outcome = await w.region.submit(command, { principal: await w.tenant(tenant), requestId: 'r' });
  assert.ok(isRefusal(outcome), `${command.kind} was not refused`);
  return outcome.text;
}

onBoth('18. a CIDR or subnet that overlaps a Connected peer is refused, naming the peering', async (w) => {
  const [a, b] = await pair(w);
  const loose = await w.vpc('green', 'loose');
  await w.subnet(loose, 'first', '10.9.0.0/24', 'fd00:9::/64');
  const [ab] = await w.join(a.vpcId, b.vpcId);
  const [looseHalf] = await w.join(loose, b.vpcId);
  const before = await w.matrix();
  for (const text of ['10.2.0.0/16', '10.2.3.0/24', '10.2.0.0/15', 'fd00:2::/64', 'fd00:2::/96']) {
    const cidr = prefix(text);
    const grown = await said(w, 'red', { kind: 'add-cidr', vpcId: a.vpcId, cidr });
    assert.ok(grown.includes(ab), grown);
    const subnet = { kind: 'create-subnet', vpcId: loose, name: 's', description: '', cidrs: [cidr] } as const;
    const widened = await said(w, 'green', subnet);
    assert.ok(widened.includes(looseHalf), widened);
  }
  assert.deepEqual(await w.matrix(), before);
  // Controls: what overlaps nobody is done; and once they have parted, so is this.
  await w.give(a.vpcId, { kind: 'add-cidr', vpcId: a.vpcId, cidr: prefix('10.3.0.0/16') });
  await w.give(a.vpcId, { kind: 'delete-peering', halfId: ab });
  await w.give(a.vpcId, { kind: 'add-cidr', vpcId: a.vpcId, cidr: prefix('10.2.3.0/24') });
});

onBoth('19. A and C may overlap when both are peered with B; B routes one prefix to one of them', async (w) => {
  const [a, c] = [await w.site('red', 'a', 1), await w.site('green', 'c', 1)];
  const b = await w.site('blue', 'b', 2);
  const [far, far6] = ['10.1.200.4', 'fd00:1::c8:4'].map(address);
  assert.ok(far !== undefined && far6 !== undefined);
  const inA = await w.port(a.subnetId, { primary: [far, far6] });
  const inC = await w.port(c.subnetId, { primary: [far, far6] });
  const [ba, bc] = [await w.half(b.vpcId, a.vpcId), await w.half(b.vpcId, c.vpcId)];
  const halves = [ba, bc, await w.half(a.vpcId, b.vpcId), await w.half(c.vpcId, b.vpcId)];
  assert.deepEqual([...new Set(halves.map((half) => stateOf(w, half)))], ['Connected']);
  const between = { kind: 'create-peering', name: 'x', description: '', vpcId: a.vpcId, remoteVpcId: c.vpcId } as const;
  assert.equal(await w.refused(a.vpcId, between), 'peering-overlap-hidden', 'control: with each other they may not');
  await w.route(b.tableId, ba, ...a.cidrs);
  for (const cidr of c.cidrs) {
    const routes = [{ destination: prefix(cidr), nextHop: { kind: 'peering', halfId: bc } as const }];
    const again: Command = { kind: 'add-routes', routeTableId: b.tableId, routes };
    assert.equal(await w.refused(b.vpcId, again), 'destination-taken');
  }
  for (const to of [far, far6]) assert.equal(await reaches(w, b.portId, to, inA), 'delivered');
  await w.matrix();
  // A longer prefix is another prefix: that part, and only that part, goes to C.
  await w.route(b.tableId, bc, '10.1.200.0/24', 'fd00:1::c8:0/112');
  for (const to of [far, far6]) assert.equal(await reaches(w, b.portId, to, inC), 'delivered');
  assert.equal(await w.sends(b.portId, a.portId), 'delivered');
  await w.matrix();
});

// Which texts are no CIDR is tested beside the parser; this is about every door being the same.
test('21. a range that is not canonical is refused at every door alike, and IPv6 normalised', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const { vpcId } = await api.done(red, 'POST', '/vpcs/', { vpcName: 'loose' });
  const other = await api.done(red, 'POST', '/vpcs/', { vpcName: 'other' });
  const { vpc } = await api.done(red, 'GET', `/vpcs/${other.vpcId}`);
  const table = `/routeTables/${vpc.routeTableIds[0]}`;
  const hop = { nextHopType: 'internet', nextHopId: 'internet' };
  const doors = {
    'a VPC': (range: string) => api.call(red, 'POST', '/vpcs/', { vpcName: 'v', addressPrefix: range }),
    'a subnet': (range: string) =>
      api.call(red, 'POST', '/subnets/', {
        vpcId,
        subnetName: 's',
        ...(range.includes(':') ? { ipv6AddressPrefix: range } : { addressPrefix: range }),
      }),
    'a route': (range: string) =>
      api.call(red, 'POST', `${table}:addRouteTableRules`, { routeTableRuleSpecs: [{ ...hop, addressPrefix: range }] }),
  };
  const wrong = ['10.0.0.1/16', '010.0.0.0/16', '10.0.0.0/33', '::ffff:10.0.0.0/104', 'fd00::1/64', '10.0.0.0/+16'];
  const problems = new Map<string, Set<string>>();
  for (const [door, knock] of Object.entries(doors)) {
    for (const range of wrong) {
      const { status, json } = await knock(range);
      assert.equal(status, 400, `${door}: ${range}`);
      // The field's name differs from door to door, what is wrong with the range does not.
      const { problem } = json.error.details[0].params;
      problems.set(range, (problems.get(range) ?? new Set()).add(problem));
    }
    const { status, text } = await knock('FD00:0000:0:00A0::/64');
    assert.equal(status, 200, `control, ${door}: ${text}`);
  }
  for (const [range, texts] of problems) assert.equal(texts.size, 1, `${range}: ${[...texts].join(' · ')}`);
  const stored = JSON.stringify([...api.region.state.all('vpc'), ...api.region.state.all('route-table')]);
  assert.equal(stored.match(/fd00:0:0:a0::\/64/g)?.length, 2, 'as one text, in the VPC and in the rule');
  assert.ok(!/FD00|:0000:|00A0/.test(stored));
});
