/** Scenarios of who may talk to whom: halves, states, strangers, third parties. */
import assert from 'node:assert/strict';
import { prefix } from '../wire/sketch.ts';
import { everywhere, type Scenario } from './scenario.ts';

export const peeringScenarios: readonly Scenario[] = [
  {
    name: 'two strangers join half by half and route by route, and either side parts them',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await step();
      const ab = await w.half(a.vpcId, b.vpcId);
      await step();
      const ba = await w.half(b.vpcId, a.vpcId);
      await step();
      await w.route(a.tableId, ab, ...b.cidrs);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      assert.notEqual(await w.sends(b.portId, a.portId), 'delivered', 'no route back yet');
      await w.route(b.tableId, ba, ...a.cidrs);
      await step();
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
      for (const half of [ab, ba]) {
        const { localVpcId, remoteVpcId } = w.state.get('peering', half) ?? assert.fail();
        await w.give(localVpcId, { kind: 'delete-peering', halfId: half });
        await step();
        assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
        assert.equal(await w.half(localVpcId, remoteVpcId), half, 'it regains its id');
        await step();
        assert.equal(await w.sends(a.portId, b.portId), 'delivered');
        assert.equal(await w.sends(b.portId, a.portId), 'delivered');
      }
    },
  },
  {
    name: 'routes that were laid before anybody agreed carry nothing until both have',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const ab = await w.half(a.vpcId, b.vpcId);
      await w.route(a.tableId, ab, ...b.cidrs);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
      const ba = await w.half(b.vpcId, a.vpcId);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      await w.give(b.vpcId, { kind: 'delete-peering', halfId: ba });
      await step();
    },
  },
  {
    name: 'a third VPC stays out of reach, with hostile routes on all three',
    play: async (w, step) => {
      const [a, b, c] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2), await w.site('green', 'c', 3)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      const [bc, cb] = await w.join(b.vpcId, c.vpcId);
      await step();
      await w.route(a.tableId, ab, ...c.cidrs);
      await w.route(c.tableId, cb, ...a.cidrs);
      await step();
      assert.equal(await w.sends(a.portId, c.portId), 'NoSuchAddress');
      assert.equal(await w.sends(c.portId, a.portId), 'NoSuchAddress');
      await w.unroute(b.tableId, everywhere[0]);
      await w.route(b.tableId, bc, ...everywhere);
      await step();
      await w.route(a.tableId, ab, everywhere[1]);
      await step();
      for (const [from, to] of [
        [a, b],
        [b, a],
        [b, c],
        [c, b],
      ] as const) {
        assert.equal(await w.sends(from.portId, to.portId), 'delivered', 'control');
      }
    },
  },
  {
    name: 'a chain of five carries to neighbours only',
    play: async (w, step) => {
      const sites = [];
      for (let n = 1; n <= 5; n++) sites.push(await w.site(`t${n}`, `s${n}`, n));
      for (const [at, here] of sites.entries()) {
        const next = sites[at + 1];
        if (next === undefined) continue;
        const [out, back] = await w.join(here.vpcId, next.vpcId);
        for (const far of sites.slice(at + 2)) await w.route(here.tableId, out, ...far.cidrs);
        for (const far of sites.slice(0, at)) await w.route(next.tableId, back, ...far.cidrs);
      }
      await step();
      for (const [i, from] of sites.entries()) {
        for (const [k, to] of sites.entries()) {
          if (i === k) continue;
          const words = await w.sends(from.portId, to.portId);
          assert.equal(words, Math.abs(i - k) === 1 ? 'delivered' : 'NoSuchAddress', `${i} → ${k}`);
        }
      }
    },
  },
  {
    name: 'a hub with four spokes loses one and keeps three',
    play: async (w, step) => {
      const hub = await w.site('hub', 'hub', 100);
      const spokes = [];
      const halves = [];
      for (let n = 1; n <= 4; n++) {
        spokes.push(await w.site(`t${n}`, `s${n}`, n));
        halves.push(await w.join(hub.vpcId, spokes[n - 1]?.vpcId ?? hub.vpcId));
      }
      await step();
      const [lost] = halves;
      assert.ok(lost !== undefined);
      await w.give(hub.vpcId, { kind: 'delete-peering', halfId: lost[0] });
      await step();
      const seen = [];
      for (const spoke of spokes) seen.push(await w.sends(spoke.portId, hub.portId));
      assert.deepEqual(seen, ['NoPeering', 'delivered', 'delivered', 'delivered']);
    },
  },
  {
    name: 'a full mesh of four, one VPC of which is deleted',
    play: async (w, step) => {
      const sites = [];
      for (let n = 1; n <= 4; n++) sites.push(await w.site(n % 2 === 0 ? 'red' : 'blue', `s${n}`, n));
      for (const [at, a] of sites.entries()) for (const b of sites.slice(at + 1)) await w.join(a.vpcId, b.vpcId);
      await step();
      const [first, second, third] = sites;
      assert.ok(first !== undefined && second !== undefined && third !== undefined);
      assert.equal(await w.sends(first.portId, third.portId), 'delivered');
      await w.give(second.vpcId, { kind: 'delete-vpc', vpcId: second.vpcId, cascade: true });
      await step();
      assert.equal(await w.sends(first.portId, third.portId), 'delivered');
    },
  },
  {
    name: 'twins with the same ranges never meet, though a hub is peered with one of them',
    play: async (w, step) => {
      const [a, twin] = [await w.site('red', 'a', 1), await w.site('blue', 'twin', 1)];
      const hub = await w.site('green', 'hub', 3);
      await step();
      const [ha] = await w.join(hub.vpcId, a.vpcId);
      await step();
      const lonely = await w.half(twin.vpcId, hub.vpcId);
      await w.route(twin.tableId, lonely, ...hub.cidrs);
      await step();
      assert.equal(await w.sends(twin.portId, hub.portId), 'NoPeering');
      const mirror = {
        kind: 'create-peering',
        name: 'm',
        description: '',
        vpcId: hub.vpcId,
        remoteVpcId: twin.vpcId,
      } as const;
      // Allowed: the hub does not overlap the twin; but one prefix cannot be routed to both.
      await w.give(hub.vpcId, mirror);
      await step();
      const taken = { destination: prefix('10.1.0.0/16'), nextHop: { kind: 'peering', halfId: ha } } as const;
      const again = { kind: 'add-routes', routeTableId: hub.tableId, routes: [taken] } as const;
      assert.equal(await w.refused(hub.vpcId, again), 'destination-taken');
      assert.equal(await w.sends(hub.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'any number of strangers point at a VPC, and change nothing for it',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const strangers = [];
      for (let n = 3; n <= 6; n++) strangers.push(await w.site(`t${n}`, `s${n}`, n));
      const ab = await w.half(a.vpcId, b.vpcId);
      for (const { vpcId, tableId } of strangers) await w.route(tableId, await w.half(vpcId, b.vpcId), ...b.cidrs);
      await step();
      // b answers one of the strangers: nothing of that is a's, or the other strangers'.
      const [first, second] = strangers;
      assert.ok(first !== undefined && second !== undefined);
      await w.half(b.vpcId, first.vpcId);
      await step();
      assert.equal(w.state.get('peering', ab)?.state, 'Initiated');
      assert.equal(await w.sends(first.portId, b.portId), 'delivered');
      assert.equal(await w.sends(second.portId, b.portId), 'NoPeering');
      await w.route(a.tableId, ab, ...b.cidrs);
      await w.route(b.tableId, await w.half(b.vpcId, a.vpcId), ...a.cidrs);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    },
  },
  {
    name: 'two VPCs of one account need both halves like anybody else',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('red', 'b', 2)];
      await step();
      const ab = await w.half(a.vpcId, b.vpcId);
      await w.route(a.tableId, ab, ...b.cidrs);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
      await w.route(b.tableId, await w.half(b.vpcId, a.vpcId), ...a.cidrs);
      await step();
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'both halves are created at the same instant, and deleted at the same instant',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab, ba] = await Promise.all([w.half(a.vpcId, b.vpcId), w.half(b.vpcId, a.vpcId)]);
      await Promise.all([w.route(a.tableId, ab, ...b.cidrs), w.route(b.tableId, ba, ...a.cidrs)]);
      await step();
      assert.deepEqual(
        [ab, ba].map((half) => w.state.get('peering', half)?.state),
        ['Connected', 'Connected'],
      );
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      await Promise.all([
        w.give(a.vpcId, { kind: 'delete-peering', halfId: ab }),
        w.give(b.vpcId, { kind: 'delete-peering', halfId: ba }),
      ]);
      await step();
      assert.equal(w.state.get('peering', ab), undefined);
      assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
    },
  },
  {
    name: 'one of two peerings of a VPC is deleted; the other carries on',
    play: async (w, step) => {
      const [a, b, c] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2), await w.site('green', 'c', 3)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      await w.join(a.vpcId, c.vpcId);
      await step();
      await w.give(a.vpcId, { kind: 'delete-peering', halfId: ab });
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoPeering');
      assert.equal(await w.sends(a.portId, c.portId), 'delivered');
      assert.equal(await w.sends(c.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'a VPC is deleted and another one takes its range: nothing leads to the new one',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      await step();
      await w.give(b.vpcId, { kind: 'delete-vpc', vpcId: b.vpcId, cascade: true });
      await step();
      assert.equal(w.state.get('peering', ab)?.state, 'Disconnected');
      const heir = await w.site('blue', 'heir', 2);
      await step();
      assert.notEqual(await w.sends(a.portId, heir.portId), 'delivered');
      await w.join(heir.vpcId, (await w.site('green', 'c', 3)).vpcId);
      await step();
      await w.give(a.vpcId, { kind: 'delete-peering', halfId: ab });
      await step();
      await w.give(a.vpcId, { kind: 'delete-vpc', vpcId: a.vpcId, cascade: true });
      await step();
    },
  },
  {
    name: 'a tenant is deleted by force, with its halves and what they carried',
    play: async (w, step) => {
      const [a, b, c] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2), await w.site('green', 'c', 3)];
      await w.join(a.vpcId, b.vpcId);
      const [ac] = await w.join(a.vpcId, c.vpcId);
      await step();
      const { accountId } = await w.tenant('blue');
      assert.equal(await w.refused('operator', { kind: 'delete-account', accountId, force: false }), 'account-in-use');
      await w.give('operator', { kind: 'delete-account', accountId, force: true });
      await step();
      assert.equal(w.state.get('vpc', b.vpcId), undefined);
      assert.equal(w.state.get('peering', ac)?.state, 'Connected');
      assert.equal(await w.sends(a.portId, c.portId), 'delivered');
    },
  },
  {
    name: 'everything is renamed, and everything goes on',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      await step();
      const name = { name: 'Ω-0' };
      await w.give('operator', { kind: 'modify-account', accountId: (await w.tenant('red')).accountId, ...name });
      await w.give(a.vpcId, { kind: 'modify-vpc', vpcId: a.vpcId, ...name });
      await w.give(a.vpcId, { kind: 'modify-subnet', subnetId: a.subnetId, ...name });
      await w.give(a.vpcId, { kind: 'modify-route-table', routeTableId: a.tableId, ...name });
      await w.give(a.vpcId, { kind: 'modify-peering', halfId: ab, ...name });
      await w.give(a.vpcId, { kind: 'modify-interface', portId: a.portId, ...name });
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    },
  },
  {
    name: 'what is refused changes nothing',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      const before = await w.matrix();
      const twin = await w.vpc('green', 'twin', '10.1.128.0/17');
      const half = { kind: 'create-peering', name: 'x', description: '' } as const;
      const cidr = prefix('10.2.0.0/24');
      for (const [of, command, code] of [
        ['red', { ...half, vpcId: a.vpcId, remoteVpcId: a.vpcId }, 'peering-self'],
        ['red', { ...half, vpcId: a.vpcId, remoteVpcId: b.vpcId }, 'peering-exists'],
        ['green', { ...half, vpcId: twin, remoteVpcId: a.vpcId }, 'peering-overlap-hidden'],
        ['green', { ...half, vpcId: a.vpcId, remoteVpcId: twin }, 'not-found'],
        ['green', { kind: 'delete-peering', halfId: ab }, 'not-found'],
        ['red', { kind: 'add-cidr', vpcId: a.vpcId, cidr }, 'growth-overlaps-peer'],
        ['red', { kind: 'delete-vpc', vpcId: a.vpcId, cascade: false }, 'vpc-has-subnets'],
        ['red', { kind: 'delete-subnet', subnetId: a.subnetId }, 'subnet-in-use'],
        ['red', { kind: 'delete-route-table', routeTableId: a.tableId }, 'default-table'],
      ] as const) {
        assert.equal(await w.refused(of, command), code);
        await step();
      }
      assert.deepEqual(await w.matrix(), before);
    },
  },
];
