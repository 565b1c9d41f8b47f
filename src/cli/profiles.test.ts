import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Failure } from './failure.ts';
import { changeProfiles, type Profile, profilesPath, readProfiles } from './profiles.ts';

const profile: Profile = { endpoint: 'http://127.0.0.1:1', region: 'r-1', accessKeyId: 'JDC_A', secretAccessKey: 's' };

/** Runs `work` as nobody's sudo, with a configuration directory of its own. */
function isolated(work: (path: string) => void): void {
  const { XDG_CONFIG_HOME: config, SUDO_USER: sudo } = process.env;
  const home = mkdtempSync(join(tmpdir(), 'profiles-'));
  process.env['XDG_CONFIG_HOME'] = home;
  delete process.env['SUDO_USER'];
  try {
    work(profilesPath());
  } finally {
    if (config === undefined) delete process.env['XDG_CONFIG_HOME'];
    else process.env['XDG_CONFIG_HOME'] = config;
    if (sudo !== undefined) process.env['SUDO_USER'] = sudo;
    rmSync(home, { recursive: true });
  }
}
const failure = (pattern: RegExp) => (error: unknown) =>
  error instanceof Failure && error.exitCode === 2 && pattern.test(error.message);

test('a profile is kept in a file that only its owner can read, and found again', () => {
  isolated((path) => {
    assert.deepEqual(readProfiles(), { current: 'default', profiles: {} });
    changeProfiles(() => ({ current: 'a', profiles: { a: profile } }));
    changeProfiles((before) => ({ ...before, profiles: { ...before.profiles, b: { ...profile, caFile: '/ca.pem' } } }));
    assert.deepEqual(readProfiles(), { current: 'a', profiles: { a: profile, b: { ...profile, caFile: '/ca.pem' } } });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(dirname(path)), ['config.json'], 'no temporary file remains');
  });
});

test('a file that others could read is refused, for reading and for changing', () => {
  isolated((path) => {
    changeProfiles(() => ({ current: 'a', profiles: { a: profile } }));
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(path, mode);
      assert.throws(() => readProfiles(), failure(/open to others/), mode.toString(8));
      assert.throws(() => changeProfiles((before) => before), failure(/open to others/));
    }
    chmodSync(path, 0o600);
    assert.deepEqual(Object.keys(readProfiles().profiles), ['a']);
  });
});

test('a file that is not what we write is refused, not guessed at', () => {
  isolated((path) => {
    mkdirSync(dirname(path), { recursive: true });
    for (const [text, says] of [
      ['{', /is not JSON/],
      ['null', /holds no profiles/],
      ['{"profiles":{"x":{"endpoint":"http://h"}}}', /no whole profile 'x'/],
    ] as const) {
      writeFileSync(path, text, { mode: 0o600 });
      assert.throws(() => readProfiles(), failure(says));
    }
  });
});
