/**
 * The tries behind `tables`: one for each route table. A new one is filled first and goes live with `publish`, all new
 * ones in one batch, since every write to a map of maps waits for a grace period.
 */
import * as bpf from '../../kernel/bpf.ts';
import type { Prefix } from '../../model/ip.ts';
import { decodeRoute, decodeRouteKey, encodeRouteKey, type RouteEntry, sizes, u32 } from './layout.ts';
import type { Registry } from './registry.ts';
import type { Tables } from './tables.ts';

export class RouteTables {
  readonly #tables: Tables;
  readonly #registry: Registry;
  /** Descriptors of the tries, by route table id. */
  readonly #tries = new Map<string, number>();
  readonly #unpublished = new Set<string>();
  readonly #dropped: { readonly slot: number; readonly fd: number | undefined }[] = [];

  constructor(tables: Tables, registry: Registry) {
    this.#tables = tables;
    this.#registry = registry;
    for (const [id] of registry.all('table')) this.#open(id);
  }

  /** @returns whether the table's trie is in place */
  #open(id: string): boolean {
    const { slot } = this.#registry.must('table', id);
    const value = bpf.lookup(this.#tables.fd('tables'), u32(slot), 4);
    if (value === undefined || value.readUInt32LE(0) === 0) return false;
    this.#tries.set(id, bpf.mapById(value.readUInt32LE(0)));
    return true;
  }

  /** Reads anew which tries are in place: other hands may have changed it. @returns ids of tables without one */
  refresh(): readonly string[] {
    for (const fd of this.#tries.values()) bpf.closeFd(fd);
    this.#tries.clear();
    return [...this.#registry.all('table')].map(([id]) => id).filter((id) => !this.#open(id));
  }

  add(id: string, vpcId: string): void {
    const { fresh } = this.#registry.ensure('table', id, { owner: vpcId, note: '' });
    if (!fresh && this.#tries.has(id)) return;
    this.#tries.set(id, this.#tables.createRoutes());
    this.#unpublished.add(id);
  }

  async publish(): Promise<void> {
    if (this.#unpublished.size === 0) return;
    const ids = [...this.#unpublished];
    const keys = Buffer.concat(ids.map((id) => u32(this.#registry.must('table', id).slot)));
    const values = Buffer.concat(ids.map((id) => u32(this.#trie(id))));
    await bpf.updateBatchWaiting(this.#tables.fd('tables'), keys, values, ids.length);
    this.#unpublished.clear();
  }

  #trie(id: string): number {
    const fd = this.#tries.get(id);
    if (fd === undefined) throw new Error(`no trie for ${id}`);
    return fd;
  }

  entries(id: string): readonly { readonly destination: Prefix; readonly route: RouteEntry | undefined }[] {
    const fd = this.#tries.get(id);
    if (fd === undefined) return [];
    return bpf
      .entries(fd, sizes.routeKey, sizes.route)
      .map(([key, value]) => ({ destination: decodeRouteKey(key), route: decodeRoute(value) }));
  }

  /** @returns whether a route that packets may be using was replaced */
  put(id: string, destination: Prefix, value: Buffer): boolean {
    const key = encodeRouteKey(destination);
    if (bpf.insert(this.#trie(id), key, value)) return false;
    bpf.update(this.#trie(id), key, value);
    return !this.#unpublished.has(id);
  }
  remove(id: string, destination: Prefix): void {
    const fd = this.#tries.get(id);
    if (fd !== undefined) bpf.remove(fd, encodeRouteKey(destination));
  }

  /** Gives a table up; packets see its routes until `unpublish`. */
  drop(id: string): void {
    const registration = this.#registry.get('table', id);
    if (registration === undefined) return;
    this.#dropped.push({ slot: registration.slot, fd: this.#tries.get(id) });
    this.#tries.delete(id);
    this.#unpublished.delete(id);
    this.#registry.remove(id);
  }

  /**
   * Puts an empty trie in the place of all that were dropped: one batch, one grace period. A map of maps cannot delete in
   * batches, and one by one 1000 tables would take 8 s. The slot is overwritten when it is given out again.
   */
  async unpublish(): Promise<void> {
    if (this.#dropped.length === 0) return;
    const empty = this.#tables.createRoutes();
    try {
      const keys = Buffer.concat(this.#dropped.map(({ slot }) => u32(slot)));
      const values = Buffer.concat(this.#dropped.map(() => u32(empty)));
      await bpf.updateBatchWaiting(this.#tables.fd('tables'), keys, values, this.#dropped.length);
    } finally {
      bpf.closeFd(empty);
      for (const { fd } of this.#dropped.splice(0)) if (fd !== undefined) bpf.closeFd(fd);
    }
  }

  close(): void {
    for (const fd of this.#tries.values()) bpf.closeFd(fd);
    this.#tries.clear();
  }
}
