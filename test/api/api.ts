/** A region in memory behind a real HTTP server, and tenants who sign what they send. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { Writable } from 'node:stream';
import pino from 'pino';
import { type SignOptions, signRequest } from '../../src/api/auth/sign.ts';
import type { VerifierOptions } from '../../src/api/auth/verify.ts';
import { type Listening, listen } from '../../src/api/listen.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, PortId } from '../../src/model/ids.ts';
import { Region } from '../../src/region/region.ts';
import type { Command } from '../../src/rules/commands.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Ending } from '../wire/lab.ts';

export interface Key {
  readonly accountId: AccountId;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}
export interface Answer {
  readonly status: number;
  readonly headers: { readonly [name: string]: string };
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSON a test asks for
  readonly json: any;
}
export interface Sent {
  readonly method: string;
  /** As on the wire, query included. */
  readonly path: string;
  readonly headers: { readonly [name: string]: string };
  readonly body: Buffer;
}
export type Signing = Partial<SignOptions>;

export class Api {
  readonly region: Region;
  readonly #server: Listening;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  /** Everything that was logged. */
  readonly log: string[];

  readonly #plane: Reconciler;
  /** The data plane in memory. */
  readonly driver: FakeDriver;

  private constructor(region: Region, plane: Reconciler, driver: FakeDriver, server: Listening, log: string[]) {
    this.region = region;
    this.#plane = plane;
    this.driver = driver;
    this.#server = server;
    this.log = log;
  }

  static async start(ending: Ending, auth: VerifierOptions = {}, driver = new FakeDriver()): Promise<Api> {
    const plane = new Reconciler(driver, { driftInterval: 0 });
    const store = new SqliteStore(':memory:');
    const region = await Region.start({ name: 'test-1', version: '0', store, plane });
    const lines: string[] = [];
    const sink = new Writable({
      write: (chunk, _encoding, done) => {
        lines.push(String(chunk));
        done();
      },
    });
    const log = pino({ level: 'trace' }, sink);
    const server = await listen({ region, log, address: '127.0.0.1:0', auth });
    const api = new Api(region, plane, driver, server, lines);
    ending.after(async () => {
      api.#agent.destroy();
      await server.close();
      await region.close();
    });
    return api;
  }
  get host(): string {
    return new URL(this.#server.url).host;
  }
  get url(): string {
    return this.#server.url;
  }

  async operate(command: Command): Promise<{ readonly id: string; readonly secret: string }> {
    const outcome = await this.region.submit(command, { principal: { kind: 'operator' }, requestId: 'operator' });
    assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
    return { id: outcome.result.id ?? '', secret: outcome.secret ?? '' };
  }
  async key(accountId: AccountId): Promise<Key> {
    const { id, secret } = await this.operate({ kind: 'create-key', accountId, description: '' });
    return { accountId, accessKeyId: id, secretAccessKey: secret };
  }
  async tenant(name: string): Promise<Key> {
    return this.key((await this.operate({ kind: 'create-account', name })).id as AccountId);
  }

  /** Puts a workload of the data plane in memory on an interface. */
  async attach(portId: string): Promise<void> {
    await this.#plane.attach({ portId: portId as PortId, target: { kind: 'netns', name: portId } });
  }

  /** A request as it would be sent, signed. @param path below the region: `/vpcs/` */
  signed(key: Key, method: string, path: string, body: string | Buffer = '', of: Signing = {}): Sent {
    const whole = path.startsWith('/v1/') ? path : `/v1/regions/${this.region.name}${path}`;
    const bytes = Buffer.from(body);
    const headers = signRequest({
      method,
      path: whole,
      host: this.host,
      body: bytes as unknown as string,
      region: this.region.name,
      ...key,
      ...of,
    });
    return { method, path: whole, headers, body: bytes };
  }
  send({ method, path, headers, body }: Sent): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(this.#server.url);
      const sent = request({
        method,
        path,
        headers: { ...headers, 'content-length': String(body.length) },
        hostname,
        port,
        agent: this.#agent,
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          const received = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
          let json: unknown;
          try {
            json = JSON.parse(text);
          } catch {
            json = undefined;
          }
          resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(received), text, json });
        });
      });
      sent.end(body);
    });
  }
  /** Signs and sends. @param body an object is sent as JSON */
  call(key: Key, method: string, path: string, body?: object | string | Buffer, of: Signing = {}): Promise<Answer> {
    const bytes =
      body === undefined ? '' : typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return this.send(this.signed(key, method, path, bytes, of));
  }
  /** The result of a call that must succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSON a test asks for
  async done(key: Key, method: string, path: string, body?: object): Promise<any> {
    const { status, text, json } = await this.call(key, method, path, body);
    assert.equal(status, 200, `${method} ${path}: ${text}`);
    return json.result;
  }
}

/** Every answer has the envelope. @returns the name of the refusal, or '' */
export function enveloped(answer: Answer): string {
  const { status, headers, json, text } = answer;
  assert.match(headers['content-type'] ?? '', /^application\/json/, text);
  assert.match(json?.requestId ?? '', /^[0-9a-f]{8}-[0-9a-f-]{27}$/, text);
  assert.equal(headers['x-jdcloud-request-id'], json.requestId);
  if (status < 300) return '';
  const { error } = json;
  assert.equal(error.code, status, text);
  assert.ok(error.status.length > 0 && error.message.length > 0, text);
  assert.equal(error.details.length, 1, text);
  assert.ok(error.details[0].code.length > 0, text);
  return error.details[0].code as string;
}

/** One of everything, of one tenant. */
export async function estate(api: Api, key: Key, n: number) {
  const cidr = `10.${n}.0.0/16`;
  const { vpcId } = await api.done(key, 'POST', '/vpcs', { vpcName: `v${n}`, addressPrefix: cidr });
  const { subnetId } = await api.done(key, 'POST', '/subnets', { vpcId, subnetName: `s${n}`, addressPrefix: cidr });
  const { routeTableId } = await api.done(key, 'POST', '/routeTables', { vpcId, routeTableName: `t${n}` });
  const { networkInterfaceId } = await api.done(key, 'POST', '/networkInterfaces', { subnetId });
  return { cidr, vpcId, subnetId, routeTableId, networkInterfaceId } as { [what: string]: string };
}
