/**
 * Holds the numbered sentences to their word: each that applies has a test whose title carries its number, and the table
 * in README.md names the files in which those tests are. Reads sources; runs none of them.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');

const upTo = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, n) => first + n);
/** Sentences that apply to one host with eBPF. README.md says why the others do not. */
const required = [
  ...[...upTo(1, 9), ...upTo(13, 36), ...upTo(38, 51), 53, ...upTo(55, 58)],
  ...[...upTo(61, 63), 65],
] as const;
const all = upTo(1, 65);

type Found = ReadonlyMap<number, ReadonlySet<string>>;

/** Numbers at the start of titles of tests, of which one may carry several; what is commented out does not count. */
function numbersIn(source: string): readonly number[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const titles = code.matchAll(/(?:\b(?:test|onBoth|inKernel)\(\s*|\btitle = )['"`]((?:\d+\. )+)/g);
  return [...titles].flatMap(([, numbers = '']) => numbers.trim().split(' ').map(Number.parseFloat));
}
function foundIn(files: ReadonlyMap<string, string>): Found {
  const found = new Map<number, Set<string>>();
  for (const [path, source] of files) {
    for (const number of numbersIn(source)) found.set(number, (found.get(number) ?? new Set()).add(path));
  }
  return found;
}

/** Rows `| number | sentence | places |` of a page; places are paths in backticks, none for what does not apply. */
function tableIn(page: string): Found {
  const rows = page.matchAll(/^\| (\d+) \| [^|]+ \| ([^|]+) \|$/gm);
  return new Map(
    [...rows].map(([, number, where = '']) => [
      Number(number),
      new Set([...where.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map(([, path = '']) => path)),
    ]),
  );
}

/**
 * What is missing, and where tests and table disagree; empty when all is well. Tests beside the code (src/) may be named
 * or not; a file that is named holds the number in any case.
 */
function faults(found: Found, table: Found): readonly string[] {
  const lines = required.filter((number) => !found.has(number)).map((number) => `no test carries ${number}`);
  for (const number of all) {
    const row = table.get(number);
    if (row === undefined) {
      lines.push(`README.md has no row ${number}`);
      continue;
    }
    const there = [...(found.get(number) ?? [])];
    const wrong = [...row].filter((path) => !there.includes(path));
    const unnamed = there.filter((path) => !row.has(path) && (row.size === 0 || path.startsWith('test/')));
    if (wrong.length > 0) lines.push(`row ${number} of README.md names ${wrong.join(', ')}, which has no such test`);
    if (unnamed.length > 0) lines.push(`row ${number} of README.md does not name ${unnamed.join(', ')}`);
  }
  for (const number of new Set([...found.keys(), ...table.keys()])) {
    if (!all.includes(number)) lines.push(`there is no sentence ${number}`);
  }
  return lines;
}

const sources = new Map(
  ['src', 'test']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) => `${folder}/${path}`),
    )
    .filter((path) => path.endsWith('.test.ts'))
    .map((path) => [path, readFileSync(join(root, path), 'utf8')] as const),
);

test('every sentence that applies has a test, and README.md says where', () => {
  const page = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8');
  assert.ok(sources.size > 30, `control: only ${sources.size} test files were read`);
  assert.deepEqual(faults(foundIn(sources), tableIn(page)), []);
});

test('a number that is missing, misplaced or made up is noticed', () => {
  const path = 'test/x.test.ts';
  const whole = new Map(all.map((number) => [number, new Set([path])] as const));
  const spoilt = (number: number, places: ReadonlySet<string> | null): Found => {
    const copy = new Map<number, ReadonlySet<string>>(whole);
    if (places === null) copy.delete(number);
    else copy.set(number, places);
    return copy;
  };
  assert.deepEqual(faults(whole, whole), [], 'control');
  assert.deepEqual(faults(spoilt(13, null), spoilt(13, new Set())), ['no test carries 13']);
  assert.deepEqual(faults(spoilt(12, null), spoilt(12, new Set())), [], 'one that does not apply may be without');
  assert.deepEqual(faults(whole, spoilt(12, new Set())), [`row 12 of README.md does not name ${path}`]);
  assert.deepEqual(faults(whole, spoilt(20, null)), ['README.md has no row 20']);
  const elsewhere = 'test/y.test.ts';
  assert.deepEqual(faults(whole, spoilt(20, new Set([path, elsewhere]))), [
    `row 20 of README.md names ${elsewhere}, which has no such test`,
  ]);
  const two = (second: string): Found => spoilt(20, new Set([path, second]));
  assert.deepEqual(faults(two(elsewhere), whole), [`row 20 of README.md does not name ${elsewhere}`]);
  assert.deepEqual(faults(two('src/y.test.ts'), whole), [], 'beside the code');
  assert.deepEqual(faults(spoilt(66, new Set([path])), whole), ['there is no sentence 66']);
});

test('titles are read as the tests write them', () => {
  const of = (...lines: readonly string[]): readonly number[] => numbersIn(lines.join('\n'));
  const call = 'test';
  assert.deepEqual(of(`${call}('5. 6. both', () => {});`, `${call}(`, "  '43. below',", ')'), [5, 6, 43]);
  const [both, named] = ['onBoth', 'title'];
  assert.deepEqual(of(`  ${call}(\`17. with \${how}\`)`, `const ${named} = \`4. x\`;`, `${both}('7. x')`), [17, 4, 7]);
  assert.deepEqual(of(`// ${call}('9. gone')`, `/* ${call}('9. gone') */`, "const text = '9. no title';"), []);
  assert.deepEqual(of(`${call}('300 disconnects')`, `${call}.skip('9. skipped')`, `${call}.todo('9. later')`), []);
  const rows = tableIn('| 3 | words | `test/a.test.ts`, `src/b.test.ts` |\n| 10 | words | does not apply |');
  assert.deepEqual(rows.get(3), new Set(['test/a.test.ts', 'src/b.test.ts']));
  assert.deepEqual(rows.get(10), new Set());
});
