/** The judge of histories itself: what it lets pass and what it must not, on a register and against brute force. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { judge, type Model, type Operation } from './linearizable.ts';

type Input = { readonly kind: 'write'; readonly value: number } | { readonly kind: 'read' };
type Output = number | 'done';
type Op = Operation<Input, Output>;

const register: Model<number, Input, Output> = {
  initial: 0,
  step: (state, input) =>
    input.kind === 'read' ? { output: state, next: state } : { output: 'done', next: input.value },
  reads: ({ kind }) => kind === 'read',
  key: String,
  same: (one, other) => one === other,
};
const write = (called: number, returned: number, value: number): Op => ({
  input: { kind: 'write', value },
  called,
  end: { returned, output: 'done' },
});
const read = (called: number, returned: number, output: number): Op => ({
  input: { kind: 'read' },
  called,
  end: { returned, output },
});
const lost = (called: number, value: number): Op => ({ input: { kind: 'write', value }, called, end: null });
const verdict = (...history: readonly Op[]): string => judge(register, history).kind;

test('one after the other, a read finds the last write', () => {
  assert.equal(verdict(), 'linearizable');
  assert.equal(verdict(write(1, 2, 7), read(3, 4, 7)), 'linearizable');
  assert.equal(verdict(write(1, 2, 7), read(3, 4, 0)), 'impossible', 'a stale read');
  assert.equal(verdict(write(1, 2, 7), read(3, 4, 8)), 'impossible', 'a value from nowhere');
  assert.equal(verdict(write(1, 2, 7), write(3, 4, 8), read(5, 6, 7)), 'impossible', 'a lost write');
  assert.equal(verdict(read(1, 2, 7), write(3, 4, 7)), 'impossible', 'a read of the future');
});

test('at the same time either may be first, but for all who look', () => {
  assert.equal(verdict(write(1, 4, 7), read(2, 3, 7)), 'linearizable');
  assert.equal(verdict(write(1, 4, 7), read(2, 3, 0)), 'linearizable');
  assert.equal(verdict(write(1, 9, 7), read(2, 3, 7), read(4, 5, 7)), 'linearizable');
  assert.equal(verdict(write(1, 9, 7), read(2, 3, 7), read(4, 5, 0)), 'impossible', 'new, then old');
  assert.equal(verdict(write(1, 9, 7), write(1, 9, 8), read(10, 11, 7), read(12, 13, 7)), 'linearizable');
  assert.equal(verdict(write(1, 9, 7), write(1, 9, 8), read(10, 11, 7), read(12, 13, 8)), 'impossible', 'in turns');
});

test('what nobody was told of happens late, or never, or once', () => {
  assert.equal(verdict(lost(1, 7), read(3, 4, 0)), 'linearizable');
  assert.equal(verdict(lost(1, 7), read(3, 4, 0), read(5, 6, 7)), 'linearizable');
  assert.equal(verdict(lost(1, 7), read(3, 4, 7), read(5, 6, 0)), 'impossible', 'undone');
  assert.equal(verdict(lost(1, 7), read(2, 3, 7), write(4, 5, 8), read(6, 7, 7)), 'impossible', 'done twice');
  assert.equal(verdict(read(1, 2, 7), lost(3, 7)), 'impossible', 'before it was asked for');
});

test('it says how far it came, and at what it stopped', () => {
  const found = judge(register, [write(1, 2, 7), read(3, 4, 7), read(5, 6, 0)]);
  assert.ok(found.kind === 'impossible');
  assert.equal(found.reached, 2);
  assert.deepEqual(found.stuck, [read(5, 6, 0)]);
});

test('a thousand operations of eight clients are judged, and one wrong answer among them is found', () => {
  // A real object: each takes effect at a moment of its own between call and return.
  const history: Op[] = [];
  let value = 0;
  for (let n = 0; n < 1000; n++) {
    const [called, returned] = [n - (n % 7), n + 1 + ((n * 5) % 8)];
    if (n % 3 === 0) value = n % 5;
    history.push(n % 3 === 0 ? write(called, returned, value) : read(called, returned, value));
  }
  assert.equal(judge(register, history).kind, 'linearizable');
  const wrong = history.map((op, n) => (n === 700 ? read(op.called, op.end?.returned ?? 0, 9) : op));
  assert.equal(judge(register, wrong).kind, 'impossible');
});

/** Every order of every choice of the unanswered, tried one by one. */
function bruteForce(history: readonly Op[], state = 0): boolean {
  if (history.every(({ end }) => end === null)) return true;
  return history.some((op, at) => {
    const others = history.filter((_, index) => index !== at);
    if (others.some(({ end }) => end !== null && end.returned < op.called)) return false;
    const { output, next } = register.step(state, op.input);
    return (op.end === null || op.end.output === output) && bruteForce(others, next);
  });
}

test('it agrees with trying every order', () => {
  const operation = fc
    .record({
      called: fc.integer({ min: 0, max: 12 }),
      length: fc.integer({ min: 1, max: 8 }),
      value: fc.integer({ min: 0, max: 2 }),
      kind: fc.constantFrom('read', 'read', 'write', 'lost'),
    })
    .map(({ called, length, value, kind }) => {
      if (kind === 'lost') return lost(called, value);
      return (kind === 'read' ? read : write)(called, called + length, value);
    });
  const seen = { linearizable: 0, impossible: 0 };
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 6 }), (history) => {
      const { kind } = judge(register, history);
      seen[kind]++;
      assert.equal(kind === 'linearizable', bruteForce(history));
    }),
    { numRuns: 2000, seed: 4 },
  );
  assert.ok(seen.linearizable > 200 && seen.impossible > 200, `both kinds: ${JSON.stringify(seen)}`);
});
