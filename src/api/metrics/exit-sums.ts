/**
 * Sums of how packets left the data plane, over the whole region, that never go back: also when interfaces go, whose
 * counts go with them, and when the plane begins anew. (What an interface counted between the last look and its end is
 * not in them; the counts of each interface are exact.)
 */
import type { Count, Counters } from '../../dataplane/driver.ts';
import type { Exit } from '../../model/drop-reason.ts';

const nothing: Count = { packets: 0, bytes: 0 };

export class ExitSums {
  readonly #sums = new Map<Exit, Count>();
  #epoch = '';
  #seen = new Map<string, ReadonlyMap<Exit, Count>>();

  look({ epoch, exits, unowned }: Counters): ReadonlyMap<Exit, Count> {
    const before = epoch === this.#epoch ? this.#seen : new Map<string, ReadonlyMap<Exit, Count>>();
    const now = new Map<string, ReadonlyMap<Exit, Count>>([...exits, ['', unowned]]);
    for (const [portId, counts] of now) {
      for (const [exit, count] of counts) this.#add(exit, before.get(portId)?.get(exit) ?? nothing, count);
    }
    this.#epoch = epoch;
    this.#seen = now;
    return this.#sums;
  }

  #add(exit: Exit, before: Count, now: Count): void {
    const from = now.packets < before.packets ? nothing : before;
    const { packets, bytes } = this.#sums.get(exit) ?? nothing;
    this.#sums.set(exit, {
      packets: packets + now.packets - from.packets,
      bytes: bytes + Math.max(0, now.bytes - from.bytes),
    });
  }
}
