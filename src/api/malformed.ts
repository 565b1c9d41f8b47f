/** Answers what is not HTTP at all with the same envelope as everything else, as far as the connection allows. */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { refuse } from '../model/errors.ts';
import { errorEnvelope } from './envelope.ts';

const problems: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'its headers are too large',
  ERR_HTTP_REQUEST_TIMEOUT: 'it did not arrive in time',
};

/** Node's `clientError`: the request could not be parsed, so no route and no caller exist. */
export function answerBrokenHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const requestId = randomUUID();
  const problem = problems[error.code ?? ''] ?? 'it is not HTTP';
  const body = JSON.stringify(errorEnvelope(requestId, refuse('invalid-argument', { field: 'request', problem })));
  socket.end(
    [
      'HTTP/1.1 400 Bad Request',
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      `x-jdcloud-request-id: ${requestId}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
