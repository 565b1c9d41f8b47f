/**
 * Daemons that are children of this process: each in a network namespace, with its output in a file, and gone when this
 * process is, however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';

export interface Daemon {
  /** Under /run/netns. */
  readonly namespace: string;
  readonly environment: NodeJS.ProcessEnv;
  /** File that gets what it prints. */
  readonly log: string;
  readonly program: string;
  readonly args: readonly string[];
}

const isAlive = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

export class Daemons {
  readonly #running = new Map<string, { readonly child: ChildProcess; readonly log: string }>();

  /** @throws Error when one of that name runs */
  start(name: string, { namespace, environment, log, program, args }: Daemon): void {
    if (this.runs(name)) throw new Error(`${name} runs already`);
    const output = openSync(log, 'a');
    const enter = ['--pdeathsig', 'KILL', 'nsenter', `--net=/run/netns/${namespace}`];
    const child = spawn('setpriv', [...enter, program, ...args], {
      env: environment,
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    // One that cannot be started is one that does not run.
    child.on('error', () => {});
    this.#running.set(name, { child, log });
  }

  runs(name: string): boolean {
    const daemon = this.#running.get(name);
    return daemon !== undefined && isAlive(daemon.child);
  }
  /** Those that ended although nobody told them to, with the last that they said. */
  get fallen(): readonly string[] {
    return [...this.#running].flatMap(([name, { child, log }]) =>
      isAlive(child) ? [] : [`${name} ended (${child.signalCode ?? child.exitCode}): ${lastLines(log)}`],
    );
  }

  /** Ends a daemon as a crash does. Resolves when it is gone. */
  async kill(name: string): Promise<void> {
    const daemon = this.#running.get(name);
    if (daemon === undefined) return;
    if (isAlive(daemon.child)) daemon.child.kill('SIGKILL');
    await this.gone(name);
  }
  /** Resolves when a daemon that was told to end has ended. */
  async gone(name: string): Promise<void> {
    const daemon = this.#running.get(name);
    if (daemon === undefined) return;
    if (isAlive(daemon.child)) await once(daemon.child, 'exit');
    this.#running.delete(name);
  }
  async killAll(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.kill(name)));
  }
}

/** The end of a log. */
export function lastLines(log: string, lines = 20): string {
  return existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : '';
}
