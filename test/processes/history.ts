/**
 * Clients of several servers on one store, and what each of their commands on VPCs met: when it was asked, when it was
 * answered, and what. Of an answer that a dying server owes nobody knows, and that is what the history says of it.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { revisionHeader } from '../../src/api/app.ts';
import { signRequest } from '../../src/api/auth/sign.ts';
import type { Model, Operation } from '../ledger/linearizable.ts';

export type VpcInput =
  | { readonly kind: 'create' | 'describe'; readonly description: string }
  | { readonly kind: 'add' | 'remove'; readonly cidr: string }
  | { readonly kind: 'delete' | 'read' };
/** What a VPC holds, or why not. */
export type VpcOutput =
  | { readonly kind: 'done' | 'not-found' | 'cidr-overlap' | 'cidr-not-found' }
  | { readonly kind: 'found'; readonly vpc: VpcContent };
export interface VpcContent {
  readonly description: string;
  readonly cidrs: readonly string[];
}
export type VpcOperation = Operation<VpcInput, VpcOutput>;

/** The range that each VPC is made with and keeps. */
export const firstCidr = '10.0.0.0/16';
const done = { kind: 'done' } as const;

/** One VPC, as the documentation has it. */
export const vpcModel: Model<VpcContent | null, VpcInput, VpcOutput> = {
  initial: null,
  step: (state, input) => {
    if (input.kind === 'create') {
      return { output: done, next: { description: input.description, cidrs: [firstCidr] } };
    }
    if (state === null) return { output: { kind: 'not-found' }, next: null };
    switch (input.kind) {
      case 'read':
        return { output: { kind: 'found', vpc: state }, next: state };
      case 'describe':
        return { output: done, next: { ...state, description: input.description } };
      case 'add':
        if (state.cidrs.includes(input.cidr)) return { output: { kind: 'cidr-overlap' }, next: state };
        return { output: done, next: { ...state, cidrs: [...state.cidrs, input.cidr] } };
      case 'remove':
        if (!state.cidrs.includes(input.cidr)) return { output: { kind: 'cidr-not-found' }, next: state };
        return { output: done, next: { ...state, cidrs: state.cidrs.filter((cidr) => cidr !== input.cidr) } };
      case 'delete':
        return { output: done, next: null };
    }
  },
  reads: ({ kind }) => kind === 'read',
  key: (state) => JSON.stringify(state),
  same: (one, other) => JSON.stringify(one) === JSON.stringify(other),
};

export interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}
export interface Answer {
  readonly requestId: string;
  /** The revision that it was given at. */
  readonly revision: number;
  readonly output: VpcOutput;
  /** Of a create. */
  readonly vpcId: string | null;
}
/** 'nobody': the server was not there, or said that it has done nothing. 'unknown': it was lost while it had the request. */
export type Met = Answer | 'nobody' | 'unknown';

interface Body {
  readonly requestId: string;
  readonly result?: {
    readonly vpcId?: string;
    readonly vpc?: { readonly description: string; readonly addressPrefixes: readonly string[] };
  };
  readonly error?: { readonly message: string; readonly details: readonly { readonly code: string }[] };
}

const root = '/v1/regions/test-1';
const host = 'isthmus.test';

export class Caller {
  readonly #key: Key;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(key: Key) {
    this.#key = key;
  }
  close(): void {
    this.#agent.destroy();
  }

  /** @param vpcId '' of one that is to be made @param token the same for the same VPC to be made */
  ask(url: string, vpcId: string, input: VpcInput, options: { token?: string; atLeast?: number } = {}): Promise<Met> {
    const { method, path, body } = wire(vpcId, input, options.token ?? randomUUID());
    const text = body === undefined ? '' : JSON.stringify(body);
    const signed = signRequest({ method, path: root + path, host, body: text, region: 'test-1', ...this.#key });
    const headers = {
      ...signed,
      'content-length': String(Buffer.byteLength(text)),
      ...(options.atLeast === undefined ? {} : { [revisionHeader]: String(options.atLeast) }),
    };
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const sent = request({ hostname, port, method, path: root + path, headers, agent: this.#agent });
      sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' ? 'nobody' : 'unknown'));
      sent.on('response', (response) => {
        let answer = '';
        response.on('error', () => resolve('unknown'));
        response.on('data', (part) => {
          answer += String(part);
        });
        response.on('end', () => {
          if (!response.complete) return;
          try {
            resolve(understood(JSON.parse(answer) as Body, Number(response.headers[revisionHeader])));
          } catch (error) {
            reject(error);
          }
        });
      });
      sent.end(text);
    });
  }
}

function understood({ requestId, result, error }: Body, revision: number): Met {
  const code = error?.details[0]?.code;
  switch (code) {
    case 'store-unavailable':
    case 'behind':
      return 'nobody';
    case 'store-uncertain':
      return 'unknown';
    case 'not-found':
    case 'cidr-overlap':
    case 'cidr-not-found':
      return { requestId, revision, output: { kind: code }, vpcId: null };
    case undefined: {
      const { vpc } = result ?? {};
      const output: VpcOutput =
        vpc === undefined ? done : { kind: 'found', vpc: { description: vpc.description, cidrs: vpc.addressPrefixes } };
      return { requestId, revision, output, vpcId: result?.vpcId ?? null };
    }
    default:
      throw new Error(`refused: ${error?.message}`);
  }
}

interface Wire {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}
function wire(vpcId: string, input: VpcInput, token: string): Wire {
  const path = `/vpcs/${vpcId}`;
  switch (input.kind) {
    case 'create': {
      const name = `v-${token.slice(0, 23)}`;
      const { description } = input;
      return {
        method: 'POST',
        path,
        body: { vpcName: name, description, addressPrefix: firstCidr, clientToken: token },
      };
    }
    case 'describe':
      return { method: 'PATCH', path, body: { description: input.description } };
    case 'add':
      return { method: 'POST', path: `${path}:associateCidr`, body: { addressPrefix: input.cidr } };
    case 'remove':
      return { method: 'POST', path: `${path}:disassociateCidr`, body: { addressPrefix: input.cidr } };
    case 'delete':
      return { method: 'DELETE', path };
    case 'read':
      return { method: 'GET', path };
  }
}
