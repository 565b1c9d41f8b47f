/**
 * `isthmus top`: peerings and drops as they happen. A tenant sees its own, the operator the region. Reads counters only;
 * what it shows is computed in `top-view.ts`.
 */
import type { Command } from 'commander';
import { type EitherOptions, eitherOptions, reader } from './either.ts';
import { Failure } from './failure.ts';
import { printJson, printText } from './output.ts';
import { onEnd } from './places.ts';
import { Screen } from './screen.ts';
import { painterFor } from './terminal.ts';
import { linesOf, type Rates, ratesOf, type Sample } from './top-view.ts';

interface TopOptions extends EitherOptions {
  readonly interval: string;
  readonly once?: true;
}

/** q, Ctrl-C, Ctrl-D. */
const endKeys: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u0004']);
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Milliseconds. @throws Failure */
function intervalOf({ interval }: TopOptions): number {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(interval) ? Number(interval) : 0;
  if (seconds >= 0.1 && seconds <= 3600) return seconds * 1000;
  throw new Failure(2, `--interval '${interval}' is not a number of seconds.`, { remedy: 'Give 0.1 to 3600.' });
}

const titleOf = (options: TopOptions, { time, halves }: Rates): string => {
  const live = halves.filter(({ state }) => state === 'Connected').length;
  const whose =
    options.operator === true
      ? 'the whole region'
      : `profile ${options.profile ?? process.env['ISTHMUS_PROFILE'] ?? 'as configured'}`;
  return `isthmus top · ${time.slice(11, 19)} UTC · ${whose} · ${live} of ${halves.length} halves Connected`;
};

async function once(options: TopOptions, interval: number, read: () => Promise<Sample>): Promise<void> {
  const before = await read();
  await pause(interval);
  const rates = ratesOf(before, await read());
  if (options.json === true) return printJson(rates);
  printText(`${linesOf(rates, titleOf(options, rates), painterFor(process.stdout), null).join('\n')}\n`);
}

/** Until somebody ends it. */
async function live(options: TopOptions, interval: number, read: () => Promise<Sample>): Promise<void> {
  let before = await read(); // what is wrong from the start is said as for any command
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const screen = new Screen(process.stdout, process.stdin, (keys) => {
    if ([...keys].some((key) => endKeys.has(key))) end();
  });
  onEnd(end);
  const paint = painterFor(process.stdout);
  let picture: (() => readonly string[]) | undefined;
  const draw = (): void => {
    if (picture !== undefined) screen.draw(picture());
  };
  process.stdout.on('resize', draw);
  const first = ratesOf(before, before);
  picture = () => linesOf(first, `${titleOf(options, first)} · q ends`, paint, screen.size);
  draw();
  let running = true;
  const rounds = async (): Promise<void> => {
    while (running) {
      await Promise.race([pause(interval), ended]);
      if (!running) return;
      try {
        const after = await read();
        const rates = ratesOf(before, after);
        before = after;
        picture = () => linesOf(rates, `${titleOf(options, rates)} · q ends`, paint, screen.size);
      } catch (error) {
        // The service may be back at the next look.
        const stale = ratesOf(before, before);
        const said = error instanceof Error ? error.message : String(error);
        picture = () => linesOf(stale, said, paint, screen.size);
      }
      draw();
    }
  };
  const going = rounds();
  going.catch(() => end());
  try {
    await ended;
  } finally {
    running = false;
    process.stdout.off('resize', draw);
    screen.close();
  }
  await Promise.race([going, pause(0)]);
  // A request may still be under way, and the terminal's input is watched no more: nothing is worth waiting for.
  process.exit(0);
}

export function register(program: Command): void {
  eitherOptions(program.command('top').description('your peerings and drops as they happen; q ends'))
    .option('--interval <seconds>', 'between two looks', '1')
    .option('--once', 'two looks, one answer, for scripts')
    .action(async (options: TopOptions) => {
      const interval = intervalOf(options);
      const ask = reader(options);
      const read = async (): Promise<Sample> => (await ask('/counters', '/traffic')) as Sample;
      if (options.once === true) return once(options, interval, read);
      if (options.json === true || options.quiet === true || process.stdout.isTTY !== true) {
        const why =
          process.stdout.isTTY === true ? 'A live table has no other form.' : 'A live table needs a terminal.';
        throw new Failure(2, why, { remedy: 'For scripts: isthmus top --once --json.' });
      }
      return live(options, interval, read);
    });
}
