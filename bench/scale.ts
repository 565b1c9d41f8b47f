/**
 * How costs grow with the size of a region: a command at 10 and at 10,000 VPCs, one hub with many peerings, a plane of
 * 100,000 interfaces, a start with 1,000,000 routes, and adoption after a restart of the agent.
 */
import { join } from 'node:path';
import { EbpfDriver, type EbpfOptions, purgePlane } from '../src/dataplane/ebpf/driver.ts';
import { FakeDriver } from '../src/dataplane/fake/driver.ts';
import { Reconciler } from '../src/dataplane/reconciler.ts';
import { calls } from '../src/kernel/bpf.ts';
import type { AccountId, HalfId, PortId, RouteRuleId, RouteTableId, SubnetId, VpcId } from '../src/model/ids.ts';
import { addressAt, macOf } from '../src/model/ip.ts';
import type { InterfaceSpec, VpcSpec } from '../src/model/network-spec.ts';
import type { Change, Resource } from '../src/model/resources.ts';
import { Region } from '../src/region/region.ts';
import type { Command } from '../src/rules/commands.ts';
import { SqliteStore } from '../src/store/sqlite.ts';
import type { Figure } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { median } from './statistics.ts';
import { command, prefix } from './tenants.ts';

const section = 'scale';
const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
const id = (kind: string, index: number): string => `${kind}-${String(index).padStart(10, '0')}`;
const writes = (): number =>
  ['update', 'delete', 'updateBatch', 'deleteBatch'].reduce((sum, name) => sum + (calls[name] ?? 0), 0);

/** What a command costs once there are so many VPCs, on the driver in memory: milliseconds of each, fsync included. */
export async function commandsAtScale(
  sandbox: Sandbox,
  sizes: readonly number[],
  samples: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  const store = new SqliteStore(join(sandbox.folder, 'scale.db'));
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'bench', version: '0', store, plane });
  const figures: Figure[] = [];
  let made = 0;
  let accountId = '' as AccountId;
  const vpc = async (): Promise<VpcId> => {
    if (made % 100 === 0) {
      accountId = (await command(region, { kind: 'create-account', name: `t${made}` }, null)) as AccountId;
      for (const type of ['vpc', 'network_interface'] as const) {
        await command(region, { kind: 'set-quota', accountId, type, limit: 1000 }, null);
      }
    }
    const cidr = `10.${made % 200}.0.0/16`;
    const text = { name: `v${made++}`, description: '' };
    return (await command(region, { kind: 'create-vpc', ...text, cidrs: [prefix(cidr)] }, accountId)) as VpcId;
  };
  const base: number[] = [];
  for (const size of sizes) {
    progress(`commands at ${size} VPCs`);
    while (made < size) await vpc();
    const times: number[] = [];
    for (let n = 0; n < samples; n++) {
      const [a, b] = [await vpc(), await vpc()];
      const owner = accountId;
      const timed = async (what: Command): Promise<string> => {
        const started = performance.now();
        const answer = await command(region, what, owner);
        times.push(performance.now() - started);
        return answer;
      };
      const state = region.state;
      // Both of one account, unless this was the last of one.
      if (state.get('vpc', a)?.accountId !== owner) continue;
      const name = { description: '' };
      const half = async (local: VpcId, remoteVpcId: VpcId): Promise<HalfId> =>
        (await timed({
          kind: 'create-peering',
          ...name,
          name: `h${local.slice(4)}`,
          vpcId: local,
          remoteVpcId,
        })) as HalfId;
      const cidr = prefix(`10.${Number(state.get('vpc', a)?.cidrs[0]?.split('.')[1] ?? 0)}.1.0/24`);
      await timed({ kind: 'create-subnet', ...name, name: 's', vpcId: a, cidrs: [cidr] });
      const ours = await half(a, b);
      await half(b, a);
      const routeTableId = state.get('vpc', a)?.defaultRouteTableId as RouteTableId;
      const destination = state.get('vpc', b)?.cidrs[0] ?? prefix('10.0.0.0/16');
      await timed({
        kind: 'add-routes',
        routeTableId,
        routes: [{ destination, nextHop: { kind: 'peering', halfId: ours } }],
      });
      await timed({ kind: 'delete-peering', halfId: ours });
    }
    if (base.length === 0) base.push(median(times));
    const [first = 1] = base;
    figures.push({
      section,
      name: `a command at ${size.toLocaleString('en')} VPCs`,
      value: median(times),
      unit: 'ms',
      samples: times,
      note: `${(median(times) / first).toFixed(2)} × that at ${sizes[0]}; ${megabytes(process.memoryUsage().rss)} MB`,
    });
    if (size === sizes.at(-1)) {
      const value = median(times) / first;
      figures.push({
        section,
        name: `a command at ${size.toLocaleString('en')} VPCs to one at ${sizes[0]}`,
        value,
        unit: '×',
        aim: { at: 'most', value: 2 },
      });
    }
  }
  await region.close();
  return figures;
}

/** A hub with so many peerings: what the last ones cost, and what a change of its routes does. */
export async function hub(sandbox: Sandbox, peerings: number): Promise<readonly Figure[]> {
  const store = new SqliteStore(join(sandbox.folder, 'hub.db'));
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'bench', version: '0', store, plane });
  const accountId = (await command(region, { kind: 'create-account', name: 'hub' }, null)) as AccountId;
  for (const type of ['vpc', 'vpcpeering'] as const) {
    await command(region, { kind: 'set-quota', accountId, type, limit: type === 'vpc' ? 2000 : peerings }, null);
  }
  const give = (what: Command): Promise<string> => command(region, what, accountId);
  const vpc = async (name: string, cidr: string): Promise<VpcId> =>
    (await give({ kind: 'create-vpc', name, description: '', cidrs: [prefix(cidr)] })) as VpcId;
  const middle = await vpc('hub', '172.16.0.0/16');
  const times: number[] = [];
  for (let n = 0; n < peerings; n++) {
    const spoke = await vpc(`s${n}`, `10.${n >> 8}.${n & 255}.0/24`);
    const started = performance.now();
    await give({ kind: 'create-peering', name: `a${n}`, description: '', vpcId: middle, remoteVpcId: spoke });
    await give({ kind: 'create-peering', name: `b${n}`, description: '', vpcId: spoke, remoteVpcId: middle });
    times.push(performance.now() - started);
  }
  await region.close();
  const tail = times.slice(-50);
  return [
    { section, name: `a hub's first peering, both halves`, value: median(times.slice(0, 50)), unit: 'ms' },
    { section, name: `… its ${peerings.toLocaleString('en')}th`, value: median(tail), unit: 'ms', samples: tail },
  ];
}

/** A VPC with a subnet and a table of so many rules, as the store keeps it. */
function stored(index: number, rules: number): readonly Resource[] {
  const vpcId = id('vpc', index) as VpcId;
  const tableId = id('rtb', index) as RouteTableId;
  const accountId = id('acct', Math.floor(index / 100)) as AccountId;
  const base = { accountId, description: '', createdTime: '2030-01-01T00:00:00Z' };
  const cidr = prefix(`172.${16 + (index % 16)}.0.0/16`);
  const subnetId = id('subnet', index) as SubnetId;
  return [
    { kind: 'vpc', id: vpcId, ...base, name: `v${index}`, cidrs: [cidr], defaultRouteTableId: tableId },
    {
      kind: 'route-table',
      id: tableId,
      ...base,
      vpcId,
      name: 'default',
      type: 'default',
      localRuleId: id('rt', 0) as RouteRuleId,
      rules: Array.from({ length: rules }, (_, n) => ({
        id: id('rt', index * 1000 + n) as RouteRuleId,
        destination: prefix(`10.${n}.0.0/16`),
        nextHop: { kind: 'internet' },
        priority: 100,
        description: '',
      })),
    },
    { kind: 'subnet', id: subnetId, ...base, vpcId, name: 's', cidrs: [cidr], routeTableId: tableId },
  ];
}

type Place = Pick<EbpfOptions, 'bpffsPath' | 'namespaceName'>;
function placeIn(sandbox: Sandbox, what: string): Place {
  const name = sandbox.name(what);
  const place = { bpffsPath: join(sandbox.folder, name), namespaceName: name };
  sandbox.atEnd(() => purgePlane(place));
  return place;
}

/** A region that starts on an empty kernel with so many VPCs of so many rules, and again when all is in place. */
export async function startUp(
  sandbox: Sandbox,
  vpcs: number,
  rules: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  progress(`a store of ${vpcs} VPCs`);
  const store = new SqliteStore(join(sandbox.folder, 'start.db'));
  for (let at = 0; at < vpcs; at += 100) {
    const owner = id('acct', at / 100) as AccountId;
    const changes: Change[] = [
      {
        op: 'put',
        resource: {
          kind: 'account',
          id: owner,
          name: `t${at}`,
          quotas: {},
          requestsPerSecond: 1000,
          createdTime: '2030-01-01T00:00:00Z',
        },
      },
    ];
    for (let n = at; n < Math.min(at + 100, vpcs); n++) {
      for (const resource of stored(n, rules)) changes.push({ op: 'put', resource });
    }
    const entry = {
      time: '2030-01-01T00:00:00Z',
      account: owner,
      principal: 'bench',
      operation: 'create-vpc',
      requestId: 'r',
    };
    store.commit({ ...entry, revision: store.revision + 1, changes }, []);
  }
  store.close();
  const place = placeIn(sandbox, 'start');
  const total = (vpcs * (rules + 1)).toLocaleString('en');
  const open = async (): Promise<{ region: Region; seconds: number; writes: number }> => {
    const before = writes();
    const started = performance.now();
    const opened = new SqliteStore(join(sandbox.folder, 'start.db'));
    const driver = new EbpfDriver({ ...place, installationId: opened.installationId });
    const plane = new Reconciler(driver, { driftInterval: 0 });
    const region = await Region.start({ name: 'bench', version: '0', store: opened, plane });
    const { appliedRevision, revision, planeProblem } = region.status();
    for (let tries = 0; region.status().appliedRevision < revision && tries < 1200; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (region.status().appliedRevision < revision)
      throw new Error(`the plane did not follow: ${planeProblem} ${appliedRevision}`);
    return { region, seconds: (performance.now() - started) / 1000, writes: writes() - before };
  };
  progress(`start-up with ${total} routes`);
  const first = await open();
  const rss = megabytes(process.memoryUsage().rss);
  await first.region.close();
  progress('adoption');
  const second = await open();
  await second.region.close();
  purgePlane(place);
  return [
    {
      section,
      name: `start-up: ${vpcs.toLocaleString('en')} VPCs, ${total} routes`,
      value: first.seconds,
      unit: 's',
      note: `${first.writes.toLocaleString('en')} map writes, ${rss} MB`,
      aim: { at: 'most', value: 10 },
    },
    {
      section,
      name: '… again, all in place: adoption',
      value: second.seconds,
      unit: 's',
      note: `${second.writes} map writes`,
      aim: { at: 'most', value: 2 },
    },
  ];
}

/** A plane of so many interfaces, in VPCs of a hundred. */
export async function interfaces(
  sandbox: Sandbox,
  count: number,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  progress(`${count} interfaces`);
  const vpcs: VpcSpec[] = [];
  for (let n = 0; n < count / 100; n++) {
    const cidr = prefix(`10.${n >> 8}.${n & 255}.0/24`);
    const tableId = id('rtb', n) as RouteTableId;
    vpcs.push({
      vpcId: id('vpc', n) as VpcId,
      halves: [],
      routeTables: [{ id: tableId, routes: [{ destination: cidr, target: { kind: 'local' } }] }],
      interfaces: Array.from({ length: 100 }, (_, m): InterfaceSpec => {
        const address = addressAt(cidr, m + 4);
        return {
          id: id('port', n * 100 + m) as PortId,
          mac: macOf(BigInt(n * 100 + m + 1)),
          addresses: [{ address, primary: true, gateway: addressAt(cidr, 1), prefixLength: 24 }],
          routeTableId: tableId,
          sanityCheck: true,
        };
      }),
    });
  }
  const place = placeIn(sandbox, 'ports');
  const limits = { interfaces: count + 1024, addresses: count + 1024 };
  const driver = new EbpfDriver({ ...place, installationId: '0123456789', limits });
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const started = performance.now();
  const { failed } = await plane.sync({ revision: 1, full: true, vpcs, removed: [] });
  const written = (performance.now() - started) / 1000;
  if (failed.length > 0) throw new Error(failed[0]?.problem);
  const again = performance.now();
  const other = new Reconciler(driver, { driftInterval: 0 });
  await other.sync({ revision: 2, full: true, vpcs, removed: [] });
  const adopted = (performance.now() - again) / 1000;
  await driver.purge();
  const name = `${count.toLocaleString('en')} interfaces`;
  return [
    {
      section,
      name: `${name}, written`,
      value: written,
      unit: 's',
      note: `${megabytes(process.memoryUsage().rss)} MB in the process`,
    },
    { section, name: '… compared, nothing to write', value: adopted, unit: 's' },
  ];
}
