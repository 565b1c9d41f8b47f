/**
 * A network namespace of the demo's own, in which it is started anew: what joins the bed's networks is there, and not on
 * the host. Gone with the demo, however that ends.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants } from 'node:os';
import { createNamed, deleteNamed } from '../../kernel/netns.ts';

const mark = 'ISTHMUS_DEMO_ROOM';
export const isInRoom = (): boolean => process.env[mark] !== undefined;

/** Runs this very command there. @returns its exit code */
export async function runInRoom(): Promise<number> {
  const name = `ic-room-${randomBytes(3).toString('hex')}`;
  createNamed(name);
  try {
    const enter = ['--pdeathsig', 'TERM', 'nsenter', `--net=/run/netns/${name}`];
    const self = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
    const child = spawn('setpriv', [...enter, ...self], { stdio: 'inherit', env: { ...process.env, [mark]: name } });
    // A terminal's signal reaches both; another's is passed on. This one ends when the other has.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
      });
    }
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
  } finally {
    deleteNamed(name);
  }
}
