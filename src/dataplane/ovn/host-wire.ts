/**
 * The language between a region and the agents of its hosts: one JSON value a line, in both directions: calls with an id
 * and answers with the same. One schema for each call and each answer, checked by whoever receives it. No message says
 * whose it is: that is what the certificate of the connection is for.
 */
import { type Static, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';

/** The name in the gateway's certificate: hosts ask for it, by whatever address they reach the gateway. */
export const gatewayName = 'gateway.isthmus.internal';
/** Before the installation's id, in the subject of that certificate. */
export const gatewaySubject = 'Isthmus ';
/** A host has a few thousand at most; one that tells of more is not believed. */
export const mostWorkloads = 16_384;

const text = (maxLength: number) => Type.String({ maxLength });
const closed = <P extends Record<string, TSchema>>(properties: P) =>
  Type.Object(properties, { additionalProperties: false });
const number = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const nothing = closed({});
const portId = Type.String({ pattern: '^port-[a-z0-9]{10}$' });
const halfId = text(32);
const toldHalfId = Type.String({ pattern: '^[!-~]{1,32}$' });

const fact = closed({
  portId,
  state: Type.Union([Type.Literal('attached'), Type.Literal('vanished')]),
  target: text(300),
  device: text(15),
  mtu: Type.Integer({ minimum: 0, maximum: 65_535 }),
  up: Type.Union([Type.Boolean(), Type.Null()]),
});
const interfaceSpec = closed({
  id: portId,
  mac: Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' }),
  addresses: Type.Array(
    closed({
      address: text(45),
      primary: Type.Boolean(),
      gateway: text(45),
      prefixLength: Type.Integer({ minimum: 0, maximum: 128 }),
    }),
    { maxItems: 1024 },
  ),
  routeTableId: text(32),
  sanityCheck: Type.Boolean(),
});
/** May be beyond 2^53, never beyond what a store's 64 bits hold. */
const count = Type.String({ pattern: '^[0-9]{1,18}$' });
const life = Type.String({ pattern: '^[!-~]{1,64}$' });
/** Half, life, packets, bytes. */
const reading = Type.Array(Type.Tuple([toldHalfId, life, count, count]), { maxItems: 1 << 18 });

/** Calls of the region to a host. */
export const hostCalls = {
  ping: { params: nothing, result: nothing },
  fence: { params: closed({ number }), result: closed({ proven: number }) },
  meter: {
    params: closed({
      epoch: text(64),
      halves: Type.Array(Type.Tuple([halfId, Type.String({ pattern: '^([0-9a-f]{8})?$' })]), { maxItems: 1 << 18 }),
      booked: Type.Array(life, { maxItems: 1 << 18 }),
    }),
    result: closed({ running: reading, retired: reading }),
  },
  follow: { params: closed({ spec: interfaceSpec }), result: nothing },
  release: { params: closed({ portId }), result: nothing },
} as const;

/** Calls of a host to the region. Without a certificate only `join` may be asked. */
export const regionCalls = {
  ping: { params: nothing, result: nothing },
  join: {
    params: closed({
      token: text(128),
      /** PEM; what it signs proves that the private key is there. */
      publicKey: text(512),
      /** Of the token, by that key: base64. */
      proof: text(256),
    }),
    result: closed({
      host: Type.String({ pattern: '^[a-z0-9][a-z0-9.-]{0,62}$' }),
      installationId: Type.String({ pattern: '^[0-9a-f]{10}$' }),
      certificate: text(8192),
      /** As hosts reach the southbound database; empty when the region was not told. */
      southbound: Type.Array(text(300), { maxItems: 16 }),
    }),
  },
  /** The first call of a connection: all that is attached. */
  hello: {
    params: closed({ attachments: Type.Array(fact, { maxItems: mostWorkloads }) }),
    result: closed({ installationId: text(16) }),
  },
  /** Something came, changed, or (null) went. */
  attachment: {
    params: closed({ portId, fact: Type.Union([fact, Type.Null()]) }),
    result: nothing,
  },
  interface: { params: closed({ portId }), result: closed({ spec: interfaceSpec }) },
} as const;

export type HostCalls = typeof hostCalls;
export type RegionCalls = typeof regionCalls;
export type Calls = { readonly [name: string]: { readonly params: TSchema; readonly result: TSchema } };
export type Params<C extends Calls, N extends keyof C> = Static<C[N]['params']>;
export type Result<C extends Calls, N extends keyof C> = Static<C[N]['result']>;

const id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const message = Type.Union([
  closed({ id, call: text(32), params: Type.Unknown() }),
  closed({ id, result: Type.Unknown() }),
  closed({ id, error: closed({ code: text(32), message: text(4096) }) }),
]);
export type Message = Static<typeof message>;
const messageCheck = Compile(message);

/** @returns what a line says; a string: what is wrong with it */
export function readMessage(line: string): Message | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'not JSON';
  }
  return messageCheck.Check(value) ? value : 'not a message of this protocol';
}

type Checks = { readonly [name: string]: (value: unknown) => string | null };
const checksOf = (calls: Calls, part: 'params' | 'result'): Checks =>
  Object.fromEntries(
    Object.entries(calls).map(([name, schemas]) => {
      const check = Compile(schemas[part]);
      return [
        name,
        (value: unknown): string | null => {
          if (check.Check(value)) return null;
          const first = check.Errors(value)[0];
          return `${name}: ${first?.instancePath ?? ''} ${first?.message ?? 'not right'}`;
        },
      ];
    }),
  );
/** What is wrong with parameters or a result, by the name of the call; null: nothing. */
export const checks = {
  host: { params: checksOf(hostCalls, 'params'), result: checksOf(hostCalls, 'result') },
  region: { params: checksOf(regionCalls, 'params'), result: checksOf(regionCalls, 'result') },
} as const;
