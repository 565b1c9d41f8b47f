/** `isthmus demo`: sets the stage, plays the story, and removes every trace, however it ends. */
import type { Command } from 'commander';
import { Failure } from '../failure.ts';
import { onEnd } from '../places.ts';
import { createPage } from './page.ts';
import type { Stage } from './stage.ts';
import { playStory } from './story.ts';

interface DemoOptions {
  readonly exit?: boolean;
  readonly driver: string;
}

async function setStage(driver: string): Promise<Stage> {
  if (driver === 'fake') return (await import('./memory-stage.ts')).memoryStage();
  if (driver === 'ebpf') return (await import('./kernel-stage.ts')).kernelStage();
  throw new Failure(2, `--driver '${driver}' is not known.`, { remedy: 'Use ebpf or fake.' });
}

export function register(program: Command): void {
  program
    .command('demo')
    .description('play the whole story, from two strangers to a measured goodbye')
    .option('--exit', 'end after the story, with 0 only if every check held')
    .option('--driver <name>', 'ebpf for real packets (root), fake for a network in memory', 'ebpf')
    .action(async (options: DemoOptions) => {
      const { NO_COLOR = '', FORCE_COLOR = '' } = process.env;
      const colour = FORCE_COLOR !== '' || (process.stdout.isTTY === true && NO_COLOR === '');
      const page = createPage((text) => void process.stdout.write(text), colour);
      // A signal ends the story at its next step; what was made is removed in any case.
      let interrupt: (signal: string) => void = () => {};
      const interrupted = new Promise<string>((resolve) => {
        interrupt = resolve;
      });
      onEnd(interrupt);

      const stage = await setStage(options.driver);
      try {
        page.title('Isthmus demo', stage.description);
        const story = playStory(stage, page);
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
        if (stage.kind === 'memory')
          page.plain('It was all in memory, and ends here: with root, isthmus demo stays up.');
        if (options.exit === true || stage.kind === 'memory') return;
        page.plain('');
        page.plain('It is all still running. In another terminal, as root, try:');
        for (const line of stage.suggestions(outcome.tenants, outcome.workloads)) page.plain(`  ${line}`);
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
