/** Reads what packets have counted: halves and exits, many slots at once. Writes nothing. */
import * as bpf from '../../kernel/bpf.ts';
import { type Exit, exitNames, exits } from '../../model/drop-reason.ts';
import type { Count } from '../driver.ts';
import { exitsPerInterface, sizes, sumCounts, sumExactly } from './layout.ts';
import type { Tables } from './tables.ts';

export interface ExactCount {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** Elements that one call reads. A call for each slot costs ten times as much: 16 ms for 16 384 halves. */
const chunk = 1024;

/** Calls back with the counters of each wanted slot. Slots are given out from below, so few unwanted ones are read. */
function readSlots(
  tables: Tables,
  map: 'half_counts' | 'exits',
  slots: readonly number[],
  found: (slot: number, counters: Buffer) => void,
): void {
  if (slots.length === 0) return;
  const each = map === 'exits' ? exitsPerInterface : 1;
  const width = sizes.count * bpf.possibleCpus;
  const wanted = new Set(slots);
  const end = slots.reduce((most, slot) => Math.max(most, slot), 0) + 1;
  const step = chunk / each;
  for (let first = slots.reduce((least, slot) => Math.min(least, slot), end); first < end; first += step) {
    const n = Math.min(step, end - first);
    const counters = bpf.readArray(tables.fd(map), first * each, n * each, width);
    for (let at = 0; at < n; at++) {
      if (!wanted.has(first + at)) continue;
      found(first + at, counters.subarray(at * each * width, (at + 1) * each * width));
    }
  }
}

/** What was counted in these slots of halves. */
export function countsAt(tables: Tables, slots: readonly number[]): ReadonlyMap<number, ExactCount> {
  const counts = new Map<number, ExactCount>();
  readSlots(tables, 'half_counts', slots, (slot, counters) => counts.set(slot, sumExactly(counters)));
  return counts;
}

/** What was counted in these slots of interfaces, without the exits that nothing took. */
export function exitsAt(tables: Tables, slots: readonly number[]): ReadonlyMap<number, ReadonlyMap<Exit, Count>> {
  const width = sizes.count * bpf.possibleCpus;
  const counts = new Map<number, ReadonlyMap<Exit, Count>>();
  readSlots(tables, 'exits', slots, (slot, counters) => {
    const taken = new Map<Exit, Count>();
    for (const name of exitNames) {
      const at = exits[name].code * width;
      const count = sumCounts(counters.subarray(at, at + width));
      if (count.packets > 0) taken.set(name, count);
    }
    counts.set(slot, taken);
  });
  return counts;
}
