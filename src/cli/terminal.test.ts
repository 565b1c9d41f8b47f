import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cut, escapeJson, escapeText, padTo, painterFor, roomOf, widthOf } from './terminal.ts';

test('no character of a name reaches the terminal as a command', () => {
  assert.equal(escapeText('red\u001b[31m'), 'red\\u{1b}[31m');
  assert.equal(escapeText('a\r\nb\tc\u0007\u007f\u009b'), 'a\\u{d}\\u{a}b\\u{9}c\\u{7}\\u{7f}\\u{9b}');
  assert.equal(escapeText('a\u202eb\u2066c\ud800'), 'a\\u{202e}b\\u{2066}c\\u{d800}');
  assert.equal(escapeText('云-网_1 é 🚀'), '云-网_1 é 🚀', 'the control: text stays text');
});

test('escaped JSON says the same and holds no control character', () => {
  const value = { name: 'a\u009b31m\u202e\u007fb\n', 云: ['🚀'] };
  const json = escapeJson(JSON.stringify(value, null, 2));
  assert.deepEqual(JSON.parse(json), value);
  assert.equal(escapeText(json.replaceAll('\n', '')), json.replaceAll('\n', ''));
});

test('colour is for terminals only, and not against NO_COLOR or a dumb terminal', () => {
  assert.equal(painterFor({ isTTY: true }, {})('good', 'x'), '\u001b[32mx\u001b[0m');
  assert.equal(painterFor({ isTTY: true }, { NO_COLOR: '' })('good', 'x'), '\u001b[32mx\u001b[0m');
  assert.equal(painterFor({ isTTY: true }, { NO_COLOR: '1' })('good', 'x'), 'x');
  assert.equal(painterFor({ isTTY: true }, { TERM: 'dumb' })('good', 'x'), 'x');
  assert.equal(painterFor({}, {})('good', 'x'), 'x');
});

test('nothing is cut where nobody looks', () => {
  assert.equal(roomOf({}), undefined);
  assert.equal(roomOf({ isTTY: true, columns: 132 }), 132);
  assert.equal(roomOf({ isTTY: true }), 80);
});

test('widths are those of the terminal: wide characters take two columns, combining marks none', () => {
  assert.deepEqual(['ab', '云网', 'e\u0301', '🚀'].map(widthOf), [2, 4, 1, 2]);
  assert.equal(padTo('云', 4), '云  ');
  assert.equal(cut('云网云网', 5), '云网…');
  assert.equal(cut('abc', 3), 'abc');
});
