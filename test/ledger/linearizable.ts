/**
 * Judges whether a history of concurrent operations on one object could have been made by one that does them one at a
 * time, each at some moment between its call and its return. The search is Wing and Gong's, with Lowe's memory of what
 * was tried; see "Testing for linearizability" (Lowe, 2017).
 */

/** One operation as its client saw it. Times are of one clock. */
export interface Operation<I, O> {
  readonly input: I;
  readonly called: number;
  /** null: nobody was told how it ended. It may have happened at any time after the call, or never. */
  readonly end: { readonly returned: number; readonly output: O } | null;
}

export interface Model<S, I, O> {
  readonly initial: S;
  /** What the object answers, and what it is afterwards. */
  readonly step: (state: S, input: I) => { readonly output: O; readonly next: S };
  /** Whether it changes nothing, in any state. */
  readonly reads: (input: I) => boolean;
  /** The same text for equal states. */
  readonly key: (state: S) => string;
  readonly same: (one: O, other: O) => boolean;
}

export type Judgement<I, O> =
  | { readonly kind: 'linearizable' }
  /** `reached`: how many operations the longest order holds; `stuck`: what could come next in it, and does not fit. */
  | { readonly kind: 'impossible'; readonly reached: number; readonly stuck: readonly Operation<I, O>[] };

export function judge<S, I, O>(model: Model<S, I, O>, history: readonly Operation<I, O>[]): Judgement<I, O> {
  const operations = [...history].sort((a, b) => a.called - b.called);
  const answered = operations.filter(({ end }) => end !== null).length;
  // Depth first. Each frame: which are in the order already, the state after them, and what is still to be tried next.
  interface Frame {
    readonly done: bigint;
    readonly count: number;
    readonly state: S;
    readonly next: number[];
  }
  const frame = (done: bigint, count: number, state: S): Frame => ({
    done,
    count,
    state,
    next: ready(operations, done),
  });
  const tried = new Set<string>();
  const stack = [frame(0n, 0, model.initial)];
  let reached = 0;
  let stuck: readonly number[] = stack[0]?.next ?? [];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (top.count === answered) return { kind: 'linearizable' };
    const index = top.next.pop();
    const operation = index === undefined ? undefined : operations[index];
    if (index === undefined || operation === undefined) {
      stack.pop();
      continue;
    }
    const { output, next } = model.step(top.state, operation.input);
    if (operation.end !== null && !model.same(output, operation.end.output)) continue;
    const key = model.key(next);
    // A read that fits may as well come now: whatever can follow without it can follow it.
    if (operation.end !== null && model.reads(operation.input)) top.next.length = 0;
    const done = top.done | (1n << BigInt(index));
    const mark = `${done.toString(36)} ${key}`;
    if (tried.has(mark)) continue;
    tried.add(mark);
    const deeper = frame(done, top.count + (operation.end === null ? 0 : 1), next);
    if (deeper.count > reached) {
      reached = deeper.count;
      stuck = [...deeper.next];
    }
    stack.push(deeper);
  }
  return { kind: 'impossible', reached, stuck: stuck.flatMap((index) => operations[index] ?? []) };
}

/** Those not yet in the order that may be next: called before any other of them had returned. The first called is last. */
function ready<I, O>(operations: readonly Operation<I, O>[], done: bigint): number[] {
  const found: number[] = [];
  let earliest = Number.POSITIVE_INFINITY;
  const text = done.toString(2); // the last digit is the first operation
  for (const [index, { called, end }] of operations.entries()) {
    if (called > earliest) break;
    if (text[text.length - 1 - index] === '1') continue;
    found.push(index);
    if (end !== null) earliest = Math.min(earliest, end.returned);
  }
  return found.reverse();
}
