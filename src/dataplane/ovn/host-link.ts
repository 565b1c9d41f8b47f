/**
 * One connection between a region and the agent of a host, seen from either end: calls in both directions, each checked
 * against its schema. Asks for a sign of life when there is none for a while, and ends when there is still none. Whatever
 * is not of the protocol ends it too.
 */
import type { Socket } from 'node:net';
import { DriverError } from '../driver.ts';
import { errorFrom, onLines } from '../wire.ts';
import {
  type Calls,
  checks,
  type HostCalls,
  type Message,
  type Params,
  type RegionCalls,
  type Result,
  readMessage,
} from './host-wire.ts';

/** A line of a known partner may be this long, in bytes: the counts of all halves are one. */
const longestOfHost = 32 * 1024 * 1024;
/** What waits to be taken by the other end; more means that it takes nothing. */
const mostWaiting = 64 * 1024 * 1024;
/** Calls of the other end that are being answered. */
const mostServed = 64;
/** Milliseconds: silence after which a sign of life is asked for, and after which the other end is given up. */
export const silence = { asked: 3_000, over: 9_000 } as const;
const lookPeriod = 1_000;

export interface LinkOptions {
  readonly socket: Socket;
  /** Answers a call of the other end, whose parameters are right. What it throws is told, by code and message. */
  readonly serve: (name: string, params: unknown) => Promise<object>;
  readonly onEnd: (why: string) => void;
  /** Bytes of a line; default 32 MB. */
  readonly longest?: number;
}

interface Waiting {
  readonly name: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: DriverError) => void;
  readonly timer: NodeJS.Timeout | undefined;
}

class Link<Theirs extends Calls> {
  readonly #options: LinkOptions;
  readonly #served: Readonly<Record<string, (value: unknown) => string | null>>;
  readonly #answers: Readonly<Record<string, (value: unknown) => string | null>>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #timer: NodeJS.Timeout;
  #next = 1;
  #serving = 0;
  #heard = performance.now();
  #why = 'the connection ended';
  #closed = false;

  /** @param end which one this is */
  constructor(options: LinkOptions, end: 'host' | 'region') {
    this.#options = options;
    const other = end === 'host' ? 'region' : 'host';
    this.#served = checks[end].params;
    this.#answers = checks[other].result;
    const { socket } = options;
    socket.on('data', () => {
      this.#heard = performance.now();
    });
    onLines(socket, (line) => this.#take(line), options.longest ?? longestOfHost);
    socket.on('error', (error) => {
      this.#why = error.message;
    });
    socket.on('close', () => this.#end());
    this.#timer = setInterval(() => this.#look(), lookPeriod);
  }

  get closed(): boolean {
    return this.#closed;
  }

  #look(): void {
    const quiet = performance.now() - this.#heard;
    if (quiet > silence.over) this.close(`no sign of life for ${Math.round(quiet / 1000)} s`);
    else if (quiet > silence.asked) this.#ask('ping', {}, silence.over).catch(() => {});
  }

  #take(line: string): void {
    if (this.#closed) return;
    const message = readMessage(line);
    if (typeof message === 'string') this.close(`it sent what is ${message}`);
    else if ('call' in message) void this.#serve(message);
    else this.#settle(message);
  }

  #settle(message: Exclude<Message, { call: string }>): void {
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if ('error' in message) {
      waiting.reject(errorFrom(message.error));
      return;
    }
    const problem = this.#answers[waiting.name]?.(message.result) ?? null;
    if (problem === null) waiting.resolve(message.result);
    else {
      waiting.reject(new DriverError('unavailable', `the answer is not right: ${problem}`));
      this.close(`its answer is not right: ${problem}`);
    }
  }

  async #serve({ id, call, params }: Extract<Message, { call: string }>): Promise<void> {
    const check = Object.hasOwn(this.#served, call) ? this.#served[call] : undefined;
    const problem = check === undefined ? `there is no call '${call}'` : check(params);
    if (problem !== null) {
      this.close(`its call is not right: ${problem}`);
      return;
    }
    if (++this.#serving > mostServed) {
      this.close('it asks too much at once');
      return;
    }
    try {
      const result = call === 'ping' ? {} : await this.#options.serve(call, params);
      this.#send({ id, result });
    } catch (error) {
      const code = error instanceof DriverError ? error.code : 'kernel';
      const text = error instanceof Error ? error.message : String(error);
      this.#send({ id, error: { code, message: text.slice(0, 4000) } });
    } finally {
      this.#serving--;
    }
  }

  #send(message: Message): void {
    const { socket } = this.#options;
    if (this.#closed || socket.destroyed) return;
    socket.write(`${JSON.stringify(message)}\n`);
    if (socket.writableLength > mostWaiting) this.close('it takes nothing');
  }

  /** @throws DriverError as the other end refused; 'unavailable' when it went away or patience is at its end */
  call<N extends keyof Theirs & string>(
    name: N,
    params: Params<Theirs, N>,
    patience?: number,
  ): Promise<Result<Theirs, N>> {
    return this.#ask(name, params, patience) as Promise<Result<Theirs, N>>;
  }
  #ask(name: string, params: unknown, patience: number | undefined): Promise<unknown> {
    if (this.#closed) return Promise.reject(new DriverError('unavailable', this.#why));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(id);
        reject(new DriverError('unavailable', `${name} was not answered within ${(patience ?? 0) / 1000} s`));
      };
      const timer = patience === undefined ? undefined : setTimeout(giveUp, patience);
      this.#waiting.set(id, { name, resolve, reject, timer });
      this.#send({ id, call: name, params });
    });
  }

  /** Ends the connection at once. */
  close(why: string): void {
    if (this.#closed) return;
    this.#why = why;
    this.#options.socket.destroy();
    this.#end();
  }
  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new DriverError('unavailable', this.#why));
    }
    this.#waiting.clear();
    this.#options.onEnd(this.#why);
  }
}

/** The host's end: calls the region. */
export class LinkToRegion extends Link<RegionCalls> {
  constructor(options: LinkOptions) {
    super(options, 'host');
  }
}
/** The region's end: calls the host. */
export class LinkToHost extends Link<HostCalls> {
  constructor(options: LinkOptions) {
    super(options, 'region');
  }
}
