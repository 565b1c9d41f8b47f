/**
 * The tenants' HTTP server: the JD Cloud API below `/v1/regions/{regionId}`, and `/openapi.json`, which is generated
 * from the same schemas. Listening is `listen.ts`'s.
 */
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { type Logger, pino } from 'pino';
import { isRefusal } from '../model/errors.ts';
import type { RegionService } from '../region/service.ts';
import { checkRegion, createApp } from './app.ts';
import { Verifier, type VerifierOptions } from './auth/verify.ts';
import { jdcloudOperations } from './jdcloud/operations.ts';
import { describeOperation, documentInfo, withOwnPaths } from './openapi.ts';
import { Refused } from './refused.ts';

export const jdcloudRoot = '/v1/regions/{regionId}';

export interface ServerOptions {
  readonly region: RegionService;
  /** Default: JSON lines on stdout. Nothing secret is ever given to it. */
  readonly log?: Logger;
  readonly auth?: VerifierOptions;
  readonly onAnswer?: ((status: number) => void) | undefined;
  /** Makes the listening server; `listen.ts` gives one with TLS. Default: plain HTTP. */
  readonly makeServer?: (handler: RequestListener) => Server;
}

/** A log that cannot show a secret, should one ever come its way. */
export const defaultLog = (): Logger =>
  pino({
    redact: ['authorization', 'secret', 'secretAccessKey', '*.authorization', '*.secret', '*.secretAccessKey'],
  });

/** The server, ready to listen or to be asked with `inject`. @throws nothing of its own */
export async function createServer(options: ServerOptions): Promise<FastifyInstance> {
  const { region } = options;
  const verifier = new Verifier(region, options.auth);
  const app = createApp({
    region,
    operations: jdcloudOperations,
    root: jdcloudRoot,
    onAnswer: options.onAnswer,
    log: options.log ?? defaultLog(),
    makeServer: options.makeServer ?? ((handler) => createHttpServer({ requestTimeout: 30_000 }, handler)),
    authenticate: async (request, params) => {
      checkRegion(region, params['regionId'] ?? '');
      await verifier.prepare(request);
      const caller = verifier.verify(request);
      if (isRefusal(caller)) throw new Refused(caller);
      const refusal = await verifier.admitted(caller, request);
      if (refusal !== null) throw new Refused(refusal);
      const { accountId, keyId } = caller;
      return { kind: 'tenant', accountId, keyId };
    },
    prepare: (preparing) => {
      preparing.register(swagger, {
        openapi: documentInfo(region.status().version),
        transform: ({ schema, url, route }) => describeOperation(jdcloudRoot, route.config, schema, url),
      });
    },
  });
  app.addHook('onClose', async () => verifier.close());
  let document: string | undefined;
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
    reply.type('application/json; charset=utf-8');
    document ??= JSON.stringify(withOwnPaths(app.swagger(), jdcloudRoot, jdcloudOperations));
    return document;
  });
  await app.ready();
  return app;
}
