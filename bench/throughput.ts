/**
 * Packets, requests and streams over each path: CPU time per packet, TCP request/response rate, and one TCP stream. All
 * paths take turns, and each is compared with the raw pair of the same round, so that what the machine does meanwhile
 * hits all alike; the figures are medians of those ratios.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Path, PathName } from './paths.ts';
import type { Figure } from './report.ts';
import { median } from './statistics.ts';
import type { TrafficProcess } from './traffic.ts';

export interface ThroughputOptions {
  readonly rounds: number;
  readonly packets: number;
  readonly turns: number;
  readonly bytes: number;
}
/**
 * A sender, a receiver on its CPU, and one on another. Where CPU time is what is asked for, both ends share a CPU: no
 * interrupt between processors is then in the figure, and those cost microseconds in a virtual machine.
 */
export interface Ends {
  readonly sender: TrafficProcess;
  readonly near: TrafficProcess;
  readonly far: TrafficProcess;
}

const port = 7001;
const payload = 64; // bytes: small packets, where the cost of the path shows most

const softirqThreads = readdirSync('/proc')
  .filter((name) => /^\d+$/.test(name))
  .filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('ksoftirqd/');
    } catch {
      return false; // it ended meanwhile
    }
  });
/** Nanoseconds that soft interrupts took outside of any process. */
const softirqTime = (): number =>
  softirqThreads.reduce((sum, pid) => sum + Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]), 0);

interface Flood {
  /** Nanoseconds of CPU: sender, receiver and soft interrupts, per packet received. */
  readonly cpu: number;
  /** Share of the packets sent. */
  readonly lost: number;
}

const burst = 256;
const every = 1500; // microseconds

/** A paced flood: 170 000 packets a second leave the CPU room, so that nothing queues and nothing is lost. */
export async function flood({ sender, near: receiver }: Ends, path: Path, packets: number): Promise<Flood> {
  const receiving = receiver.start({
    do: 'receive-udp',
    namespace: path.to,
    port,
    packets,
    patience: 1000,
    pause: every,
  });
  await receiving.ready;
  const softirqBefore = softirqTime();
  const sent = await sender.run({
    do: 'send-udp',
    namespace: path.from,
    to: path.address,
    port,
    packets,
    size: payload,
    burst,
    every,
  });
  const received = await receiving.result;
  const softirq = softirqTime() - softirqBefore;
  return {
    cpu: (sent.cpu + received.cpu + softirq) / received.packets,
    lost: 1 - received.packets / sent.packets,
  };
}

/** Requests a second. */
async function requests({ sender, near: receiver }: Ends, path: Path, turns: number): Promise<number> {
  const serving = receiver.start({ do: 'serve', namespace: path.to, port, echo: true });
  await serving.ready;
  const { elapsed } = await sender.run({ do: 'request', namespace: path.from, to: path.address, port, turns });
  await serving.result;
  return turns / (elapsed / 1e9);
}

/** Bytes a second. */
async function stream({ sender, far: receiver }: Ends, path: Path, bytes: number): Promise<number> {
  const serving = receiver.start({ do: 'serve', namespace: path.to, port, echo: false });
  await serving.ready;
  await sender.run({ do: 'stream', namespace: path.from, to: path.address, port, bytes });
  const { packets, elapsed } = await serving.result;
  return packets / (elapsed / 1e9);
}

/** The samples of one measure, by path, in the order of rounds. */
type Samples = Map<PathName, number[]>;

async function inTurns(
  paths: readonly Path[],
  rounds: number,
  measure: (path: Path) => Promise<number>,
): Promise<Samples> {
  const samples: Samples = new Map(paths.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each path is first, last and in between equally often.
    const order = paths.map((_, index) => paths[(index + round) % paths.length]);
    for (const path of order) if (path !== undefined) samples.get(path.name)?.push(await measure(path));
  }
  return samples;
}

/** Median over the rounds of this path's figure to the raw pair's. */
function ratio(samples: Samples, name: PathName): number {
  const raw = samples.get('raw') ?? [];
  return median((samples.get(name) ?? []).map((value, round) => value / (raw[round] ?? Number.NaN)));
}

const titles = { peered: 'peered', 'same-vpc': 'inside one VPC', routers: 'routers by hand' } as const;

export async function throughput(
  ends: Ends,
  paths: readonly Path[],
  options: ThroughputOptions,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  for (const path of paths) await flood(ends, path, 2000); // neighbours are known, code is warm
  let worst = 0;
  progress('CPU per packet');
  const cpu = await inTurns(paths, options.rounds, async (path) => {
    const { cpu: each, lost } = await flood(ends, path, options.packets);
    worst = Math.max(worst, lost);
    return each;
  });
  progress('TCP requests');
  const rate = await inTurns(paths, options.rounds, (path) => requests(ends, path, options.turns));
  progress('TCP stream');
  const speed = await inTurns(paths, options.rounds, (path) => stream(ends, path, options.bytes));

  const others = paths.map(({ name }) => name).filter((name) => name !== 'raw');
  const aims = { peered: { at: 'most', value: 1.1 }, routers: { at: 'least', value: 1.7 } } as const;
  const rows = (section: string, samples: Samples): Figure[] =>
    others.map((name) => ({
      section,
      name: titles[name],
      value: ratio(samples, name),
      unit: '×',
      ...(section === 'cpu-per-packet' && name in aims ? { aim: aims[name as keyof typeof aims] } : {}),
    }));
  return [
    {
      section: 'cpu-per-packet',
      name: 'raw pair, ns of CPU per packet',
      value: Math.round(median(cpu.get('raw') ?? [])),
      unit: 'ns',
      note: `lost ≤ ${(worst * 100).toFixed(1)} %`,
    },
    ...rows('cpu-per-packet', cpu),
    ...rows('tcp-requests', rate),
    ...rows('tcp-stream', speed),
  ];
}
