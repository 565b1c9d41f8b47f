/** Accounts, access keys and their quotas: the operator's commands. Secrets are not made or seen here. */
import { isRefusal, refuse } from '../model/errors.ts';
import { quotas as quotaTable } from '../model/quota.ts';
import type { OperatorCommand } from './commands.ts';
import { type Decision, Draft, type RuleContext } from './draft.ts';
import { checkQuota } from './quotas.ts';
import { dropVpc } from './vpcs.ts';

type Of<K extends OperatorCommand['kind']> = Extract<OperatorCommand, { kind: K }>;

/** Requests a second and access key, unless the operator says otherwise. */
export const defaultRequestsPerSecond = 1000;

export function createAccount(command: Of<'create-account'>, context: RuleContext): Decision {
  const taken = context.state.named('account', '', command.name);
  if (taken !== undefined) return refuse('account-name-taken', { name: command.name, existing: taken.id });
  const draft = new Draft(context.state);
  const id = context.ids.fresh('account');
  draft.put({
    kind: 'account',
    id,
    name: command.name,
    quotas: {},
    requestsPerSecond: defaultRequestsPerSecond,
    createdTime: context.now,
  });
  return draft.done({ id });
}

export function modifyAccount(command: Of<'modify-account'>, context: RuleContext): Decision {
  const account = context.state.get('account', command.accountId);
  if (account === undefined) return refuse('not-found', { id: command.accountId });
  const { name = account.name, requestsPerSecond = account.requestsPerSecond } = command;
  const taken = context.state.named('account', '', name);
  if (taken !== undefined && taken.id !== account.id) return refuse('account-name-taken', { name, existing: taken.id });
  const draft = new Draft(context.state);
  if (name !== account.name || requestsPerSecond !== account.requestsPerSecond) {
    draft.put({ ...account, name, requestsPerSecond });
  }
  return draft.done({ id: account.id });
}

/** Without force an account must be empty. With force all it owns goes in one step, its halves at the peers included. */
export function deleteAccount(command: Of<'delete-account'>, context: RuleContext): Decision {
  const { state } = context;
  const account = state.get('account', command.accountId);
  if (account === undefined) return refuse('not-found', { id: command.accountId });
  const vpcs = state.children('vpc', account.id);
  if (vpcs.length > 0 && !command.force) {
    return refuse('account-in-use', { account: account.id, what: `VPC ${vpcs[0]?.id}` });
  }
  const draft = new Draft(state);
  for (const vpc of vpcs) dropVpc(draft, vpc);
  for (const key of state.children('key', account.id)) draft.delete('key', key.id);
  for (const token of state.children('client-token', account.id)) draft.delete('client-token', token.id);
  draft.delete('account', account.id);
  return draft.done({ id: account.id });
}

export function setQuota(command: Of<'set-quota'>, context: RuleContext): Decision {
  const account = context.state.get('account', command.accountId);
  if (account === undefined) return refuse('not-found', { id: command.accountId });
  const { most } = quotaTable[command.type];
  if (command.limit !== null && command.limit > most) {
    return refuse('invalid-argument', { field: 'maxLimit', problem: `${command.type} cannot be more than ${most}` });
  }
  const { [command.type]: _, ...others } = account.quotas;
  const quotas = command.limit === null ? others : { ...others, [command.type]: command.limit };
  const draft = new Draft(context.state);
  draft.put({ ...account, quotas });
  return draft.done({ id: account.id });
}

export function createKey(command: Of<'create-key'>, context: RuleContext): Decision {
  const { state } = context;
  const account = state.get('account', command.accountId);
  if (account === undefined) return refuse('not-found', { id: command.accountId });
  const over = checkQuota(state, account.id, 'access_key', null, state.count('key', account.id));
  if (isRefusal(over)) return over;
  const draft = new Draft(state);
  const id = context.ids.fresh('key');
  draft.put({ kind: 'key', id, accountId: account.id, description: command.description, createdTime: context.now });
  return draft.done({ id });
}

export function deleteKey(command: Of<'delete-key'>, context: RuleContext): Decision {
  if (context.state.get('key', command.keyId) === undefined) return refuse('not-found', { id: command.keyId });
  const draft = new Draft(context.state);
  draft.delete('key', command.keyId);
  return draft.done({ id: command.keyId });
}
