/** The committed object is what the sources say, and what derives from the list of exits is current. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { exitsPerInterface } from '../../src/dataplane/ebpf/layout.ts';
import { exitNames, exits } from '../../src/model/drop-reason.ts';
import { cannotBuild, variant } from '../wire/object.ts';
import { committedObject } from './plane.ts';

const sources = fileURLToPath(new URL('../../bpf', import.meta.url));

function withDirectory<T>(work: (path: string) => T): T {
  const path = mkdtempSync(join(tmpdir(), 'isthmus-object-'));
  try {
    return work(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

test('the committed object is what its sources build to, wherever they stand', { skip: cannotBuild }, () => {
  withDirectory((path) => {
    const committed = readFileSync(committedObject);
    assert.ok(readFileSync(variant(path, 'here', '')).equals(committed), 'run make -C bpf and commit the object');
    // Positive control: a fault compiled in gives other bytes.
    assert.ok(!readFileSync(variant(path, 'faulty', '-DNO_IDENTITY_CHECK')).equals(committed));

    const elsewhere = join(path, 'another', 'place');
    cpSync(sources, elsewhere, { recursive: true });
    rmSync(join(elsewhere, 'vpc.bpf.o'));
    execFileSync('make', ['-s', '-C', elsewhere], { timeout: 60_000, stdio: 'pipe' });
    assert.ok(readFileSync(join(elsewhere, 'vpc.bpf.o')).equals(committed), 'another directory, the same bytes');
  });
});

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
