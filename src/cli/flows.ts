/**
 * `isthmus flows`: sampled packets of the whole host and what became of each, for root. Asking switches the records on;
 * they go off by themselves a few seconds after the last one has stopped asking.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AgentClient } from '../dataplane/agent-client.ts';
import { DriverError, type FlowPage, type FlowRecord } from '../dataplane/driver.ts';
import { exits } from '../model/drop-reason.ts';
import { Failure } from './failure.ts';
import { type OutputOptions, printNote, printText } from './output.ts';
import { type PlaceOptions, placeOptions, placesOf, sockets } from './places.ts';
import { type Painter, painterFor } from './terminal.ts';

interface FlowOptions extends PlaceOptions, OutputOptions {
  readonly follow?: true;
  readonly sample?: string;
  readonly interface?: string;
  readonly dropped?: true;
  readonly limit?: string;
  readonly for?: string;
}

const protocols: { readonly [number: number]: string } = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' };
/** How often the agent is asked, in milliseconds. */
const every = 200;

const numberIn = (name: string, text: string, most: number): number => {
  const value = /^[0-9]{1,7}$/.test(text) ? Number(text) : 0;
  if (value >= 1 && value <= most) return value;
  throw new Failure(2, `--${name} '${text}' is not a number from 1 to ${most}.`);
};

/** Local time with milliseconds. */
const clock = (time: number): string => {
  const at = new Date(time);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`;
};
const end = (address: string, port: number): string =>
  address === '' ? '?' : port === 0 ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

export function flowLine(record: FlowRecord, paint: Painter): string {
  const { time, portId, halfId, exit, protocol, source, destination, sourcePort, destinationPort, packets, bytes } =
    record;
  const word = paint(exits[exit].drop ? 'bad' : 'good', exit.padEnd(14));
  const way = `${end(source, sourcePort)} → ${end(destination, destinationPort)}`;
  const over = halfId === null ? '' : `  over ${halfId}`;
  const parts = packets > 1 ? `  ${packets} packets` : '';
  return `${paint('dim', clock(time))}  ${word}  ${portId ?? '–'}  ${(protocols[protocol] ?? String(protocol)).padEnd(5)}  ${way}${over}  ${bytes} bytes${parts}`;
}

export function register(program: Command): void {
  placeOptions(program.command('flows').description('sampled packets, and what became of each (root)'))
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--sample <number>', 'one packet in how many (default 100; with --dropped 1)')
    .option('--interface <id>', 'only what this interface sent')
    .option('--dropped', 'only what was dropped')
    .option('--limit <number>', 'end after so many records')
    .option('--for <seconds>', 'without --follow: how long to look', '2')
    .option('--json', 'print each record as one line of JSON')
    .action(async (options: FlowOptions) => {
      const sample = numberIn('sample', options.sample ?? (options.dropped === true ? '1' : '100'), 1_000_000);
      const limit =
        options.limit === undefined ? Number.POSITIVE_INFINITY : numberIn('limit', options.limit, 1_000_000);
      const until =
        options.follow === true
          ? Number.POSITIVE_INFINITY
          : Date.now() + numberIn('for', options.for ?? '2', 86_400) * 1000;
      const paint = painterFor(process.stdout);
      let client: AgentClient | undefined;
      try {
        client = await AgentClient.connect(sockets(placesOf(options).runDir).host);
        let shown = 0;
        let lost = 0;
        // What others looked at before is not ours.
        let { next } = await client.call<FlowPage>('flows', { sample, after: Number.MAX_SAFE_INTEGER });
        for (;;) {
          const last = Date.now() >= until;
          const page = await client.call<FlowPage>('flows', { sample, after: next });
          next = page.next;
          if (page.lost > lost) printNote(`${page.lost - lost} records were lost: sample fewer, with --sample.`);
          lost = Math.max(lost, page.lost);
          for (const record of page.records) {
            const wanted = options.interface === undefined || record.portId === options.interface;
            if (!wanted || (options.dropped === true && !exits[record.exit].drop)) continue;
            printText(`${options.json === true ? JSON.stringify(record) : flowLine(record, paint)}\n`);
            if (++shown >= limit) return;
          }
          if (last) {
            const what = options.dropped === true ? 'No drop' : 'Nothing';
            if (shown === 0) printNote(`${what} was seen${sample === 1 ? '' : `, at one packet in ${sample}`}.`);
            return;
          }
          await sleep(every);
        }
      } catch (error) {
        if (!(error instanceof DriverError)) throw error;
        throw new Failure(2, `No flow records: ${error.message}.`, {
          remedy: 'They need root, the eBPF driver and the service: sudo isthmus up.',
        });
      } finally {
        client?.close();
      }
    });
}
