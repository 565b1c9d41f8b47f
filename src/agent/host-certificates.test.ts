import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { certificatesOnCommandLine, probeCertificates } from './host-certificates.ts';

/** A process with these arguments, as ovn-controller's pid file names it. @returns the folder of the file */
async function running(t: TestContext, args: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'hc-'));
  const child: ChildProcess = spawn(process.execPath, ['-e', 'process.stdin.resume()', '--', ...args]);
  t.after(async () => {
    const over = once(child, 'exit');
    child.kill('SIGKILL');
    await over;
    rmSync(folder, { recursive: true });
  });
  await once(child, 'spawn');
  writeFileSync(join(folder, 'ovn-controller.pid'), `${child.pid}\n`);
  return folder;
}

test('certificates are found on the command line of ovn-controller, however they are written', async (t) => {
  const wanted = { key: '/k', certificate: '/c', authority: '/a', bootstrap: false };
  const long = await running(t, ['unix:/x', '--private-key=/k', '--certificate=/c', '--ca-cert=/a', '--pidfile']);
  assert.deepEqual(certificatesOnCommandLine(long), wanted);
  assert.deepEqual(certificatesOnCommandLine(await running(t, ['-p', '/k', '-c', '/c', '-C', '/a'])), wanted);
  const learning = ['--private-key=/k', '--certificate=/c', '--bootstrap-ca-cert=/a'];
  assert.deepEqual(certificatesOnCommandLine(await running(t, learning)), { ...wanted, bootstrap: true });
  assert.equal(certificatesOnCommandLine(await running(t, ['--private-key=/k', '--ca-cert=/a'])), null);
  assert.equal(certificatesOnCommandLine('/nowhere'), null, 'it does not run');
});

test('without certificates it is said what to run; files that cannot be read are named', async () => {
  const remotes = ['ssl:192.0.2.1:6642'];
  const none = await probeCertificates(remotes, null);
  assert.equal(none.state, 'no');
  assert.match(none.detail, /ssl:192\.0\.2\.1:6642 needs some.*run ovs-vsctl set-ssl KEY CERTIFICATE CA/);
  const files = { key: '/nowhere/k', certificate: '/nowhere/c', authority: '/nowhere/a', bootstrap: false };
  assert.match((await probeCertificates(remotes, files)).detail, /\/nowhere\/a cannot be read: ENOENT/);
  const learning = await probeCertificates(remotes, { ...files, bootstrap: true });
  assert.deepEqual([learning.state, learning.required], ['yes', true]);
});
