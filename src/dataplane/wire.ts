/**
 * The language of the agent's sockets: one JSON value a line, requests with an id, answers with the same, and events.
 * One schema for every message, checked on both sides. Nothing else crosses the privilege line.
 */
import type { Socket } from 'node:net';
import { type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Exit } from '../model/drop-reason.ts';
import type { HalfId, PortId } from '../model/ids.ts';
import {
  type Count,
  type Counters,
  DriverError,
  type DriverErrorCode,
  type HalfReading,
  type MeterReading,
} from './driver.ts';

/** A line may be this long, in bytes: a full sync of a large region is one. */
export const longestLine = 64 * 1024 * 1024;

const text = (maxLength: number): TSchema => Type.String({ maxLength });
const closed = <P extends Record<string, TSchema>>(properties: P) =>
  Type.Object(properties, { additionalProperties: false });
const kind = <P extends Record<string, TSchema>>(name: string, properties: P) =>
  closed({ kind: Type.Literal(name), ...properties });

const target = Type.Union([
  kind('local', {}),
  kind('black-hole', {}),
  kind('peering', { halfId: text(32) }),
  kind('interface', { portId: text(32) }),
]);
const vpcSpec = closed({
  vpcId: text(32),
  interfaces: Type.Array(
    closed({
      id: text(32),
      mac: text(17),
      addresses: Type.Array(
        closed({
          address: text(45),
          primary: Type.Boolean(),
          gateway: text(45),
          prefixLength: Type.Integer({ minimum: 0, maximum: 128 }),
        }),
      ),
      routeTableId: text(32),
      sanityCheck: Type.Boolean(),
    }),
  ),
  routeTables: Type.Array(closed({ id: text(32), routes: Type.Array(closed({ destination: text(49), target })) })),
  halves: Type.Array(closed({ id: text(32), remoteVpcId: text(32), live: Type.Boolean() })),
});
const attachRequest = Type.Object(
  {
    portId: text(32),
    target: Type.Union([
      kind('netns', { name: text(255) }),
      kind('pid', { pid: Type.Integer({ minimum: 1, maximum: 4_194_304 }) }),
    ]),
    device: Type.Optional(text(15)),
    mtu: Type.Optional(Type.Integer({ minimum: 1280, maximum: 65_535 })),
  },
  { additionalProperties: false },
);
const packet = closed({
  from: text(32),
  sourceMac: text(17),
  destinationMac: text(17),
  source: text(45),
  destination: text(45),
  ttl: Type.Integer({ minimum: 0, maximum: 255 }),
  length: Type.Integer({ minimum: 0, maximum: 1 << 20 }),
  protocol: Type.Union(['udp', 'tcp', 'icmp-echo', 'other'].map((name) => Type.Literal(name))),
});

/** What may be asked, with the schema of its parameters. `host` calls are root's, at its own socket. */
export const methods = {
  hello: { socket: 'region', params: closed({ installationId: Type.String({ pattern: '^[0-9a-f]{10}$' }) }) },
  sync: {
    socket: 'region',
    params: closed({
      revision: Type.Integer({ minimum: 0 }),
      full: Type.Boolean(),
      vpcs: Type.Array(vpcSpec),
      removed: Type.Array(Type.String({ pattern: '^vpc-[a-z0-9]{10}$' })),
    }),
  },
  counters: { socket: 'both', params: closed({}) },
  // Only the region may say that a count is booked: what it says so of is forgotten.
  meter: { socket: 'region', params: closed({ booked: Type.Array(text(128), { maxItems: 1 << 17 }) }) },
  trace: { socket: 'region', params: closed({ packet }) },
  probe: { socket: 'both', params: closed({}) },
  attachments: { socket: 'both', params: closed({}) },
  attach: { socket: 'host', params: attachRequest },
  detach: { socket: 'host', params: closed({ portId: text(32) }) },
  observe: { socket: 'host', params: closed({}) },
  heal: { socket: 'host', params: closed({}) },
  flows: {
    socket: 'host',
    params: closed({
      sample: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
      after: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    }),
  },
} as const;
export type Method = keyof typeof methods;

const requestSchema = closed({
  id: Type.Integer({ minimum: 1 }),
  method: Type.Union(Object.keys(methods).map((name) => Type.Literal(name))),
  params: Type.Object({}),
});
const answerSchema = Type.Union([
  closed({ id: Type.Integer(), result: Type.Unknown() }),
  closed({ id: Type.Integer(), error: closed({ code: text(32), message: text(4096) }) }),
  closed({ event: Type.Union([Type.Literal('attachment'), Type.Literal('drift')]), data: Type.Unknown() }),
]);

export interface Request {
  readonly id: number;
  readonly method: Method;
  readonly params: unknown;
}
export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { readonly code: string; readonly message: string } }
  | { readonly event: 'attachment' | 'drift'; readonly data: unknown };

const requestCheck = Compile(requestSchema);
const answerCheck = Compile(answerSchema);
const paramChecks = Object.fromEntries(
  Object.entries(methods).map(([name, { params }]) => [name, Compile(params as TSchema)]),
);

/** The request in a line, or what is wrong with it. */
export function readRequest(line: string): Request | { readonly problem: string; readonly id: number } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { problem: 'not JSON', id: 0 };
  }
  const id = (value as { id?: unknown } | null)?.id;
  const known = Number.isInteger(id) ? (id as number) : 0;
  if (!requestCheck.Check(value)) return { problem: 'not a request of this protocol', id: known };
  const request = value as Request;
  const check = paramChecks[request.method];
  if (check?.Check(request.params) !== true) {
    const first = check?.Errors(request.params)[0];
    const where = `${first?.instancePath ?? ''} ${first?.message ?? 'bad parameters'}`;
    return { problem: `${request.method}: ${where}`, id: known };
  }
  return request;
}

/** @throws DriverError when the line is not an answer */
export function readAnswer(line: string): Answer {
  const value: unknown = JSON.parse(line);
  if (!answerCheck.Check(value)) throw new DriverError('unavailable', 'the agent sent what is no answer');
  return value as Answer;
}

/** Calls back for each line of a socket; ends the connection when one is too long. */
export function onLines(socket: Socket, line: (text: string) => void, longest = longestLine): void {
  let parts: Buffer[] = [];
  let size = 0;
  socket.on('data', (chunk: Buffer) => {
    let rest = chunk;
    for (let at = rest.indexOf(10); at >= 0; at = rest.indexOf(10)) {
      parts.push(rest.subarray(0, at));
      if (size + at > longest) break;
      line(Buffer.concat(parts).toString('utf8'));
      parts = [];
      size = 0;
      rest = rest.subarray(at + 1);
    }
    parts.push(rest);
    size += rest.length;
    if (size > longest) socket.destroy(new Error('a line is too long'));
  });
}

/** Counters as JSON carries them. */
export interface PlainCounters extends Pick<Counters, 'epoch' | 'fences'> {
  readonly halves: readonly (readonly [HalfId, Count])[];
  readonly exits: readonly (readonly [PortId, readonly (readonly [Exit, Count])[]])[];
  readonly unowned: readonly (readonly [Exit, Count])[];
}
export const plainCounters = (counters: Counters): PlainCounters => ({
  epoch: counters.epoch,
  fences: counters.fences,
  halves: [...counters.halves],
  exits: [...counters.exits].map(([portId, exits]) => [portId, [...exits]]),
  unowned: [...counters.unowned],
});
export const countersFrom = (plain: PlainCounters): Counters => ({
  halves: new Map(plain.halves),
  exits: new Map(plain.exits.map(([portId, exits]) => [portId, new Map(exits)])),
  unowned: new Map(plain.unowned),
  epoch: plain.epoch,
  fences: plain.fences,
});

/** A reading as JSON carries it: half, life, packets and bytes, the numbers as text since they may be beyond 2^53. */
type PlainHalfReading = readonly [HalfId, life: string, packets: string, bytes: string];
export interface PlainReading {
  readonly running: readonly PlainHalfReading[];
  readonly retired: readonly PlainHalfReading[];
}
const plainHalf = ({ halfId, life, packets, bytes }: HalfReading): PlainHalfReading => [
  halfId,
  life,
  String(packets),
  String(bytes),
];
const halfFrom = ([halfId, life, packets, bytes]: PlainHalfReading): HalfReading => ({
  halfId,
  life,
  packets: BigInt(packets),
  bytes: BigInt(bytes),
});
export const plainReading = ({ running, retired }: MeterReading): PlainReading => ({
  running: running.map(plainHalf),
  retired: retired.map(plainHalf),
});
export const readingFrom = ({ running, retired }: PlainReading): MeterReading => ({
  running: running.map(halfFrom),
  retired: retired.map(halfFrom),
});

const codes: readonly DriverErrorCode[] = [
  'does-not-fit',
  'unknown-interface',
  'already-attached',
  'not-attached',
  'no-such-target',
  'device-exists',
  'kernel',
  'unavailable',
  'not-supported',
];
export const errorFrom = ({ code, message }: { readonly code: string; readonly message: string }): DriverError =>
  new DriverError(codes.find((known) => known === code) ?? 'kernel', message);
