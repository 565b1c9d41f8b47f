/**
 * The eBPF driver: one host, real packets. Puts together the pinned tables, the registry, the plan writer and the
 * attachments; see `bpf/vpc.bpf.c` for what the kernel does with them. Its verbs take turns.
 */

import { closeSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { explain, type Packet, type Verdict } from '../../explain/explain.ts';
import { PlaneView } from '../../explain/plane-view.ts';
import * as bpf from '../../kernel/bpf.ts';
import { createNamed, deleteNamed, inside, openNamed } from '../../kernel/netns.ts';
import type { HalfId, PortId } from '../../model/ids.ts';
import type {
  AttachmentFact,
  AttachRequest,
  Counters,
  Driver,
  FlowPage,
  MeterReading,
  Observed,
  Plan,
  ProbeRow,
} from '../driver.ts';
import { Attachments } from './attachments.ts';
import { countsAt, exitsAt } from './counts.ts';
import { Flows } from './flows.ts';
import { decodeMeta, type Registration, sizes, u32 } from './layout.ts';
import { readTables, specOf } from './observe.ts';
import { PlanWriter } from './plan-writer.ts';
import { probeHost } from './probe.ts';
import { Registry } from './registry.ts';
import { RouteTables } from './route-tables.ts';
import { defaultLimits, type Limits, Tables, unmountBpffs } from './tables.ts';

export interface EbpfOptions {
  /** Marks every object of ours; from the store. */
  readonly installationId: string;
  /** Where our bpffs is, or shall be, mounted. */
  readonly bpffsPath: string;
  /** The private namespace under /run/netns that holds the host's ends; made when it is missing. */
  readonly namespaceName: string;
  /** Default: the committed object. */
  readonly objectPath?: string;
  readonly limits?: Partial<Limits>;
  /** Replaced in tests that prove what the fence is for. */
  readonly fence?: (real: () => Promise<void>) => Promise<void>;
}

export const committedObject = fileURLToPath(new URL('../../../bpf/vpc.bpf.o', import.meta.url));

/** Whose plane is pinned at this mount, or null when none is. */
export function installationAt(bpffsPath: string): string | null {
  const fd = bpf.getPinned(join(bpffsPath, 'meta'));
  if (fd === undefined) return null;
  try {
    const meta = bpf.lookup(fd, u32(0), sizes.meta);
    return meta === undefined ? null : decodeMeta(meta).installationId;
  } finally {
    bpf.closeFd(fd);
  }
}

/** A namespace in which nothing speaks: no addresses, no forwarding, no IPv6. */
function openPrivate(name: string): number {
  if (!existsSync(`/run/netns/${name}`)) createNamed(name);
  const namespace = openNamed(name);
  inside(namespace, () => {
    for (const [path, value] of [
      ['ipv6/conf/default/disable_ipv6', '1'],
      ['ipv6/conf/all/disable_ipv6', '1'],
      ['ipv4/ip_forward', '0'],
    ] as const) {
      if (existsSync(`/proc/sys/net/${path}`)) writeFileSync(`/proc/sys/net/${path}`, value);
    }
  });
  return namespace;
}

export class EbpfDriver implements Driver {
  readonly name = 'ebpf';
  readonly #options: EbpfOptions;
  readonly #namespace: number;
  readonly #tables: Tables;
  readonly #registry: Registry;
  readonly #routes: RouteTables;
  readonly #writer: PlanWriter;
  readonly #attachments: Attachments;
  readonly #flows: Flows;
  #flowTimer: NodeJS.Timeout | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * Opens the plane of this installation, or makes it.
   * @throws DriverError, KernelError or LoadError; `probe` says what the host lacks
   */
  constructor(options: EbpfOptions) {
    this.#options = options;
    this.#namespace = openPrivate(options.namespaceName);
    let upgrade: { ingress: number; egress: number } | undefined;
    this.#tables = Tables.open(
      {
        installationId: options.installationId,
        bpffsPath: options.bpffsPath,
        objectPath: options.objectPath ?? committedObject,
        limits: { ...defaultLimits, ...options.limits },
      },
      (programs) => {
        upgrade = programs;
      },
    );
    this.#registry = new Registry(this.#tables);
    this.#routes = new RouteTables(this.#tables, this.#registry);
    const fence = (): Promise<void> =>
      options.fence === undefined ? this.#tables.fence() : options.fence(() => this.#tables.fence());
    this.#writer = new PlanWriter(
      this.#tables,
      this.#registry,
      this.#routes,
      {
        addressesChanged: (...change) => this.#attachments.addressesChanged(...change),
        interfaceRemoved: (portId) => this.#attachments.removed(portId),
      },
      fence,
    );
    this.#attachments = new Attachments({
      tables: this.#tables,
      registry: this.#registry,
      writer: () => this.#writer,
      namespace: this.#namespace,
      installationId: options.installationId,
      fence,
      specOf: (portId) => specOf(this.#tables, this.#registry, portId),
    });
    if (upgrade !== undefined) this.#attachments.replacePrograms(upgrade);
    this.#flows = new Flows(this.#tables, this.#registry, (programs) => this.#attachments.replacePrograms(programs));
  }

  /** What a host offers, without a plane of ours. */
  static probe(): Promise<readonly ProbeRow[]> {
    return probeHost(committedObject);
  }
  probe(): Promise<readonly ProbeRow[]> {
    return probeHost(this.#options.objectPath ?? committedObject);
  }

  observe(): Promise<Observed> {
    return this.#inTurn(() => {
      const { network, damage } = readTables(this.#tables, this.#registry, this.#routes);
      return {
        network,
        attachments: this.#attachments.facts(),
        foreign: this.#attachments.foreign(),
        damage: [...damage, ...this.#attachments.damage()].map(({ what }) => what),
      };
    });
  }

  /** Each waits for the one before: writes must not interleave around a fence, and half a plan is no observation. */
  #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const run = this.#turn.then(work, work);
    this.#turn = run.catch(() => {});
    return run;
  }

  apply(plan: Plan): Promise<void> {
    return this.#inTurn(() => this.#writer.write(plan));
  }

  repair(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const { damage } = readTables(this.#tables, this.#registry, this.#routes);
      const done: string[] = [];
      for (const { what, mend } of [...damage, ...this.#attachments.damage()]) {
        await mend();
        done.push(`mended: ${what}`);
      }
      return done;
    });
  }

  async counters(): Promise<Counters> {
    const halves = [...this.#registry.all('half')];
    const ports = [...this.#registry.all('interface')];
    const slotsOf = (of: readonly (readonly [string, Registration])[]): number[] => of.map(([, { slot }]) => slot);
    const carried = countsAt(this.#tables, slotsOf(halves));
    const left = exitsAt(this.#tables, [0, ...slotsOf(ports)]);
    const { epoch, fences } = this.#tables;
    return {
      epoch,
      fences,
      halves: new Map(
        halves.map(([id, { slot }]) => {
          const { packets = 0n, bytes = 0n } = carried.get(slot) ?? {};
          return [id as HalfId, { packets: Number(packets), bytes: Number(bytes) }] as const;
        }),
      ),
      exits: new Map(ports.map(([id, { slot }]) => [id as PortId, left.get(slot) ?? new Map()])),
      unowned: left.get(0) ?? new Map(),
    };
  }

  /** Not in turn: it changes nothing that a plan touches, and must not wait for a long one. */
  async meter(booked: readonly string[]): Promise<MeterReading> {
    const { retired } = this.#registry;
    retired.settle(booked);
    const halves = [...this.#registry.all('half')];
    const counts = countsAt(
      this.#tables,
      halves.map(([, { slot }]) => slot),
    );
    const running = halves.flatMap(([id, { slot, generation }]) => {
      const { packets = 0n, bytes = 0n } = counts.get(slot) ?? {};
      return packets === 0n ? [] : [{ halfId: id as HalfId, life: retired.lifeOf(generation), packets, bytes }];
    });
    return { running: [...running, ...retired.readings(true)], retired: retired.readings(false) };
  }

  async trace(packet: Packet): Promise<Verdict> {
    const { network, attachments } = await this.observe();
    const mtus = new Map(
      attachments.filter(({ state }) => state === 'attached').map((fact) => [fact.portId, fact.mtu]),
    );
    return explain(new PlaneView(network), (portId) => mtus.get(portId) ?? null, packet);
  }

  /** Sampled flow records; see flows.ts. @param sample one packet in how many @param after the number seen last */
  flows(sample: number, after: number): Promise<FlowPage> {
    return this.#inTurn(() => {
      this.#flowTimer ??= setInterval(() => void this.#endFlows(), 500).unref();
      return this.#flows.ask(sample, after);
    });
  }
  async #endFlows(): Promise<void> {
    if (!this.#flows.idle) return;
    await this.#inTurn(() => {
      if (!this.#flows.idle) return;
      clearInterval(this.#flowTimer);
      this.#flowTimer = undefined;
      this.#flows.stop();
    });
  }

  attach(request: AttachRequest): Promise<AttachmentFact> {
    return this.#inTurn(() => this.#attachments.attach(request));
  }
  detach(portId: PortId): Promise<void> {
    return this.#inTurn(() => this.#attachments.detach(portId));
  }
  onAttachmentChange(listener: (fact: AttachmentFact) => void): void {
    this.#attachments.onChange(listener);
  }

  /** Descriptors for tests and measurements. */
  get kernelObjects(): { readonly tables: Tables; readonly registry: Registry; readonly namespace: number } {
    return { tables: this.#tables, registry: this.#registry, namespace: this.#namespace };
  }

  async close(): Promise<void> {
    await this.#turn;
    clearInterval(this.#flowTimer);
    this.#flows.stop();
    this.#attachments.close();
    this.#routes.close();
    this.#tables.close();
    closeSync(this.#namespace);
  }

  async purge(): Promise<void> {
    await this.#turn;
    this.#attachments.purge();
    await this.close();
    purgePlane(this.#options);
  }
}

/** Removes pins, mount and namespace, whether or not a driver can be opened on them. */
export function purgePlane(options: Pick<EbpfOptions, 'bpffsPath' | 'namespaceName'>): void {
  if (existsSync(`/run/netns/${options.namespaceName}`)) deleteNamed(options.namespaceName);
  unmountBpffs(options.bpffsPath);
}
