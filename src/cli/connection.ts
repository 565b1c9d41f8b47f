/**
 * One HTTP exchange with the service: over TCP for tenants, over the admin socket for the operator. Reads the vendor's
 * envelope and turns every refusal into a `Failure`. Knows nothing of signatures or nouns.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { behindIn, behindLine } from './behind.ts';
import { Failure } from './failure.ts';
import { printNote } from './output.ts';

/** Longer than any fence: a change waits for the data plane before it is answered. */
const timeoutMs = 60_000;
/** No answer of the service comes near this. */
const largestAnswer = 64 * 1024 * 1024;

export type Target =
  | { readonly kind: 'tcp'; readonly endpoint: URL; readonly caFile?: string | undefined }
  | { readonly kind: 'socket'; readonly path: string };

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with query, already encoded. */
  readonly path: string;
  readonly headers: { readonly [name: string]: string };
  /** JSON text, or '' for none. */
  readonly body: string;
}

interface Envelope {
  readonly requestId?: string;
  readonly result?: unknown;
  readonly error?: {
    readonly code?: number;
    readonly status?: string;
    readonly message?: string;
    readonly details?: unknown;
  };
}

/** What the API calls the arguments of a command. A name with an index comes before the same without. */
const apiWords: readonly (readonly [RegExp, string])[] = [
  [/\b(?:modifyR|r)outeTableRuleSpecs\[0\]\.addressPrefix\b/g, 'the destination'],
  [/\b(?:modifyR|r)outeTableRuleSpecs\[0\]\.nextHop(?:Id|Type)\b/g, '--via'],
  [/\b(?:modifyR|r)outeTableRuleSpecs\[0\]\.(priority|description)\b/g, '--$1'],
  [/\baddressPrefix(?:es\[\d+\])?(?=\W|$)/g, 'the CIDR'],
  [/\bsecondary(?:IpAddresse|Ip)s\[\d+\]/g, 'a secondary address'],
  [/\b(?:vpc|subnet|routeTable|vpcPeering|networkInterface)Name\b/g, 'the name'],
  [/\bremoteVpcId\b/g, '--remote'],
  [/\brequestsPerSecond\b/g, '--rate'],
  [/\bpageSize\b/g, '--limit'],
];
const inOurWords = (text: string): string =>
  apiWords.reduce((said, [pattern, word]) => said.replace(pattern, word), text);

type Unreachable = (error: NodeJS.ErrnoException) => Failure;

/** @returns the `result` of the envelope; @throws Failure for a refusal (exit 1) or no connection (exit 2) */
export async function exchange(
  target: Target,
  request: Exchange,
  unreachable: Unreachable,
  note: (text: string) => void = printNote,
): Promise<unknown> {
  const { status, text } = await send(target, request, unreachable);
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch {
    throw new Failure(2, `No Isthmus answers there: status ${status}, and not JSON.`, {
      remedy: 'Check the endpoint.',
    });
  }
  const requestId = envelope.requestId === undefined ? {} : { requestId: envelope.requestId };
  if (status >= 400 || envelope.error !== undefined) {
    const { message = 'The service refused without a reason.', details } = envelope.error ?? {};
    const { remedy } = remedyIn(details);
    // The message ends with the remedy, for clients that show nothing else.
    const what =
      remedy !== undefined && message.endsWith(remedy) ? message.slice(0, -remedy.length).trimEnd() : message;
    const word = `${status} ${envelope.error?.status ?? ''}`.trim();
    const advice = remedy === undefined ? {} : { remedy: inOurWords(remedy) };
    throw new Failure(1, inOurWords(what), { ...requestId, ...advice, status: word });
  }
  if (status === 202) {
    const ended = request.method === 'DELETE' && /\/vpcPeerings\//.test(request.path);
    note(
      behindLine(behindIn(envelope.result), ended) ??
        'Stored, but the data plane has not confirmed it yet; it is being retried. See: isthmus doctor',
    );
  }
  return envelope.result;
}

/** The first remedy among the details of an error. */
function remedyIn(details: unknown): { readonly remedy?: string } {
  for (const detail of Array.isArray(details) ? details : [details]) {
    const remedy = (detail as { remedy?: unknown } | undefined)?.remedy;
    if (typeof remedy === 'string') return { remedy };
  }
  return {};
}

function send(target: Target, request: Exchange, unreachable: Unreachable): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { method, path, body } = request;
    const headers =
      body === '' ? request.headers : { ...request.headers, 'content-length': String(Buffer.byteLength(body)) };
    const options: RequestOptions = { method, path, headers, timeout: timeoutMs };
    const answered = (response: IncomingMessage): void => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > largestAnswer) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
      response.on('error', (error) => reject(unreachable(error)));
    };
    const outgoing =
      target.kind === 'socket'
        ? httpRequest({ ...options, socketPath: target.path }, answered)
        : requestOver(target.endpoint, target.caFile, options, answered);
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    outgoing.on('error', (error) => reject(unreachable(error)));
    outgoing.end(body);
  });
}

/**
 * Opens a request whose answer goes on, and hands over its text as it comes.
 * @param follow called with each piece
 * @returns when the other side ends it; @throws Failure for a refusal or no connection
 */
export function openStream(
  target: Target,
  request: Pick<Exchange, 'path' | 'headers'>,
  follow: (text: string) => void,
  unreachable: Unreachable,
): Promise<void> {
  return new Promise((resolve, reject) => {
    // Two heartbeats of the service without a sign mean that nobody is there any more.
    const options: RequestOptions = { method: 'GET', ...request, timeout: 45_000 };
    const answered = (response: IncomingMessage): void => {
      response.setEncoding('utf8');
      if (response.statusCode !== 200) {
        let text = '';
        response.on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => {
          const { error } = JSON.parse(text || '{}') as Envelope;
          reject(new Failure(1, error?.message ?? `The service answered ${response.statusCode}.`));
        });
        return;
      }
      response.on('data', follow);
      response.on('end', resolve);
      response.on('error', () => resolve());
    };
    const outgoing =
      target.kind === 'socket'
        ? httpRequest({ ...options, socketPath: target.path }, answered)
        : requestOver(target.endpoint, target.caFile, options, answered);
    outgoing.on('timeout', () => outgoing.destroy(new Error('the service went silent')));
    outgoing.on('error', (error) => reject(unreachable(error)));
    outgoing.end();
  });
}

function requestOver(
  endpoint: URL,
  caFile: string | undefined,
  options: RequestOptions,
  answered: (response: IncomingMessage) => void,
): ReturnType<typeof httpRequest> {
  const where = { ...options, hostname: endpoint.hostname.replace(/^\[|\]$/g, ''), port: endpoint.port };
  if (endpoint.protocol === 'http:') return httpRequest(where, answered);
  return httpsRequest({ ...where, ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }) }, answered);
}
