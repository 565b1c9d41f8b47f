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

/** A connection's ends, for several at once. */
export interface Pair {
  readonly from: TrafficProcess;
  readonly to: TrafficProcess;
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

/** Nanoseconds of CPU that all threads of a process took. */
const processTime = (pid: number | undefined): number =>
  pid === undefined
    ? 0
    : readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
        try {
          return sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
        } catch {
          return sum; // it ended meanwhile
        }
      }, 0);

interface Flood {
  /** Nanoseconds of CPU: sender, receiver, soft interrupts and who forwards, per packet received. */
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
  const other = (): number => softirqTime() + processTime(path.forwarder?.pid);
  const before = other();
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
  return {
    cpu: (sent.cpu + received.cpu + other() - before) / received.packets,
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

/** Small packets a second that arrive when as many are sent as can be; ends on two CPUs. */
async function packetRate({ sender, far: receiver }: Ends, path: Path, packets: number): Promise<number> {
  const receiving = receiver.start({
    do: 'receive-udp',
    namespace: path.to,
    port,
    packets,
    patience: 200,
    pause: 0,
  });
  await receiving.ready;
  const sent = await sender.run({
    do: 'send-udp',
    namespace: path.from,
    to: path.address,
    port,
    packets,
    size: payload,
    burst: 64,
    every: 0,
  });
  const received = await receiving.result;
  return received.packets / (sent.elapsed / 1e9);
}

/** Bytes a second of several connections at once. */
async function streams(pairs: readonly Pair[], path: Path, bytes: number): Promise<number> {
  const started = performance.now();
  await Promise.all(
    pairs.map(async ({ from, to }, index) => {
      const at = port + 10 + index;
      const serving = to.start({ do: 'serve', namespace: path.to, port: at, echo: false });
      await serving.ready;
      await from.run({ do: 'stream', namespace: path.from, to: path.address, port: at, bytes });
      await serving.result;
    }),
  );
  return (bytes * pairs.length) / ((performance.now() - started) / 1000);
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
  ends: Ends,
): Promise<Samples> {
  const samples: Samples = new Map(paths.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each path is first, last and in between equally often.
    const order = paths.map((_, index) => paths[(index + round) % paths.length]);
    for (const path of order) {
      if (path === undefined) continue;
      path.forwarder?.resume();
      if (path.forwarder !== undefined) await flood(ends, path, 2000); // what it forgot meanwhile is known again
      samples.get(path.name)?.push(await measure(path));
      path.forwarder?.pause();
    }
  }
  return samples;
}

/** What a path is compared with: the bare pair of its family, in the same round. */
const baseOf = (name: PathName): PathName => (name.endsWith('-v6') ? 'raw-v6' : 'raw');

/** This path's figure to the bare pair's, round by round. */
function ratios(samples: Samples, name: PathName, base: PathName = baseOf(name)): readonly number[] {
  const raw = samples.get(base) ?? [];
  return (samples.get(name) ?? []).map((value, round) => value / (raw[round] ?? Number.NaN));
}

const titles: { readonly [P in PathName]: string } = {
  raw: 'bare pair',
  'raw-v6': 'bare pair, IPv6',
  peered: 'peered',
  'peered-v6': 'peered, IPv6',
  'same-vpc': 'inside one VPC',
  bridge: 'Linux bridge',
  routers: 'routers by hand',
  ovs: 'OVN, userspace datapath',
};

const lossOf = (share: number): string => `${(share * 100).toFixed(1)} %`;

export async function throughput(
  ends: Ends,
  pairs: readonly Pair[],
  paths: readonly Path[],
  options: ThroughputOptions,
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  for (const path of paths) await flood(ends, path, 2000); // neighbours are known, code is warm
  for (const { forwarder } of paths) forwarder?.pause();
  const worst = new Map<PathName, number>();
  progress('CPU per packet');
  const turns = (measure: (path: Path) => Promise<number>): Promise<Samples> =>
    inTurns(paths, options.rounds, measure, ends);
  const cpu = await turns(async (path) => {
    const { cpu: each, lost } = await flood(ends, path, options.packets);
    worst.set(path.name, Math.max(worst.get(path.name) ?? 0, lost));
    return each;
  });
  progress('packet rate');
  const packets = await turns((path) => packetRate(ends, path, options.packets));
  progress('TCP requests');
  const rate = await turns((path) => requests(ends, path, options.turns));
  progress('TCP stream');
  const speed = await turns((path) => stream(ends, path, options.bytes));
  progress('four TCP streams');
  const four = await turns((path) => streams(pairs, path, options.bytes / 2));

  const others = paths.map(({ name }) => name).filter((name) => !name.startsWith('raw'));
  const aims: { readonly [section: string]: { readonly [P in PathName]?: Figure['aim'] } } = {
    'cpu-per-packet': { peered: { at: 'most', value: 1.1 }, routers: { at: 'least', value: 1.7 } },
    'tcp-requests': { peered: { at: 'least', value: 0.95 } },
    'tcp-stream': { peered: { at: 'least', value: 0.95 } },
  };
  const rows = (section: string, samples: Samples): Figure[] =>
    others.map((name) => {
      const each = ratios(samples, name);
      const aim = aims[section]?.[name];
      return {
        section,
        name: titles[name],
        value: median(each),
        unit: '×',
        samples: each,
        ...(aim === undefined ? {} : { aim }),
      };
    });
  const toVpc = ratios(cpu, 'peered', 'same-vpc');
  return [
    {
      section: 'cpu-per-packet',
      name: 'bare pair, ns of CPU per packet',
      value: Math.round(median(cpu.get('raw') ?? [])),
      unit: 'ns',
      note: `lost at most ${lossOf(Math.max(...[...worst].map(([name, lost]) => (name === 'ovs' ? 0 : lost))))}${
        worst.has('ovs') ? `; OVS ${lossOf(worst.get('ovs') ?? 0)}` : ''
      }`,
    },
    ...rows('cpu-per-packet', cpu),
    {
      section: 'cpu-per-packet',
      name: 'peered to inside one VPC',
      value: median(toVpc),
      unit: '×',
      samples: toVpc,
      aim: { at: 'most', value: 1.15 },
    },
    ...rows('packet-rate', packets),
    ...rows('tcp-requests', rate),
    ...rows('tcp-stream', speed),
    ...rows('tcp-streams', four),
  ];
}
