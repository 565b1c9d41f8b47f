/** The OpenAPI document, made from the operations themselves: nothing of it is written by hand. */
import type { FastifySchema } from 'fastify';
import { Type } from 'typebox';
import type { Operation } from './operation.ts';

export const documentInfo = (version: string) => ({
  openapi: '3.1.0',
  info: {
    title: 'Isthmus: JD Cloud VPC API',
    version,
    description:
      'Requests are signed with JDCLOUD2-HMAC-SHA256 or JDCLOUD3-HMAC-SHA256. Every answer carries requestId; ' +
      'a failed one carries error: {code, status, message, details}.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
});

const Failure = Type.Object({
  requestId: Type.String(),
  error: Type.Object({
    code: Type.Integer({ description: 'The HTTP status' }),
    status: Type.String(),
    message: Type.String(),
    details: Type.Array(Type.Unknown()),
  }),
});

const Plan = Type.Optional(
  Type.Boolean({ description: 'Answer what the change would do as {plan}, and change nothing' }),
);
function queryOf({ method, query }: Operation): { querystring?: object } {
  if (method === 'GET') return query === undefined ? {} : { querystring: query };
  return { querystring: Type.Object({ ...query?.properties, plan: Plan }) };
}

/** What the document says of one route. @param root what stands before every operation's path */
export function describeOperation(
  root: string,
  config: unknown,
  schema: FastifySchema | undefined,
  url: string,
): { schema: FastifySchema; url: string } {
  const { operation } = (config ?? {}) as { operation?: Operation };
  if (operation === undefined) return { schema: schema ?? {}, url };
  const names = [...(root + operation.path).matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? '');
  const result = operation.result === undefined ? {} : { result: operation.result };
  return {
    url: root + operation.path,
    schema: {
      operationId: operation.name,
      tags: [operation.tag],
      summary: operation.summary,
      params: Type.Object(Object.fromEntries(names.map((name) => [name, Type.String()]))),
      ...queryOf(operation),
      ...(operation.body === undefined ? {} : { body: operation.body }),
      response: { 200: Type.Object({ requestId: Type.String(), ...result }), '4xx': Failure, '5xx': Failure },
    } as FastifySchema,
  };
}

/** The same document with the operations' own paths: what made it takes every colon for a parameter. */
export function withOwnPaths(
  document: { readonly paths?: unknown },
  root: string,
  operations: readonly Operation[],
): object {
  const own = new Map(operations.map(({ name, path }) => [name, root + path]));
  const paths: { [path: string]: object } = {};
  for (const [path, methods] of Object.entries((document.paths ?? {}) as Record<string, object>)) {
    for (const [method, described] of Object.entries(methods)) {
      const at = own.get((described as { operationId?: string }).operationId ?? '') ?? path;
      paths[at] = { ...paths[at], [method]: described };
    }
  }
  return { ...document, paths };
}
