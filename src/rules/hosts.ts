/**
 * The hosts of a region: invited by the operator, admitted with a token that works for one key, drained, removed. Only
 * the token's hash is known here, and only the hash of the key that it bound the host to.
 */
import { type Refusal, refuse } from '../model/errors.ts';
import type { Host } from '../model/resources.ts';
import type { OperatorCommand } from './commands.ts';
import { type Decision, Draft, type RuleContext } from './draft.ts';

type Of<K extends OperatorCommand['kind']> = Extract<OperatorCommand, { kind: K }>;

/** Interfaces that a refusal names. */
const mostNamed = 5;

/** The first stays for good: every certificate of a host is its work. */
export function createAuthority(command: Of<'create-host-authority'>, context: RuleContext): Decision {
  const draft = new Draft(context.state);
  const id = 'host-authority';
  if (context.state.get('host-authority', id) === undefined) {
    draft.put({ kind: 'host-authority', id, certificate: command.certificate, createdTime: context.now });
  }
  return draft.done({ id });
}

/** A host that has not joined yet may be invited again: the earlier token is void then. */
export function inviteHost(command: Of<'invite-host'>, context: RuleContext): Decision {
  const { name, tokenHash, expires } = command;
  const before = context.state.get('host', name);
  if (before !== undefined && before.state !== 'invited') return refuse('host-exists', { name });
  const draft = new Draft(context.state);
  draft.put({
    kind: 'host',
    id: name,
    state: 'invited',
    keyHash: null,
    tokenHash,
    tokenExpires: expires,
    createdTime: before?.createdTime ?? context.now,
  });
  return draft.done({ id: name });
}

/**
 * One answer for a token that is unknown, used or too old: nothing is learnt by trying. The key that used it may ask again until
 * it expires, for the answer may have been lost.
 */
export function admitHost(command: Of<'admit-host'>, context: RuleContext): Decision {
  const host = [...context.state.all('host')].find(({ tokenHash }) => tokenHash === command.tokenHash);
  if (host === undefined || host.tokenExpires === null || host.tokenExpires <= context.now) {
    return refuse('host-token-refused', {});
  }
  const draft = new Draft(context.state);
  if (host.state === 'invited') draft.put({ ...host, state: 'active', keyHash: command.keyHash });
  else if (host.keyHash !== command.keyHash) return refuse('host-token-refused', {});
  return draft.done({ id: host.id });
}

function joined(context: RuleContext, name: string): Host | Refusal {
  const host = context.state.get('host', name);
  if (host === undefined) return refuse('host-unknown', { name });
  return host.state === 'invited' ? refuse('host-not-joined', { name }) : host;
}

function turn(context: RuleContext, name: string, state: 'active' | 'draining'): Decision {
  const host = joined(context, name);
  if (host.kind === 'refusal') return host;
  const draft = new Draft(context.state);
  if (host.state !== state) draft.put({ ...host, state });
  return draft.done({ id: host.id });
}
export const drainHost = (command: Of<'drain-host'>, context: RuleContext): Decision =>
  turn(context, command.name, 'draining');
export const undrainHost = (command: Of<'undrain-host'>, context: RuleContext): Decision =>
  turn(context, command.name, 'active');

/** A host that may still carry packets goes only empty; one that is lost goes as it is, and is not heard of any more. */
export function removeHost(command: Of<'remove-host'>, context: RuleContext): Decision {
  const { name, attached, lost } = command;
  const host = context.state.get('host', name);
  if (host === undefined) return refuse('host-unknown', { name });
  if (host.state !== 'invited' && lost && attached !== null) return refuse('host-connected', { name });
  if (host.state !== 'invited' && !lost) {
    if (host.state !== 'draining') return refuse('host-not-drained', { name });
    if (attached === null) return refuse('host-away', { name });
    if (attached.length > 0) {
      const more = attached.length > mostNamed ? ` and ${attached.length - mostNamed} more` : '';
      return refuse('host-in-use', { name, what: `${attached.slice(0, mostNamed).join(', ')}${more}` });
    }
  }
  const draft = new Draft(context.state);
  draft.delete('host', name);
  return draft.done({ id: name });
}
