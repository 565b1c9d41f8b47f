/**
 * The fence (P4 in docs/architecture.md): a peering is deleted again and again under full traffic, and the packets are
 * counted that its two halves carried after the call had returned. The program counts before it hands over, in the same
 * RCU section, so the count is final once nothing is under way. The control shows that the measurement can fail: the same with a wider
 * gap between check and hand-over, and nothing in the fence's place.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EbpfOptions } from '../src/dataplane/ebpf/driver.ts';
import { sizes, sumCounts } from '../src/dataplane/ebpf/layout.ts';
import * as bpf from '../src/kernel/bpf.ts';
import { closeNamespace, inside, openNamed } from '../src/kernel/netns.ts';
import type { HalfId } from '../src/model/ids.ts';
import type { Figure } from './report.ts';
import type { Sandbox } from './sandbox.ts';
import { percentile } from './statistics.ts';
import { portOf, Tenants } from './tenants.ts';
import type { Ends } from './throughput.ts';

const port = 7002;
const forever = Number.MAX_SAFE_INTEGER;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Trial {
  readonly traffic: 'udp' | 'tcp';
  readonly deletes: number;
  /** What of the driver differs. */
  readonly options?: Pick<EbpfOptions, 'objectPath' | 'fence'>;
}
interface Outcome {
  /** Packets after the reply, over all deletes. */
  readonly late: number;
  /** Packets that met a dead half: that somebody tried. */
  readonly refused: number;
  /** Milliseconds of each barrier, and of each delete call as a whole. */
  readonly barriers: readonly number[];
  readonly calls: readonly number[];
}

/** Builds the program with a spin of 60 µs between check and hand-over. @returns the object's path */
export function widened(sandbox: Sandbox): string {
  const path = join(sandbox.folder, 'widened.bpf.o');
  const folder = fileURLToPath(new URL('../bpf', import.meta.url));
  execFileSync('make', ['-s', '-C', folder, 'variant', `OUT=${path}`, 'EXTRA=-DWIDEN_US=60'], {
    timeout: 60_000,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  return path;
}

async function trial(sandbox: Sandbox, { sender, far }: Ends, of: Trial): Promise<Outcome> {
  const barriers: number[] = [];
  const fence = async (real: () => Promise<void>): Promise<void> => {
    const started = performance.now();
    await (of.options?.fence ?? ((barrier) => barrier()))(real);
    barriers.push(performance.now() - started);
  };
  const tenants = await Tenants.start(sandbox, { ...of.options, fence });
  const { alice, bob } = tenants;
  const halves = [tenants.half(alice, bob), tenants.half(bob, alice)] as const;
  const carried = (): number => halves.reduce((sum, half) => sum + packetsOf(tenants, half), 0);
  const refused = async (): Promise<number> =>
    (await tenants.driver.counters()).exits.get(portOf(alice, 0).id)?.get('NoPeering')?.packets ?? 0;
  const stop = await startTraffic(tenants, { sender, far }, of.traffic);
  barriers.length = 0;
  const before = await refused();
  const calls: number[] = [];
  let late = 0;
  for (let run = 0; run < of.deletes; run++) {
    const flowing = carried();
    for (let waited = 0; carried() <= flowing + 5; waited++) {
      if (waited > 20_000) throw new Error(`no ${of.traffic} packet came through within 20 s`);
      await pause(1);
    }
    // Either owner may end it, in turns.
    const [owner, other] = run % 2 === 0 ? [alice, bob] : [bob, alice];
    const started = performance.now();
    await tenants.part(owner, tenants.half(owner, other));
    calls.push(performance.now() - started);
    const atReply = carried();
    await pause(5);
    late += carried() - atReply;
    await tenants.join(owner, other);
  }
  const outcome = { late, refused: (await refused()) - before, barriers, calls };
  await stop();
  await tenants.close();
  return outcome;
}

function packetsOf(tenants: Tenants, half: HalfId): number {
  const { tables, registry } = tenants.driver.kernelObjects;
  const { slot } = registry.must('half', half);
  return sumCounts(bpf.readArray(tables.fd('half_counts'), slot, 1, sizes.count * bpf.possibleCpus)).packets;
}

/** 100 000 packets a second, or a stream, from Alice to Bob until it is stopped. */
async function startTraffic(
  tenants: Tenants,
  { sender, far }: Pick<Ends, 'sender' | 'far'>,
  traffic: Trial['traffic'],
): Promise<() => Promise<void>> {
  const { from, to, address } = tenants.peered;
  const limit = 3_600_000;
  if (traffic === 'tcp') {
    // Else each reconnect would wait the 200 ms of the standard's smallest retransmission timer.
    const namespace = openNamed(from);
    const path = '/proc/sys/net/ipv4/tcp_rto_min_us';
    inside(namespace, () => existsSync(path) && writeFileSync(path, '4000'));
    closeNamespace(namespace);
  }
  const receiving = far.start(
    traffic === 'udp'
      ? { do: 'receive-udp', namespace: to, port, packets: forever, patience: limit, pause: 5000 }
      : { do: 'serve', namespace: to, port, echo: false },
    limit,
  );
  await receiving.ready;
  const sending = sender.start(
    traffic === 'udp'
      ? { do: 'send-udp', namespace: from, to: address, port, packets: forever, size: 64, burst: 64, every: 640 }
      : { do: 'stream', namespace: from, to: address, port, bytes: forever },
    limit,
  );
  return async () => {
    sender.stop();
    await sending.result;
    far.stop();
    await receiving.result;
  };
}

export async function fence(
  sandbox: Sandbox,
  ends: Ends,
  of: {
    readonly deletes: { readonly udp: number; readonly tcp: number };
    readonly controls: number;
    readonly compiler: boolean;
  },
  progress: (text: string) => void,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const late = (name: string, outcome: Outcome, aim: Figure['aim']): Figure => ({
    section: 'fence',
    name,
    value: outcome.late,
    unit: '',
    ...(aim === undefined ? {} : { aim }),
    note: `${outcome.refused} refused`,
  });
  const none = { at: 'most', value: 0 } as const;
  const times: number[] = [];
  for (const traffic of ['udp', 'tcp'] as const) {
    const deletes = of.deletes[traffic];
    progress(`${deletes} deletes under ${traffic.toUpperCase()}`);
    const outcome = await trial(sandbox, ends, { traffic, deletes });
    figures.push(late(`${deletes} deletes, ${traffic.toUpperCase()}`, outcome, none));
    times.push(...outcome.barriers);
    if (traffic === 'udp') {
      figures.push({
        section: 'fence-time',
        name: 'delete call, p50, 100 kpps UDP',
        value: percentile(outcome.calls, 0.5),
        unit: 'ms',
        samples: outcome.calls,
        aim: { at: 'most', value: 12 },
      });
      figures.push({
        section: 'fence-time',
        name: 'delete call, p99, 100 kpps UDP',
        value: percentile(outcome.calls, 0.99),
        unit: 'ms',
        aim: { at: 'most', value: 30 },
      });
    }
  }
  if (of.compiler) {
    const objectPath = widened(sandbox);
    progress('the controls');
    const fenced = await trial(sandbox, ends, { traffic: 'udp', deletes: of.controls, options: { objectPath } });
    figures.push(late(`${of.controls} widened, fenced, UDP`, fenced, none));
    const bare = await trial(sandbox, ends, {
      traffic: 'udp',
      deletes: of.controls,
      options: { objectPath, fence: async () => {} },
    });
    figures.push(late(`${of.controls} widened, no fence: control`, bare, { at: 'least', value: 1 }));
  }
  return [
    ...figures,
    {
      section: 'fence-time',
      name: 'barrier, p50',
      value: percentile(times, 0.5),
      unit: 'ms',
      note: `${times.length} barriers`,
      samples: times,
    },
    { section: 'fence-time', name: 'barrier, p99', value: percentile(times, 0.99), unit: 'ms' },
  ];
}
