/** The plots of docs/benchmarks.md are well-formed: a browser shows nothing of an SVG that is not. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { bars, distribution } from '../../bench/plot.ts';

/** @returns what is wrong with the tags, or null; enough for what has neither comments nor CDATA */
function fault(xml: string): string | null {
  const open: string[] = [];
  for (const [tag, closing, name = '', attributes = '', empty] of xml.matchAll(
    /<(\/?)([a-z]+)((?:[^"<>]|"[^"<]*")*?)(\/?)>/g,
  )) {
    if (closing === '/') {
      if (open.pop() !== name) return `${tag} closes nothing`;
      continue;
    }
    const names = [...attributes.matchAll(/ ([a-z-]+)="/gi)].map(([, attribute]) => attribute);
    if (new Set(names).size < names.length) return `an attribute twice: ${tag}`;
    if (empty !== '/') open.push(name);
  }
  if (/&(?!amp;|lt;)/.test(xml)) return 'a bare &';
  return open.length === 0 ? null : `${open.join(', ')} left open`;
}

test('what is drawn is well-formed, whatever the names', () => {
  const name = 'a < b & "c"';
  assert.equal(
    fault(bars(name, [{ name, value: 2, text: name, spread: [1, 3], aim: { at: 'most', value: 1 } }])),
    null,
  );
  assert.equal(fault(distribution(name, [{ name, samples: [1, 2, 3] }], 'ms')), null);
  for (const wrong of ['<a b="1" b="2"/>', '<a><b></a>', '<a>', '<a>&</a>']) assert.notEqual(fault(wrong), null, wrong);
});

test('the plots in docs are', () => {
  const docs = resolve(import.meta.dirname, '../../docs');
  const plots = readdirSync(docs).filter((name) => name.endsWith('.svg'));
  assert.ok(plots.length > 0);
  for (const name of plots) assert.equal(fault(readFileSync(join(docs, name), 'utf8')), null, name);
});
