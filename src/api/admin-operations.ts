/** The operator's operations, as `admin.ts` serves them. Parses and shows; the rules decide. */
import Type from 'typebox';
import { refuse } from '../model/errors.ts';
import type { AccountId } from '../model/ids.ts';
import { type QuotaType, quotaLimit, quotas, quotaTypes } from '../model/quota.ts';
import type { AccessKey, Account } from '../model/resources.ts';
import { quotaUse } from '../rules/quotas.ts';
import { adminHostOperations, type HostsOfRegion } from './admin-hosts.ts';
import { adminInterfaceOperations } from './admin-interfaces.ts';
import { adminUsageOperations } from './admin-usage.ts';
import { descriptionIn, nameIn, pathId } from './fields.ts';
import { answered, countersOf } from './jdcloud/counters.ts';
import { adminEventOperations } from './jdcloud/events.ts';
import { JournalEntries, JournalQuery, journalRange } from './jdcloud/journal.ts';
import { adminTraceOperations } from './jdcloud/trace.ts';
import { byAge } from './listing.ts';
import {
  type Call,
  Description,
  Name,
  type Operation,
  submit,
  submitWhole,
  Text,
  withBody,
  withoutBody,
} from './operation.ts';
import { Refused, rejectField } from './refused.ts';

const accountView = ({ id, name, quotas: own, requestsPerSecond, createdTime }: Account): object => ({
  accountId: id,
  name,
  quotas: own,
  requestsPerSecond,
  createdTime,
});
const keyView = ({ id, accountId, description, createdTime }: AccessKey): object => ({
  accessKeyId: id,
  accountId,
  description,
  createdTime,
});

function accountIn(call: Call): Account {
  const id = call.params['accountId'] ?? '';
  const account = call.region.state.get('account', id);
  if (account === undefined) throw new Refused(refuse('not-found', { id }));
  return account;
}
const accountId = (call: Call): AccountId => pathId('account', call.params['accountId'] ?? '');

function quotaIn(call: Call): QuotaType {
  const text = call.params['type'] ?? '';
  const type = quotaTypes.find((known) => known === text);
  return type ?? rejectField('type', `'${text.slice(0, 64)}' is not one of ${quotaTypes.join(', ')}`);
}

const tag = 'admin';
const Rate = Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Requests a second with each key' });

const accountOperations: readonly Operation[] = [
  withoutBody(
    { name: 'listAccounts', method: 'GET', path: '/accounts', tag, summary: 'List accounts' },
    async (call) => ({
      accounts: [...call.region.state.all('account')].sort(byAge).map(accountView),
    }),
  ),
  withBody(
    { name: 'createAccount', method: 'POST', path: '/accounts', tag, summary: 'Create an account' },
    Type.Object({ name: Name }),
    async (call) => {
      const made = await submit(call, { kind: 'create-account', name: nameIn('name', call.body.name) });
      return { accountId: made.id };
    },
  ),
  withoutBody(
    { name: 'showAccount', method: 'GET', path: '/accounts/{accountId}', tag, summary: 'Show an account' },
    async (call) => ({ account: accountView(accountIn(call)) }),
  ),
  withBody(
    { name: 'modifyAccount', method: 'PATCH', path: '/accounts/{accountId}', tag, summary: 'Change an account' },
    Type.Object({ name: Type.Optional(Name), requestsPerSecond: Type.Optional(Rate) }),
    async (call) => {
      const { name, requestsPerSecond } = call.body;
      await submit(call, {
        kind: 'modify-account',
        accountId: accountId(call),
        ...(name === undefined ? {} : { name: nameIn('name', name) }),
        ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
      });
    },
  ),
  withoutBody(
    { name: 'deleteAccount', method: 'DELETE', path: '/accounts/{accountId}', tag, summary: 'Delete an account' },
    async (call) => {
      await submit(call, { kind: 'delete-account', accountId: accountId(call), force: call.query.flag('force') });
    },
  ),
];

const keyOperations: readonly Operation[] = [
  withoutBody(
    { name: 'listKeys', method: 'GET', path: '/accounts/{accountId}/keys', tag, summary: 'List access keys' },
    async (call) => ({
      keys: [...call.region.state.children('key', accountIn(call).id)].sort(byAge).map(keyView),
    }),
  ),
  withBody(
    {
      name: 'createKey',
      method: 'POST',
      path: '/accounts/{accountId}/keys',
      tag,
      summary: 'Make a key pair; its secret is answered this once',
    },
    Type.Object({ description: Type.Optional(Description) }),
    async (call) => {
      const description = descriptionIn('description', call.body.description ?? '');
      const made = await submitWhole(call, { kind: 'create-key', accountId: accountId(call), description });
      return { accessKeyId: made.result.id, secretAccessKey: made.secret };
    },
  ),
  withoutBody(
    { name: 'deleteKey', method: 'DELETE', path: '/keys/{accessKeyId}', tag, summary: 'Delete an access key' },
    async (call) => {
      await submit(call, { kind: 'delete-key', keyId: pathId('key', call.params['accessKeyId'] ?? '') });
    },
  ),
];

const quotaOperations: readonly Operation[] = [
  withoutBody(
    { name: 'listQuotas', method: 'GET', path: '/accounts/{accountId}/quotas', tag, summary: 'Quotas in force' },
    async (call) => {
      const account = accountIn(call);
      return {
        quotas: quotaTypes.map((type) => {
          const { per, noun } = quotas[type];
          // How much is used can be said for the whole account only where the quota counts for it.
          const count = per === 'account' ? quotaUse(call.region.state, account.id, type, '') : null;
          return { type, per, noun, maxLimit: quotaLimit(type, account.quotas), own: type in account.quotas, count };
        }),
      };
    },
  ),
  withBody(
    { name: 'setQuota', method: 'PUT', path: '/accounts/{accountId}/quotas/{type}', tag, summary: 'Set a quota' },
    // null, which is the same as absent, goes back to the default.
    Type.Object({ maxLimit: Type.Optional(Type.Integer({ minimum: 0, maximum: 9_999_999 })) }),
    async (call) => {
      const limit = call.body.maxLimit ?? null;
      await submit(call, { kind: 'set-quota', accountId: accountId(call), type: quotaIn(call), limit });
    },
  ),
];

const Counts = Type.Record(Text, Type.Object({ packets: Type.Integer(), bytes: Type.Integer() }));

const regionOperations = (endpoint: string | undefined): readonly Operation[] => [
  withoutBody(
    {
      name: 'journal',
      method: 'GET',
      path: '/journal',
      tag,
      summary: 'What happened in the region, oldest first',
      query: JournalQuery,
      result: JournalEntries,
    },
    async (call) => ({
      entries: await call.region.journal(journalRange(call.query)),
    }),
  ),
  withoutBody(
    { name: 'status', method: 'GET', path: '/status', tag, summary: 'State of the region' },
    async (call) => ({
      ...call.region.status(),
      ...(endpoint === undefined ? {} : { endpoint }),
    }),
  ),
  withoutBody(
    { name: 'attachments', method: 'GET', path: '/attachments', tag, summary: 'Where each workload is attached' },
    async (call) => ({
      attachments: [...call.region.state.all('interface')]
        .map(({ id }) => call.region.attachment(id))
        .filter((fact) => fact !== undefined),
    }),
  ),
  withoutBody(
    {
      name: 'counters',
      method: 'GET',
      path: '/counters',
      tag,
      summary: 'All counters of the data plane',
      result: Type.Object({ halves: Counts, exits: Type.Record(Text, Counts), unowned: Counts }),
    },
    async (call) => {
      const { halves, exits, unowned } = await countersOf(call);
      return {
        halves: Object.fromEntries(halves),
        exits: Object.fromEntries([...exits].map(([portId, counts]) => [portId, Object.fromEntries(counts)])),
        unowned: Object.fromEntries(unowned),
      };
    },
  ),
  withoutBody({ name: 'probe', method: 'GET', path: '/probe', tag, summary: 'What the host offers' }, async (call) => ({
    probe: await answered(() => call.region.probe()),
  })),
];

/** All of them. @param endpoint where tenants reach the API @param hosts null: the driver has none */
export const adminOperations = (endpoint?: string, hosts: HostsOfRegion | null = null): readonly Operation[] => [
  ...accountOperations,
  ...keyOperations,
  ...quotaOperations,
  ...regionOperations(endpoint),
  ...adminHostOperations(hosts),
  ...adminInterfaceOperations,
  ...adminTraceOperations,
  ...adminEventOperations,
  ...adminUsageOperations,
];
