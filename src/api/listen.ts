/**
 * Where and how the API listens. Plain HTTP is for loopback only; any other address needs a certificate, or the word
 * `insecure` from the operator. Certificates are read again when their files change; a bad pair leaves the old in force.
 */
import { readFileSync, watch } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { isIPv6 } from 'node:net';
import { basename, dirname } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { checkListening, ListenError } from './address.ts';
import { createServer, defaultLog, type ServerOptions } from './server.ts';

export { ListenError };

export interface ListenOptions extends Omit<ServerOptions, 'makeServer'> {
  /** `HOST:PORT`, IPv6 in brackets; port 0 takes any free one. */
  readonly address: string;
  /** Paths of PEM files: certificate chain and key. Both or none. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** Plain HTTP on an address that others can reach. */
  readonly insecure?: boolean;
}

export interface Listening {
  readonly app: FastifyInstance;
  /** `http://127.0.0.1:7788`, with the port that was taken. */
  readonly url: string;
  /** Stops listening; requests under way are answered. */
  close(): Promise<void>;
}

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Reads and tries a certificate and its key. @throws ListenError unless they are whole and belong together */
function readPair(certPath: string, keyPath: string): Pair {
  try {
    const pair = { cert: readFileSync(certPath), key: readFileSync(keyPath) };
    createSecureContext(pair);
    return pair;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const remedy = `Check that ${certPath} and ${keyPath} are readable PEM files of one key pair.`;
    throw new ListenError(`The certificate cannot be used: ${why}.`, remedy, { cause: error });
  }
}

/** Changes are gathered this long, in milliseconds: renewing writes two files, and editors write in steps. */
const settleTime = 200;

/** Watches the folders and not the files: renewed certificates are often moved into place. @returns stops watching */
function reloadOnChange(server: TlsServer, certPath: string, keyPath: string, log: Logger): () => void {
  let timer: NodeJS.Timeout | undefined;
  const reload = (): void => {
    try {
      server.setSecureContext(readPair(certPath, keyPath));
      log.info({ certificate: certPath }, 'certificate read again');
    } catch (error) {
      log.error({ certificate: certPath, err: error }, 'the new certificate is bad; the old one stays in force');
    }
  };
  const names = new Set([basename(certPath), basename(keyPath), '..data']); // ..data: how Kubernetes swaps secrets
  const watchers = [...new Set([dirname(certPath), dirname(keyPath)])].map((folder) =>
    watch(folder, (_event, name) => {
      if (name !== null && !names.has(name)) return;
      clearTimeout(timer);
      timer = setTimeout(reload, settleTime);
    }),
  );
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}

const serverOptions = { requestTimeout: 30_000, headersTimeout: 15_000, keepAliveTimeout: 60_000 } as const;
/** Connections at once; below what a process may open, so that the store and the agent are never cut off. */
const mostConnections = 4096;
/** A client that neither sends nor takes anything for so long is cut off, in milliseconds: its answer waits in memory. */
const idleTimeout = 90_000;

/** Starts the tenants' API. @throws ListenError when the address or the certificate cannot be used as asked */
export async function listen(options: ListenOptions): Promise<Listening> {
  const { tlsCert, tlsKey, log = defaultLog() } = options;
  const { host, port } = checkListening(options);
  const tls = tlsCert !== undefined && tlsKey !== undefined ? { tlsCert, tlsKey } : null;
  let stop = (): void => {};
  const pair = tls === null ? null : readPair(tls.tlsCert, tls.tlsKey);
  const makeServer = (handler: RequestListener): Server => {
    if (tls === null || pair === null) return createHttpServer(serverOptions, handler);
    const server = createTlsServer({ ...serverOptions, ...pair, minVersion: 'TLSv1.2' }, handler);
    stop = reloadOnChange(server, tls.tlsCert, tls.tlsKey, log);
    return server as unknown as Server;
  };
  const app = await createServer({ ...options, log, makeServer });
  try {
    app.server.maxConnections = mostConnections;
    app.server.setTimeout(idleTimeout);
    await app.listen({ host, port });
  } catch (error) {
    stop();
    const { code = '', message } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'something else listens there' : message;
    throw new ListenError(`Cannot listen on ${options.address}: ${why}.`, 'Choose another --listen address.', {
      cause: error,
    });
  }
  const bound = app.server.address();
  const taken = typeof bound === 'object' && bound !== null ? bound.port : port;
  return {
    app,
    url: `${tls === null ? 'http' : 'https'}://${isIPv6(host) ? `[${host}]` : host}:${taken}`,
    close: async () => {
      stop();
      await app.close();
    },
  };
}
