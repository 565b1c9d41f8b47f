/**
 * Serves a list of operations over HTTP: routing on the decoded path, one JSON body, one envelope around every answer,
 * one log line for each request. Knows no operation by name and decides nothing; who may call is `authenticate`'s.
 */
import { randomUUID } from 'node:crypto';
import type { RequestListener, Server, ServerResponse } from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { Compile } from 'typebox/compile';
import { type Refusal, refuse } from '../model/errors.ts';
import { notBehind } from '../region/owed-book.ts';
import type { Principal, RegionService } from '../region/service.ts';
import { splitTarget } from './auth/canonical.ts';
import type { WireRequest } from './auth/verify.ts';
import { checkBody, readBody } from './body.ts';
import { errorEnvelope, resultEnvelope } from './envelope.ts';
import { tokenIn } from './fields.ts';
import { answerBrokenHttp } from './malformed.ts';
import { type Call, type Operation, Planned, Stream } from './operation.ts';
import { Query } from './query.ts';
import { Refused, reject, rejectField } from './refused.ts';
import { allowedMethods, decodeTarget, routePattern } from './routes.ts';

export const bodyLimit = 1024 * 1024;

export interface AppOptions {
  readonly region: RegionService;
  readonly operations: readonly Operation[];
  /** What stands before every operation's path, parameters in braces: `/v1/regions/{regionId}`, or ''. */
  readonly root: string;
  readonly log: Logger;
  /** Who is asking. Called before anything of the body is read. @throws Refused */
  readonly authenticate: (
    request: WireRequest,
    params: { readonly [name: string]: string },
  ) => Principal | Promise<Principal>;
  /** Makes the listening server, for TLS; plain HTTP otherwise. */
  readonly makeServer: (handler: RequestListener) => Server;
  /** Called with the status of each answer. */
  readonly onAnswer?: ((status: number) => void) | undefined;
  /** Registers what must stand before the routes, such as what documents them. */
  readonly prepare?: (app: FastifyInstance) => void;
}

/** What is known of a request when its log line is written. */
interface Account {
  operation: string;
  account: string;
  refusal: string;
}
const accounts = new WeakMap<FastifyRequest, Account>();
const accountOf = (request: FastifyRequest): Account => {
  const account = accounts.get(request) ?? { operation: '', account: '', refusal: '' };
  accounts.set(request, account);
  return account;
};

export function createApp(options: AppOptions): FastifyInstance {
  const app = Fastify({
    serverFactory: (handler) => options.makeServer(handler as RequestListener),
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 1024, querystringParser: (raw) => ({ raw }) },
    rewriteUrl: (request) => decodeTarget(request.url ?? '/'),
    clientErrorHandler: answerBrokenHttp,
    frameworkErrors: (error, request, reply) => {
      void answerRefusal(request as FastifyRequest, reply as FastifyReply, refusalOf(error, options.log, request.id));
    },
  });
  // Bodies are kept as they came, since the signature is over their bytes, and read only once the caller is known.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-jdcloud-request-id', request.id);
    reply.header('cache-control', 'no-store');
  });
  app.addHook('onResponse', async (request, reply) => {
    const { operation, account, refusal } = accountOf(request);
    options.onAnswer?.(reply.statusCode);
    const line = { requestId: request.id, operation, account, status: reply.statusCode, refusal };
    options.log.info({ ...line, milliseconds: Math.round(reply.elapsedTime * 10) / 10 }, 'request');
  });
  app.setErrorHandler((error, request, reply) => {
    const headers = error instanceof Refused ? error.headers : {};
    reply.headers(headers);
    return answerRefusal(request, reply, refusalOf(error, options.log, request.id));
  });
  app.setNotFoundHandler((request, reply) => {
    const { path } = splitTarget(request.raw.url ?? '/');
    const allowed = allowedMethods(options.root, options.operations, path);
    const shown = path.slice(0, 256);
    if (allowed.length === 0) {
      return answerRefusal(request, reply, refuse('no-such-operation', { method: request.method, path: shown }));
    }
    reply.header('allow', allowed.join(', '));
    const params = { method: request.method, path: shown, allowed: allowed.join(', ') };
    return answerRefusal(request, reply, refuse('method-not-allowed', params));
  });
  // Fastify closes a server that it did not make only when it called `listen` itself; the operator's is bound by us.
  app.addHook('onClose', () => new Promise<void>((resolve) => void app.server.close(() => resolve())));
  // What goes on would keep the server from ever closing.
  const streams = new Set<ServerResponse>();
  app.addHook('preClose', async () => {
    for (const response of streams) response.end();
  });
  options.prepare?.(app);
  // Routes belong to a plugin, so that what documents routes can be registered before them.
  app.register(async (routes) => {
    for (const operation of options.operations) addRoute(routes, options, operation, streams);
  });
  return app;
}

function addRoute(app: FastifyInstance, options: AppOptions, operation: Operation, streams: Set<ServerResponse>): void {
  const validator = operation.body === undefined ? undefined : Compile(operation.body);
  app.route({
    method: operation.method,
    url: routePattern(options.root + operation.path),
    config: { operation },
    handler: async (request, reply) => {
      const known = accountOf(request);
      known.operation = operation.name;
      const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const params = request.params as { readonly [name: string]: string };
      const wire: WireRequest = {
        method: request.method,
        url: request.originalUrl,
        rawHeaders: request.raw.rawHeaders,
        body: raw,
      };
      const principal = await options.authenticate(wire, params);
      known.account = principal.kind === 'tenant' ? principal.accountId : 'operator';
      await demandRevision(options.region, request.headers[revisionHeader]);
      const token = request.headers['clienttoken'];
      const lastEventId = request.headers['last-event-id'];
      const query = new Query((request.query as { readonly raw: string }).raw);
      const planOnly = query.flag('plan');
      if (planOnly && operation.method === 'GET') rejectField('plan', 'only a change can be planned');
      const call: Call = {
        region: options.region,
        requestId: request.id,
        principal,
        params,
        query,
        planOnly,
        lastEventId: typeof lastEventId === 'string' ? lastEventId : undefined,
        body:
          validator === undefined ? undefined : checkBody(validator, readBody(raw, request.headers['content-type'])),
        clientToken: typeof token === 'string' ? tokenIn(token) : undefined,
        pendingRevision: null,
        behind: notBehind,
      };
      const result = await operation.handle(call).catch((error: unknown) => {
        reply.header(revisionHeader, String(options.region.state.revision)); // a refusal rests on it too
        if (error instanceof Planned) return { plan: error.plan };
        throw error;
      });
      reply.header(revisionHeader, String(options.region.state.revision));
      if (result instanceof Stream) {
        reply.hijack();
        streams.add(reply.raw);
        reply.raw.on('close', () => streams.delete(reply.raw));
        result.start(reply.raw);
        return;
      }
      reply.code(call.pendingRevision === null ? 200 : 202).type('application/json; charset=utf-8');
      return JSON.stringify(resultEnvelope(request.id, result, call));
    },
  });
}

/**
 * The revision that an answer was given at. A client that sends it back reads, from whichever server of the region, at
 * least what it wrote.
 */
export const revisionHeader = 'x-isthmus-revision';

/** @throws Refused when this server does not know that revision, and cannot get to know it now */
async function demandRevision(region: RegionService, asked: string | string[] | undefined): Promise<void> {
  if (asked === undefined) return;
  if (typeof asked !== 'string' || !/^[0-9]{1,15}$/.test(asked)) {
    return rejectField(revisionHeader, 'it is not the number that an answer carried');
  }
  if (await region.reach(Number(asked))) return;
  reject('behind', { revision: asked, known: String(region.state.revision) });
}

/** Refuses a region that is not this one. @throws Refused */
export function checkRegion(region: RegionService, asked: string): void {
  if (asked !== region.name) reject('unknown-region', { region: asked.slice(0, 64), served: region.name });
}

/** What a thrown thing means for the client. Only what nobody expected is logged with its stack. */
function refusalOf(error: unknown, log: Logger, requestId: string): Refusal {
  if (error instanceof Refused) return error.refusal;
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return refuse('body-too-large', {});
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return refuse('unsupported-media-type', {});
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return refuse('invalid-argument', { field: 'request', problem: 'it is malformed' });
  }
  log.error({ requestId, err: error }, 'a request failed');
  return refuse('internal', {});
}

async function answerRefusal(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): Promise<void> {
  accountOf(request).refusal = refusal.code;
  if (refusal.http === 503) reply.header('retry-after', '1');
  await reply
    .code(refusal.http)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(errorEnvelope(request.id, refusal)));
}
