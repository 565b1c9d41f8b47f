/**
 * How the demo looks: chapters, and under each its checks with their measured times, in 80 columns, with and without
 * colour. Owns the count of failed checks; decides nothing else.
 */
const width = 80;

type Tone = 'good' | 'bad' | 'dim' | 'strong';
const codes = { good: '32', bad: '31', dim: '2', strong: '1' } as const satisfies Record<Tone, string>;

export interface Page {
  title(text: string, detail: string): void;
  chapter(text: string): void;
  /** A check: what was claimed, whether it held, and how long it took in milliseconds. */
  check(text: string, held: boolean, milliseconds: number): void;
  /** An explanation below a check. */
  note(text: string): void;
  plain(text: string): void;
  readonly failed: number;
  readonly passed: number;
}

/** Breaks text into lines that fit, at blanks. */
export function wrap(text: string, room: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}

/** Two digits and a unit that suits: `0.4 ms`, `12 ms`, `1.8 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return milliseconds >= 10 ? `${Math.round(milliseconds)} ms` : `${milliseconds.toFixed(1)} ms`;
}

/**
 * @param write takes finished text, line ends included
 * @param colour whether to use ANSI colours
 */
export function createPage(write: (text: string) => void, colour: boolean): Page {
  let failed = 0;
  let passed = 0;
  let chapters = 0;
  const paint = (tone: Tone, text: string): string => (colour ? `\u001b[${codes[tone]}m${text}\u001b[0m` : text);
  const line = (text = ''): void => write(`${text}\n`);
  return {
    title(text, detail) {
      line();
      line(paint('strong', text));
      for (const part of wrap(detail, width)) line(paint('dim', part));
    },
    chapter(text) {
      chapters++;
      line();
      line(paint('strong', `${String(chapters).padStart(2)}  ${text}`));
    },
    check(text, held, milliseconds) {
      if (held) passed++;
      else failed++;
      const time = duration(milliseconds).padStart(7);
      const room = width - 6 - time.length - 1;
      const lines = wrap(text, room);
      const last = lines.length - 1;
      for (const [at, part] of lines.entries()) {
        const mark = at === 0 ? (held ? paint('good', '✓') : paint('bad', '✗')) : ' ';
        const padded = at === last ? `${part.padEnd(room + 1)}${paint('dim', time)}` : part;
        line(`    ${mark} ${padded}`);
      }
    },
    note(text) {
      for (const part of wrap(text, width - 8)) line(paint('dim', `        ${part}`));
    },
    plain(text) {
      line(text);
    },
    get failed() {
      return failed;
    },
    get passed() {
      return passed;
    },
  };
}
