/** The listener of `/metrics`, and of nothing else. Nobody is asked who he is: see docs/security.md. */
import { createServer } from 'node:http';
import { isIPv6 } from 'node:net';
import { checkMetricsAddress, ListenError } from '../address.ts';
import type { Metrics } from './metrics.ts';

export interface MetricsListening {
  /** `http://127.0.0.1:7789/metrics`, with the port that was taken. */
  readonly url: string;
  close(): Promise<void>;
}

/** @param address `HOST:PORT` @throws ListenError */
export async function listenMetrics(address: string, metrics: Metrics): Promise<MetricsListening> {
  const { host, port } = checkMetricsAddress(address);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (request, response) => {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(path === '/metrics' ? 405 : 404, { 'content-type': 'text/plain' }).end('GET /metrics\n');
      return;
    }
    metrics.text().then(
      (text) => response.writeHead(200, { 'content-type': metrics.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = 16;
  await new Promise<void>((resolve, reject) => {
    server.once('error', ({ code, message }: NodeJS.ErrnoException) => {
      const why = code === 'EADDRINUSE' ? 'something else listens there' : message;
      reject(new ListenError(`Cannot serve metrics on ${address}: ${why}.`, 'Choose another --metrics address.'));
    });
    server.listen({ host, port }, resolve);
  });
  const bound = server.address();
  const taken = typeof bound === 'object' && bound !== null ? bound.port : port;
  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${taken}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
