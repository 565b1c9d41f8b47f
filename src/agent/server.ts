/**
 * Serves one unix socket: reads requests, checks them against the schema and against what this socket may ask, answers.
 * Carries nothing out itself.
 */
import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { DriverError } from '../dataplane/driver.ts';
import { type Answer, type Method, methods, onLines, readRequest } from '../dataplane/wire.ts';

export type Handler = (method: Method, params: unknown) => Promise<unknown>;

export interface Door {
  readonly kind: 'region' | 'host';
  readonly path: string;
  /** Owner of the socket; nobody else may connect. */
  readonly uid: number;
  readonly gid: number;
}

/** Connections at once: a region has one, a command of root's another. Each may hold a line in memory. */
const mostConnections = 32;

export class DoorServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(door: Door, handle: Handler) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      onLines(socket, (line) => void answer(line, door, handle).then((reply) => send(socket, reply)));
    });
    this.#server.maxConnections = mostConnections;
  }

  /** Opens the door: a socket that only its owner can connect to, from its first instant. */
  static async open(door: Door, handle: Handler): Promise<DoorServer> {
    const server = new DoorServer(door, handle);
    rmSync(door.path, { force: true });
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        server.#server.once('error', reject);
        server.#server.listen(door.path, resolve);
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(door.path, 0o600);
    chownSync(door.path, door.uid, door.gid);
    return server;
  }

  broadcast(event: Extract<Answer, { event: string }>): void {
    for (const socket of this.#sockets) send(socket, event);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function send(socket: Socket, reply: Answer): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(reply)}\n`);
}

/** The answer to one line, whatever is in it. */
async function answer(line: string, door: Door, handle: Handler): Promise<Answer> {
  const request = readRequest(line);
  if ('problem' in request) {
    return {
      id: request.id,
      error: { code: 'kernel', message: `the request is not right: ${request.problem}`.slice(0, 4000) },
    };
  }
  const { socket: allowed } = methods[request.method];
  if (allowed !== 'both' && allowed !== door.kind) {
    return { id: request.id, error: { code: 'not-supported', message: `${request.method} is not for this socket` } };
  }
  try {
    return { id: request.id, result: (await handle(request.method, request.params)) ?? null };
  } catch (error) {
    const code = error instanceof DriverError ? error.code : 'kernel';
    const message = error instanceof Error ? error.message : String(error);
    return { id: request.id, error: { code, message: message.slice(0, 4000) } };
  }
}
