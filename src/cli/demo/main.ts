/** `isthmus demo`: sets the stage, plays the story, and removes every trace, however it ends. */
import type { Command } from 'commander';
import { Failure } from '../failure.ts';
import { isRoot, onEnd } from '../places.ts';
import { isInRoom, runInRoom } from './cluster-room.ts';
import { playClusterStory } from './cluster-story.ts';
import { createPage, type Page } from './page.ts';
import { playStory } from './story.ts';

interface DemoOptions {
  readonly exit?: boolean;
  readonly cluster?: boolean;
  readonly driver: string;
}

/** A story on its stage. */
interface Play {
  readonly title: string;
  readonly description: string;
  /** Whether it all goes when the story is over. */
  readonly ends: boolean;
  /** @returns what to try while it stays up, a command a line */
  play(page: Page): Promise<readonly string[]>;
  close(): Promise<void>;
}

async function setStage({ driver, cluster }: DemoOptions): Promise<Play> {
  if (cluster === true) {
    const { clusterStage } = await import('./cluster-stage.ts');
    const say = (text: string): void => void process.stderr.write(`isthmus: ${text}\n`);
    const stage = await clusterStage(say).catch((error: unknown) => {
      if (error instanceof Failure) throw error;
      throw new Failure(1, `The hosts did not start: ${error instanceof Error ? error.message : String(error)}.`);
    });
    return {
      title: 'Isthmus demo: many hosts',
      description: stage.description,
      ends: false,
      play: async (page) => {
        const { tenants, workloads } = await playClusterStory(stage, page);
        return stage.suggestions(tenants, workloads);
      },
      close: () => stage.close(),
    };
  }
  const stage =
    driver === 'fake'
      ? await (await import('./memory-stage.ts')).memoryStage()
      : await (await import('./kernel-stage.ts')).kernelStage();
  return {
    title: 'Isthmus demo',
    description: stage.description,
    ends: stage.kind === 'memory',
    play: async (page) => {
      const { tenants, workloads } = await playStory(stage, page);
      return stage.suggestions(tenants, workloads);
    },
    close: () => stage.close(),
  };
}

/** @throws Failure */
function demand({ driver, cluster }: DemoOptions): void {
  if (driver !== 'fake' && driver !== 'ebpf') {
    throw new Failure(2, `--driver '${driver}' is not known.`, { remedy: 'Use ebpf or fake.' });
  }
  if (cluster !== true) return;
  if (driver === 'fake') throw new Failure(2, 'Many hosts need real packets.', { remedy: 'Leave --driver fake out.' });
  if (!isRoot()) throw new Failure(2, 'Many hosts need root: each is a network namespace.', { remedy: 'Use sudo.' });
}

export function register(program: Command): void {
  program
    .command('demo')
    .description('play the whole story, from two strangers to a measured goodbye')
    .option('--exit', 'end after the story, with 0 only if every check held')
    .option('--driver <name>', 'ebpf for real packets (root), fake for a network in memory', 'ebpf')
    .option('--cluster', 'three hosts on this machine with OVN and PostgreSQL, and what happens when parts die (root)')
    .action(async (options: DemoOptions) => {
      demand(options);
      if (options.cluster === true && !isInRoom()) {
        process.exitCode = await runInRoom();
        return;
      }
      const { NO_COLOR = '', FORCE_COLOR = '' } = process.env;
      const colour = FORCE_COLOR !== '' || (process.stdout.isTTY === true && NO_COLOR === '');
      const page = createPage((text) => void process.stdout.write(text), colour);
      // A signal ends the story at its next step; what was made is removed in any case.
      let interrupt: (signal: string) => void = () => {};
      const interrupted = new Promise<string>((resolve) => {
        interrupt = resolve;
      });
      onEnd(interrupt);

      if (options.cluster === true) page.plain('Hosts, databases and servers start. It all takes about two minutes.');
      const stage = await setStage(options);
      try {
        page.title(stage.title, stage.description);
        const story = stage.play(page);
        const outcome = await Promise.race([story, interrupted]);
        if (typeof outcome === 'string') {
          story.catch(() => {}); // its workloads go from under it
          process.exitCode = 130;
          page.plain('');
          page.plain('Interrupted; what was made is removed.');
          return;
        }
        page.plain('');
        page.plain(
          page.failed === 0
            ? `Every check held (${page.passed} of ${page.passed}).`
            : `${page.failed} of ${page.failed + page.passed} checks did not hold.`,
        );
        process.exitCode = page.failed === 0 ? 0 : 1;
        if (stage.ends) page.plain('It was all in memory, and ends here: with root, isthmus demo stays up.');
        if (options.exit === true || stage.ends) return;
        page.plain('');
        page.plain('It is all still running. In another terminal, as root, try:');
        for (const line of outcome) page.plain(`  ${line}`);
        page.plain('');
        page.plain('Ctrl-C removes every trace.');
        await interrupted;
        page.plain('');
      } catch (error) {
        if (error instanceof Failure) throw error;
        throw new Failure(1, `The story was cut short: ${error instanceof Error ? error.message : String(error)}.`);
      } finally {
        await stage.close();
      }
      page.plain('Removed: processes, namespaces, devices, pinned tables, store.');
    });
}
