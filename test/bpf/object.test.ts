/** The committed object is what the sources say. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
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
