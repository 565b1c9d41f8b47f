/**
 * The event feed over HTTP: the newest as a list, or all that comes as server-sent events, from the last id that was seen.
 * An account sees its own events only; a stream ends when the key that opened it is gone.
 */
import type { ServerResponse } from 'node:http';
import Type from 'typebox';
import type { AccountId } from '../../model/ids.ts';
import { type FeedEvent, placeOf } from '../../region/feed.ts';
import { type Call, type Operation, Stream, Text, tenantOf, withoutBody } from '../operation.ts';
import { reject, rejectField } from '../refused.ts';

/** Streams of one account at once, and in all. */
const mostStreams = { account: 8, all: 512 };
/** A line that says nothing, so that both ends notice when the other is gone. Milliseconds. */
const heartbeat = 15_000;
/** Bytes that wait for a reader who is too slow; then the stream ends, and he resumes with the last id he saw. */
const mostWaiting = 1024 * 1024;

const open = new Map<AccountId | null, number>();
const total = (): number => [...open.values()].reduce((sum, count) => sum + count, 0);

const frame = (event: FeedEvent): string =>
  `id: ${event.id}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;

/** A stream of events into a response. */
function streamed(call: Call, account: AccountId | null, from: ReturnType<typeof placeOf>): Stream {
  if ((open.get(account) ?? 0) >= mostStreams.account || total() >= mostStreams.all) {
    return reject('too-many-streams', { limit: String(mostStreams.account) });
  }
  const { principal, region } = call;
  const allowed = (): boolean => principal.kind === 'operator' || region.secretOf(principal.keyId) !== undefined;
  return new Stream((response: ServerResponse) => {
    open.set(account, (open.get(account) ?? 0) + 1);
    const write = (text: string): void => {
      if (!allowed() || response.writableLength > mostWaiting) response.end();
      else response.write(text);
    };
    const { backlog, close } = region.feed.follow(account, from, (event) => write(frame(event)));
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    response.write(`: ${region.name}\n\n`);
    for (const event of backlog) write(frame(event));
    const timer = setInterval(() => write(': \n\n'), heartbeat);
    response.on('close', () => {
      clearInterval(timer);
      close();
      const left = (open.get(account) ?? 1) - 1;
      if (left === 0) open.delete(account);
      else open.set(account, left);
    });
  });
}

const Query = Type.Object({
  follow: Type.Optional(Type.Boolean({ description: 'As server-sent events, on and on' })),
  after: Type.Optional(Type.String({ description: 'The last id that was seen; as Last-Event-ID' })),
  pageSize: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
});

function events(call: Call, account: AccountId | null): unknown {
  const text = call.query.get('after') ?? call.lastEventId;
  const from = text === undefined || text === '' ? null : placeOf(text);
  if (text !== undefined && text !== '' && from === null) {
    return rejectField('after', `'${text.slice(0, 64)}' is not the id of an event`);
  }
  if (call.query.flag('follow')) return streamed(call, account, from);
  const most = call.query.integer('pageSize', { min: 1, max: 1000, fallback: 100 });
  if (from === null) return { events: call.region.feed.newest(account, most) };
  const { backlog, close } = call.region.feed.follow(account, from, () => {});
  close();
  return { events: backlog.slice(0, most) };
}

const spec = {
  name: 'describeEvents',
  method: 'GET',
  path: '/events',
  summary: 'What happened to your objects; with follow, what happens (extension)',
  query: Query,
  result: Type.Object({ events: Type.Array(Type.Object({ id: Text, time: Text, event: Text })) }),
} as const;

export const eventOperations: readonly Operation[] = [
  withoutBody({ ...spec, tag: 'events' }, async (call) => events(call, tenantOf(call).accountId)),
];
/** The operator's: those of every account. */
export const adminEventOperations: readonly Operation[] = [
  withoutBody({ ...spec, tag: 'admin', summary: 'What happens in the region' }, async (call) => events(call, null)),
];
