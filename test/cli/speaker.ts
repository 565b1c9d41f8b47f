/** How the tests of the command line speak to it: commands that must succeed, and commands that must not. */
import assert from 'node:assert/strict';
import type { Answer, TestService } from './service.ts';

export interface Speaker {
  /** Runs a command that must succeed; its standard output. */
  done(...args: readonly string[]): Promise<string>;
  /** The same as a tenant's profile. */
  as(profile: string, ...args: readonly string[]): Promise<string>;
  /** The one id that a command prints with --quiet. */
  id(profile: string, ...args: readonly string[]): Promise<string>;
  /** What a command prints with --json. */
  json<T>(profile: string, ...args: readonly string[]): Promise<T>;
  /** Runs a command that must fail with that status and without an answer on standard output. */
  fails(status: number, ...args: readonly string[]): Promise<Answer>;
}

/** @param service called late, since tests start it in a hook */
export function speaker(service: () => TestService): Speaker {
  const done: Speaker['done'] = async (...args) => {
    const answer = await service().run(args);
    assert.equal(answer.status, 0, `isthmus ${args.join(' ')}: ${answer.stderr}`);
    return answer.stdout;
  };
  const as: Speaker['as'] = (profile, ...args) => done(...args, '--profile', profile);
  return {
    done,
    as,
    id: async (profile, ...args) => (await as(profile, ...args, '-q')).trim(),
    json: async <T>(profile: string, ...args: readonly string[]) =>
      JSON.parse(await as(profile, ...args, '--json')) as T,
    async fails(status, ...args) {
      const answer = await service().run(args);
      assert.equal(answer.status, status, `isthmus ${args.join(' ')}: ${answer.stdout}${answer.stderr}`);
      assert.equal(answer.stdout, '', 'what failed prints no answer');
      return answer;
    },
  };
}

/** Makes an account and its profile of the same name. */
export async function tenant({ done }: Speaker, name: string): Promise<void> {
  await done('account', 'create', name);
  await done('key', 'create', name, '--save-profile', name);
}
