import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { askDaemon } from './control-socket.ts';

/** A daemon's socket. @param answer what it does with a question */
async function daemon(t: TestContext, answer: (socket: Socket, question: string) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'ctl-'));
  const path = join(folder, 'daemon.ctl');
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => answer(socket, chunk.toString()));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  return path;
}

test('a question and its answer, in whatever pieces it comes', async (t) => {
  const questions: string[] = [];
  const path = await daemon(t, (socket, question) => {
    questions.push(question);
    const answer = '{"id":1,"result":"flows: {3} \\"x\\"\\n","error":null}';
    socket.write(answer.slice(0, 20));
    setImmediate(() => socket.write(answer.slice(20)));
  });
  assert.equal(await askDaemon(path, 'upcall/show', ['a b'], 5_000), 'flows: {3} "x"\n');
  assert.deepEqual(JSON.parse(questions[0] ?? ''), { method: 'upcall/show', params: ['a b'], id: 1 });
});

test('what a daemon refuses is said in its own words', async (t) => {
  const path = await daemon(t, (socket) =>
    socket.write('{"id":1,"result":null,"error":"\\"nope\\" is not a command"}'),
  );
  await assert.rejects(askDaemon(path, 'nope', [], 5_000), /nope: "nope" is not a command/);
});

test('a daemon that goes, says nothing, talks nonsense or is not there is no answer', async (t) => {
  const goes = await daemon(t, (socket) => socket.end());
  await assert.rejects(askDaemon(goes, 'revalidator/purge', [], 5_000), /closed the connection at revalidator\/purge/);
  const silent = await daemon(t, () => {});
  await assert.rejects(askDaemon(silent, 'revalidator/wait', [], 20), /did not answer revalidator\/wait in 20 ms/);
  const nonsense = await daemon(t, (socket) => socket.write('{nonsense}'));
  await assert.rejects(askDaemon(nonsense, 'version', [], 5_000), /no JSON/);
  await assert.rejects(askDaemon(`${silent}.other`, 'version', [], 5_000), /ENOENT/);
});
