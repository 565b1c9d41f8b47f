/** A workload's process, seen from outside: started inside a namespace, asked over its stdin, ended with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { WorkloadRequest } from './workload.ts';

type Settle = { resolve: (value: unknown) => void; reject: (error: Error) => void };

export class WorkloadProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Settle>();
  #next = 1;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
        const settle = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error === undefined) settle?.resolve(result);
        else settle?.reject(new Error(error));
      });
    }
    child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the workload ended'));
      this.#waiting.clear();
    });
  }

  /** @param namespace name under /run/netns */
  static async start(namespace: string, name: string): Promise<WorkloadProcess> {
    const program = fileURLToPath(new URL('./workload.ts', import.meta.url));
    // Not `ip netns exec`: that remounts /sys, which a chroot refuses.
    const args = [`--net=/run/netns/${namespace}`, process.execPath, program, name];
    const process_ = new WorkloadProcess(spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await process_.ask({ ask: 'received' }); // up once it answers
    return process_;
  }

  ask<T>(request: WorkloadRequest): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  /** Ends it, by force if it does not go in a second. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 1000);
    this.#child.stdin?.end();
    await gone;
    clearTimeout(force);
  }
}
