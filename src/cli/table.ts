/**
 * Tables and property sheets as text. A cell may hold several lines. What does not fit the terminal is cut only in the
 * columns that say they may be; ids and addresses are never cut, and nothing is when the output is not a terminal.
 */
import { cut, escapeText, type Painter, padTo, type Tone, widthOf } from './terminal.ts';

export interface Column<T> {
  readonly title: string;
  /** One line, or several. */
  readonly of: (row: T) => string | readonly string[];
  readonly align?: 'right';
  /** May be cut, down to 8 columns, when the terminal is narrow. */
  readonly flexible?: true;
  readonly tone?: (row: T) => Tone | undefined;
}

const gap = '  ';

const linesOf = (value: string | readonly string[]): readonly string[] => {
  const lines = typeof value === 'string' ? [value] : value;
  return lines.length === 0 ? ['–'] : lines.map((line) => (line === '' ? '–' : escapeText(line)));
};

/** @param room columns of the terminal, or undefined for no limit */
export function renderTable<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  paint: Painter,
  room: number | undefined,
): string {
  const cells = rows.map((row) => columns.map((column) => linesOf(column.of(row))));
  const widths = columns.map((column, at) =>
    Math.max(widthOf(column.title), ...cells.flatMap((row) => (row[at] ?? []).map(widthOf))),
  );
  shrink(columns, widths, room);
  const place = (text: string, at: number): string => {
    const width = widths[at] ?? 0;
    const shown = columns[at]?.flexible === true ? cut(text, width) : text;
    return columns[at]?.align === 'right'
      ? ' '.repeat(Math.max(0, width - widthOf(shown))) + shown
      : padTo(shown, width);
  };
  const join = (parts: readonly string[]): string => parts.join(gap).trimEnd();
  const out = [paint('dim', join(columns.map(({ title }, at) => place(title, at))))];
  for (const [index, row] of cells.entries()) {
    const height = Math.max(...row.map((cell) => cell.length));
    const source = rows[index] as T;
    for (let line = 0; line < height; line++) {
      const parts = row.map((cell, at) => {
        const text = place(cell[line] ?? '', at);
        const tone = columns[at]?.tone?.(source);
        return tone === undefined ? text : paint(tone, text);
      });
      out.push(join(parts));
    }
  }
  return `${out.join('\n')}\n`;
}

/** Takes from the widest flexible column until the line fits or nothing more may be taken. */
function shrink<T>(columns: readonly Column<T>[], widths: number[], room: number | undefined): void {
  if (room === undefined) return;
  const total = (): number => widths.reduce((sum, width) => sum + width, gap.length * (widths.length - 1));
  while (total() > room) {
    let widest = -1;
    for (const [at, column] of columns.entries()) {
      if (column.flexible === true && (widths[at] ?? 0) > Math.max(8, widths[widest] ?? 0)) widest = at;
    }
    if (widest < 0) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
}

/** A sheet of one object: names on the left, values on the right. */
export function renderSheet(
  title: string,
  properties: readonly (readonly [name: string, value: string | readonly string[]])[],
  paint: Painter,
): string {
  const width = Math.max(...properties.map(([name]) => widthOf(name)));
  const out = [paint('strong', escapeText(title))];
  for (const [name, value] of properties) {
    for (const [at, line] of linesOf(value).entries()) {
      out.push(`  ${paint('dim', padTo(at === 0 ? name : '', width))}  ${line}`);
    }
  }
  return `${out.join('\n')}\n`;
}
