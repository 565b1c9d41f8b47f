import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { probeConnection, probeSouthbound } from './southbound.ts';

/** A server that says one thing to whoever asks. @returns where it listens */
async function saying(t: TestContext, text: string, at: string | number = 0): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => socket.write(text));
  });
  server.listen(typeof at === 'string' ? { path: at } : { port: at, host: '127.0.0.1' });
  await once(server, 'listening');
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return typeof at === 'string' ? `unix:${at}` : `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const having = (...databases: readonly string[]): string => JSON.stringify({ id: 0, error: null, result: databases });

test('a remote is refused that has another database, that is no OVSDB, or when none answers', async (t) => {
  const right = await saying(t, having('OVN_Southbound', '_Server'));
  const north = await saying(t, having('OVN_Northbound', '_Server'));
  const nobody = 'tcp:127.0.0.1:9';
  const { state, detail } = await probeSouthbound([right, nobody], null);
  assert.equal(state, 'yes', 'one is enough');
  assert.match(detail, new RegExp(`^${right} answers; ${nobody}: .*ECONNREFUSED`));
  const wrong = await probeSouthbound([right, north], null);
  assert.equal(wrong.state, 'no');
  assert.match(
    wrong.detail,
    new RegExp(`^${north} has OVN_Northbound, _Server and not OVN_Southbound: .*--ovn-remote`),
  );
  for (const other of [await saying(t, 'SSH-2.0-x\r\n{]'), await saying(t, '{"id":0,"error":"what?"}'), nobody]) {
    const none = await probeSouthbound([other], null);
    assert.equal(none.state, 'no', other);
    assert.match(none.detail, new RegExp(`^none answers from here: ${other}: (what answers is no OVSDB|.*REFUSED)`));
  }
});

test('of ovn-controller it is said whether it is connected', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'sb-'));
  t.after(() => rmSync(folder, { recursive: true }));
  assert.match((await probeConnection(folder, folder)).detail, /cannot be asked .*systemctl restart ovn-host/);
  for (const [pid, word, state] of [
    ['11', 'connected\n', 'yes'],
    ['12', 'not connected\n', 'no'],
  ] as const) {
    writeFileSync(join(folder, 'ovn-controller.pid'), `${pid}\n`);
    await saying(t, JSON.stringify({ id: 1, error: null, result: word }), join(folder, `ovn-controller.${pid}.ctl`));
    const row = await probeConnection(folder, folder);
    assert.deepEqual([row.state, row.required], [state, true]);
    if (state === 'no') assert.match(row.detail, /^not connected; ovn-remote is not set\. .*--ovn-remote/);
  }
});
