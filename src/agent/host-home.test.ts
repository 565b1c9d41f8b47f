import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { joiningKey, readHome, writeHome } from './host-home.ts';

test('the key of a join is the same until the host has joined, and is no home yet', (t) => {
  const folder = join(mkdtempSync(join(tmpdir(), 'hh-')), 'home');
  t.after(() => rmSync(join(folder, '..'), { recursive: true }));
  let made = 0;
  const make = (): string => `key ${++made}`;
  assert.equal(joiningKey(folder, make), 'key 1');
  assert.equal(joiningKey(folder, make), 'key 1', 'as another run finds it');
  assert.equal(statSync(join(folder, 'joining.pem')).mode & 0o777, 0o600);
  assert.equal(readHome(folder), null);
  const home = {
    ...{
      name: 'h1',
      installationId: '0123456789',
      regions: ['10.0.0.1:7790'],
      southbound: [],
      encapsulation: '10.1.0.1',
    },
    ...{ runDirectory: '/run/openvswitch', key: 'key 1', certificate: 'c', authority: 'a' },
  };
  writeHome(folder, home);
  assert.deepEqual(readHome(folder), home);
  assert.ok(!existsSync(join(folder, 'joining.pem')));
});
