/** The table of blockers in docs/trace.md, made from the one list. */
import { blockers } from './blockers.ts';

/** Parameters in angle quotes; those that only add a remark are left out. */
const cell = (text: string): string =>
  text
    .replaceAll('|', '\\|')
    .replaceAll(/\{(taken|why|pending)\}/g, '')
    .replaceAll(/\{([a-z-]+)\}/g, '‹$1›');

/** The rows, one for each code. */
export const blockerRows = (): string =>
  Object.entries(blockers)
    .map(([code, { text, commands }]) => {
      const mend = commands.map((command) => `\`${cell(command)}\``).join('<br>');
      return `| \`${code}\` | ${cell(text)} | ${mend === '' ? '–' : mend} |`;
    })
    .join('\n');
