/**
 * The operator's door: HTTP over a unix socket that only the service's own user and root may open. Nothing is signed
 * there; the socket's mode is the check. Accounts, keys, quotas, and what the region says about itself.
 */
import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { RegionService } from '../region/service.ts';
import type { HostsOfRegion } from './admin-hosts.ts';
import { adminOperations } from './admin-operations.ts';
import { createApp } from './app.ts';
import { ListenError } from './listen.ts';
import { defaultLog } from './server.ts';

export interface AdminOptions {
  readonly region: RegionService;
  readonly log?: Logger;
  /** Where tenants reach the API; shown in `/status`, so that profiles can be written with it. */
  readonly endpoint?: string;
  readonly onAnswer?: ((status: number) => void) | undefined;
  /** The hosts of a driver that has some. */
  readonly hosts?: HostsOfRegion | null;
}

/** The operator's server, ready to be asked with `inject`; `listenAdmin` puts it on its socket. */
export async function createAdminServer(options: AdminOptions): Promise<FastifyInstance> {
  const app = createApp({
    region: options.region,
    operations: adminOperations(options.endpoint, options.hosts),
    root: '',
    onAnswer: options.onAnswer,
    log: options.log ?? defaultLog(),
    makeServer: (handler) => createHttpServer({ requestTimeout: 30_000 }, handler),
    authenticate: () => ({ kind: 'operator' }),
  });
  await app.ready();
  return app;
}

/** Whether somebody answers at a socket. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(1000, () => settle(true)); // it was accepted and is slow: alive
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });

/**
 * Starts the operator's server on a unix socket of mode 0600. A socket that a dead process left is replaced.
 * @throws ListenError when another service answers there, or the path holds something else
 */
export async function listenAdmin(path: string, options: AdminOptions): Promise<FastifyInstance> {
  if (existsSync(path)) {
    if (!lstatSync(path).isSocket()) {
      throw new ListenError(`${path} is in the way and is no socket.`, 'Move it away, or choose another socket path.');
    }
    if (await answers(path)) {
      throw new ListenError(`A service already answers at ${path}.`, 'Stop it first, or choose another socket path.');
    }
    unlinkSync(path);
  }
  const app = await createAdminServer(options);
  await new Promise<void>((resolve, reject) => {
    app.server.once('error', reject);
    // The socket is bound before `listen` returns: it never exists with access for others.
    const mask = process.umask(0o177);
    try {
      app.server.listen(path, () => resolve());
    } finally {
      process.umask(mask);
    }
  }).catch((error: Error) => {
    throw new ListenError(`Cannot listen at ${path}: ${error.message}.`, 'Check that its folder exists.', {
      cause: error,
    });
  });
  chmodSync(path, 0o600);
  return app;
}
