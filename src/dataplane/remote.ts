/**
 * The data plane behind the agent's socket, as the region's `Plane`. Connects, and when the agent went away, again and
 * again; a new connection needs a full sync, since a new agent knows nothing of what is wanted.
 */
import type { Packet, Verdict } from '../explain/explain.ts';
import { AgentClient } from './agent-client.ts';
import { type AttachmentFact, type Counters, DriverError, type MeterReading, type ProbeRow } from './driver.ts';
import type { OwedListener, Plane, SyncResult, SyncUpdate } from './plane.ts';
import { type Answer, countersFrom, type PlainCounters, type PlainReading, readingFrom } from './wire.ts';

/** Pauses between tries to connect, in milliseconds: the first, and the longest as they double. */
const firstPause = 100;
const longestPause = 1000;

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export class RemotePlane implements Plane {
  readonly driver = 'ebpf';
  readonly #path: string;
  readonly #installationId: string;
  #client: AgentClient | null = null;
  /** Why there is no connection. */
  #problem: string;
  #pause = firstPause;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  /** Interfaces with a workload as far as was told; what is gone at the next connection was detached meanwhile. */
  readonly #attached = new Set<string>();
  readonly #attachmentListeners: ((portId: string, fact: AttachmentFact | null) => void)[] = [];
  readonly #driftListeners: ((what: string) => void)[] = [];
  readonly #needSyncListeners: (() => void)[] = [];
  readonly #lostListeners: ((problem: string) => void)[] = [];

  private constructor(path: string, installationId: string) {
    this.#path = path;
    this.#installationId = installationId;
    this.#problem = `the host agent cannot be reached at ${path}`;
  }

  /** Resolves after the first try, whether or not the agent is there. */
  static async open(path: string, installationId: string): Promise<RemotePlane> {
    const plane = new RemotePlane(path, installationId);
    await plane.#connect();
    return plane;
  }

  async #connect(): Promise<void> {
    let client: AgentClient | undefined;
    try {
      client = await AgentClient.connect(
        this.#path,
        (event) => this.#heard(event),
        () => {
          if (client === undefined || this.#client !== client) return;
          this.#client = null;
          this.#lost(`the host agent at ${this.#path} went away`);
        },
      );
      await client.call('hello', { installationId: this.#installationId });
      const facts = await client.call<readonly AttachmentFact[]>('attachments', {});
      if (this.#closed) return client.close();
      this.#client = client;
      this.#pause = firstPause;
      const now = new Set<string>(facts.map(({ portId }) => portId));
      for (const portId of [...this.#attached].filter((one) => !now.has(one))) this.#tell(portId, null);
      for (const fact of facts) this.#tell(fact.portId, fact);
      for (const listener of this.#needSyncListeners) listener();
    } catch (error) {
      client?.close();
      this.#lost(said(error));
    }
  }

  #heard({ event, data }: Extract<Answer, { event: string }>): void {
    if (event === 'drift') {
      for (const listener of this.#driftListeners) listener(String(data));
      return;
    }
    const { portId, fact } = data as { portId: string; fact: AttachmentFact | null };
    this.#tell(portId, fact);
  }

  #tell(portId: string, fact: AttachmentFact | null): void {
    if (fact === null) this.#attached.delete(portId);
    else this.#attached.add(portId);
    for (const listener of this.#attachmentListeners) listener(portId, fact);
  }

  /** There is no connection: says so, and tries again after a pause. */
  #lost(problem: string): void {
    if (this.#closed) return;
    this.#problem = problem;
    for (const listener of this.#lostListeners) listener(problem);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), this.#pause);
    this.#pause = Math.min(longestPause, this.#pause * 2);
  }

  #call<T>(method: Parameters<AgentClient['call']>[0], params: object): Promise<T> {
    if (this.#client === null) return Promise.reject(new DriverError('unavailable', this.#problem));
    return this.#client.call<T>(method, params);
  }

  async sync({ owed: _, ...update }: SyncUpdate): Promise<SyncResult> {
    // An agent answers for its own host, behind its own fence: it owes nothing, and takes over no debt.
    return { ...(await this.#call<Omit<SyncResult, 'owed'>>('sync', update)), owed: [] };
  }
  async counters(): Promise<Counters> {
    return countersFrom(await this.#call<PlainCounters>('counters', {}));
  }
  async meter(booked: readonly string[]): Promise<MeterReading> {
    return readingFrom(await this.#call<PlainReading>('meter', { booked }));
  }
  trace(packet: Packet): Promise<Verdict> {
    return this.#call('trace', { packet });
  }
  probe(): Promise<readonly ProbeRow[]> {
    return this.#call('probe', {});
  }
  attachments(): Promise<readonly AttachmentFact[]> {
    return this.#call('attachments', {});
  }
  onAttachment(listener: (portId: string, fact: AttachmentFact | null) => void): void {
    this.#attachmentListeners.push(listener);
  }
  onDrift(listener: (what: string) => void): void {
    this.#driftListeners.push(listener);
  }
  onOwed(_listener: OwedListener): void {
    // Nothing ever is.
  }
  onNeedSync(listener: () => void): void {
    this.#needSyncListeners.push(listener);
  }
  onLost(listener: (problem: string) => void): void {
    this.#lostListeners.push(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#client?.close();
  }
}
