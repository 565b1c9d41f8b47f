import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FailedJoins } from './failed-joins.ts';
import { sourceOf } from './source.ts';

function make() {
  const clock = { now: 0 };
  const joins = new FailedJoins(() => clock.now);
  /** Failures that one source gets before it is held off. */
  const failures = (source: string): number => {
    for (let count = 0; ; count++) if (joins.begin(source) === null) return count;
  };
  return { clock, joins, failures };
}

test('ten joins of a source fail in a minute, then none is tried until it is over; others go on', () => {
  const { clock, failures } = make();
  assert.equal(failures('10.0.0.1'), 10);
  assert.equal(failures('10.0.0.2'), 10, 'another source has its own');
  clock.now = 59_999;
  assert.equal(failures('10.0.0.1'), 0);
  clock.now = 60_000;
  assert.equal(failures('10.0.0.1'), 10);
});

test('what did not fail does not count, and what is under way does', () => {
  const { joins, failures } = make();
  for (let n = 0; n < 100; n++) joins.begin('10.0.0.1')?.();
  const underWay = joins.begin('10.0.0.1');
  assert.equal(failures('10.0.0.1'), 9);
  underWay?.();
  assert.equal(failures('10.0.0.1'), 1);
});

test('of very many sources those beyond the first are one, and a quiet minute frees all', () => {
  const { clock, joins, failures } = make();
  for (let n = 0; n < 4096; n++) joins.begin(`source ${n}`);
  assert.equal(failures('one more'), 10);
  assert.equal(failures('and another'), 0, 'it shares the last place');
  assert.equal(failures('source 7'), 9, 'who was there has its own');
  clock.now = 60_000;
  assert.equal(failures('and another'), 10);
});

test('a source is an IPv4 address however it is written, or an IPv6 network of 64 bits', () => {
  assert.equal(sourceOf('::ffff:10.0.0.1'), sourceOf('10.0.0.1'));
  assert.notEqual(sourceOf('10.0.0.2'), sourceOf('10.0.0.1'));
  assert.equal(sourceOf('2001:db8:0:1::7'), sourceOf('2001:db8:0:1:ffff:1:2:3'));
  assert.notEqual(sourceOf('2001:db8:0:2::7'), sourceOf('2001:db8:0:1::7'));
  assert.equal(sourceOf('fe80::1%eth0'), 'fe80::/64');
  assert.equal(sourceOf(undefined), '');
});
