import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { listen } from '../../src/api/listen.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, PortId } from '../../src/model/ids.ts';
import type { Address } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { Region } from '../../src/region/region.ts';
import type { Command } from '../../src/rules/commands.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import { House } from '../processes/house.ts';
import { cannotRun } from '../wire/lab.ts';
import { Workload } from '../wire/workload.ts';
import { playSdkStory } from './sdk-story.ts';

/** What the vendor's SDK has of the nouns that we cover. */
const operations = [
  ...['describeVpcs', 'createVpc', 'describeVpc', 'modifyVpc', 'deleteVpc'],
  ...['describeSubnets', 'createSubnet', 'describeSubnet', 'modifySubnet', 'deleteSubnet'],
  ...['describeRouteTables', 'createRouteTable', 'describeRouteTable', 'modifyRouteTable', 'deleteRouteTable'],
  ...['addRouteTableRules', 'modifyRouteTableRules', 'removeRouteTableRules'],
  ...['associateRouteTable', 'disassociateRouteTable'],
  ...['describeVpcPeerings', 'createVpcPeering', 'describeVpcPeering', 'modifyVpcPeering', 'deleteVpcPeering'],
  ...['describeNetworkInterfaces', 'createNetworkInterface', 'describeNetworkInterface'],
  ...['modifyNetworkInterface', 'deleteNetworkInterface', 'assignSecondaryIps', 'unassignSecondaryIps'],
  'describeQuota',
];
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("the vendor's SDK plays the story of two tenants on the fake driver, every operation", async (t) => {
  const driver = new FakeDriver();
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const store = new SqliteStore(':memory:');
  const region = await Region.start({ name: 'sdk-1', version: '0', store, plane });
  const server = await listen({ region, log: pino({ level: 'silent' }), address: '127.0.0.1:0' });
  t.after(async () => {
    await server.close();
    await region.close();
  });
  const operate = async (command: Command) => {
    const outcome = await region.submit(command, { principal: { kind: 'operator' }, requestId: 'r' });
    assert.ok(!isRefusal(outcome));
    return { id: outcome.result.id ?? '', secret: outcome.secret ?? '' };
  };
  const called = await playSdkStory({
    host: new URL(server.url).host,
    region: region.name,
    key: async (name) => {
      const account = await operate({ kind: 'create-account', name });
      const key = await operate({ kind: 'create-key', accountId: account.id as AccountId, description: '' });
      return { accessKeyId: key.id, secretAccessKey: key.secret };
    },
    attach: async (portId) => {
      await plane.attach({ portId: portId as PortId, target: { kind: 'netns', name: portId } });
    },
    probe: async (portId, to) => {
      const port = region.state.get('interface', portId);
      assert.ok(port !== undefined);
      const verdict = driver.send({
        from: port.id,
        sourceMac: port.mac,
        destinationMac: gatewayMac,
        source: port.primary[0] as Address,
        destination: to as Address,
        ttl: 64,
        length: 60,
        protocol: 'udp',
      });
      return verdict.kind === 'dropped' ? verdict.reason : verdict.kind === 'delivered' ? 'Forwarded' : 'Answered';
    },
  });
  assert.deepEqual([...called].sort(), [...operations].sort(), 'every operation was called');
});

test("the vendor's SDK plays the same story with real packets", { skip: cannotRun, timeout: 60_000 }, async (t) => {
  const house = await House.start(t);
  const workloads = new Map<string, Workload>();
  t.after(() => {
    for (const workload of workloads.values()) workload.close();
  });
  const exits = async (portId: string): Promise<ReadonlyMap<string, number>> => {
    const { exits: all } = (await house.admin.call('GET', '/counters')) as {
      exits: Record<string, Record<string, { packets: number }>>;
    };
    return new Map(Object.entries(all[portId] ?? {}).map(([exit, { packets }]) => [exit, packets]));
  };
  await playSdkStory({
    host: new URL(house.service.ready.url).host,
    region: 'test-1',
    key: async (name) => {
      const { accountId } = (await house.admin.call('POST', '/accounts', { name })) as { accountId: string };
      return (await house.admin.call('POST', `/accounts/${accountId}/keys`, {})) as {
        accessKeyId: string;
        secretAccessKey: string;
      };
    },
    attach: async (portId) => {
      const workload = new Workload('sdk');
      workloads.set(portId, workload);
      await house.onHost('attach', { portId, target: { kind: 'netns', name: workload.name } });
      void workload.probe; // it listens before anything is sent
    },
    probe: async (portId, to) => {
      const payload = Buffer.from(`probe ${Math.random()}`);
      const before = await exits(portId);
      workloads.get(portId)?.probe.send(to as Address, 9, payload);
      for (let tries = 0; tries < 40; tries++) {
        await pause(5);
        for (const workload of workloads.values()) {
          for (let got = workload.probe.receive(); got !== undefined; got = workload.probe.receive()) {
            if (got.payload.equals(payload)) return 'Forwarded';
          }
        }
        const grown = [...(await exits(portId))].filter(([exit, packets]) => packets > (before.get(exit) ?? 0));
        // A question for the gateway's address may come first; a drop is what counts.
        const drop = grown.find(([exit]) => exit !== 'Answered' && exit !== 'Forwarded');
        if (drop !== undefined) return drop[0];
      }
      return 'lost';
    },
  });
});
