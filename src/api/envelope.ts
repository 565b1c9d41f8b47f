/**
 * The vendor's envelope around every answer: `{requestId, result}` or `{requestId, error}`. Clients differ in what they
 * look at (the HTTP status, `error.code`, `requestId`), so all three are always there.
 */
import type { Refusal } from '../model/errors.ts';
import { type Behind, isBehind } from '../region/owed-book.ts';

export interface Envelope {
  readonly requestId: string;
  readonly result?: unknown;
  /** Set with status 202: the change is stored, and the data plane has not confirmed this revision yet. */
  readonly pendingRevision?: number;
  readonly error?: ErrorBody;
}
export interface ErrorBody {
  /** The HTTP status as a number: Go and Python clients look here only. */
  readonly code: number;
  readonly status: string;
  readonly message: string;
  readonly details: readonly ErrorDetail[];
}
export interface ErrorDetail {
  /** Name of the entry in the error registry. */
  readonly code: string;
  readonly field?: string;
  readonly remedy: string;
  /** What the sentence names: ids, prefixes, limits. */
  readonly params: { readonly [name: string]: string };
}

export function errorEnvelope(requestId: string, refusal: Refusal): Envelope {
  const { code, http, status, text, remedy, params } = refusal;
  const field = params['field'];
  const detail: ErrorDetail = { code, ...(field === undefined ? {} : { field }), remedy, params };
  return { requestId, error: { code: http, status, message: `${text} ${remedy}`, details: [detail] } };
}

/** What an answer with status 202 says besides. */
export interface Pending {
  readonly pendingRevision: number | null;
  readonly behind: Behind;
}

/** The lists of hosts that are not empty, as members of an object: of a `result`, because clients see nothing else. */
export const behindMembers = ({ notFencedOn, notInstalledOn }: Behind): Partial<Behind> => ({
  ...(notFencedOn.length === 0 ? {} : { notFencedOn }),
  ...(notInstalledOn.length === 0 ? {} : { notInstalledOn }),
});

export function resultEnvelope(requestId: string, result: unknown, { pendingRevision, behind }: Pending): Envelope {
  const whole = isBehind(behind) ? { ...(result ?? {}), ...behindMembers(behind) } : result;
  return {
    requestId,
    ...(whole === undefined ? {} : { result: whole }),
    ...(pendingRevision === null ? {} : { pendingRevision }),
  };
}
