/** A PostgreSQL server of a test's own; ends with the test. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { hasPostgres, PostgresBed } from '../../src/cli/demo/postgres-bed.ts';

/** Waits until something is so. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, seconds = 20): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    assert.ok(tries < seconds * 20, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** @returns null when the machine has none, and the test may skip for it */
export async function startPostgres(t: TestContext): Promise<PostgresBed | null> {
  if (!hasPostgres()) {
    assert.notEqual(process.env['CI'], 'true', 'PostgreSQL is missing: apt-get install postgresql');
    t.skip('PostgreSQL is missing: apt-get install postgresql');
    return null;
  }
  const folder = mkdtempSync(join(tmpdir(), 'pg-'));
  let server: PostgresBed | undefined;
  t.after(async () => {
    await server?.kill();
    rmSync(folder, { recursive: true });
  });
  server = await PostgresBed.start(folder);
  return server;
}
