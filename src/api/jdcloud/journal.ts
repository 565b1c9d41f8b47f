/**
 * What happened in the caller's account. A command may change a peer's object too (deleting a half disconnects its
 * mirror): such changes are left out, and so is our own bookkeeping, whose ids name foreign VPCs.
 */
import Type from 'typebox';
import type { AccountId } from '../../model/ids.ts';
import type { Change } from '../../model/resources.ts';
import { type Operation, Text, tenantOf, withoutBody } from '../operation.ts';
import type { Query } from '../query.ts';

const bookkeeping = new Set(['half-identity', 'client-token']);

function visible(change: Change, account: AccountId): boolean {
  const kind = change.op === 'put' ? change.resource.kind : change.kind;
  if (bookkeeping.has(kind)) return false;
  // Only own objects are ever deleted by a tenant's command.
  if (change.op === 'delete') return true;
  return (change.resource as { readonly accountId?: string }).accountId === account;
}

export const journalQuery = { max: 1000, fallback: 100 } as const;

export const JournalEntries = Type.Object({
  entries: Type.Array(
    Type.Object({
      revision: Type.Integer(),
      time: Text,
      account: Type.Union([Text, Type.Null()]),
      principal: Text,
      operation: Text,
      requestId: Text,
      changes: Type.Array(Type.Unknown()),
    }),
  ),
});
export const JournalQuery = Type.Object({
  afterRevision: Type.Optional(Type.Integer({ minimum: 0, default: 0 })),
  pageSize: Type.Optional(Type.Integer({ minimum: 1, maximum: journalQuery.max, default: journalQuery.fallback })),
  latest: Type.Optional(Type.Boolean({ description: 'The newest entries, whatever afterRevision says' })),
});
/** What a request for entries asks for. */
export const journalRange = (query: Query): { readonly afterRevision: number | null; readonly limit: number } => ({
  afterRevision: query.flag('latest')
    ? null
    : query.integer('afterRevision', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 }),
  limit: query.integer('pageSize', { min: 1, ...journalQuery }),
});

export const journalOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeJournal',
      method: 'GET',
      path: '/journal',
      tag: 'journal',
      summary: 'What happened in your account, oldest first (extension)',
      query: JournalQuery,
      result: JournalEntries,
    },
    async (call) => {
      const { accountId } = tenantOf(call);
      const entries = await call.region.journal({ ...journalRange(call.query), account: accountId });
      return {
        entries: entries.map((entry) => ({
          ...entry,
          changes: entry.changes.filter((change) => visible(change, accountId)),
        })),
      };
    },
  ),
];
