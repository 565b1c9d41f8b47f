/**
 * A whole cluster by the real command line: a bed of hosts, `isthmus up --driver ovn` on the first of them, and on each a
 * host that has joined by `isthmus host join` and runs `isthmus host agent`. All of it ends with the test.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { AdminClient } from '../../src/cli/admin.ts';
import { ClusterBed } from '../../src/cli/demo/cluster-bed.ts';
import { sockets } from '../../src/cli/places.ts';
import type { Answer } from '../cli/service.ts';
import { OvsPki, type PkiFiles } from '../ovn/ovs-pki.ts';
import type { Ending } from '../wire/lab.ts';

const program = resolve(import.meta.dirname, '../../src/cli/main.ts');
const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));
/** Of the bed's management network. */
const address = (host: number): string => `10.99.0.${host}`;
const hostsPort = 7790;

export const pkiArguments = (pki: PkiFiles | null): readonly string[] =>
  pki === null ? [] : ['--ovn-ca', pki.authority, '--ovn-cert', pki.certificate, '--ovn-key', pki.key];

export class ClusterHouse {
  readonly bed: ClusterBed;
  readonly folder: string;
  /** Of the databases. */
  readonly pki: PkiFiles | null;
  readonly admin: AdminClient;
  readonly #agents = new Map<number, ChildProcess>();
  #service: ChildProcess | null = null;

  private constructor(bed: ClusterBed, folder: string, pki: PkiFiles | null) {
    this.bed = bed;
    this.pki = pki;
    this.folder = folder;
    this.admin = new AdminClient({ socket: sockets(this.run(1)).admin });
  }

  /** @param of.secure the databases are reached by TLS */
  static async start(t: Ending, hosts: number, of: { readonly secure?: true } = {}): Promise<ClusterHouse> {
    const folder = mkdtempSync(join(tmpdir(), 'ch-'));
    chmodSync(folder, 0o755);
    let house: ClusterHouse | undefined;
    t.after(async () => {
      if (house !== undefined) await house.#end();
      rmSync(folder, { recursive: true, force: true });
    });
    const bedFolder = join(folder, 'bed');
    mkdirSync(bedFolder);
    const pki = of.secure === true ? new OvsPki(join(folder, 'pki')).files('all') : null;
    const mark = `ch${randomBytes(3).toString('hex')}`;
    const bed = await ClusterBed.start({ folder: bedFolder, mark, hosts, alone: true, pki });
    house = new ClusterHouse(bed, folder, pki);
    return house;
  }

  /** The run directory of what is on a host. */
  run(host: number): string {
    return join(this.folder, `run${host}`);
  }
  state(host: number): string {
    return join(this.folder, `state${host}`);
  }
  get #environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], TMPDIR: tmpdir(), XDG_CONFIG_HOME: join(this.folder, 'config') };
  }
  #spawn(host: number, args: readonly string[], log: string): ChildProcess {
    const node = [process.execPath, '--disable-warning=ExperimentalWarning', program];
    return spawn('nsenter', [`--net=/run/netns/${this.bed.namespace(host)}`, ...node, ...args], {
      env: { ...this.#environment, OVS_RUNDIR: this.bed.folder(host), ISTHMUS_SOCKET: sockets(this.run(1)).admin },
      stdio: ['ignore', 'pipe', 'pipe'],
    }).on('spawn', () => void log);
  }
  /** The command line on a host. */
  async on(host: number, ...args: readonly string[]): Promise<Answer> {
    const child = this.#spawn(host, args, '');
    const [stdout, stderr, status] = await Promise.all([textOf(child.stdout), textOf(child.stderr), ended(child)]);
    return { status, stdout, stderr };
  }
  /** The same, which must succeed. @returns what it printed */
  async done(host: number, ...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.on(host, ...args);
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }
  /** `attach`, `detach`, `attachments`, `exec` on a host. */
  local(host: number, verb: string, ...args: readonly string[]): Promise<Answer> {
    return this.on(host, verb, ...args, '--run-dir', this.run(host));
  }

  /** The service on the first host, answering. */
  async up(): Promise<void> {
    const { northbound, southbound } = this.bed.remotes;
    const hosts = ['--hosts-listen', `0.0.0.0:${hostsPort}`, '--hosts-advertise', `${address(1)}:${hostsPort}`];
    const ovn = ['--driver', 'ovn', '--ovn-nb', northbound, '--ovn-sb', southbound];
    this.#service = this.#spawn(1, ['up', ...ovn, ...pkiArguments(this.pki), ...hosts, '--run-dir', this.run(1)], '');
    const out = textOf(this.#service.stderr);
    const exit = ended(this.#service);
    let status: number | undefined;
    void exit.then((code) => {
      status = code;
    });
    await this.until('the service answers', async () => {
      if (status !== undefined) throw new Error(`it ended with ${status}: ${await out}`);
      return this.admin.call('GET', '/status').then(
        () => true,
        () => false,
      );
    });
  }
  async down(): Promise<void> {
    await end(this.#service);
    this.#service = null;
  }
  get log(): string {
    return readFileSync(join(this.run(1), 'isthmus.log'), 'utf8');
  }

  /** The arguments of `host join` in the line that the region gives. */
  async invite(host: number): Promise<readonly string[]> {
    const made = JSON.parse(await this.done(1, 'host', 'invite', this.bed.hostName(host), '--json')) as {
      command: string;
    };
    const [, , , , ...args] = made.command.split(' ');
    return args;
  }
  joinBy(host: number, invitation: readonly string[], ...more: readonly string[]): Promise<Answer> {
    const place = ['--encap-ip', this.bed.tunnelAddress(host), '--state', this.state(host)];
    return this.on(host, 'host', 'join', ...invitation, ...place, ...more);
  }
  /** Joins a host by the line that the region gives. @returns what join printed */
  async join(host: number): Promise<string> {
    const { status, stdout, stderr } = await this.joinBy(host, await this.invite(host));
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  }
  /** Resolves when the region has heard of it. One that is not heard of is ended. */
  async startAgent(host: number, patience = 30_000): Promise<void> {
    const child = this.#spawn(host, ['host', 'agent', '--state', this.state(host), '--run-dir', this.run(host)], '');
    this.#agents.set(host, child);
    const said = textOf(child.stderr);
    let over = false;
    void ended(child).then(() => {
      over = true;
    });
    const connected = async (): Promise<boolean> => {
      if (over) throw new Error(`it ended: ${await said}`);
      return (await this.host(host))?.connected === true;
    };
    await this.until(`the agent of host ${host} is connected`, connected, patience).catch(async (error) => {
      await this.stopAgent(host);
      throw error;
    });
  }
  async stopAgent(host: number): Promise<void> {
    await end(this.#agents.get(host) ?? null);
    this.#agents.delete(host);
  }
  async host(host: number): Promise<
    | {
        readonly connected: boolean;
        readonly behind: number | null;
        readonly workloads: readonly string[] | null;
        readonly state: string;
        readonly owes: readonly { readonly vpcId: string; readonly what: string }[];
      }
    | undefined
  > {
    const { hosts } = (await this.admin.call('GET', '/hosts')) as { hosts: readonly ({ name: string } & never)[] };
    return hosts.find(({ name }) => name === this.bed.hostName(host));
  }

  async until(what: string, ready: () => Promise<boolean> | boolean, patience = 30_000): Promise<void> {
    for (const giveUp = performance.now() + patience; !(await ready()); await pause(50)) {
      if (performance.now() > giveUp) throw new Error(`gave up waiting until ${what}`);
    }
  }

  async #end(): Promise<void> {
    for (const host of [...this.#agents.keys()]) await this.stopAgent(host);
    await this.down();
    await this.bed.stop();
  }
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) text += String(chunk);
  return text;
}
const ended = (child: ChildProcess): Promise<number> =>
  new Promise((done) => child.once('exit', (code, signal) => done(code ?? (signal === null ? 1 : 128))));
async function end(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const over = ended(child);
  child.kill('SIGTERM');
  await over;
}
