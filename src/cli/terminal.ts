/**
 * What a terminal may be sent: text in which nothing is a control sequence, its width in columns, and colour only where
 * somebody looks at it. Names and descriptions are the tenants' own text, so everything printed passes `escapeText`.
 */
export type Tone = 'good' | 'bad' | 'warn' | 'dim' | 'strong';
const codes = { good: '32', bad: '31', warn: '33', dim: '2', strong: '1' } as const satisfies Record<Tone, string>;

export type Painter = (tone: Tone, text: string) => string;

interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Colours for a terminal; plain for a pipe, a file, `TERM=dumb` and whoever sets NO_COLOR (https://no-color.org). */
export function painterFor(stream: OutputStream, env: NodeJS.ProcessEnv = process.env): Painter {
  const colour = stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return (tone, text) => (colour && text !== '' ? `\u001b[${codes[tone]}m${text}\u001b[0m` : text);
}

/** Columns to fit into; undefined when nobody looks and nothing should be cut. */
export const roomOf = (stream: OutputStream): number | undefined =>
  stream.isTTY === true ? Math.max(stream.columns ?? 80, 40) : undefined;

// Controls, line and paragraph separators, marks that reverse the reading direction, and whatever does not show at all.
const unsafe = /[\p{Cc}\p{Cf}\u2028\u2029]|\p{Default_Ignorable_Code_Point}|\p{Surrogate}/gu;

/** The text with everything a terminal could take for a command written out as `\u{…}`. */
export const escapeText = (text: string): string =>
  text.replace(unsafe, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);

/** JSON in which the same characters are escaped: still JSON, and harmless on a terminal. */
export const escapeJson = (json: string): string =>
  json.replace(unsafe, (character) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_unit, at) => character.charCodeAt(at))
          .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
          .join(''),
  );

// East Asian wide and emoji blocks take two columns (Unicode UAX #11), combining marks none.
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += /\p{M}/u.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return width;
}

/** The text in at most that many columns, ending in `…` when something was cut. */
export function cut(text: string, room: number): string {
  if (widthOf(text) <= room) return text;
  let kept = '';
  for (const character of text) {
    if (widthOf(kept + character) > room - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

export const padTo = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - widthOf(text)));
