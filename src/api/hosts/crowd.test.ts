import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Crowd } from './crowd.ts';

function make(most: number, mostOfOne: number) {
  const crowd = new Crowd<{ destroy(): void }>(most, mostOfOne);
  const ended: string[] = [];
  const enter = (source: string, name: string) => {
    const member = { destroy: () => ended.push(name) };
    crowd.enter(source, member);
    return () => crowd.leave(source, member);
  };
  return { enter, ended };
}

test('who comes makes the longest there of his own source go, when that has its share', () => {
  const { enter, ended } = make(10, 2);
  enter('other', 'o1');
  for (const name of ['a1', 'a2', 'a3', 'a4']) enter('a', name);
  assert.deepEqual(ended, ['a1', 'a2']);
});

test('when it is full the source that has the most gives one up, and of several the first', () => {
  const { enter, ended } = make(6, 4);
  const leave = enter('host', 'h');
  for (const name of ['a1', 'a2', 'b1', 'b2', 'b3']) enter(name[0] ?? '', name);
  assert.deepEqual(ended, [], 'so many may be there');
  enter('c', 'c1');
  enter('d', 'd1');
  enter('e', 'e1');
  assert.deepEqual(ended, ['b1', 'a1', 'b2']);
  leave();
  leave();
  enter('f', 'f1');
  assert.equal(ended.length, 3, 'one has left, once');
  enter('g', 'g1');
  assert.deepEqual(ended.slice(3), ['a2'], 'all have one: the longest there');
});
