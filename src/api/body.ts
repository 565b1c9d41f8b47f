/**
 * Bodies: read from the bytes that were signed, and checked against an operation's schema. `null` means absent and
 * unknown keys are ignored, since the vendor's Go and Python clients send both.
 */
import type { Validator } from 'typebox/compile';
import { reject, rejectField } from './refused.ts';

type Json = { readonly [name: string]: unknown };

/** Nesting beyond this is nobody's request. */
const deepest = 16;

/** Nor are more values than this: to say what is wrong with each of them would keep everybody waiting. */
const mostValues = 10_000;

/** Without members that are null, at any depth. @param left how many values there may still be */
function withoutNulls(value: unknown, left: { values: number }, depth = 0): unknown {
  if (depth > deepest) return rejectField('body', `it is nested deeper than ${deepest}`);
  left.values -= 1;
  if (left.values < 0) return rejectField('body', `it holds more than ${mostValues} values`);
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, left, depth + 1));
  if (typeof value !== 'object' || value === null) return value;
  const kept: [string, unknown][] = [];
  for (const [name, member] of Object.entries(value)) {
    if (member !== null && name !== '__proto__') kept.push([name, withoutNulls(member, left, depth + 1)]);
  }
  return Object.fromEntries(kept);
}

/** The JSON object of a body; an empty body is an empty object. @throws Refused */
export function readBody(raw: Buffer, contentType: string | undefined): Json {
  if (raw.length === 0) return {};
  const type = (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type !== 'application/json') return reject('unsupported-media-type', {});
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch (error) {
    const problem = error instanceof Error ? error.message.slice(0, 120).replace(/\.$/, '') : 'unreadable';
    return reject('malformed-json', { problem });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return reject('malformed-json', { problem: 'it is no object' });
  }
  return withoutNulls(value, { values: mostValues }) as Json;
}

/** The body, if it has the shape that the operation takes. @throws Refused naming the first field that has not */
// biome-ignore lint/suspicious/noExplicitAny: a validator of any schema; its check is what counts here
export function checkBody(validator: Validator<any, any, any, any>, body: Json): Json {
  if (validator.Check(body)) return body;
  const [first] = validator.Errors(body);
  const at = (first?.instancePath ?? '').split('/').filter((part) => part !== '');
  const params = first?.params as { readonly requiredProperties?: readonly string[] } | undefined;
  if (first?.message === 'schema is false') {
    const name = at.at(-1) ?? '';
    return rejectField(at.join('.'), `there is no field '${name.slice(0, 64)}' here`);
  }
  const missing = first?.keyword === 'required' ? params?.requiredProperties?.[0] : undefined;
  if (missing !== undefined) return reject('missing-argument', { field: [...at, missing].join('.') });
  return rejectField(at.join('.') || 'body', (first?.message ?? 'it does not have the right shape').replace(/\.$/, ''));
}
