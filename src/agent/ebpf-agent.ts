/**
 * The host agent: owns the eBPF driver and its reconciler, and does what its two doors ask. Trusts no field that could
 * reach beyond its own objects. Until the region has said what is wanted it changes nothing.
 */
import type { Logger } from 'pino';
import { type AttachRequest, DriverError } from '../dataplane/driver.ts';
import { EbpfDriver, installationAt } from '../dataplane/ebpf/driver.ts';
import type { SyncUpdate } from '../dataplane/plane.ts';
import { Reconciler } from '../dataplane/reconciler.ts';
import { Admission, checkPacket } from '../dataplane/spec-check.ts';
import { type Answer, type Method, plainCounters, plainReading } from '../dataplane/wire.ts';
import type { Packet } from '../explain/explain.ts';
import { calls } from '../kernel/bpf.ts';
import { isId, type PortId } from '../model/ids.ts';

export interface AgentOptions {
  readonly bpffsPath: string;
  readonly namespaceName: string;
  readonly log: Logger;
  readonly onEvent: (event: Extract<Answer, { event: string }>) => void;
}

/** Writes to the kernel's tables since the start. */
const mapWrites = (): number =>
  ['update', 'delete', 'updateBatch', 'deleteBatch'].reduce(
    (sum, name) => sum + ((calls as Record<string, number>)[name] ?? 0),
    0,
  );

const portOf = (params: unknown): PortId => {
  const { portId } = params as { portId: string };
  if (!isId('interface', portId)) throw new DriverError('unknown-interface', `'${portId}' is not an interface's id`);
  return portId;
};

export class Agent {
  readonly #options: AgentOptions;
  #installationId: string | null = null;
  #driver: EbpfDriver | null = null;
  #plane: Reconciler | null = null;
  readonly #admission = new Admission();

  /** Adopts the plane that is there, if one is. */
  constructor(options: AgentOptions) {
    this.#options = options;
    const installed = installationAt(options.bpffsPath);
    if (installed !== null) this.#open(installed);
  }

  #open(installationId: string): void {
    const { bpffsPath, namespaceName, log, onEvent } = this.#options;
    this.#driver = new EbpfDriver({ installationId, bpffsPath, namespaceName });
    this.#installationId = installationId;
    this.#plane = new Reconciler(this.#driver);
    this.#plane.onAttachment((portId, fact) => {
      log.info({ portId, state: fact?.state ?? 'detached' }, 'attachment');
      onEvent({ event: 'attachment', data: { portId, fact } });
    });
    this.#plane.onDrift((what) => {
      log.warn({ what }, 'drift');
      onEvent({ event: 'drift', data: what });
    });
    log.info({ installationId }, 'plane opened');
  }

  get #ready(): { readonly driver: EbpfDriver; readonly plane: Reconciler } {
    if (this.#driver === null || this.#plane === null) {
      throw new DriverError('unavailable', 'no region has said hello yet');
    }
    return { driver: this.#driver, plane: this.#plane };
  }

  #hello(installationId: string): object {
    if (this.#installationId === null) this.#open(installationId);
    if (this.#installationId !== installationId) {
      const message = `this plane belongs to installation ${this.#installationId}, not ${installationId}: purge it first`;
      throw new DriverError('unavailable', message);
    }
    return { driver: 'ebpf' };
  }

  async #sync(update: SyncUpdate): Promise<unknown> {
    const { plane } = this.#ready;
    const problem = this.#admission.admit(update);
    if (problem !== null) {
      this.#options.log.warn({ problem: problem.slice(0, 200) }, 'sync refused');
      throw new DriverError('kernel', `refused: ${problem}`);
    }
    const start = performance.now();
    const before = mapWrites();
    const result = await plane.sync(update);
    const milliseconds = Math.round(performance.now() - start);
    const { revision, full, vpcs } = update;
    this.#options.log.info({ revision, full, vpcs: vpcs.length, writes: mapWrites() - before, milliseconds }, 'sync');
    return result;
  }

  #trace(packet: Packet): Promise<unknown> {
    const problem = checkPacket(packet);
    if (problem !== null) throw new DriverError('kernel', `refused: ${problem}`);
    return this.#ready.plane.trace(packet);
  }

  handle = async (method: Method, params: unknown): Promise<unknown> => {
    switch (method) {
      case 'hello':
        return this.#hello((params as { installationId: string }).installationId);
      case 'sync':
        return this.#sync(params as SyncUpdate);
      case 'counters':
        return plainCounters(await this.#ready.plane.counters());
      case 'meter':
        return plainReading(await this.#ready.plane.meter((params as { booked: readonly string[] }).booked));
      case 'trace':
        return this.#trace((params as { packet: Packet }).packet);
      case 'probe':
        return this.#driver === null ? EbpfDriver.probe() : this.#driver.probe();
      case 'attachments':
        return this.#ready.plane.attachments();
      case 'observe':
        return this.#ready.driver.observe();
      case 'flows': {
        const { sample, after } = params as { sample: number; after: number };
        return this.#ready.driver.flows(sample, after);
      }
      case 'heal':
        return this.#ready.plane.checkDrift();
      case 'attach':
        portOf(params);
        return this.#ready.plane.attach(params as AttachRequest);
      case 'detach':
        return this.#ready.plane.detach(portOf(params));
    }
  };

  /** Stops; the network stays as it is. */
  async close(): Promise<void> {
    await this.#plane?.close();
  }
}
