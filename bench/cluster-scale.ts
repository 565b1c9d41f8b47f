/**
 * What a region on OVN costs as it grows: `npm run bench:cluster`. Three hosts in network namespaces, the databases a cluster
 * of three, a few workloads; then VPCs and peerings, and at each size what each kind of command takes: until the reply, of
 * the API server's own CPU, in ovn-northd, and until the last host has it. Prints a table; `--sizes 50,200,500`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { FakeDriver } from '../src/dataplane/fake/driver.ts';
import { Ovsdb } from '../src/dataplane/ovn/ovsdb.ts';
import { Reconciler } from '../src/dataplane/reconciler.ts';
import type { AccountId, HalfId, PortId, SubnetId, VpcId } from '../src/model/ids.ts';
import { Region } from '../src/region/region.ts';
import { SqliteStore } from '../src/store/sqlite.ts';
import { Ground } from '../test/cluster/ground.ts';
import type { Figure } from './report.ts';
import { table } from './report.ts';
import { Sandbox } from './sandbox.ts';
import { median } from './statistics.ts';
import { command, prefix } from './tenants.ts';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '50,200,500' },
    samples: { type: 'string', default: '7' },
    json: { type: 'boolean', default: false },
  },
});
const sizes = values.sizes.split(',').map(Number);
const samples = Number(values.samples);
/** VPCs of which one has a workload, beginning with the first. */
const withWorkload = 20;

const progress = (text: string): void => void process.stderr.write(`  ${text}\n`);
const megabytes = (pid: number): number =>
  Math.round(Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);

/** Processes that work in a folder, by their program and, of databases, their file. */
function daemonsIn(folder: string): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, readonly number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const path = `/proc/${name}/cmdline`;
    const [program = '', first = '', ...rest] = existsSync(path) ? readFileSync(path, 'utf8').split('\0') : [];
    if (!/^(ovn-northd|ovn-controller|ovs-vswitchd|ovsdb-server)$/.test(basename(program))) continue;
    if (![first, ...rest].some((argument) => argument.includes(folder)) && program !== 'ovn-northd') continue;
    const what = first.endsWith('.db') ? `${basename(program)} ${basename(first)}` : basename(program);
    found.set(what, [...(found.get(what) ?? []), Number(name)]);
  }
  return found;
}

interface Made {
  readonly vpcId: VpcId;
  readonly portId: PortId;
  readonly cidr: string;
  readonly accountId: AccountId;
}

/** A region whose VPC n is peered with n + 1 and n + 2, routed both ways. */
class Loaded {
  readonly region: Region;
  readonly made: Made[];
  #accountId = '' as AccountId;

  constructor(region: Region, made: readonly Made[] = []) {
    this.region = region;
    this.made = [...made];
  }
  /** /20 out of 10/8: 4096 of them. */
  cidr(n: number): string {
    return `10.${n >> 4}.${(n & 15) << 4}.0/20`;
  }
  async grow(size: number): Promise<void> {
    while (this.made.length < size) {
      const n = this.made.length;
      await this.vpc(n);
      for (const back of [1, 2]) {
        const [one, other] = [this.made[n], this.made[n - back]];
        if (one !== undefined && other !== undefined) await this.peer(one, other);
      }
    }
  }
  async vpc(n: number): Promise<Made> {
    const { region } = this;
    if (n % 10 === 0 || this.#accountId === '') {
      this.#accountId = (await command(region, { kind: 'create-account', name: `t${n}` }, null)) as AccountId;
      for (const type of ['vpc', 'network_interface', 'vpcpeering'] as const) {
        await command(region, { kind: 'set-quota', accountId: this.#accountId, type, limit: 1000 }, null);
      }
    }
    const accountId = this.#accountId;
    const cidr = this.cidr(n);
    const text = { description: '' };
    const vpcId = (await command(
      region,
      { kind: 'create-vpc', ...text, name: `v${n}`, cidrs: [prefix(cidr)] },
      accountId,
    )) as VpcId;
    const subnetId = (await command(
      region,
      { kind: 'create-subnet', ...text, name: 's', vpcId, cidrs: [prefix(cidr.replace('/20', '/24'))] },
      accountId,
    )) as SubnetId;
    const portId = (await command(
      region,
      {
        kind: 'create-interface',
        ...text,
        name: 'i',
        subnetId,
        primary: [],
        secondary: [],
        secondaryCount: 0,
        sanityCheck: true,
      },
      accountId,
    )) as PortId;
    const made = { vpcId, portId, cidr, accountId };
    this.made[n] = made;
    return made;
  }
  half(from: Made, to: Made): Promise<HalfId> {
    const of = { vpcId: from.vpcId, remoteVpcId: to.vpcId, description: '' };
    return command(
      this.region,
      { kind: 'create-peering', name: `${from.vpcId.slice(4)}-${to.vpcId.slice(4)}`, ...of },
      from.accountId,
    ) as Promise<HalfId>;
  }
  route(from: Made, to: Made, halfId: HalfId): Promise<string> {
    const routeTableId = this.region.state.get('vpc', from.vpcId)?.defaultRouteTableId;
    if (routeTableId === undefined) throw new Error(`${from.vpcId} is gone`);
    const routes = [{ destination: prefix(to.cidr), nextHop: { kind: 'peering', halfId } as const }];
    return command(this.region, { kind: 'add-routes', routeTableId, routes }, from.accountId);
  }
  /** Takes the rule for another's prefix away. */
  async unroute(from: Made, to: Made): Promise<void> {
    const routeTableId = this.region.state.get('vpc', from.vpcId)?.defaultRouteTableId;
    const rules = routeTableId === undefined ? [] : (this.region.state.get('route-table', routeTableId)?.rules ?? []);
    const ruleIds = rules.filter(({ destination }) => destination === to.cidr).map(({ id }) => id);
    if (routeTableId === undefined || ruleIds.length === 0) return;
    await command(this.region, { kind: 'remove-routes', routeTableId, ruleIds }, from.accountId);
  }
  async peer(one: Made, other: Made): Promise<void> {
    const [there, back] = [await this.half(one, other), await this.half(other, one)];
    await this.route(one, other, there);
    await this.route(other, one, back);
  }
}

/** What OVN's databases tell of a configuration: when it was written, compiled, and installed on the last host. */
interface Times {
  readonly compiled: number;
  readonly installed: number;
}

const ends: (() => void | Promise<void>)[] = [];
const ending = { after: (work: () => void | Promise<void>) => void ends.push(work) } as Parameters<
  typeof Ground.start
>[0];
const sandbox = new Sandbox(true);
progress('three hosts, two databases of three members');
const ground = await Ground.start(ending, { fencePatience: 120_000 });
const watch = new Ovsdb({
  remotes: ground.bed.northbound,
  database: 'OVN_Northbound',
  tables: { NB_Global: ['nb_cfg', 'nb_cfg_timestamp', 'sb_cfg', 'sb_cfg_timestamp', 'hv_cfg', 'hv_cfg_timestamp'] },
});
await watch.whenConnected(10_000);
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The times of the newest configuration, once every host has it. */
async function times(): Promise<Times> {
  for (;;) {
    const [row] = watch.rows('NB_Global').values();
    const [written = 0, compiled = 0, installed = 0] = ['nb_cfg', 'sb_cfg', 'hv_cfg'].map((name) =>
      Number(row?.[name]),
    );
    if (written > 0 && compiled === written && installed === written) {
      const at = (name: string): number => Number(row?.[`${name}_timestamp`]);
      return { compiled: at('sb_cfg') - at('nb_cfg'), installed: at('hv_cfg') - at('nb_cfg') };
    }
    await pause(20);
  }
}

const figures: Figure[] = [];
const store = join(sandbox.folder, 'region.db');
/** The commands that make so many VPCs go to a network in memory; OVN then takes the difference at once. */
async function grow(loaded: Made[], size: number): Promise<Made[]> {
  const region = await Region.start({
    ...{ name: 'bench', version: '0', store: new SqliteStore(store) },
    plane: new Reconciler(new FakeDriver(), { driftInterval: 0 }),
  });
  const more = new Loaded(region, loaded);
  await more.grow(size);
  await region.close();
  return more.made;
}

let made: Made[] = [];
for (const size of sizes) {
  progress(`${size} VPCs, ${2 * size} peerings`);
  const section = `${size} VPCs, ${2 * size - 3} peerings`;
  made = await grow(made, size);
  const started = performance.now();
  const region = await Region.start({
    ...{ name: 'bench', version: '0', store: new SqliteStore(store) },
    plane: new Reconciler(await ground.reopen(), { driftInterval: 0 }),
  });
  const problem = region.status().planeProblem;
  if (problem !== null) throw new Error(problem);
  const loadTime = performance.now() - started;
  const load = await times();
  figures.push({
    section,
    name: 'what is new, at once',
    value: loadTime / 1000,
    unit: 's',
    note: `northd ${load.compiled} ms`,
  });
  for (const { portId } of made.slice(0, withWorkload)) {
    const there = ground.hosts.attachments().some((fact) => fact.portId === portId);
    if (!there) await ground.attach(portId);
  }
  await times();
  const loaded = new Loaded(region, made);
  const measure = async (name: string, work: (n: number) => Promise<unknown>): Promise<void> => {
    const replies: number[] = [];
    const own: number[] = [];
    const compiled: number[] = [];
    const installed: number[] = [];
    for (let n = 0; n < samples; n++) {
      const [cpu, began] = [process.cpuUsage(), performance.now()];
      await work(n);
      replies.push(performance.now() - began);
      const { user, system } = process.cpuUsage(cpu);
      own.push((user + system) / 1000);
      const of = await times();
      compiled.push(of.compiled);
      installed.push(of.installed);
    }
    figures.push({
      section,
      name,
      value: median(replies),
      unit: 'ms',
      samples: replies,
      note: `CPU here ${median(own).toFixed(0)}, northd ${median(compiled)}, last host ${median(installed)} ms`,
    });
  };
  const [hub, ...others] = made.slice(0, withWorkload);
  if (hub === undefined) throw new Error('no VPC');
  // Two that are not joined yet, both with a workload.
  const pairs = others.slice(5, 5 + samples).map((other) => [hub, other] as const);
  const halves: HalfId[] = [];
  const far = (n: number): readonly [Made, Made] => pairs[n] ?? [hub, hub];
  await measure('a VPC', (n) =>
    command(region, { kind: 'create-vpc', name: `x${size}-${n}`, description: '', cidrs: [] }, hub.accountId),
  );
  for (const [one, other] of pairs) await loaded.half(one, other);
  await measure('the second half of a peering', async (n) => {
    const [one, other] = far(n);
    halves.push(await loaded.half(other, one));
  });
  await measure('a route over it', async (n) => {
    const [one, other] = far(n);
    const half = halves[n];
    if (half !== undefined) await loaded.route(other, one, half);
  });
  await measure('… and its end, with the fence', async (n) => {
    const [, other] = far(n);
    const halfId = halves[n];
    if (halfId !== undefined) await command(region, { kind: 'delete-peering', halfId }, other.accountId);
  });
  for (const [one, other] of pairs) {
    const half = [...region.state.children('peering', one.vpcId)].find(
      ({ remoteVpcId }) => remoteVpcId === other.vpcId,
    );
    if (half !== undefined) await command(region, { kind: 'delete-peering', halfId: half.id }, one.accountId);
    await loaded.unroute(other, one);
  }
  for (const [what, pids] of daemonsIn(dirname(ground.bed.folder(1)))) {
    figures.push({ section, name: `memory: ${what}`, value: Math.max(...pids.map(megabytes)), unit: 'MB' });
  }
  figures.push({ section, name: 'memory: API server', value: megabytes(process.pid), unit: 'MB' });
  await region.close();
}
watch.close();
if (values.json) console.log(JSON.stringify(figures, null, 1));
else
  for (const section of new Set(figures.map((figure) => figure.section))) {
    console.log(
      table(
        section,
        figures.filter((figure) => figure.section === section),
      ),
    );
  }
for (const end of ends.reverse()) await end();
sandbox.end();
