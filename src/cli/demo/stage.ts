/**
 * What the story needs of the world it is played in. Two worlds exist: the kernel (two processes, namespaces, real
 * packets) and memory (`--driver fake`). The story cannot tell them apart, but the page says which one it is.
 */
import type { Exit } from '../../model/drop-reason.ts';

/** A tenant's signed access to the JD Cloud API. `call` throws `ApiRefusal` for an error answer. */
export interface Tenant {
  readonly name: string;
  readonly accountId: string;
  /** @param path below `/v1/regions/{region}` */
  call<T>(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T>;
}

export class ApiRefusal extends Error {}

/** A workload on an interface. */
export interface Workload {
  readonly name: string;
  readonly portId: string;
  readonly address: string;
  /** Sends one echo request; whether it was answered within `patience` milliseconds. */
  ping(address: string, patience?: number): Promise<boolean>;
  /** Echo requests that have arrived here so far. */
  requestsSeen(): Promise<number>;
  /** Fetches `/` from the web server of another workload; null when there is no answer in time. */
  fetch(address: string): Promise<string | null>;
  /** Opens a TCP connection and writes to it without pause until closed. */
  stream(address: string): Promise<RunningStream>;
}

export interface RunningStream {
  /** Bytes that the receiving application has read so far, on this one connection. */
  received(): Promise<number>;
  close(): Promise<void>;
}

export interface Throughput {
  /** Bits a second over the peering and over a bare veth pair, measured in turn. */
  readonly peered: number;
  readonly raw: number;
}

export interface Stage {
  readonly kind: 'kernel' | 'memory';
  readonly region: string;
  /** One line on what carries the packets. */
  readonly description: string;
  tenant(name: string): Promise<Tenant>;
  /** Makes a namespace (or its like) and attaches it to the interface. */
  workload(name: string, portId: string, address: string): Promise<Workload>;
  /** Packets of an interface by exit, read from the API of its owner. */
  exits(tenant: Tenant, portId: string): Promise<ReadonlyMap<Exit, number>>;
  throughput(from: Workload, to: Workload): Promise<Throughput | null>;
  /** What to try while it stays up, a command a line. */
  suggestions(tenants: readonly Tenant[], workloads: readonly Workload[]): readonly string[];
  /** Removes everything. */
  close(): Promise<void>;
}
