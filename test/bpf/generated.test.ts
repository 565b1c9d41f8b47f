/** What derives from the list of exits is current. Needs no root and no compiler: part of the fast check. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exitsPerInterface } from '../../src/dataplane/ebpf/layout.ts';
import { exitNames, exits } from '../../src/model/drop-reason.ts';

const sources = fileURLToPath(new URL('../../bpf', import.meta.url));

test('drop_reason.h and docs/drops.md are what bpf/generate.ts writes', () => {
  execFileSync(process.execPath, [join(sources, 'generate.ts'), '--check'], { timeout: 30_000, stdio: 'pipe' });
});

test('every exit has a counter of its own, and the program uses every one', () => {
  const codes = exitNames.map((name) => exits[name].code);
  assert.equal(new Set(codes).size, codes.length);
  assert.ok(Math.max(...codes) < exitsPerInterface);
  const text = ['vpc.bpf.c', 'packet.h', 'answer.h'].map((name) => readFileSync(join(sources, name), 'utf8')).join('');
  for (const name of exitNames)
    assert.ok(
      new RegExp(`EXIT_${name}\\b|DROP\\(&?p, ${name}\\)`).test(text),
      `no function of the program gives ${name}`,
    );
});
