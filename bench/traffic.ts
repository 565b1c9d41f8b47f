/**
 * A traffic process as the measurements see it: one job at a time, with a time limit. The process is pinned to one CPU,
 * and used for every path in turn, so that all are measured with the same warm code.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Address } from '../src/model/ip.ts';
import type { Sandbox } from './sandbox.ts';

/** What a traffic process can be told. `namespace` is a name under /run/netns. */
export type Job =
  | {
      readonly do: 'send-udp';
      readonly namespace: string;
      readonly to: Address;
      readonly port: number;
      readonly packets: number;
      /** Bytes of payload. */
      readonly size: number;
      /** Packets at once, and microseconds from one burst to the next. */
      readonly burst: number;
      readonly every: number;
    }
  | {
      readonly do: 'receive-udp';
      readonly namespace: string;
      readonly port: number;
      readonly packets: number;
      /** Milliseconds without a packet after which the rest counts as lost. */
      readonly patience: number;
      /** Microseconds to sleep when nothing is there. */
      readonly pause: number;
    }
  /** Takes one TCP connection, to its end: sends back what comes, or swallows it. */
  | { readonly do: 'serve'; readonly namespace: string; readonly port: number; readonly echo: boolean }
  | {
      readonly do: 'request';
      readonly namespace: string;
      readonly to: Address;
      readonly port: number;
      readonly turns: number;
    }
  | {
      readonly do: 'stream';
      readonly namespace: string;
      readonly to: Address;
      readonly port: number;
      readonly bytes: number;
    };

export interface JobResult {
  /** Packets; bytes for `serve` and `stream`; turns for `request`. */
  readonly packets: number;
  /** Nanoseconds of CPU time. */
  readonly cpu: number;
  /** Nanoseconds. */
  readonly elapsed: number;
  /** When the first packet was read, in nanoseconds of CLOCK_MONOTONIC; 0: none came. */
  readonly first?: number;
}

type Line = { readonly ready: true } | { readonly result: JobResult } | { readonly problem: string };

/** A job under way. */
export interface Running {
  /** Resolves once a receiver or server listens; at once for the others. */
  readonly ready: Promise<void>;
  readonly result: Promise<JobResult>;
}

export class TrafficProcess {
  readonly #child: ChildProcess;
  readonly cpu: number;
  #onLine: ((line: Line) => void) | undefined;

  /** @param cpu the processor it stays on */
  constructor(sandbox: Sandbox, cpu: number) {
    this.cpu = cpu;
    const script = fileURLToPath(new URL('./traffic-process.ts', import.meta.url));
    this.#child = spawn(process.execPath, [script, String(cpu)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error('a traffic process without pipes');
    stdin.on('error', () => {}); // it ended; `exit` tells
    createInterface({ input: stdout }).on('line', (line) => this.#onLine?.(JSON.parse(line) as Line));
    this.#child.on('exit', (code) => this.#onLine?.({ problem: `a traffic process ended with ${code}` }));
    sandbox.atEnd(() => this.#child.kill('SIGKILL'));
  }

  /** @param limit milliseconds after which the job counts as failed */
  start(job: Job, limit = 60_000): Running {
    if (this.#onLine !== undefined) throw new Error('this traffic process is at work');
    let isReady: () => void = () => {};
    const ready = new Promise<void>((resolve) => {
      isReady = resolve;
    });
    const result = new Promise<JobResult>((resolve, reject) => {
      const timer = setTimeout(() => this.#onLine?.({ problem: `${job.do} took longer than ${limit} ms` }), limit);
      this.#onLine = (line) => {
        if ('ready' in line) return isReady();
        clearTimeout(timer);
        this.#onLine = undefined;
        isReady();
        if ('result' in line) resolve(line.result);
        else reject(new Error(line.problem));
      };
    });
    result.catch(() => {}); // whoever awaits it hears of it
    if (job.do !== 'serve' && job.do !== 'receive-udp') isReady();
    this.#child.stdin?.write(`${JSON.stringify(job)}\n`);
    return { ready, result };
  }
  run(job: Job, limit?: number): Promise<JobResult> {
    return this.start(job, limit).result;
  }

  /** Ends the work under way; its result is what was done so far. */
  stop(): void {
    this.#child.stdin?.write('\n');
  }
  close(): void {
    this.#child.stdin?.end();
    this.#child.kill('SIGKILL');
  }
}
