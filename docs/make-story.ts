/**
 * Turns a run of the demo into the picture in the README:
 *
 *   sudo env FORCE_COLOR=1 bin/isthmus demo --exit | node docs/make-story.ts
 *
 * Reads the coloured text from stdin and writes docs/story.svg. Draws what the run said and nothing else.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const line = 18;
const column = 8.43;
const margin = 20;
const colours: Readonly<Record<string, string>> = { '32': '#3fb950', '31': '#f85149', '2': '#8b949e', '1': '#f0f6fc' };

const entities = (text: string): string => text.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

/** One line of the terminal as spans: its ANSI codes become colours. */
function spans(text: string): string {
  let colour = '#c9d1d9';
  let bold = false;
  let out = '';
  let at = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ANSI sequences start with one
  for (const part of text.split(/(\u001b\[[0-9]+m)/)) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: ANSI sequences start with one
    const code = /^\u001b\[([0-9]+)m$/.exec(part)?.[1];
    if (code !== undefined) {
      colour = colours[code] ?? '#c9d1d9';
      bold = code === '1';
    } else if (part.trim() === '') at += part.length;
    else {
      const lead = part.length - part.trimStart().length;
      const x = (margin + (at + lead) * column).toFixed(1);
      out += `<tspan x="${x}" fill="${colour}"${bold ? ' font-weight="600"' : ''}>${entities(part.trim())}</tspan>`;
      at += part.length;
    }
  }
  return out;
}

const lines = readFileSync(0, 'utf8').trim().split('\n');
const height = lines.length * line + 2 * margin;
const width = Math.ceil(80 * column + 2 * margin);
const body = lines.map((text, at) => `<text y="${margin + (at + 0.75) * line}">${spans(text)}</text>`).join('\n');
writeFileSync(
  new URL('./story.svg', import.meta.url),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" ` +
    `xml:space="preserve">\n<title>The story of the demo, from a real run</title>\n` +
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n${body}\n</svg>\n`,
);
