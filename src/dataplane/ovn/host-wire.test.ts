import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checks } from './host-wire.ts';

test('a reading names halves and lives plainly, and counts no further than a store can', () => {
  const wrong = (half: string, life: string, packets: string, bytes = '0'): boolean =>
    checks.host.result['meter']?.({ running: [[half, life, packets, bytes]], retired: [] }) !== null;
  const life = '0b4e7c0e-5a3f-4e0e-9f55-0d6f6a1c2b3d';
  assert.equal(wrong('vpcpr-a', life, '9'.repeat(18), '9'.repeat(18)), false, 'the control');
  assert.equal(wrong('vpcpr-a', life, '9'.repeat(19)), true);
  assert.equal(wrong('vpcpr-a', life, '1', '9'.repeat(19)), true);
  assert.equal(wrong('vpcpr-a', life, '-1'), true);
  for (const text of ['', 'a\0b', 'a b', 'a\n', '\u00e4', 'x'.repeat(65)]) {
    assert.equal(wrong('vpcpr-a', text, '1'), true, JSON.stringify(text));
    assert.equal(wrong(text, life, '1'), true, JSON.stringify(text));
  }
});
