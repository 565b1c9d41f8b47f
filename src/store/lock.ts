/** A lock on a file that goes with the process, however it ends (flock). */
import { openSync } from 'node:fs';
import koffi from 'koffi';

const flock = koffi.load('libc.so.6').func('int flock(int, int)');
const exclusive = 2;
const nonBlocking = 4;

/** Takes the lock for the rest of this process's life. @returns whether it was free */
export function lockFile(path: string): boolean {
  const fd = openSync(path, 'a', 0o600);
  return Number(flock(fd, exclusive | nonBlocking)) === 0;
}
