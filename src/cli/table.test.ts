import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Column, renderSheet, renderTable } from './table.ts';
import type { Painter } from './terminal.ts';

interface Row {
  readonly id: string;
  readonly name: string;
  readonly ranges: readonly string[];
  readonly free: number;
}
const columns: readonly Column<Row>[] = [
  { title: 'ID', of: (row) => row.id },
  { title: 'NAME', of: (row) => row.name, flexible: true },
  { title: 'RANGES', of: (row) => row.ranges },
  { title: 'FREE', of: (row) => String(row.free), align: 'right', tone: (row) => (row.free === 0 ? 'bad' : undefined) },
];
const plain: Painter = (_tone, text) => text;
const long = 'a-name-of-thirty-two-characters_';
const rows: readonly Row[] = [
  { id: 'vpc-0123456789', name: 'web', ranges: ['10.0.0.0/16', 'fd00::/56'], free: 252 },
  { id: 'vpc-abcdefghij', name: long, ranges: [], free: 0 },
];

test('a table has a line for each range, and a dash for none', () => {
  assert.equal(
    renderTable(columns, rows, plain, undefined),
    [
      'ID              NAME                              RANGES       FREE',
      'vpc-0123456789  web                               10.0.0.0/16   252',
      '                                                  fd00::/56',
      'vpc-abcdefghij  a-name-of-thirty-two-characters_  –               0',
      '',
    ].join('\n'),
  );
});

test('on a narrow terminal only what may be cut is cut', () => {
  const lines = renderTable(columns, rows, plain, 50).split('\n');
  assert.ok(
    lines.every((line) => line.length <= 50),
    lines.join('\n'),
  );
  assert.ok(lines.some((line) => line.startsWith('vpc-abcdefghij  a-name-of-th')));
  assert.ok(
    renderTable(columns, rows, plain, 20).includes('vpc-abcdefghij'),
    'ids stay whole even when it does not fit',
  );
});

test('colour does not shift a column', () => {
  const painted = renderTable(columns, rows, (tone, text) => (tone === 'bad' ? `<${text}>` : text), undefined);
  assert.equal(painted.replace(/[<>]/g, ''), renderTable(columns, rows, plain, undefined));
  assert.ok(painted.includes('<   0>'));
});

test('a hostile name stays in its cell', () => {
  const hostile: Row = { id: 'vpc-0123456789', name: '\u001b[2Jx\nvpc-fake', ranges: [], free: 1 };
  const lines = renderTable(columns, [hostile], plain, undefined).trimEnd().split('\n');
  assert.equal(lines.length, 2);
  assert.ok(lines[1]?.includes('\\u{1b}[2Jx\\u{a}vpc-fake'));
  assert.ok(!renderSheet('t\u001b', [['Name', '\u001b[2J']], plain).includes('\u001b'));
});
