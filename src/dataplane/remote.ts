/**
 * The data plane behind the agent's socket, as the region's `Plane`. Connects, and when the agent went away, again and
 * again; a new connection needs a full sync, since a new agent knows nothing of what is wanted.
 */
import type { Packet, Verdict } from '../explain/explain.ts';
import { AgentClient } from './agent-client.ts';
import { type AttachmentFact, type Counters, DriverError, type ProbeRow } from './driver.ts';
import type { Plane, SyncResult, SyncUpdate } from './plane.ts';
import { countersFrom, type PlainCounters } from './wire.ts';

/** Pause between tries to connect, in milliseconds. */
const retryPause = 200;

export class RemotePlane implements Plane {
  readonly driver = 'ebpf';
  readonly #path: string;
  readonly #installationId: string;
  #client: AgentClient | null = null;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #attachmentListeners: ((portId: string, fact: AttachmentFact | null) => void)[] = [];
  readonly #driftListeners: ((what: string) => void)[] = [];
  readonly #needSyncListeners: (() => void)[] = [];

  private constructor(path: string, installationId: string) {
    this.#path = path;
    this.#installationId = installationId;
  }

  /** Resolves after the first try, whether or not the agent is there. */
  static async open(path: string, installationId: string): Promise<RemotePlane> {
    const plane = new RemotePlane(path, installationId);
    await plane.#connect();
    return plane;
  }

  async #connect(): Promise<void> {
    try {
      const client = await AgentClient.connect(
        this.#path,
        ({ event, data }) => {
          if (event === 'drift') for (const listener of this.#driftListeners) listener(String(data));
          else {
            const { portId, fact } = data as { portId: string; fact: AttachmentFact | null };
            for (const listener of this.#attachmentListeners) listener(portId, fact);
          }
        },
        () => {
          if (this.#client === client) this.#client = null;
          this.#again();
        },
      );
      await client.call('hello', { installationId: this.#installationId });
      this.#client = client;
      for (const listener of this.#needSyncListeners) listener();
      for (const fact of await client.call<readonly AttachmentFact[]>('attachments', {})) {
        for (const listener of this.#attachmentListeners) listener(fact.portId, fact);
      }
    } catch {
      this.#again();
    }
  }

  #again(): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), retryPause);
  }

  #call<T>(method: Parameters<AgentClient['call']>[0], params: object): Promise<T> {
    if (this.#client === null) {
      return Promise.reject(new DriverError('unavailable', `the host agent cannot be reached at ${this.#path}`));
    }
    return this.#client.call<T>(method, params);
  }

  sync(update: SyncUpdate): Promise<SyncResult> {
    return this.#call('sync', update);
  }
  async counters(): Promise<Counters> {
    return countersFrom(await this.#call<PlainCounters>('counters', {}));
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
  onNeedSync(listener: () => void): void {
    this.#needSyncListeners.push(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#client?.close();
  }
}
