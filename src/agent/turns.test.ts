import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Places, Turns } from './turns.ts';

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};
/** Work that ends when the test says so. */
function works() {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<string>((resolve, reject) =>
      ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error))),
    );
  };
  return { begun, work, end: (name: string, error?: Error) => ends.get(name)?.(error) };
}

test('what concerns the same thing takes turns, also after a failure; what concerns another waits for none of it', async () => {
  const { begun, work, end } = works();
  const of = new Turns();
  const first = assert.rejects(of.take('a', work('a1')), /failed/);
  const second = of.take('a', work('a2'));
  const other = of.take('b', work('b1'));
  await turns();
  assert.deepEqual(begun, ['a1', 'b1']);
  end('b1');
  assert.equal(await other, 'b1');
  end('a1', new Error('failed'));
  await first;
  await turns();
  assert.deepEqual(begun, ['a1', 'b1', 'a2']);
  let idle = false;
  const over = of.idle().then(() => {
    idle = true;
  });
  await turns();
  assert.equal(idle, false);
  end('a2');
  assert.equal(await second, 'a2');
  await over;
});

test('of many so much is at work at once, in the order of asking', async () => {
  const { begun, work, end } = works();
  const places = new Places(2);
  const all = ['1', '2', '3', '4'].map((name) => places.within(work(name)));
  await turns();
  assert.deepEqual(begun, ['1', '2']);
  end('2');
  await turns();
  assert.deepEqual(begun, ['1', '2', '3']);
  end('1');
  end('3');
  await turns();
  end('4');
  assert.deepEqual(await Promise.all(all), ['1', '2', '3', '4']);
  const later = places.within(work('5'));
  await turns();
  end('5');
  assert.equal(await later, '5');
});
