/** Fresh identifiers from the system's randomness. Ten characters of 36 carry 51.7 bits. */
import { randomBytes, randomInt } from 'node:crypto';
import { type IdKind, type IdOf, type Ids, idPrefixes } from '../model/ids.ts';

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

export const systemIds: Ids = {
  fresh<K extends IdKind>(kind: K): IdOf<K> {
    const body =
      kind === 'key'
        ? randomBytes(16).toString('hex').toUpperCase()
        : Array.from({ length: 10 }, () => alphabet[randomInt(alphabet.length)]).join('');
    return `${idPrefixes[kind]}${body}` as IdOf<K>;
  },
  macSeed: () => BigInt(`0x${randomBytes(5).toString('hex')}`),
};

/** Ids of what is only planned: counted, the same in each run. */
export class PlannedIds implements Ids {
  #count = 0;
  fresh<K extends IdKind>(kind: K): IdOf<K> {
    return `${idPrefixes[kind]}new${String(++this.#count).padStart(7, '0')}` as IdOf<K>;
  }
  macSeed(): bigint {
    return BigInt(++this.#count);
  }
}

/** A secret access key: 32 characters, 192 bits. */
export const freshSecret = (): string => randomBytes(24).toString('base64url');
