/**
 * The operator's side of the command line: calls over the admin socket, which only root and the service's own user may
 * open. Nothing is signed there; the socket's file mode is the check.
 */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { commonOptions } from './command.ts';
import { type Exchange, exchange, openStream } from './connection.ts';
import { Failure } from './failure.ts';
import type { OutputOptions } from './output.ts';
import { instanceOption, placesOf, sockets } from './places.ts';
import { type PlanAnswer, PlanShown } from './plan-shown.ts';

export interface AdminOptions extends OutputOptions {
  readonly socket?: string;
  readonly instance?: string;
  /** Only say what the change would do. */
  readonly plan?: true;
}

/** The service's own socket; for others than root one of their own, if they run one. */
function socketOf(options: AdminOptions, env: NodeJS.ProcessEnv): string {
  const given = options.socket ?? env['ISTHMUS_SOCKET'] ?? '';
  if (given !== '') return given;
  const { namespace, runDir } = placesOf(options);
  const own = sockets(runDir).admin;
  return existsSync(own) ? own : `/run/${namespace}/admin.sock`;
}

/** Adds a verb of the operator. */
export const adminVerb = (noun: Command, spec: string, summary: string): Command =>
  adminOptions(noun.command(spec).description(summary));

/** As `changeVerb` for tenants. */
export const adminChangeVerb = (noun: Command, spec: string, summary: string): Command =>
  adminVerb(noun, spec, summary).option('--plan', 'say what it would do, and change nothing');

export const adminOptions = (command: Command): Command =>
  command
    .optionsGroup(commonOptions)
    .option(...instanceOption)
    .option('--socket <path>', "the service's admin socket (ISTHMUS_SOCKET; default /run/isthmus/admin.sock)")
    .option('--json', "print the API's objects")
    .option('-q, --quiet', 'print ids only')
    .optionsGroup('Options:');

export interface AccountObject {
  readonly accountId: string;
  readonly name: string;
  readonly quotas: { readonly [type: string]: number };
  readonly requestsPerSecond: number;
  readonly createdTime: string;
}

function unreachable(path: string, error: NodeJS.ErrnoException): Failure {
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new Failure(2, `Only root and the user of the service may use ${path}.`, {
      remedy: 'Run the same with sudo.',
    });
  }
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    const hidden = process.geteuid?.() === 0 ? '' : ' If it is running, use sudo.';
    return new Failure(2, `No service listens at ${path}.`, { remedy: `Start it: sudo isthmus up.${hidden}` });
  }
  return new Failure(2, `${path} cannot be used: ${error.message || error.code}.`);
}

export class AdminClient {
  readonly path: string;
  readonly #plan: boolean;
  constructor(options: AdminOptions, env: NodeJS.ProcessEnv = process.env) {
    this.path = socketOf(options, env);
    this.#plan = options.plan === true;
  }

  /** @returns the envelope's result; @throws Failure; PlanShown where a change is only to be planned */
  async call(method: Exchange['method'], path: string, body?: object): Promise<unknown> {
    if (!this.#plan || method === 'GET') return this.#send(method, path, body);
    const planned = `${path}${path.includes('?') ? '&' : '?'}plan=true`;
    throw new PlanShown(((await this.#send(method, planned, body)) as PlanAnswer).plan);
  }

  /** Follows an answer that goes on. @returns when the service ends it */
  follow(path: string, take: (text: string) => void): Promise<void> {
    const target = { kind: 'socket', path: this.path } as const;
    return openStream(target, { path, headers: { host: 'localhost' } }, take, (error) => unreachable(this.path, error));
  }

  #send(method: Exchange['method'], path: string, body?: object): Promise<unknown> {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = { host: 'localhost', ...(text === '' ? {} : { 'content-type': 'application/json' }) };
    return exchange({ kind: 'socket', path: this.path }, { method, path, headers, body: text }, (error) =>
      unreachable(this.path, error),
    );
  }

  async accounts(): Promise<readonly AccountObject[]> {
    return ((await this.call('GET', '/accounts')) as { accounts: readonly AccountObject[] }).accounts;
  }

  /** The account that a text means, by id or name; names of accounts are unique. */
  async account(text: string): Promise<AccountObject> {
    const found = (await this.accounts()).find(({ accountId, name }) => accountId === text || name === text);
    if (found !== undefined) return found;
    throw new Failure(1, `There is no account '${text}'.`, { remedy: 'List them with: isthmus account list' });
  }
}

export const accountPath = (accountId: string, below = ''): string =>
  `/accounts/${encodeURIComponent(accountId)}${below}`;
