/**
 * How much of the one event loop an account may take with questions that cost more than a look-up: traces, plans, health.
 * Counted in milliseconds of work done, refilled steadily; who has used his up waits, and nobody else does.
 */
import { performance } from 'node:perf_hooks';
import type { AccountId } from '../model/ids.ts';
import { reject } from './refused.ts';

/** Milliseconds of work that may be saved up, and that come back each second. */
const most = 1500;
const perSecond = 150;

interface Account {
  left: number;
  at: number;
}

function cpuTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

export class Budget {
  readonly #accounts = new Map<AccountId, Account>();
  readonly #now: () => number;
  readonly #worked: () => number;

  /**
   * @param now milliseconds
   * @param worked milliseconds that this thread has worked: what it waits for the machine costs nobody anything
   */
  constructor(now: () => number = () => performance.now(), worked: () => number = cpuTime) {
    this.#now = now;
    this.#worked = worked;
  }

  #of(accountId: AccountId): Account {
    const now = this.#now();
    const account = this.#accounts.get(accountId) ?? { left: most, at: now };
    account.left = Math.min(most, account.left + ((now - account.at) / 1000) * perSecond);
    account.at = now;
    // Whoever has all of it again needs no entry.
    this.#accounts.set(accountId, account);
    return account;
  }

  /**
   * Does a piece of synchronous work and takes its time from the account. The operator (null) has no limit.
   * @throws Refused when the account has used its share up
   */
  spend<T>(accountId: AccountId | null, work: () => T): T {
    if (accountId === null) return work();
    const account = this.#of(accountId);
    if (account.left <= 0) reject('too-much-work', { share: String(perSecond / 10) });
    const started = this.#worked();
    try {
      return work();
    } finally {
      account.left -= this.#worked() - started;
      account.at = this.#now();
    }
  }
}

/** The region's one. */
export const budget = new Budget();
