/**
 * The tenant's side of the command line: which region and key a command uses, and signed calls to its JD Cloud API.
 * Signs with the service's own function; there is no second signer.
 */
import type { Command } from 'commander';
import { signRequest } from '../api/auth/sign.ts';
import { commonOptions } from './command.ts';
import { exchange, openStream, type Target } from './connection.ts';
import { Failure } from './failure.ts';
import type { OutputOptions } from './output.ts';
import { type PlanAnswer, PlanShown } from './plan-shown.ts';
import { type Profile, readProfiles } from './profiles.ts';

export interface TenantOptions extends OutputOptions {
  /** Only say what the change would do. */
  readonly plan?: true;
  readonly profile?: string;
  readonly endpoint?: string;
  readonly region?: string;
}

/** Adds a verb that speaks for a tenant. @param spec the verb and its arguments, as commander reads them */
export const tenantVerb = (noun: Command, spec: string, summary: string): Command =>
  tenantOptions(noun.command(spec).description(summary));

/** Adds a verb that changes something; with `--plan` it only says what it would do. */
export const changeVerb = (noun: Command, spec: string, summary: string): Command =>
  tenantVerb(noun, spec, summary).option(...planOption);
export const planOption = ['--plan', 'say what it would do, and change nothing'] as const;

export const tenantOptions = (command: Command): Command =>
  command
    .optionsGroup(commonOptions)
    .option('-p, --profile <name>', 'the profile to act as (ISTHMUS_PROFILE)')
    .option('--endpoint <url>', "the region to speak to, instead of the profile's (ISTHMUS_ENDPOINT)")
    .option('--region <name>', "its name, instead of the profile's (ISTHMUS_REGION)")
    .option('--json', "print the API's objects")
    .option('-q, --quiet', 'print ids only')
    .optionsGroup('Options:');

export const defaultEndpoint = 'http://127.0.0.1:7788';
export const defaultRegion = 'local-1';

const given = (text: string | undefined): text is string => text !== undefined && text !== '';

/** The profile that a command acts as: options before environment before file. */
export function profileFor(options: TenantOptions, env: NodeJS.ProcessEnv = process.env): Profile {
  const [accessKeyId, secretAccessKey] = [env['ISTHMUS_ACCESS_KEY'], env['ISTHMUS_SECRET_KEY']];
  if (given(accessKeyId) !== given(secretAccessKey)) {
    throw new Failure(2, 'Only one of ISTHMUS_ACCESS_KEY and ISTHMUS_SECRET_KEY is set.', {
      remedy: 'Set both or none.',
    });
  }
  const place = {
    endpoint: options.endpoint ?? env['ISTHMUS_ENDPOINT'],
    region: options.region ?? env['ISTHMUS_REGION'],
  };
  if (options.profile === undefined && given(accessKeyId) && given(secretAccessKey)) {
    return {
      endpoint: place.endpoint ?? defaultEndpoint,
      region: place.region ?? defaultRegion,
      accessKeyId,
      secretAccessKey,
    };
  }
  const { current, profiles } = readProfiles();
  const name = options.profile ?? env['ISTHMUS_PROFILE'] ?? current;
  const profile = profiles[name];
  if (profile === undefined) {
    const known = Object.keys(profiles);
    throw new Failure(2, `There is no profile '${name}'.`, {
      lines: known.length > 0 ? [`There are: ${known.join(', ')}.`] : [],
      remedy:
        'As operator: sudo isthmus key create ACCOUNT --save-profile NAME. With a key at hand: isthmus configure.',
    });
  }
  return {
    ...profile,
    ...(given(place.endpoint) ? { endpoint: place.endpoint } : {}),
    ...(given(place.region) ? { region: place.region } : {}),
  };
}

/** Parses an endpoint. @throws Failure for anything but http(s)://HOST[:PORT] */
export function parseEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.pathname !== '/' || url.search !== '') {
    throw new Failure(2, `'${text}' is not an endpoint.`, {
      remedy: `Write it like ${defaultEndpoint} or https://HOST.`,
    });
  }
  return url;
}

export type Query = readonly (readonly [name: string, value: string])[];
export interface Filter {
  readonly name: string;
  readonly values: readonly string[];
}
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Largest page that the API answers. */
const pageSize = 100;

export class Client {
  readonly profile: Profile;
  readonly #endpoint: URL;
  readonly #target: Target;
  readonly #plan: boolean;
  readonly #note: ((text: string) => void) | undefined;

  /**
   * @param plan whether changes are only to be planned: the first one then throws `PlanShown`
   * @param note told of a change that is stored and not carried out yet; by default it is printed
   */
  constructor(profile: Profile, plan = false, note?: (text: string) => void) {
    this.profile = profile;
    this.#plan = plan;
    this.#note = note;
    this.#endpoint = parseEndpoint(profile.endpoint);
    this.#target = { kind: 'tcp', endpoint: this.#endpoint, caFile: profile.caFile };
  }

  get = (path: string, query: Query = []): Promise<unknown> => this.#call('GET', path, query, undefined);
  post = (path: string, body: object): Promise<unknown> => this.#call('POST', path, [], body);
  put = (path: string, body: object): Promise<unknown> => this.#call('PUT', path, [], body);
  patch = (path: string, body: object): Promise<unknown> => this.#call('PATCH', path, [], body);
  delete = (path: string, query: Query = []): Promise<unknown> => this.#call('DELETE', path, query, undefined);

  /** Every object of a collection, all pages. @param key the name of the array in the answer */
  async all<T>(collection: string, key: string, filters: readonly Filter[] = []): Promise<readonly T[]> {
    const found: T[] = [];
    const query: (readonly [string, string])[] = filters.flatMap(({ name, values }, at) => [
      [`filters.${at + 1}.name`, name] as const,
      ...values.map((value, index) => [`filters.${at + 1}.values.${index + 1}`, value] as const),
    ]);
    for (let pageNumber = 1; ; pageNumber++) {
      const paging: Query = [
        ['pageNumber', String(pageNumber)],
        ['pageSize', String(pageSize)],
      ];
      const answer = (await this.get(`/${collection}/`, [...query, ...paging])) as { readonly [name: string]: unknown };
      const page = answer[key] as readonly T[];
      found.push(...page);
      if (found.length >= (answer['totalCount'] as number) || page.length < pageSize) return found;
    }
  }

  /** Follows an answer that goes on. @returns when the service ends it */
  follow(path: string, query: Query, take: (text: string) => void): Promise<void> {
    const { path: whole, headers } = this.#signed('GET', path, query, '');
    return openStream(this.#target, { path: whole, headers }, take, (error) => this.#unreachable(error));
  }

  async #call(method: Method, path: string, query: Query, body: object | undefined): Promise<unknown> {
    if (!this.#plan || method === 'GET') return this.#send(method, path, query, body);
    throw new PlanShown(((await this.#send(method, path, [...query, ['plan', 'true']], body)) as PlanAnswer).plan);
  }

  #signed(method: Method, path: string, query: Query, body: string) {
    const { region, accessKeyId, secretAccessKey } = this.profile;
    const search = query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
    const whole = `/v1/regions/${encodeURIComponent(region)}${path}${search === '' ? '' : `?${search}`}`;
    const { host } = this.#endpoint;
    return {
      path: whole,
      headers: signRequest({ method, path: whole, host, body, region, accessKeyId, secretAccessKey }),
    };
  }

  #send(method: Method, path: string, query: Query, body: object | undefined): Promise<unknown> {
    const text = body === undefined ? '' : JSON.stringify(body);
    const signed = this.#signed(method, path, query, text);
    const unreachable = (error: NodeJS.ErrnoException): Failure => this.#unreachable(error);
    return exchange(this.#target, { method, ...signed, body: text }, unreachable, this.#note);
  }

  #unreachable(error: NodeJS.ErrnoException): Failure {
    return new Failure(2, `${this.profile.endpoint} cannot be reached: ${error.message || error.code}.`, {
      remedy: 'Is the service running (sudo isthmus up), and is the endpoint of the profile right?',
    });
  }
}

export const clientFor = (options: TenantOptions): Client => new Client(profileFor(options), options.plan === true);
