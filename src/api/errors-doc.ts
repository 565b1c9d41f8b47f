/**
 * `docs/errors.md`, made from the error registry. Run as a program it writes the page; with `--check` it writes nothing
 * and fails when the page is not what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { type ErrorCode, errors } from '../model/errors.ts';

const page_ = new URL('../../docs/errors.md', import.meta.url);
const cell = (text: string): string => text.replaceAll('|', '\\|');

/** The whole page. */
export const errorsPage = (): string =>
  [
    '# Every error',
    '',
    'An error answers with its HTTP status and `{requestId, error: {code, status, message, details}}`: `code` is the HTTP',
    'status as a number, `message` says what was refused and what to do, `details[0].code` is the name below. Words in',
    'braces are filled in. Made by `src/api/errors-doc.ts` from `src/model/errors.ts`.',
    '',
    '| name | HTTP | status | what was refused, what is in the way | what to do |',
    '|---|---|---|---|---|',
    ...(Object.keys(errors) as ErrorCode[]).map((code) => {
      const { http, status, text, remedy } = errors[code];
      return `| \`${code}\` | ${http} | ${status} | ${cell(text)} | ${cell(remedy)} |`;
    }),
    '',
  ].join('\n');

if (import.meta.main) {
  if (!process.argv.includes('--check')) writeFileSync(page_, errorsPage());
  else if (readFileSync(page_, 'utf8') !== errorsPage()) {
    console.error('docs/errors.md is not current: run src/api/errors-doc.ts');
    process.exitCode = 1;
  }
}
