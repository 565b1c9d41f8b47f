/** What a command of the command line is to the program: a row in the list in main.ts and a module that adds it. */
import type { Command } from 'commander';

/** A module of src/cli that adds its command, with its verbs, to the program. */
export interface CommandModule {
  /** @param entries every command there is, for completion */
  readonly register: (program: Command, entries: readonly CommandEntry[]) => void;
}

export interface CommandEntry {
  readonly name: string;
  /** Heading under which the help lists it. */
  readonly group: string;
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

/** Heading of the options that many commands share; the help shows it last. */
export const commonOptions = 'For every command:';
