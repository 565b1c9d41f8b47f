/** Asks a server of OVSDB which databases it has: so a remote is tried before anything depends on it. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext } from 'node:tls';
import { certificateProblem, type PkiNames } from '../dataplane/ovn/ovsdb-tls.ts';
import { MessageSplitter } from '../dataplane/ovn/ovsdb-wire.ts';
import { splitAddress } from './region-caller.ts';

export type Greeting =
  | { readonly kind: 'answered'; readonly remote: string; readonly databases: readonly string[] }
  /** `wrong`: the certificates are why. */
  | { readonly kind: 'failed'; readonly remote: string; readonly why: string; readonly wrong: boolean };
export interface Shown {
  readonly secureContext: SecureContext;
  readonly names: PkiNames;
}

const patience = 3_000;
const question = '{"id":0,"method":"list_dbs","params":[]}';

function socketTo(remote: string, shown: Shown | null): Socket {
  if (remote.startsWith('unix:')) return connect(remote.slice('unix:'.length)).once('connect', ask);
  const to = splitAddress(remote.replace(/^(tcp|ssl):/, ''));
  if (!remote.startsWith('ssl:')) return connect(to).once('connect', ask);
  if (shown === null) throw new Error(`${remote} needs certificates`);
  const { secureContext } = shown;
  const options = { ...to, secureContext, rejectUnauthorized: true, checkServerIdentity: () => undefined };
  // With TLS 1.3 only its first answer says that it took the certificate.
  return connectTls(options).once('secureConnect', ask);
}
function ask(this: Socket): void {
  this.write(question);
}

/** @param shown for a remote of `ssl:` */
export function greet(remote: string, shown: Shown | null): Promise<Greeting> {
  return new Promise((resolve) => {
    const socket = socketTo(remote, shown);
    const splitter = new MessageSplitter();
    const fail = (why: string, wrong = false): void => {
      socket.destroy();
      resolve({ kind: 'failed', remote, why, wrong });
    };
    const late = setTimeout(() => fail('it does not answer'), patience);
    socket.once('close', () => {
      clearTimeout(late);
      fail('it closed the connection');
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        const answers = splitter.push(chunk) as readonly { readonly id?: unknown; readonly result?: unknown }[];
        const answer = answers.find(({ id }) => id === 0);
        if (answer === undefined) return;
        if (!Array.isArray(answer.result)) return fail('what answers is no OVSDB');
        resolve({ kind: 'answered', remote, databases: answer.result.map(String) });
        socket.destroy();
      } catch {
        fail('what answers is no OVSDB');
      }
    });
    socket.on('error', (error) => {
      const problem = shown === null ? null : certificateProblem(error, shown.names);
      fail(problem ?? error.message, problem !== null);
    });
  });
}
