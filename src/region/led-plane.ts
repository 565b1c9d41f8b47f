/**
 * The data plane where several servers share a store: only the one that leads writes to it, and tells the others what it
 * holds and what hosts owe. A server that begins to lead assumes nothing and asks for everything that is wanted; one that
 * does not lead answers a sync once the leader has said that it is done.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AttachmentFact, Counters, MeterReading, Owed, ProbeRow } from '../dataplane/driver.ts';
import { DriverError } from '../dataplane/driver.ts';
import type { OwedListener, Plane, SyncResult, SyncUpdate } from '../dataplane/plane.ts';
import type { Packet, Verdict } from '../explain/explain.ts';
import type { Leadership } from '../store/store.ts';

interface Waiting {
  readonly revision: number;
  readonly resolve: (result: SyncResult) => void;
  readonly reject: (error: DriverError) => void;
}

/** Pause before what hosts owe is published again, after the store was out of reach. Milliseconds. */
const retryPause = 1_000;

const changed = (leads: boolean): DriverError =>
  new DriverError('unavailable', leads ? 'this server begins to lead' : 'another server leads now');

export class LedPlane implements Plane {
  readonly #plane: Plane;
  readonly #leadership: Leadership;
  readonly #needSyncListeners: (() => void)[] = [];
  readonly #owedListeners: OwedListener[] = [];
  #waiting: readonly Waiting[] = [];
  /** Whether the plane has been told everything since this server leads. */
  #told = false;
  /** The newest that is known of the plane; while this server leads it is what all are to know. */
  #report: SyncResult | null = null;
  /** One report is published at a time, so that the newest is the last. */
  #publishing: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  /** Whether somebody reads what is published, and whether there is more by now. */
  #reading: 'no' | 'yes' | 'again' = 'no';
  #closed = false;

  constructor(plane: Plane, leadership: Leadership) {
    this.#plane = plane;
    this.#leadership = leadership;
    leadership.onChange((leads) => {
      this.#told = false;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const { reject } of waiting) reject(changed(leads));
      if (!leads) plane.rest?.();
      if (leads) for (const listener of this.#needSyncListeners) listener();
    });
    leadership.onPublished(() => this.#look());
    plane.onNeedSync(() => {
      this.#told = false;
      if (leadership.leads) for (const listener of this.#needSyncListeners) listener();
    });
    plane.onOwed((owed) => this.#owes(owed));
  }

  get driver(): Plane['driver'] {
    return this.#plane.driver;
  }

  async sync(update: SyncUpdate): Promise<SyncResult> {
    if (!this.#leadership.leads) return this.#wait(update.revision);
    if (!update.full && !this.#told) throw new DriverError('unavailable', 'a full sync is needed first');
    const result = await this.#plane.sync(this.#told ? update : { ...update, ...(await this.#owedBefore()) });
    if (!this.#leadership.leads) throw changed(false);
    if (update.full) this.#told = true;
    this.#report = result;
    await this.#publish();
    // What hosts owe may have changed meanwhile, and was told: that is not to be overwritten with what was before.
    return { ...result, owed: this.#report.owed };
  }

  /** What whoever led before said last. Of a VPC that is gone, nobody else knows that a host may still carry it. */
  async #owedBefore(): Promise<Pick<SyncUpdate, 'owed'>> {
    const { owed } = (await this.#leadership.published()) ?? { owed: [] };
    return owed.length === 0 ? {} : { owed };
  }

  #publish(): Promise<void> {
    const publish = async (): Promise<void> => {
      if (this.#report !== null && this.#leadership.leads) await this.#leadership.publish(this.#report);
    };
    const done = this.#publishing.then(publish);
    this.#publishing = done.catch(() => {});
    return done;
  }

  /** The plane that this server keeps says what hosts owe now. */
  #owes(owed: readonly Owed[]): void {
    if (!this.#told || !this.#leadership.leads || this.#report === null) return;
    this.#report = { ...this.#report, owed };
    for (const listener of this.#owedListeners) listener(owed, this.#report.revision);
    this.#publishOwed();
  }
  #publishOwed(): void {
    clearTimeout(this.#retry);
    this.#publish().catch(() => {
      if (!this.#closed) this.#retry = setTimeout(() => this.#publishOwed(), retryPause).unref();
    });
  }

  #wait(revision: number): Promise<SyncResult> {
    return new Promise((resolve, reject) => {
      this.#waiting = [...this.#waiting, { revision, resolve, reject }];
      this.#look();
    });
  }

  /** Reads what is published, and once more if it is overtaken. */
  #look(): void {
    if (this.#reading !== 'no') {
      this.#reading = 'again';
      return;
    }
    this.#reading = 'yes';
    void this.#read().finally(() => {
      const again = this.#reading === 'again';
      this.#reading = 'no';
      if (again && !this.#closed) this.#look();
    });
  }

  /** Answers who waits for what is published by now. A store out of reach announces itself when it is back. */
  async #read(): Promise<void> {
    const leads = this.#leadership.leads;
    if (leads && this.#waiting.length === 0) return;
    const report = await this.#leadership.published().catch(() => null);
    if (report === null) return;
    const done = this.#waiting.filter(({ revision }) => revision <= report.revision);
    this.#waiting = this.#waiting.filter((one) => !done.includes(one));
    for (const { resolve } of done) resolve(report);
    if (leads || this.#leadership.leads) return;
    const before = this.#report;
    this.#report = report;
    if (isDeepStrictEqual(before?.owed ?? [], report.owed)) return;
    for (const listener of this.#owedListeners) listener(report.owed, report.revision);
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
  onOwed(listener: OwedListener): void {
    this.#owedListeners.push(listener);
  }
  onNeedSync(listener: () => void): void {
    this.#needSyncListeners.push(listener);
  }
  onLost(listener: (problem: string) => void): void {
    this.#plane.onLost(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(new DriverError('unavailable', 'the server is stopping'));
    await this.#plane.close();
  }
}
