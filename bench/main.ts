/**
 * `npm run bench`: what the data plane costs, as ratios taken in one run on one machine. `--quick` takes fewer samples,
 * `--json` prints the figures as data, `--only PART` one part. Exit code 0 when everything could be measured, or
 * when all that is missing has been named; 1 when a measurement failed; 2 for a wrong option.
 */
import { cpus, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import { api } from './api.ts';
import { commandRate, firstPacket, massDisconnect } from './control-plane.ts';
import { fence } from './fence.ts';
import { ovnMissing, ovnPath } from './ovn.ts';
import { writePage } from './page.ts';
import { bridgePath, rawPaths, routersPath } from './paths.ts';
import { programCost } from './program-cost.ts';
import { type Figure, table } from './report.ts';
import { canCompile, missing } from './requirements.ts';
import { Sandbox } from './sandbox.ts';
import { commandsAtScale, hub, interfaces, startUp } from './scale.ts';
import { Tenants } from './tenants.ts';
import { throughput } from './throughput.ts';
import { traces } from './traces.ts';
import { TrafficProcess } from './traffic.ts';

const parts = ['throughput', 'program', 'fence', 'control-plane', 'scale', 'api'] as const;
type Part = (typeof parts)[number];

const titles: Readonly<Record<string, string>> = {
  'cpu-per-packet': 'CPU per packet, 64-byte UDP, to the raw pair',
  'tcp-requests': 'TCP request/response rate, to the raw pair',
  'packet-rate': 'small packets a second that arrive, to the raw pair',
  'tcp-stream': 'one TCP stream, to the raw pair',
  'tcp-streams': 'four TCP streams, to the raw pair',
  program: 'the program by itself, to an empty one (BPF_PROG_TEST_RUN)',
  fence: 'packets carried after the reply to a delete',
  'fence-time': 'time of the fence',
  'control-plane': 'control plane',
  join: 'from the second half to the first packet',
  scale: 'scale',
  api: 'the API under 64 clients',
};

function options(): { readonly json: boolean; readonly quick: boolean; readonly only: readonly Part[] } {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true, default: [] },
      },
    });
    const only = values.only.map((name) => parts.find((part) => part === name) ?? name);
    const unknown = only.find((name) => !parts.some((part) => part === name));
    if (unknown !== undefined) throw new Error(`there is no part '${unknown}'; the parts: ${parts.join(', ')}`);
    return { json: values.json, quick: values.quick, only: only.length > 0 ? (only as Part[]) : parts };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}`);
    console.error('usage: npm run bench -- [--quick] [--json] [--only PART]...');
    process.exit(2);
  }
}

/** What needs root and the kernel. */
async function withPackets(
  sandbox: Sandbox,
  of: { readonly quick: boolean; readonly only: readonly Part[]; readonly progress: (text: string) => void },
): Promise<readonly Figure[]> {
  const { quick, only, progress } = of;
  const figures: Figure[] = [];
  const other = cpus().length > 1 ? 1 : 0;
  const ends = {
    sender: new TrafficProcess(sandbox, other),
    near: new TrafficProcess(sandbox, other),
    far: new TrafficProcess(sandbox, 0),
  };
  const pairs = Array.from({ length: 4 }, () => ({
    from: new TrafficProcess(sandbox, other),
    to: new TrafficProcess(sandbox, 0),
  }));
  if (only.includes('throughput') || only.includes('program')) {
    const tenants = await Tenants.start(sandbox);
    if (only.includes('throughput')) {
      const paths = [
        ...rawPaths(sandbox),
        tenants.peered,
        tenants.peeredV6,
        tenants.sameVpc,
        bridgePath(sandbox),
        routersPath(sandbox),
        ...(ovnMissing() === null ? [await ovnPath(sandbox)] : []),
      ];
      const size = quick
        ? { rounds: 5, packets: 50_000, turns: 5_000, bytes: 500e6 }
        : { rounds: 15, packets: 100_000, turns: 20_000, bytes: 1e9 };
      figures.push(...(await throughput(ends, pairs, paths, size, progress)));
    }
    if (only.includes('program')) {
      const size = quick
        ? { samples: 500, tables: [[1000, 10]] as const }
        : {
            samples: 2_000,
            tables: [
              [100, 100],
              [10_000, 100],
            ] as const,
          };
      figures.push(...(await programCost(tenants, size, progress)));
    }
    await tenants.close();
  }
  if (only.includes('fence')) {
    const compiler = canCompile();
    const size = quick
      ? { deletes: { udp: 100, tcp: 100 }, controls: 100, compiler }
      : { deletes: { udp: 6000, tcp: 4000 }, controls: 300, compiler };
    figures.push(...(await fence(sandbox, ends, size, progress)));
  }
  if (only.includes('control-plane')) {
    progress('first packets');
    figures.push(...(await firstPacket(sandbox, ends, quick ? 20 : 100)));
    progress('a thousand disconnects');
    figures.push(...(await massDisconnect(sandbox, 1000)));
  }
  if (only.includes('scale')) {
    const [vpcs, rules, ports] = quick ? [1000, 20, 10_000] : [10_000, 99, 100_000];
    figures.push(...(await startUp(sandbox, vpcs, rules, progress)));
    figures.push(...(await interfaces(sandbox, ports, progress)));
  }
  for (const end of Object.values(ends)) end.close();
  for (const { from, to } of pairs) {
    from.close();
    to.close();
  }
  return figures;
}

async function main(): Promise<void> {
  const { json, quick, only } = options();
  // A part of the parts is no page.
  const write = only.length === parts.length && !quick;
  const say = (text: string): void => {
    if (!json) console.log(text);
  };
  const started = Date.now();
  const progress = (text: string): void => {
    if (process.stderr.isTTY && !json) process.stderr.write(`\r\x1b[K${text} …`);
    else if (!json) console.error(`[${((Date.now() - started) / 1000).toFixed(0)} s] ${text}`);
  };
  const lacking = await missing();
  const sandbox = new Sandbox(lacking.length === 0);
  const load = (loadavg()[0] ?? 0).toFixed(1); // of whoever shares the machine
  const machine = `${cpus().length} CPUs, kernel ${release()}, Node ${process.versions.node}, load ${load}`;
  say(`isthmus bench${quick ? ' --quick' : ''}: ${machine}`);
  const absent = [...lacking, ...[ovnMissing()].filter((line) => line !== null)];
  for (const line of absent) say(`missing: ${line}`);
  const figures: Figure[] = [];

  if (only.includes('control-plane')) {
    progress('commands');
    figures.push(...(await commandRate(sandbox, quick ? 2 : 10)));
  }
  if (only.includes('scale')) {
    const sizes = quick ? [10, 1000] : [10, 100, 1000, 10_000];
    figures.push(...(await commandsAtScale(sandbox, sizes, quick ? 10 : 50, progress)));
    progress('a hub');
    figures.push(...(await hub(sandbox, quick ? 200 : 1000)));
    progress('traces');
    figures.push(...(await traces(sandbox, quick ? 1000 : 10_000, 3000)));
  }
  if (only.includes('api')) figures.push(...(await api(sandbox, quick ? 2000 : 8000, progress)));
  if (lacking.length === 0) figures.push(...(await withPackets(sandbox, { quick, only, progress })));

  if (process.stderr.isTTY && !json) process.stderr.write('\r\x1b[K');
  if (json) console.log(JSON.stringify({ machine, quick, missing: absent, figures }, null, 2));
  if (write) {
    const minutes = (Date.now() - started) / 60_000;
    const loads = { loadBefore: Number(load), loadAfter: loadavg()[0] ?? 0 };
    const text = `${cpus().length} CPUs (${cpus()[0]?.model ?? 'unknown'}), kernel ${release()}, Node ${process.versions.node}`;
    writePage(figures, titles, { text, quick, minutes, ...loads, missing: absent });
    say('docs/benchmarks.md and its plots are written.');
  }
  for (const section of new Set(figures.map((figure) => figure.section))) {
    say(
      table(
        titles[section] ?? section,
        figures.filter((figure) => figure.section === section),
      ),
    );
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
