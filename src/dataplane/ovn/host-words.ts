/**
 * What one host is still to be told of the workloads that it has: one word after the other, and of each interface the
 * newest only.
 */
import type { PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import { DriverError } from '../driver.ts';
import type { Hosts } from './hosts.ts';

interface Word {
  /** null: the interface is no more. */
  readonly spec: InterfaceSpec | null;
  readonly tried: Promise<void>;
  readonly end: () => void;
}

export class HostWords {
  readonly #host: string;
  readonly #hosts: Pick<Hosts, 'connected' | 'follow' | 'release'>;
  readonly #words = new Map<PortId, Word>();
  #telling = false;
  /** Since when it owes an answer, on the clock of `performance`; null: it owes none. */
  #since: number | null = null;

  constructor(host: string, hosts: Pick<Hosts, 'connected' | 'follow' | 'release'>) {
    this.#host = host;
    this.#hosts = hosts;
  }

  has(portId: PortId): boolean {
    return this.#words.has(portId);
  }
  /** Whether it is there, and has not let anybody wait for so many milliseconds. */
  answers(patience: number): boolean {
    const waited = this.#since === null ? 0 : performance.now() - this.#since;
    return this.#hosts.connected().has(this.#host) && waited < patience;
  }

  /**
   * Takes the place of what was to be told of the interface before.
   * @param spec null: it is no more
   * @returns resolves once this, or what took its place, was told or could not be
   */
  add(portId: PortId, spec: InterfaceSpec | null): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const older = this.#words.get(portId);
    if (older !== undefined) void promise.then(older.end);
    this.#words.set(portId, { spec, tried: promise, end: resolve });
    return promise;
  }
  /** Of interfaces that it has no more there is nothing to tell. */
  keep(attached: ReadonlySet<PortId>): void {
    for (const [portId, { end }] of this.#words) {
      if (attached.has(portId)) continue;
      this.#words.delete(portId);
      end();
    }
  }

  /** Tries each word once, and those that come meanwhile; ends when the host does not answer. */
  async tell(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    const tried = new Set<Word>();
    for (;;) {
      const next = [...this.#words].find(([, word]) => !tried.has(word));
      if (next === undefined || !this.#hosts.connected().has(this.#host)) break;
      const [portId, word] = next;
      tried.add(word);
      this.#since = performance.now();
      const said = await this.#say(portId, word.spec);
      this.#since = null;
      if (this.#words.get(portId) === word) {
        this.#words.delete(portId);
        // Behind the others: one that fails again and again keeps none of them waiting.
        if (said !== 'told') this.#words.set(portId, word);
      }
      word.end();
      if (said === 'unanswered') break;
    }
    this.#telling = false;
    for (const [portId, { spec, end }] of this.#words) {
      // What is left of a workload on no interface is a stray, and is taken off as one.
      if (spec === null) this.#words.delete(portId);
      end();
    }
  }
  async #say(portId: PortId, spec: InterfaceSpec | null): Promise<'told' | 'refused' | 'unanswered'> {
    try {
      if (spec === null) await this.#hosts.release(this.#host, portId);
      else await this.#hosts.follow(this.#host, spec);
      return 'told';
    } catch (error) {
      if (error instanceof DriverError && error.code === 'unavailable') return 'unanswered';
      return 'refused';
    }
  }
}
