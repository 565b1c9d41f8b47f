/** Query parameters, read once and by name. A parameter given twice is refused, never picked from. */
import { parseQuery } from './auth/canonical.ts';
import { reject, rejectField } from './refused.ts';

export class Query {
  readonly #values = new Map<string, string>();

  /** @throws Refused for malformed percent codes and repeated names */
  constructor(raw: string) {
    let pairs: ReturnType<typeof parseQuery>;
    try {
      pairs = parseQuery(raw);
    } catch {
      rejectField('query', 'it carries a malformed percent code');
      return;
    }
    for (const [name, value] of pairs) {
      if (this.#values.has(name)) rejectField(name.slice(0, 64), 'it is given twice');
      this.#values.set(name, value);
    }
  }

  get names(): Iterable<string> {
    return this.#values.keys();
  }

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** A whole number between two bounds. */
  integer(name: string, range: { readonly min: number; readonly max: number; readonly fallback: number }): number {
    const text = this.#values.get(name);
    if (text === undefined || text === '') return range.fallback;
    if (!/^-?[0-9]{1,15}$/.test(text)) rejectField(name, `'${text.slice(0, 32)}' is not a whole number`);
    const value = Number(text);
    if (value < range.min || value > range.max) {
      reject('page-out-of-range', { field: name, value: text, range: `${range.min}–${range.max}` });
    }
    return value;
  }

  flag(name: string): boolean {
    const text = this.#values.get(name);
    if (text === undefined || text === '' || text === 'false') return false;
    if (text !== 'true') rejectField(name, "it is neither 'true' nor 'false'");
    return true;
  }
}
