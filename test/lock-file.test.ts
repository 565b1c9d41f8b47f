/** package-lock.json must install anywhere: from any registry, with any npm that reads it, on every platform it names. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';

interface Package {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly optional?: boolean;
  readonly dev?: boolean;
  readonly dependencies?: { readonly [name: string]: string };
  readonly optionalDependencies?: { readonly [name: string]: string };
}
const { packages } = JSON.parse(readFileSync(resolve(import.meta.dirname, '../package-lock.json'), 'utf8')) as {
  packages: { readonly [path: string]: Package };
};

test('the lock file names no registry', () => {
  const named = Object.entries(packages).filter(([, { resolved }]) => resolved !== undefined);
  assert.deepEqual(named, []);
});

test('what is run is held by its checksum', () => {
  const unchecked = Object.entries(packages).filter(
    ([path, { integrity, dev, optional }]) =>
      path !== '' && integrity === undefined && !(dev === true && optional === true),
  );
  assert.deepEqual(unchecked, []);
});

test('every dependency has an entry, those of other platforms too: npm 11 refuses the file otherwise', () => {
  const missing: string[] = [];
  for (const [path, { dependencies, optionalDependencies }] of Object.entries(packages)) {
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (!resolvable(path, name)) missing.push(`${path} needs ${name}`);
    }
  }
  assert.deepEqual(missing, []);
  assert.ok(!resolvable('node_modules/fastify', 'no-such-package'), 'the control');
});

/** Whether Node would find the package from there: beside it, or in a folder above. */
function resolvable(from: string, name: string): boolean {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    if (packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
  }
}
