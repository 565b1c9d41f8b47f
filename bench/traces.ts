/** What a question costs in a large region: traces between workloads, VPCs and strangers, each answered in full. */
import { join } from 'node:path';
import { FakeDriver } from '../src/dataplane/fake/driver.ts';
import { Reconciler } from '../src/dataplane/reconciler.ts';
import type { Knowledge } from '../src/explain/place.ts';
import { trace } from '../src/explain/trace.ts';
import { isRefusal } from '../src/model/errors.ts';
import type { AccountId } from '../src/model/ids.ts';
import { Region } from '../src/region/region.ts';
import { SqliteStore } from '../src/store/sqlite.ts';
import type { Figure } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { percentile } from './statistics.ts';
import { command, prefix } from './tenants.ts';

const section = 'scale';
/** VPCs of one account: neighbours of it are peered and routed, two and two. */
const each = 100;

async function tenant(region: Region, name: string): Promise<AccountId> {
  const accountId = (await command(region, { kind: 'create-account', name }, null)) as AccountId;
  for (const type of ['vpc', 'network_interface'] as const) {
    await command(region, { kind: 'set-quota', accountId, type, limit: each }, null);
  }
  const vpcs = Array.from({ length: each }, (_, n) => ({
    name: `v${n}`,
    description: '',
    cidrs: [prefix(`10.${n}.0.0/16`)],
    routes: [
      { to: prefix(`10.${n ^ 1}.0.0/16`), via: { kind: 'peering', peering: `p${n}` } as const, description: '' },
    ],
    routeTables: [],
    subnets: [
      {
        name: 's',
        description: '',
        cidrs: [prefix(`10.${n}.1.0/24`)],
        routeTable: null,
        // As many as a plane holds: of two pairs one has workloads.
        interfaces: n % 4 < 2 ? [{ name: 'i', description: '', addresses: [], secondary: [], sourceCheck: true }] : [],
      },
    ],
  }));
  const peerings = vpcs.map((_, n) => ({ name: `p${n}`, description: '', vpc: `v${n}`, remote: `v${n ^ 1}` }));
  const most = Number.MAX_SAFE_INTEGER;
  await command(region, { kind: 'apply-network', network: { name: 'bench', vpcs, peerings }, most }, accountId);
  return accountId;
}

/** @param vpcs how many the region has @param samples how many traces are timed */
export async function traces(sandbox: Sandbox, vpcs: number, samples: number): Promise<readonly Figure[]> {
  const store = new SqliteStore(join(sandbox.folder, 'traces.db'));
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'bench', version: '0', store, plane });
  const accounts: AccountId[] = [];
  while (accounts.length * each < vpcs) accounts.push(await tenant(region, `t${accounts.length}`));
  const { state, view } = region;
  const times: number[] = [];
  let open = 0;
  for (let n = 0; n < samples; n++) {
    const caller = accounts[(n * 37) % accounts.length] ?? null;
    const k: Knowledge = { state, view, workload: (portId) => region.attachment(portId), caller };
    // Peers in turns with VPCs that no way leads to; between workloads, and between whole VPCs.
    const own = [...state.children('vpc', caller ?? '')];
    const from = own[Math.floor(n / 4) % own.length];
    const half =
      from === undefined
        ? undefined
        : state.children('peering', from.id).find(({ localVpcId }) => localVpcId === from.id);
    const to = n % 2 === 0 ? half?.remoteVpcId : own[(n * 17 + 5) % own.length]?.id;
    if (from === undefined || to === undefined || to === from.id) continue;
    const end = (vpcId: typeof to): string =>
      (n % 4 < 2 ? state.children('interface', state.children('subnet', vpcId)[0]?.id ?? '')[0]?.id : null) ?? vpcId;
    const [source, destination] = [end(from.id), end(to)];
    const started = performance.now();
    const found = trace(k, source, destination, null);
    times.push(performance.now() - started);
    if (isRefusal(found)) throw new Error(`${source} to ${destination}: ${found.text}`);
    if (found.works) open++;
  }
  await region.close();
  const size = vpcs.toLocaleString('en');
  return [
    { section, name: `a trace at ${size} VPCs, p50`, value: percentile(times, 0.5), unit: 'ms', samples: times },
    {
      section,
      name: `a trace at ${size} VPCs, p99`,
      value: percentile(times, 0.99),
      unit: 'ms',
      aim: { at: 'most', value: 5 },
      note: `${times.length} traces, ${open} of them of ways that are open`,
    },
  ];
}
