/**
 * Which slot stands for which resource: the pinned `ids` table, with a copy in memory that is read from it once. A freed
 * slot is given out again only after `release`, which the caller does behind the fence.
 */
import * as bpf from '../../kernel/bpf.ts';
import { DriverError } from '../driver.ts';
import {
  decodeRegistration,
  encodeRegistration,
  idFrom,
  idKey,
  type Kind,
  type Registration,
  sizes,
} from './layout.ts';
import { RetiredHalves } from './retired.ts';
import type { Tables } from './tables.ts';

/** One contradiction, with what undoes it. */
export interface Damage {
  readonly what: string;
  readonly mend: () => void | Promise<void>;
}

/** What `DriverError` calls the table that is full. */
const tableOf = { vpc: 'ids', table: 'tables', half: 'halves', interface: 'interfaces' } as const;

export class Registry {
  readonly #tables: Tables;
  /** Final counts of halves that are gone; their entries stand in the same table. */
  readonly retired: RetiredHalves;
  readonly #byId = new Map<string, Registration>();
  readonly #bySlot = new Map<string, string>();
  /** Slots of resources that are gone but may still be looked at by a packet under way. */
  readonly #quarantine = new Map<string, { readonly kind: Kind; readonly slot: number }>();
  /** No slot of the kind below this one is free. */
  readonly #lowest = new Map<Kind, number>();

  constructor(tables: Tables) {
    this.#tables = tables;
    this.retired = new RetiredHalves(tables);
    for (const [key, value] of bpf.entries(tables.fd('ids'), sizes.id, sizes.registration)) {
      const registration = decodeRegistration(value);
      if (registration !== undefined) this.#keep(idFrom(key), registration);
      else this.retired.load(idFrom(key), value);
    }
    // A process that was killed before a fence left counts that are not final, where their halves had them.
    for (const [id, { generation }] of this.all('half')) this.retired.takeBack(id, generation);
    for (const slot of this.retired.pending()) this.#quarantine.set(`half|${slot}`, { kind: 'half', slot });
  }

  #keep(id: string, registration: Registration): void {
    this.#byId.set(id, registration);
    this.#bySlot.set(`${registration.kind}|${registration.slot}`, id);
  }

  get(kind: Kind, id: string): Registration | undefined {
    const found = this.#byId.get(id);
    return found?.kind === kind ? found : undefined;
  }
  /** @throws DriverError when it is not registered: a plan that names what the plane does not hold */
  must(kind: Kind, id: string): Registration {
    const found = this.get(kind, id);
    if (found === undefined) throw new DriverError('kernel', `the plane holds no ${kind} ${id}`);
    return found;
  }
  idOf(kind: Kind, slot: number): string | undefined {
    return this.#bySlot.get(`${kind}|${slot}`);
  }
  *all(kind: Kind): Generator<readonly [id: string, registration: Registration]> {
    for (const [id, registration] of this.#byId) if (registration.kind === kind) yield [id, registration];
  }
  count(kind: Kind): number {
    let count = 0;
    for (const { kind: of } of this.#byId.values()) if (of === kind) count++;
    return count;
  }

  max(kind: Kind): number {
    const { limits } = this.#tables;
    // Every resource has an entry in `ids`, which is made with room for as many VPCs as halves; see Tables.
    const slots = {
      vpc: limits.halves + 1,
      table: limits.routeTables,
      half: limits.halves,
      interface: limits.interfaces,
    };
    return slots[kind] - 1; // slot 0 is nobody's
  }

  #freeSlot(kind: Kind): number {
    if (kind === 'vpc') return this.#tables.freshVpc();
    // From the lowest that may be free: beginning at 1 each time, filling 8192 slots costs 33 million looks.
    for (let slot = this.#lowest.get(kind) ?? 1; slot <= this.max(kind); slot++) {
      if (this.#bySlot.has(`${kind}|${slot}`) || this.#quarantine.has(`${kind}|${slot}`)) continue;
      this.#lowest.set(kind, slot + 1);
      return slot;
    }
    throw new DriverError('does-not-fit', `table ${tableOf[kind]} is full: it holds ${this.max(kind)}`);
  }

  /**
   * The registration of a resource, made if there is none. `fresh` tells which.
   * @param prepare empties a slot before it is anybody's
   */
  ensure(
    kind: Kind,
    id: string,
    of: { readonly owner: string; readonly note: string },
    prepare: (slot: number) => void = () => {},
  ): { readonly registration: Registration; readonly fresh: boolean } {
    const known = this.get(kind, id);
    if (known !== undefined) return { registration: known, fresh: false };
    const slot = this.#freeSlot(kind);
    prepare(slot);
    const generation = this.#tables.freshGeneration();
    const registration: Registration = { kind, slot, generation, attached: false, ...of };
    this.write(id, registration);
    return { registration, fresh: true };
  }

  write(id: string, registration: Registration): void {
    bpf.update(this.#tables.fd('ids'), idKey(id), encodeRegistration(registration));
    this.#keep(id, registration);
  }

  /** Forgets a resource; its slot stays out of use until `release`. */
  remove(id: string): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    if (known.kind === 'half') this.retired.begin(id, known);
    bpf.remove(this.#tables.fd('ids'), idKey(id));
    this.#byId.delete(id);
    this.#bySlot.delete(`${known.kind}|${known.slot}`);
    this.#quarantine.set(`${known.kind}|${known.slot}`, known);
  }

  /** Where the pinned table is no longer what this process wrote: other hands were at it. */
  damage(): readonly Damage[] {
    const damage: Damage[] = [];
    const fd = this.#tables.fd('ids');
    const pinned = new Map(bpf.entries(fd, sizes.id, sizes.registration).map(([key, value]) => [idFrom(key), value]));
    for (const [id, registration] of this.#byId) {
      const value = encodeRegistration(registration);
      const found = pinned.get(id);
      pinned.delete(id);
      if (found?.equals(value) === true) continue;
      const what = `the registration of ${id} ${found === undefined ? 'is gone' : 'was changed'}`;
      damage.push({ what, mend: () => bpf.update(fd, idKey(id), value) });
    }
    for (const [id, value] of pinned) {
      if (this.retired.holds(id, value)) continue;
      damage.push({ what: `'${id}' is registered, but not by us`, mend: () => void bpf.remove(fd, idKey(id)) });
    }
    return damage;
  }

  /** Whether slots wait for a fence. */
  get quarantined(): boolean {
    return this.#quarantine.size > 0;
  }
  /** After the fence: nobody can be looking at the slots that were given up. */
  release(): void {
    this.retired.finish();
    for (const { kind, slot } of this.#quarantine.values()) {
      this.#lowest.set(kind, Math.min(slot, this.#lowest.get(kind) ?? 1));
    }
    this.#quarantine.clear();
  }
}
