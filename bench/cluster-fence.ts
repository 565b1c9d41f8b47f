/**
 * The fence of many hosts: `node bench/cluster-fence.ts [--deletes 100] [--flows 30000]`, as root, in namespaces of its
 * own. A peering is deleted and made again under streams within a host and between two, every second time with many
 * decisions cached on the sending host. Prints the distribution of: delete → reply, delete → last packet, connect → first
 * packet; and the packets that came after a reply. Exit code 1 when there were any.
 */
import { parseArgs } from 'node:util';
import { FenceTrial } from '../test/cluster/fence-trial.ts';
import { Ground } from '../test/cluster/ground.ts';
import { percentile } from './statistics.ts';

const { values } = parseArgs({
  options: { deletes: { type: 'string', default: '100' }, flows: { type: 'string', default: '30000' } },
});
const row = (name: string, samples: readonly number[]): string =>
  [name.padEnd(52), ...[0, 0.5, 0.9, 1].map((share) => percentile(samples, share).toFixed(1).padStart(9))].join('');

const endings: (() => unknown)[] = [];
const ground = await Ground.start({ after: (ending) => endings.push(ending as () => unknown) });
let late = 0;
try {
  const trial = await FenceTrial.start(ground, 1);
  console.log(`${''.padEnd(52)}${['min', 'median', 'p90', 'max'].map((name) => name.padStart(9)).join('')}`);
  for (const filled of [false, true]) {
    const of = { reply: [] as number[], last: [] as number[], first: [] as number[] };
    for (let run = 0; run < Number(values.deletes) / 2; run++) {
      if (filled) await trial.fill(Number(values.flows));
      const one = await trial.disconnect();
      late += one.late.reduce((sum, packets) => sum + packets, 0);
      of.reply.push(one.reply);
      of.last.push(one.lastPacket);
      of.first.push(Math.max(...(await trial.connect())));
    }
    const how = filled ? `${values.flows} cached` : 'few cached';
    console.log(row(`delete → reply, ms, ${how}`, of.reply));
    console.log(row(`delete → last packet, ms, ${how}`, of.last));
    console.log(row(`connect → first packet (slowest line), ms, ${how}`, of.first));
  }
  console.log(`packets after the reply, of ${values.deletes} deletes and ${trial.names.length} lines: ${late}`);
  await trial.stop();
} finally {
  for (const ending of endings) await ending();
}
process.exitCode = late === 0 ? 0 : 1;
