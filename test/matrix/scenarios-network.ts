/** Scenarios of what lies inside the VPCs: subnets, tables, rules, addresses, workloads. */
import assert from 'node:assert/strict';
import type { PortId, RouteTableId } from '../../src/model/ids.ts';
import { address, prefix } from '../wire/sketch.ts';
import { wordsOf } from './carriers.ts';
import { everywhere, type Scenario } from './scenario.ts';

export const networkScenarios: readonly Scenario[] = [
  {
    name: 'two subnets, two tables: only the one with the route reaches the peer',
    play: async (w, step) => {
      const a = await w.vpc('red', 'a', '10.1.0.0/16', 'fd00:1::/56');
      const one = await w.subnet(a, 'one', '10.1.1.0/24', 'fd00:1:0:1::/64');
      const two = await w.subnet(a, 'two', '10.1.2.0/24', 'fd00:1:0:2::/64');
      const [p1, p2] = [await w.port(one), await w.port(two)];
      const b = await w.site('blue', 'b', 2);
      const [ab, ba] = [await w.half(a, b.vpcId), await w.half(b.vpcId, a)];
      await w.route(b.tableId, ba, ...w.rangesOf(a));
      const routeTableId = (await w.give(a, {
        kind: 'create-route-table',
        vpcId: a,
        name: 'x',
        description: '',
      })) as never;
      await w.route(routeTableId, ab, ...b.cidrs);
      await step();
      await w.give(a, { kind: 'associate-route-table', routeTableId, subnetIds: [one] });
      await step();
      assert.equal(await w.sends(p1, b.portId), 'delivered');
      assert.notEqual(await w.sends(p2, b.portId), 'delivered');
      assert.equal(await w.sends(b.portId, p2), 'delivered', 'requests arrive there, replies would not');
      await w.give(a, { kind: 'associate-route-table', routeTableId, subnetIds: [two] });
      await step();
      await w.give(a, { kind: 'disassociate-route-table', routeTableId, subnetId: one });
      await step();
      assert.notEqual(await w.sends(p1, b.portId), 'delivered');
      assert.equal(await w.sends(p2, b.portId), 'delivered');
    },
  },
  {
    name: 'the longest prefix wins, also towards a peering that carries nothing',
    play: async (w, step) => {
      const a = await w.site('red', 'a', 1);
      const b = await w.site('blue', 'b', 2);
      const c = await w.vpc('green', 'c', '172.16.0.0/16', 'fd00:c::/64');
      const subnet = await w.subnet(c, 'c', '172.16.0.0/16', 'fd00:c::/64');
      await w.port(subnet);
      await w.join(a.vpcId, b.vpcId);
      const ac = await w.half(a.vpcId, c);
      await step();
      const near = `${w.addressOf(b.portId, 4)}/32`;
      const near6 = `${w.addressOf(b.portId, 6)}/128`;
      await w.route(a.tableId, ac, near, near6);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoPeering', 'it never falls through to the shorter rule');
      await w.half(c, a.vpcId);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoSuchAddress');
      for (const destination of [near, near6]) await w.unroute(a.tableId, destination);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      await w.route(a.tableId, 'internet', '10.2.128.0/17', near);
      await step();
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'a default route towards a peer, replaced by the internet, removed',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab, ba] = [await w.half(a.vpcId, b.vpcId), await w.half(b.vpcId, a.vpcId)];
      await w.route(b.tableId, ba, ...a.cidrs);
      await w.unroute(a.tableId, everywhere[0]);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'NoRoute');
      await w.route(a.tableId, ab, ...everywhere);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      for (const destination of everywhere) {
        const { id: ruleId } = w.rule(a.tableId, destination);
        const routes = [{ ruleId, nextHop: { kind: 'internet' } as const }];
        await w.give(a.vpcId, { kind: 'modify-routes', routeTableId: a.tableId, routes });
        await step();
      }
      assert.equal(await w.sends(a.portId, b.portId), 'BlackHole');
    },
  },
  {
    name: 'rules are changed in place: another next hop, another destination',
    play: async (w, step) => {
      const [a, b, c] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2), await w.site('green', 'c', 3)];
      await w.join(a.vpcId, b.vpcId);
      const [ac] = [await w.half(a.vpcId, c.vpcId), await w.half(c.vpcId, a.vpcId)];
      for (const [at, cidr] of b.cidrs.entries()) {
        const rule = w.rule(a.tableId, cidr);
        const destination = prefix(c.cidrs[at] ?? assert.fail());
        const change = (routes: { nextHop?: object; destination?: typeof destination }) =>
          w.give(a.vpcId, {
            kind: 'modify-routes',
            routeTableId: a.tableId,
            routes: [{ ruleId: rule.id, ...routes } as never],
          });
        await change({ nextHop: { kind: 'peering', halfId: ac } });
        await step();
        await change({ destination });
        await step();
      }
      assert.equal(await w.sends(a.portId, c.portId), 'delivered');
      assert.notEqual(await w.sends(a.portId, b.portId), 'delivered');
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'a VPC without a CIDR is what its subnets are, and grows while Connected',
    play: async (w, step) => {
      const a = await w.vpc('red', 'a');
      const one = await w.subnet(a, 'one', '10.1.1.0/24', 'fd00:1:0:1::/64');
      const p1 = await w.port(one);
      const b = await w.site('blue', 'b', 2);
      const [, ba] = await w.join(a, b.vpcId);
      await step();
      assert.equal(await w.sends(b.portId, p1), 'delivered');
      const two = await w.subnet(a, 'two', '10.1.2.0/24', 'fd00:1:0:2::/64');
      const p2 = await w.port(two);
      await step();
      assert.notEqual(await w.sends(b.portId, p2), 'delivered', 'no route to the new subnet yet');
      await w.route(b.tableId, ba, '10.1.2.0/24', 'fd00:1:0:2::/64');
      await step();
      assert.equal(await w.sends(b.portId, p2), 'delivered');
      const over = {
        kind: 'create-subnet',
        vpcId: a,
        name: 'x',
        description: '',
        cidrs: [prefix('10.2.9.0/24')],
      } as const;
      assert.equal(await w.refused(a, over), 'growth-overlaps-peer');
      await w.give(a, { kind: 'delete-interface', portId: p2 });
      await w.give(a, { kind: 'delete-subnet', subnetId: two });
      await step();
    },
  },
  {
    name: 'a VPC gains and loses CIDRs',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [, ba] = await w.join(a.vpcId, b.vpcId);
      await w.give(a.vpcId, { kind: 'add-cidr', vpcId: a.vpcId, cidr: prefix('192.168.0.0/20') });
      await step();
      const second = await w.subnet(a.vpcId, 'second', '192.168.0.0/24');
      const p2 = await w.port(second);
      await step();
      await w.route(b.tableId, ba, '192.168.0.0/20');
      await step();
      assert.equal(await w.sends(b.portId, p2), 'delivered');
      await w.give(a.vpcId, { kind: 'delete-interface', portId: p2 });
      await w.give(a.vpcId, { kind: 'delete-subnet', subnetId: second });
      await w.give(a.vpcId, { kind: 'remove-cidr', vpcId: a.vpcId, cidr: prefix('192.168.0.0/20') });
      await step();
      await w.give(a.vpcId, { kind: 'modify-vpc', vpcId: a.vpcId, unlimited: true });
      await step();
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
      // And back: its subnet has both families, so neither range would hold it alone.
      const [cidr, ...more] = a.cidrs.map(prefix);
      assert.ok(cidr !== undefined);
      const alone = { kind: 'add-cidr', vpcId: a.vpcId, cidr } as const;
      assert.equal(await w.refused(a.vpcId, alone), 'cidr-excludes-subnet');
      await w.give(a.vpcId, { ...alone, more });
      await step();
      assert.equal(await w.sends(b.portId, a.portId), 'delivered');
    },
  },
  {
    name: 'secondary addresses are reached over the peering, and go where they are moved',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await w.join(a.vpcId, b.vpcId);
      const other = await w.port(b.subnetId);
      const addresses = ['10.2.7.7', 'fd00:2::7:7'].map(address);
      await w.give(b.vpcId, { kind: 'assign-secondary', portId: b.portId, addresses, count: 0 });
      await step();
      const reached = async (): Promise<string> => {
        const { carrier } = w;
        const probes = [];
        for (const to of addresses) probes.push(await carrier.probe(a.portId, to, false));
        return probes.map((probe) => ('delivered' in probe ? probe.delivered : probe.exit)).join(' ');
      };
      assert.equal(await reached(), `${b.portId} ${b.portId}`);
      await w.give(b.vpcId, { kind: 'unassign-secondary', portId: b.portId, addresses });
      await step();
      assert.equal(await reached(), 'NoSuchAddress NoSuchAddress');
      await w.give(b.vpcId, { kind: 'assign-secondary', portId: other, addresses, count: 0 });
      await step();
      assert.equal(await reached(), `${other} ${other}`);
    },
  },
  {
    name: 'an address that another interface takes over leads to the new one',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await w.join(a.vpcId, b.vpcId);
      const primary = [w.addressOf(b.portId, 4), w.addressOf(b.portId, 6)];
      await w.give(b.vpcId, { kind: 'delete-interface', portId: b.portId });
      await step();
      const heir = await w.port(b.subnetId, { primary });
      await step();
      assert.equal(await w.sends(a.portId, heir), 'delivered');
    },
  },
  {
    name: 'a workload is detached and attached again; an interface without one is named as such',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await w.join(a.vpcId, b.vpcId);
      const idle = await w.port(b.subnetId, { attach: false });
      await step();
      assert.equal(await w.sends(a.portId, idle), 'TargetGone');
      await w.carrier.detach(b.portId);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'TargetGone');
      await w.attach(b.portId);
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    },
  },
  {
    name: 'an interface is the next hop for what lies behind it, until it is gone',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await w.join(a.vpcId, b.vpcId);
      const appliance = await w.port(a.subnetId, { sanityCheck: false });
      await w.route(a.tableId, appliance, '192.0.2.0/24', '2001:db8:1::/48');
      await step();
      const behind = address('192.0.2.9');
      const words = async (): Promise<string> => wordsOf(await w.carrier.probe(a.portId, behind, true));
      // The kernel's workload takes it and has no use for it; in memory it is simply handed over.
      assert.ok(['Forwarded', `to ${appliance}`].includes(await words()));
      await w.carrier.detach(appliance);
      await step();
      assert.equal(await words(), 'TargetGone');
      await w.give(a.vpcId, { kind: 'delete-interface', portId: appliance });
      await step();
      assert.equal(await words(), 'BlackHole');
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    },
  },
  {
    name: 'one family on one side, both on the other',
    play: async (w, step) => {
      const a = await w.vpc('red', 'a', '10.1.0.0/16');
      const p4 = await w.port(await w.subnet(a, 'four', '10.1.0.0/24'));
      const six = await w.vpc('green', 'six', 'fd00:6::/64');
      const p6 = await w.port(await w.subnet(six, 'six', 'fd00:6::/64'));
      const b = await w.site('blue', 'b', 2);
      for (const vpcId of [a, six]) {
        const [near, far] = [await w.half(vpcId, b.vpcId), await w.half(b.vpcId, vpcId)];
        await w.route(w.tableOf(vpcId), near, ...b.cidrs);
        await w.route(b.tableId, far, ...w.rangesOf(vpcId));
        await step();
      }
      for (const port of [p4, p6]) {
        assert.equal(await w.sends(port, b.portId), 'delivered');
        assert.equal(await w.sends(b.portId, port), 'delivered');
      }
    },
  },
  {
    name: 'several interfaces in several subnets of both, every pair of subnets',
    play: async (w, step) => {
      const ports: PortId[][] = [];
      const vpcs = [];
      for (const n of [1, 2]) {
        const vpcId = await w.vpc(`t${n}`, `v${n}`, `10.${n}.0.0/16`, `fd00:${n}::/56`);
        vpcs.push(vpcId);
        const own: PortId[] = [];
        for (const m of [1, 2, 3]) {
          own.push(await w.port(await w.subnet(vpcId, `s${m}`, `10.${n}.${m}.0/24`, `fd00:${n}:0:${m}::/64`)));
        }
        ports.push(own);
      }
      const [a, b] = vpcs;
      assert.ok(a !== undefined && b !== undefined);
      await step();
      await w.join(a, b);
      await step();
      for (const from of ports[0] ?? [])
        for (const to of ports[1] ?? []) assert.equal(await w.sends(from, to), 'delivered');
    },
  },
  {
    name: 'the sanity check is switched off and on again',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      await w.join(a.vpcId, b.vpcId);
      for (const sanityCheck of [false, true]) {
        await w.give(a.vpcId, { kind: 'modify-interface', portId: a.portId, sanityCheck });
        await step();
        assert.equal(await w.sends(a.portId, b.portId), 'delivered');
      }
    },
  },
  {
    name: 'a table with rules is deleted once no subnet uses it',
    play: async (w, step) => {
      const [a, b] = [await w.site('red', 'a', 1), await w.site('blue', 'b', 2)];
      const [ab] = await w.join(a.vpcId, b.vpcId);
      const made = { kind: 'create-route-table', vpcId: a.vpcId, name: 'x', description: '' } as const;
      const routeTableId = (await w.give(a.vpcId, made)) as RouteTableId;
      await w.route(routeTableId, ab, '10.2.0.0/24');
      await w.give(a.vpcId, { kind: 'associate-route-table', routeTableId, subnetIds: [a.subnetId] });
      await step();
      assert.equal(await w.refused(a.vpcId, { kind: 'delete-route-table', routeTableId }), 'table-in-use');
      await w.give(a.vpcId, { kind: 'disassociate-route-table', routeTableId, subnetId: a.subnetId });
      await step();
      await w.give(a.vpcId, { kind: 'delete-route-table', routeTableId });
      await step();
      assert.equal(await w.sends(a.portId, b.portId), 'delivered');
    },
  },
];
