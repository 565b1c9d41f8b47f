/**
 * What a command costs: against the machine's own fsync, since each is committed with full sync; from the call that
 * connects two VPCs to the first packet; and what a thousand disconnects cost in one apply.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { EbpfDriver, purgePlane } from '../src/dataplane/ebpf/driver.ts';
import { FakeDriver } from '../src/dataplane/fake/driver.ts';
import { Reconciler } from '../src/dataplane/reconciler.ts';
import type { AccountId, HalfId, SubnetId, VpcId } from '../src/model/ids.ts';
import type { VpcSpec } from '../src/model/network-spec.ts';
import { Region } from '../src/region/region.ts';
import type { Command } from '../src/rules/commands.ts';
import { SqliteStore } from '../src/store/sqlite.ts';
import type { Figure } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { median, percentile } from './statistics.ts';
import { command, prefix, Tenants } from './tenants.ts';
import type { Ends } from './throughput.ts';

/** Milliseconds of one small write made durable. */
function fsyncTime(sandbox: Sandbox, times: number): number {
  const fd = openSync(join(sandbox.folder, 'fsync'), 'w');
  const samples = Array.from({ length: times }, () => {
    const started = performance.now();
    writeSync(fd, Buffer.alloc(4096));
    fsyncSync(fd);
    return performance.now() - started;
  });
  closeSync(fd);
  return median(samples);
}

/** Commands a second, one after the other, on the driver in memory: tenants who build and connect small networks. */
export async function commandRate(sandbox: Sandbox, accounts: number): Promise<readonly Figure[]> {
  const store = new SqliteStore(join(sandbox.folder, 'commands.db'));
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'bench', version: '0', store, plane });
  const times: number[] = [];
  const give = async (what: Command, accountId: AccountId | null): Promise<string> => {
    const started = performance.now();
    const id = await command(region, what, accountId);
    times.push(performance.now() - started);
    return id;
  };
  const fsync = fsyncTime(sandbox, 100);
  for (let account = 0; account < accounts; account++) {
    const accountId = (await give({ kind: 'create-account', name: `tenant-${account}` }, null)) as AccountId;
    const vpcs: VpcId[] = [];
    for (let index = 0; index < 10; index++) {
      const text = { name: `n${index}`, description: '' };
      const cidrs = [prefix(`10.${index}.0.0/16`)];
      const vpcId = (await give({ kind: 'create-vpc', ...text, cidrs }, accountId)) as VpcId;
      const subnet = { kind: 'create-subnet', ...text, vpcId, cidrs: [prefix(`10.${index}.1.0/24`)] } as const;
      const subnetId = (await give(subnet, accountId)) as SubnetId;
      const addresses = { primary: [], secondary: [], secondaryCount: 0, sanityCheck: true } as const;
      await give({ kind: 'create-interface', ...text, subnetId, ...addresses }, accountId);
      const before = vpcs.at(-1);
      vpcs.push(vpcId);
      if (before === undefined) continue;
      for (const [local, remoteVpcId, name] of [
        [before, vpcId, `up${index}`],
        [vpcId, before, `down${index}`],
      ] as const) {
        await give({ kind: 'create-peering', name, description: '', vpcId: local, remoteVpcId }, accountId);
      }
    }
  }
  await region.close();
  const each = median(times);
  return [
    {
      section: 'control-plane',
      name: 'commands a second, full sync',
      value: Math.round(1000 / each),
      unit: '/s',
      note: `${times.length} commands, one by one`,
    },
    { section: 'control-plane', name: 'one command to one bare fsync', value: each / fsync, unit: '×' },
  ];
}

/** Milliseconds from the create call of the second half to the first packet that a waiting receiver gets. */
export async function firstPacket(sandbox: Sandbox, { sender, near }: Ends, times: number): Promise<readonly Figure[]> {
  const tenants = await Tenants.start(sandbox);
  const { alice, bob } = tenants;
  const { from, to, address } = tenants.peered;
  const port = 7003;
  const packets = Number.MAX_SAFE_INTEGER;
  const sending = sender.start(
    { do: 'send-udp', namespace: from, to: address, port, packets, size: 64, burst: 1, every: 100 },
    300_000,
  );
  const samples: number[] = [];
  const calls: number[] = [];
  for (let run = 0; run < times; run++) {
    await tenants.part(alice, tenants.half(alice, bob));
    const receiving = near.start({ do: 'receive-udp', namespace: to, port, packets: 1, patience: 10_000, pause: 100 });
    await receiving.ready;
    const started = process.hrtime.bigint();
    await tenants.join(alice, bob);
    calls.push(Number(process.hrtime.bigint() - started) / 1e6);
    const { first = 0 } = await receiving.result;
    if (first === 0) throw new Error('no packet came within 10 s of the connection');
    samples.push((first - Number(started)) / 1e6);
  }
  sender.stop();
  await sending.result;
  await tenants.close();
  const figure = (name: string, value: number, note: string): Figure => ({
    section: 'join',
    name,
    value,
    unit: 'ms',
    note,
  });
  return [
    figure('create-peering call, p50', median(calls), `${times} times`),
    {
      ...figure('… to the first packet, p50', median(samples), 'a packet every 0.1 ms'),
      samples,
      aim: { at: 'most', value: 10 },
    },
    figure('… to the first packet, p99', percentile(samples, 0.99), ''),
  ];
}

const id = (kind: string, index: number): string => `${kind}-${String(index).padStart(10, '0')}`;

/** Peerings of one VPC with many others, cut in one sync. */
export async function massDisconnect(sandbox: Sandbox, peerings: number): Promise<readonly Figure[]> {
  const name = sandbox.name('mass');
  const place = { bpffsPath: join(sandbox.folder, name), namespaceName: name };
  sandbox.atEnd(() => purgePlane(place));
  let barriers = 0;
  let barrierTime = 0;
  const driver = new EbpfDriver({
    ...place,
    installationId: 'bench',
    fence: async (real) => {
      const started = performance.now();
      await real();
      barriers++;
      barrierTime = performance.now() - started;
    },
  });
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const hub = id('vpc', 0) as VpcId;
  const spokes = Array.from({ length: peerings }, (_, index) => id('vpc', index + 1) as VpcId);
  const half = (index: number, remoteVpcId: VpcId, live: boolean) => ({
    id: id('vpcpr', index) as HalfId,
    remoteVpcId,
    live,
  });
  const empty = { interfaces: [], routeTables: [] };
  const network = (live: boolean): readonly VpcSpec[] => [
    { vpcId: hub, ...empty, halves: spokes.map((vpcId, index) => half(index, vpcId, live)) },
    ...spokes.map((vpcId, index) => ({ vpcId, ...empty, halves: [half(peerings + index, hub, live)] })),
  ];
  await plane.sync({ revision: 1, full: true, vpcs: network(true), removed: [] });
  barriers = 0;
  const started = performance.now();
  const { failed } = await plane.sync({ revision: 2, full: false, vpcs: network(false), removed: [] });
  const elapsed = performance.now() - started;
  if (failed.length > 0) throw new Error(`the plane did not follow: ${failed[0]?.problem}`);
  await driver.purge();
  return [
    {
      section: 'control-plane',
      name: `${peerings} disconnects in one apply`,
      value: elapsed,
      unit: 'ms',
      note: `${barrierTime.toFixed(1)} ms of it the barrier`,
    },
    { section: 'control-plane', name: '… barriers', value: barriers, unit: '', aim: { at: 'most', value: 1 } },
  ];
}
