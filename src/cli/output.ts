/**
 * Where a command's answer goes: a table or sheet for people, JSON with `--json`, ids only with `--quiet`. Owns stdout.
 */
import { type Column, renderSheet, renderTable } from './table.ts';
import { escapeJson, escapeText, painterFor, roomOf } from './terminal.ts';

export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export const printText = (text: string): void => {
  process.stdout.write(text);
};

/** One JSON value, indented, with a line end. */
export const printJson = (value: unknown): void => printText(`${escapeJson(JSON.stringify(value, null, 2))}\n`);

/** A remark beside the answer: to stderr, so that a pipe gets the answer only. */
export const printNote = (text: string): void => {
  process.stderr.write(`${escapeText(text)}\n`);
};

/** @param none what to say when there is no row */
export function printList<T>(
  options: OutputOptions,
  rows: readonly T[],
  layout: { readonly columns: readonly Column<T>[]; readonly id: (row: T) => string; readonly none: string },
): void {
  if (options.json === true) printJson(rows);
  else if (options.quiet === true) printText(rows.map((row) => `${escapeText(layout.id(row))}\n`).join(''));
  else if (rows.length === 0) printNote(layout.none);
  else printText(renderTable(layout.columns, rows, painterFor(process.stdout), roomOf(process.stdout)));
}

export type Properties = readonly (readonly [name: string, value: string | readonly string[]])[];

export function printObject<T>(
  options: OutputOptions,
  object: T,
  layout: {
    readonly id: (object: T) => string;
    readonly title: (object: T) => string;
    readonly properties: (object: T) => Properties;
  },
): void {
  if (options.json === true) printJson(object);
  else if (options.quiet === true) printText(`${escapeText(layout.id(object))}\n`);
  else printText(renderSheet(layout.title(object), layout.properties(object), painterFor(process.stdout)));
}
