/**
 * The data plane where several servers share a store: only the one that leads writes to it, and tells the others what it
 * holds. A server that begins to lead assumes nothing and asks for everything that is wanted; one that does not lead
 * answers a sync once the leader has said that it is done.
 */
import type { AttachmentFact, Counters, MeterReading, ProbeRow } from '../dataplane/driver.ts';
import { DriverError } from '../dataplane/driver.ts';
import type { Plane, SyncResult, SyncUpdate } from '../dataplane/plane.ts';
import type { Packet, Verdict } from '../explain/explain.ts';
import type { Leadership } from '../store/store.ts';

interface Waiting {
  readonly revision: number;
  readonly resolve: (result: SyncResult) => void;
  readonly reject: (error: DriverError) => void;
}

const changed = (leads: boolean): DriverError =>
  new DriverError('unavailable', leads ? 'this server begins to lead' : 'another server leads now');

export class LedPlane implements Plane {
  readonly #plane: Plane;
  readonly #leadership: Leadership;
  readonly #needSyncListeners: (() => void)[] = [];
  #waiting: readonly Waiting[] = [];
  /** Whether the plane has been told everything since this server leads. */
  #told = false;

  constructor(plane: Plane, leadership: Leadership) {
    this.#plane = plane;
    this.#leadership = leadership;
    leadership.onChange((leads) => {
      this.#told = false;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const { reject } of waiting) reject(changed(leads));
      if (leads) for (const listener of this.#needSyncListeners) listener();
    });
    leadership.onPublished(() => void this.#look());
    plane.onNeedSync(() => {
      this.#told = false;
      if (leadership.leads) for (const listener of this.#needSyncListeners) listener();
    });
  }

  get driver(): Plane['driver'] {
    return this.#plane.driver;
  }

  async sync(update: SyncUpdate): Promise<SyncResult> {
    if (!this.#leadership.leads) return this.#wait(update.revision);
    if (!update.full && !this.#told) throw new DriverError('unavailable', 'a full sync is needed first');
    const result = await this.#plane.sync(update);
    if (!this.#leadership.leads) throw changed(false);
    if (update.full) this.#told = true;
    await this.#leadership.publish(result);
    return result;
  }

  #wait(revision: number): Promise<SyncResult> {
    return new Promise((resolve, reject) => {
      this.#waiting = [...this.#waiting, { revision, resolve, reject }];
      void this.#look();
    });
  }

  /** Answers who waits for what is published by now. A store out of reach announces itself when it is back. */
  async #look(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const report = await this.#leadership.published().catch(() => null);
    if (report === null) return;
    const done = this.#waiting.filter(({ revision }) => revision <= report.revision);
    this.#waiting = this.#waiting.filter((one) => !done.includes(one));
    for (const { resolve } of done) resolve(report);
  }

  counters(): Promise<Counters> {
    return this.#plane.counters();
  }
  meter(booked: readonly string[]): Promise<MeterReading> {
    return this.#plane.meter(booked);
  }
  trace(packet: Packet): Promise<Verdict> {
    return this.#plane.trace(packet);
  }
  probe(): Promise<readonly ProbeRow[]> {
    return this.#plane.probe();
  }
  attachments(): Promise<readonly AttachmentFact[]> {
    return this.#plane.attachments();
  }
  onAttachment(listener: (portId: string, fact: AttachmentFact | null) => void): void {
    this.#plane.onAttachment(listener);
  }
  onDrift(listener: (what: string) => void): void {
    this.#plane.onDrift(listener);
  }
  onNeedSync(listener: () => void): void {
    this.#needSyncListeners.push(listener);
  }
  onLost(listener: (problem: string) => void): void {
    this.#plane.onLost(listener);
  }

  async close(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(new DriverError('unavailable', 'the server is stopping'));
    await this.#plane.close();
  }
}
