/** Changes under traffic, a datagram a millisecond: what is replaced or concerns others loses none of it. */
import assert from 'node:assert/strict';
import type { Command } from '../../src/rules/commands.ts';
import { prefix } from '../wire/sketch.ts';
import type { Workload } from '../wire/workload.ts';
import { enough, inKernel, noneLost, pair, stopped, streaming } from './ground.ts';

/** Where `Stream` sends to; the sinks of the twins listen there too. */
const streamPort = 5001;

/** Datagrams that wait in a socket of the workload, counted when asked. */
function sinkOf(workload: Workload): () => number {
  const socket = workload.udp(streamPort);
  let count = 0;
  return () => {
    while (socket.receive() !== undefined) count++;
    return count;
  };
}

inKernel('28. replacing the target of a route loses no packet', async (w, lab) => {
  const a = await w.site('red', 'a', 1);
  // Twins: the same addresses in both, so that every packet has a home whichever target the route has.
  const [b, c] = [await w.site('blue', 'b', 2), await w.site('green', 'c', 2)];
  const [, ba] = await w.join(a.vpcId, b.vpcId);
  const [ab, ac] = [await w.state.half(a.vpcId, b.vpcId)?.id, await w.half(a.vpcId, c.vpcId)];
  assert.ok(ab !== undefined && ba !== undefined);
  await w.half(c.vpcId, a.vpcId);
  const others = [await w.port(a.subnetId), await w.port(b.subnetId), await w.port(c.subnetId)] as const;
  const [a6, b6, c6] = others;
  assert.deepEqual(w.interface(c6).primary, w.interface(b6).primary, 'twins');
  const streams = [await streaming(w, lab, a.portId, b.portId, 4), await streaming(w, lab, a6, b6, 6)];
  const twins = [c.portId, c6].map((portId) => sinkOf(lab.workload(portId)));
  const towards = (halfId: typeof ac): Command => ({
    kind: 'modify-routes',
    routeTableId: a.tableId,
    routes: b.cidrs.map((cidr) => ({
      ruleId: w.rule(a.tableId, cidr).id,
      nextHop: { kind: 'peering', halfId } as const,
    })),
  });
  /** Lets either stream send some more, so that every state of the route carries packets. */
  const some = async (): Promise<void> => {
    const goals = streams.map(({ sent }) => sent + 10);
    for (const [at, stream] of streams.entries()) await enough([stream], goals[at] ?? 0);
  };
  for (let round = 0; round < 40; round++) {
    await w.give(a.vpcId, towards(round % 2 === 0 ? ac : ab));
    await some();
  }
  // And a longer prefix that comes and goes.
  for (let round = 0; round < 10; round++) {
    const longer = ['10.2.0.0/17', 'fd00:2::/80'];
    await w.route(a.tableId, ac, ...longer);
    await some();
    for (const prefix of longer) await w.unroute(a.tableId, prefix);
    await some();
  }
  for (const [at, stream] of streams.entries()) {
    const { sent, received } = await stopped(stream);
    const elsewhere = twins[at]?.() ?? 0;
    assert.ok(received > 100 && elsewhere > 100, `control: ${received} went to one and ${elsewhere} to the other`);
    assert.equal(received + elsewhere, sent, 'datagrams arrived');
  }
});

inKernel(
  '29. subnets, VPCs, peerings and workloads that come and go lose nothing of another peering',
  async (w, lab) => {
    const [a, b] = await pair(w);
    await w.join(a.vpcId, b.vpcId);
    const streams = [await streaming(w, lab, a.portId, b.portId, 4), await streaming(w, lab, b.portId, a.portId, 6)];
    const { length: revisions } = await w.region.journal({ afterRevision: 0, limit: 1000 });
    for (let round = 0; round < 6; round++) {
      const c = await w.site('green', `c${round}`, 30 + round);
      const [ac] = await w.join(a.vpcId, c.vpcId);
      const [, bc] = await w.join(c.vpcId, b.vpcId);
      assert.equal(await w.sends(a.portId, c.portId), 'delivered', 'control: the other peering is really there');
      // In the very VPCs that the streams run between.
      const cidr = prefix(`192.168.${round}.0/24`);
      await w.give(a.vpcId, { kind: 'add-cidr', vpcId: a.vpcId, cidr });
      const subnetId = await w.subnet(a.vpcId, `s${round}`, cidr);
      const portId = await w.port(subnetId);
      const made = { kind: 'create-route-table', vpcId: a.vpcId, name: 't', description: '' } as const;
      const routeTableId = (await w.give(a.vpcId, made)) as typeof a.tableId;
      await w.give(a.vpcId, { kind: 'associate-route-table', routeTableId, subnetIds: [subnetId] });
      await w.carrier.detach(portId);
      await w.give(a.vpcId, { kind: 'delete-interface', portId });
      await w.give(a.vpcId, { kind: 'delete-subnet', subnetId });
      await w.give(a.vpcId, { kind: 'delete-route-table', routeTableId });
      await w.give(a.vpcId, { kind: 'remove-cidr', vpcId: a.vpcId, cidr });
      await w.give(a.vpcId, { kind: 'delete-peering', halfId: ac });
      for (const range of c.cidrs) await w.unroute(a.tableId, range);
      if (round % 2 === 0) await w.give(b.vpcId, { kind: 'delete-peering', halfId: bc });
      await w.give(c.vpcId, { kind: 'delete-vpc', vpcId: c.vpcId, cascade: true });
    }
    const { length: now } = await w.region.journal({ afterRevision: 0, limit: 1000 });
    assert.ok(now - revisions > 100, `control: only ${now - revisions} changes`);
    await noneLost(streams, 300);
  },
);
