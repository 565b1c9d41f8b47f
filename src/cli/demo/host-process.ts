/**
 * A host of the bed as a machine of its own would be: it joins by the command that an operator runs there, and its agent is
 * a process in the host's namespace. Killed and started again as one likes.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { hostAgentCommand } from '../../agent/ovn-launch.ts';
import type { AdminClient } from '../admin.ts';
import type { ClusterBed } from './cluster-bed.ts';

const run = promisify(execFile);
const program = fileURLToPath(new URL('../main.ts', import.meta.url));
const patience = 30_000;

export class HostProcess {
  readonly #bed: ClusterBed;
  readonly #host: number;
  readonly #folder: string;
  #child: ChildProcess | null = null;

  private constructor(bed: ClusterBed, host: number, folder: string) {
    this.#bed = bed;
    this.#host = host;
    this.#folder = folder;
  }

  /**
   * Joins, and resolves once the agent is connected.
   * @param folder of its own, for the key, the certificate and the agent's socket
   */
  static async join(bed: ClusterBed, host: number, admin: AdminClient, folder: string): Promise<HostProcess> {
    const name = bed.hostName(host);
    const { token, authorityFingerprint, regions, southbound } = (await admin.call('POST', '/hosts', {
      name,
      seconds: 600,
    })) as {
      token: string;
      authorityFingerprint: string;
      regions: readonly string[];
      southbound: readonly string[];
    };
    const one = new HostProcess(bed, host, folder);
    mkdirSync(one.runDir, { recursive: true });
    const region = ['--region', regions.join(), '--token', token, '--ca-fingerprint', authorityFingerprint];
    const line = ['--name', name, ...region, '--ovn-remote', southbound.join()];
    const place = ['--state', one.#state, '--ovs-run-dir', bed.folder(host), '--encap-ip', bed.tunnelAddress(host)];
    await one.#inside(
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      program,
      'host',
      'join',
      ...line,
      ...place,
    );
    one.start();
    for (const end = performance.now() + patience; ; ) {
      const { host: shown } = (await admin.call('GET', `/hosts/${name}`)) as { host: { connected: boolean } };
      if (shown.connected) return one;
      if (performance.now() > end) throw new Error(`the agent of ${name} has not connected after ${patience / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Where its socket for root is. */
  get runDir(): string {
    return join(this.#folder, 'run');
  }
  get #state(): string {
    return join(this.#folder, 'state');
  }
  async #inside(...command: readonly string[]): Promise<void> {
    const enter = [`--net=/run/netns/${this.#bed.namespace(this.#host)}`, ...command];
    try {
      await run('nsenter', enter, { timeout: patience });
    } catch (error) {
      const { stderr = '', message = '' } = error as { stderr?: string; message?: string };
      throw new Error(`${this.#bed.hostName(this.#host)} could not join: ${stderr.trim() || message}`, {
        cause: error,
      });
    }
  }

  start(): void {
    const { file, args } = hostAgentCommand({ runDir: this.runDir, state: this.#state });
    const enter = ['--pdeathsig', 'KILL', 'nsenter', `--net=/run/netns/${this.#bed.namespace(this.#host)}`];
    const log = openSync(join(this.#folder, 'agent.log'), 'a');
    this.#child = spawn('setpriv', [...enter, file, ...args], { stdio: ['ignore', log, log] });
    closeSync(log);
  }
  /** As a crash does. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
  close(): Promise<void> {
    return this.kill();
  }
}
