/** Asks a daemon of Open vSwitch at its control socket (`ovs-appctl`): JSON-RPC, one answer a question. */
import { connect } from 'node:net';
import { MessageSplitter } from './ovsdb-wire.ts';

/** @param patience milliseconds @throws Error when it does not answer, or refuses */
export function askDaemon(path: string, method: string, params: readonly string[], patience: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const splitter = new MessageSplitter();
    const end = (result: string | Error): void => {
      clearTimeout(timer);
      socket.destroy();
      if (typeof result === 'string') resolve(result);
      else reject(result);
    };
    const timer = setTimeout(() => end(new Error(`${path} did not answer ${method} in ${patience} ms`)), patience);
    socket.on('error', (error) => end(error));
    socket.on('close', () => end(new Error(`${path} closed the connection at ${method}`)));
    socket.on('data', (chunk: Buffer) => {
      try {
        const [answer] = splitter.push(chunk) as readonly { readonly result?: unknown; readonly error?: unknown }[];
        if (answer === undefined) return;
        if (answer.error == null) end(String(answer.result ?? ''));
        else end(new Error(`${method}: ${String(answer.error)}`));
      } catch (error) {
        end(new Error(`${path} answered ${method} with what is no JSON`, { cause: error }));
      }
    });
    socket.write(JSON.stringify({ method, params, id: 1 }));
  });
}
