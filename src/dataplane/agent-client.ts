/** One connection to a socket of the agent: calls by id, events, and the end of it. Does not reconnect. */
import { connect, type Socket } from 'node:net';
import { DriverError } from './driver.ts';
import { type Answer, errorFrom, longestLine, type Method, onLines, readAnswer } from './wire.ts';

type Event = Extract<Answer, { event: string }>;

export class AgentClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 1;
  #closed = false;

  private constructor(socket: Socket, onEvent: (event: Event) => void, onEnd: () => void) {
    this.#socket = socket;
    onLines(socket, (line) => {
      let answer: Answer;
      try {
        answer = readAnswer(line);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
        return;
      }
      if ('event' in answer) {
        // After whoever waits for an answer that came before it: what is newer must be heard last.
        setImmediate(() => onEvent(answer));
        return;
      }
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ('error' in answer) waiting?.reject(errorFrom(answer.error));
      else waiting?.resolve(answer.result);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      for (const { reject } of this.#waiting.values()) reject(new DriverError('unavailable', 'the agent went away'));
      this.#waiting.clear();
      onEnd();
    });
  }

  /** @throws DriverError 'unavailable' when nobody listens there */
  static async connect(
    path: string,
    onEvent: (event: Event) => void = () => {},
    onEnd: () => void = () => {},
  ): Promise<AgentClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'EACCES' ? 'only root may use it' : 'no agent listens there';
        reject(new DriverError('unavailable', `${path}: ${why}`, { cause }));
      });
    });
    return new AgentClient(socket, onEvent, onEnd);
  }

  /** @throws DriverError as the agent refused, or 'unavailable' when it went away */
  call<T>(method: Method, params: object): Promise<T> {
    if (this.#closed) return Promise.reject(new DriverError('unavailable', 'the agent went away'));
    const id = this.#next++;
    const line = `${JSON.stringify({ id, method, params })}\n`;
    const size = Buffer.byteLength(line);
    if (size > longestLine) {
      const message = `${method} of ${size} bytes does not fit a message to the agent (${longestLine})`;
      return Promise.reject(new DriverError('does-not-fit', message));
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#socket.write(line);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
