/**
 * The terminal as a canvas: another screen without a cursor, keys as they are pressed, and everything as it was on every
 * end of the process that can be seen. Owns the modes of the terminal while it is open.
 */
import { writeSync } from 'node:fs';

// Another screen, no cursor, lines cut and not wrapped; and all of it back.
const enter = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[H\u001b[2J';
const leave = '\u001b[?7h\u001b[?25h\u001b[?1049l';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export class Screen {
  readonly #out: NodeJS.WriteStream;
  readonly #keys: NodeJS.ReadStream;
  readonly #onKey: (key: string) => void;
  readonly #restore = (): void => this.close();
  #open = true;

  /** @param onKey what was pressed; Ctrl-C is '\u0003', no signal */
  constructor(out: NodeJS.WriteStream, keys: NodeJS.ReadStream, onKey: (key: string) => void) {
    this.#out = out;
    this.#keys = keys;
    this.#onKey = (key) => onKey(String(key));
    // Also when something is thrown: the message is then read on the screen that was there before.
    process.once('exit', this.#restore);
    if (keys.isTTY) keys.setRawMode(true);
    keys.on('data', this.#onKey);
    keys.resume();
    this.#write(enter);
  }

  get size(): Size {
    // A terminal that does not know its size says 0.
    return { columns: this.#out.columns || 80, rows: this.#out.rows || 24 };
  }

  /** Shows these lines, and nothing of what was there. */
  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    this.#write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\r\n')}\u001b[J`);
  }

  /** At once, and as a whole: at an exit nothing that waits is written any more. */
  #write(text: string): void {
    try {
      writeSync((this.#out as NodeJS.WriteStream & { readonly fd: number }).fd, text);
    } catch {
      // The terminal went away, or takes nothing now: the next picture is as good.
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.off('exit', this.#restore);
    this.#keys.off('data', this.#onKey);
    if (this.#keys.isTTY) this.#keys.setRawMode(false);
    this.#keys.pause();
    this.#write(leave);
  }
}
