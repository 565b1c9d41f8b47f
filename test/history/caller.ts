/**
 * What a client asks of one of several servers, and what it met. Of an answer that a dying server owes nobody knows, and
 * that is what is said of it.
 */
import { Agent, request } from 'node:http';
import { revisionHeader } from '../../src/api/app.ts';
import { signRequest } from '../../src/api/auth/sign.ts';
import type { HalfId, RouteTableId, SubnetId, VpcId } from '../../src/model/ids.ts';
import type { StateView } from '../../src/model/state.ts';
import type { Of } from '../ledger/ledger.ts';

/** A command as the rules know it, of the kinds that these clients give. */
export type Given = Of<
  | 'create-vpc'
  | 'modify-vpc'
  | 'add-cidr'
  | 'remove-cidr'
  | 'delete-vpc'
  | 'create-subnet'
  | 'delete-subnet'
  | 'create-interface'
  | 'delete-interface'
  | 'add-routes'
  | 'remove-routes'
  | 'create-peering'
  | 'delete-peering'
>;
export type Question =
  | { readonly kind: 'read-vpc'; readonly vpcId: VpcId }
  | { readonly kind: 'read-ports'; readonly subnetId: SubnetId }
  | { readonly kind: 'read-table'; readonly routeTableId: RouteTableId }
  | { readonly kind: 'read-half'; readonly halfId: HalfId };
export type Asked = Given | Question;
export const isQuestion = (asked: Asked): asked is Question => asked.kind.startsWith('read-');

export interface Answer {
  readonly requestId: string;
  /** The revision that it was given at. */
  readonly revision: number;
  /** 'done', why not, or what was found (`viewOf`), as text. */
  readonly output: string;
  /** What a refusal names as missing. */
  readonly missing: string | undefined;
  /** Of a create. */
  readonly made: string | null;
  /** Stored, and not yet confirmed by the data plane. */
  readonly pending: boolean;
  readonly body: Body;
}
/** 'nobody': the server was not there, or said that it has done nothing. 'unknown': it was lost while it had the request. */
export type Met = Answer | 'nobody' | 'unknown';

interface Rule {
  readonly ruleId: string;
  readonly description: string;
  readonly addressPrefix: string;
  readonly nextHopType: string;
  readonly nextHopId: string;
}
interface Result {
  readonly vpcId?: string;
  readonly subnetId?: string;
  readonly networkInterfaceId?: string;
  readonly vpc?: {
    readonly description: string;
    readonly addressPrefixes: readonly string[];
    readonly routeTableIds: readonly string[];
  };
  readonly vpcPeering?: { readonly vpcPeeringId: string; readonly vpcPeeringState: string };
  readonly networkInterfaces?: readonly { readonly networkInterfaceId: string }[];
  readonly routeTable?: { readonly routeTableRules: readonly Rule[] };
}
export interface Body {
  readonly requestId: string;
  readonly result?: Result;
  readonly error?: {
    readonly message: string;
    readonly details: readonly { readonly code: string; readonly params: { readonly id?: string } }[];
  };
}
export interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
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

  /** @param token the same for the same thing to be made @param atLeast the revision that the server must know */
  async ask(url: string, asked: Asked, options: { token?: string; atLeast?: number } = {}): Promise<Met> {
    const { method, path, body } = wire(asked, options.token);
    const got = await this.send(url, method, path, body, options.atLeast);
    return typeof got === 'string' ? got : understood(asked, got);
  }

  send(
    url: string,
    method: string,
    path: string,
    body?: object,
    atLeast?: number,
  ): Promise<Got | 'nobody' | 'unknown'> {
    const text = body === undefined ? '' : JSON.stringify(body);
    const signed = signRequest({ method, path: root + path, host, body: text, region: 'test-1', ...this.#key });
    const headers = {
      ...signed,
      'content-length': String(Buffer.byteLength(text)),
      ...(atLeast === undefined ? {} : { [revisionHeader]: String(atLeast) }),
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
            const revision = Number(response.headers[revisionHeader]);
            resolve({ status: response.statusCode ?? 0, revision, body: JSON.parse(answer) as Body });
          } catch (error) {
            reject(error);
          }
        });
      });
      sent.end(text);
    });
  }
}
export interface Got {
  readonly status: number;
  readonly revision: number;
  readonly body: Body;
}

/** Refusals that are part of the story; any other ends the test. */
const expected = new Set([
  ...['not-found', 'cidr-overlap', 'cidr-not-found', 'subnet-overlap', 'subnet-in-use'],
  ...['destination-taken', 'peering-exists'],
]);

function understood(asked: Asked, { status, revision, body }: Got): Met {
  const { requestId, result, error } = body;
  const [detail] = error?.details ?? [];
  if (detail === undefined) {
    const made = result?.vpcId ?? result?.subnetId ?? result?.networkInterfaceId ?? result?.vpcPeering?.vpcPeeringId;
    const output = isQuestion(asked) ? found(asked, result ?? {}) : 'done';
    const pending = status === 202;
    return { requestId, revision, output, missing: undefined, made: made ?? null, pending, body };
  }
  const { code, params } = detail;
  if (code === 'store-unavailable' || code === 'behind') return 'nobody';
  if (code === 'store-uncertain') return 'unknown';
  if (!expected.has(code)) throw new Error(`${JSON.stringify(asked)} was refused: ${error?.message}`);
  const output = isQuestion(asked) ? nothing : code;
  return { requestId, revision, output, missing: params.id, made: null, pending: false, body };
}

/** What a question finds of something that is not there. */
export const nothing = 'nothing';
/** Tells the rules that clients made from the one that each table begins with. */
export const isTag = (description: string): boolean => description.startsWith('tag-');
const sorted = (lines: readonly string[]): string => JSON.stringify([...lines].sort());
/** The views of a question's object, by what they are made of. */
export const shown = {
  vpc: (description: string, cidrs: readonly string[]): string => JSON.stringify([description, cidrs]),
  ports: sorted,
  rules: (rules: readonly { readonly tag: string; readonly to: string; readonly via: string }[]): string =>
    sorted(rules.map(({ tag, to, via }) => `${to} via ${via} ${tag}`)),
  half: (state: string): string => state,
};

/** What an answer shows. */
function found(asked: Question, { vpc, networkInterfaces, routeTable, vpcPeering }: Result): string {
  switch (asked.kind) {
    case 'read-vpc':
      return vpc === undefined ? nothing : shown.vpc(vpc.description, vpc.addressPrefixes);
    case 'read-ports':
      return shown.ports((networkInterfaces ?? []).map(({ networkInterfaceId }) => networkInterfaceId));
    case 'read-table': {
      const rules = (routeTable?.routeTableRules ?? []).filter(({ description }) => isTag(description));
      return shown.rules(rules.map((rule) => ({ tag: rule.description, to: rule.addressPrefix, via: rule.nextHopId })));
    }
    case 'read-half':
      return shown.half(vpcPeering?.vpcPeeringState ?? nothing);
  }
}
/** What a state holds of the same. */
export function viewOf(state: StateView, asked: Question): string {
  switch (asked.kind) {
    case 'read-vpc': {
      const vpc = state.get('vpc', asked.vpcId);
      return vpc === undefined ? nothing : shown.vpc(vpc.description, vpc.cidrs);
    }
    case 'read-ports':
      return shown.ports(state.children('interface', asked.subnetId).map(({ id }) => id));
    case 'read-table': {
      const rules = state.get('route-table', asked.routeTableId)?.rules.filter((rule) => isTag(rule.description));
      if (rules === undefined) return nothing;
      const via = (hop: (typeof rules)[number]['nextHop']): string =>
        hop.kind === 'peering' ? hop.halfId : hop.kind === 'interface' ? hop.portId : hop.kind;
      return shown.rules(
        rules.map((rule) => ({ tag: rule.description, to: rule.destination, via: via(rule.nextHop) })),
      );
    }
    case 'read-half':
      return state.get('peering', asked.halfId)?.state ?? nothing;
  }
}

interface Wire {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
}
const hopWire = (hop: Given & { kind: 'add-routes' }): readonly object[] =>
  hop.routes.map(({ destination, nextHop, description }) => ({
    addressPrefix: destination,
    description,
    ...(nextHop.kind === 'peering'
      ? { nextHopType: 'vpc_peering', nextHopId: nextHop.halfId }
      : nextHop.kind === 'interface'
        ? { nextHopType: 'elastic_network_interface', nextHopId: nextHop.portId }
        : { nextHopType: 'internet', nextHopId: 'internet' }),
  }));
function wire(asked: Asked, clientToken: string | undefined): Wire {
  const post = (path: string, body: object): Wire => ({ method: 'POST', path, body });
  const remove = (path: string): Wire => ({ method: 'DELETE', path });
  const get = (path: string): Wire => ({ method: 'GET', path });
  switch (asked.kind) {
    case 'create-vpc': {
      const { name: vpcName, description, cidrs: addressPrefixes } = asked;
      return post('/vpcs/', { vpcName, description, addressPrefixes, clientToken });
    }
    case 'modify-vpc':
      return { method: 'PATCH', path: `/vpcs/${asked.vpcId}`, body: { description: asked.description } };
    case 'add-cidr':
      return post(`/vpcs/${asked.vpcId}:associateCidr`, { addressPrefix: asked.cidr });
    case 'remove-cidr':
      return post(`/vpcs/${asked.vpcId}:disassociateCidr`, { addressPrefix: asked.cidr });
    case 'delete-vpc':
      return remove(`/vpcs/${asked.vpcId}?cascade=true`);
    case 'create-subnet': {
      const { vpcId, name: subnetName, cidrs } = asked;
      return post('/subnets/', { vpcId, subnetName, addressPrefix: cidrs[0], clientToken });
    }
    case 'delete-subnet':
      return remove(`/subnets/${asked.subnetId}`);
    case 'create-interface':
      return post('/networkInterfaces/', { subnetId: asked.subnetId, clientToken });
    case 'delete-interface':
      return remove(`/networkInterfaces/${asked.portId}`);
    case 'add-routes':
      return post(`/routeTables/${asked.routeTableId}:addRouteTableRules`, { routeTableRuleSpecs: hopWire(asked) });
    case 'remove-routes':
      return post(`/routeTables/${asked.routeTableId}:removeRouteTableRules`, { ruleIds: asked.ruleIds });
    case 'create-peering': {
      const { name: vpcPeeringName, vpcId, remoteVpcId } = asked;
      return post('/vpcPeerings/', { vpcPeeringName, vpcId, remoteVpcId, clientToken });
    }
    case 'delete-peering':
      return remove(`/vpcPeerings/${asked.halfId}`);
    case 'read-vpc':
      return get(`/vpcs/${asked.vpcId}`);
    case 'read-ports':
      return get(`/networkInterfaces/?pageSize=100&filters.1.name=subnetId&filters.1.values.1=${asked.subnetId}`);
    case 'read-table':
      return get(`/routeTables/${asked.routeTableId}`);
    case 'read-half':
      return get(`/vpcPeerings/${asked.halfId}`);
  }
}
