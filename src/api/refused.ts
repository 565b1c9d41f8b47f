/** Carries a refusal from where it is found to the one place that answers it. Only the API layer throws it. */
import { type ErrorCode, type ErrorParams, type Refusal, refuse } from '../model/errors.ts';

export class Refused extends Error {
  readonly refusal: Refusal;
  /** HTTP headers that belong to the answer. */
  readonly headers: { readonly [name: string]: string };
  constructor(refusal: Refusal, headers: { readonly [name: string]: string } = {}) {
    super(refusal.text);
    this.name = 'Refused';
    this.refusal = refusal;
    this.headers = headers;
  }
}

/** Throws the refusal of that registry entry. */
export function reject<C extends ErrorCode>(code: C, params: ErrorParams<C>): never {
  throw new Refused(refuse(code, params));
}

/** Refuses one field of the request. @param problem reads after "field: " and has no full stop */
export const rejectField = (field: string, problem: string): never => reject('invalid-argument', { field, problem });
