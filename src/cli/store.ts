/** `isthmus store`: moves the store of a region between a file and PostgreSQL, while no region runs on either. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { lockFile } from '../store/lock.ts';
import { StoreUnavailableError, StoreVersionError } from '../store/store.ts';
import { TransferError, transfer } from '../store/transfer.ts';
import { Failure } from './failure.ts';
import { type OutputOptions, printJson, printText } from './output.ts';
import { isStoreUrl } from './up.ts';

/** A data directory becomes the file in it. @throws Failure while a region runs on it */
function placeIn(option: string, text: string): string {
  if (isStoreUrl(text)) return text;
  if (/^[a-z]+:\/\//.test(text)) {
    throw new Failure(2, `${option} is neither a data directory nor a postgres:// URL.`, {
      remedy: 'Give /var/lib/isthmus, or postgres://user@host/database.',
    });
  }
  if (existsSync(text) && !lockFile(join(text, 'lock'))) {
    throw new Failure(1, `A region runs on the store in ${text}.`, { remedy: 'Stop it first: isthmus down.' });
  }
  return join(text, 'region.db');
}

export function register(program: Command): void {
  const noun = program.command('store').description('the store of a region');
  noun
    .command('migrate')
    .description('copy a region to where there is none yet, without a difference')
    .option('--json', 'print JSON')
    .requiredOption('--from <place>', 'a data directory, such as /var/lib/isthmus, or a postgres:// URL')
    .requiredOption('--to <place>', 'likewise; a database without a region, or a directory without a store')
    .action(async ({ from, to, ...output }: OutputOptions & { from: string; to: string }) => {
      const [source, target] = [placeIn('--from', from), placeIn('--to', to)];
      try {
        const done = await transfer(source, target);
        if (output.json === true) return printJson(done);
        printText(
          `Copied revision ${done.revision}: ${done.rows.resource} objects, ${done.rows.journal} entries of the journal. ` +
            'Both sides were read again and are equal.\nThe old store is as it was; start the region on the new one.\n',
        );
      } catch (error) {
        const known = [TransferError, StoreVersionError, StoreUnavailableError].some((kind) => error instanceof kind);
        if (!known) throw error;
        throw new Failure(1, `The store was not moved: ${(error as Error).message}.`, {
          remedy: 'Mend that and run it again; the old store is as it was.',
        });
      }
    });
}
