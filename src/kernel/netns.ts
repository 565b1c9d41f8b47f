/**
 * Network namespaces of this thread. A function that runs inside one is synchronous, so that nothing else of the process
 * ever runs there, and the way back is certain: a process that cannot come back ends itself.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';
import { KernelError } from './bpf.ts';

const setns = koffi.load('libc.so.6').func('int setns(int, int)');
const cloneNewNet = 0x40000000;
const home = openSync('/proc/thread-self/ns/net', constants.O_RDONLY);

/** Descriptor of a named namespace (`ip netns add`); the caller closes it. @throws ENOENT */
export const openNamed = (name: string): number => openSync(`/run/netns/${name}`, constants.O_RDONLY);
/** Descriptor of a process's namespace; the caller closes it. @throws ENOENT when there is no such process */
export const openOfProcess = (pid: number): number => openSync(`/proc/${pid}/ns/net`, constants.O_RDONLY);

/** Runs `work` in the namespace and comes back. @param namespace a descriptor */
export function inside<T>(namespace: number, work: () => T): T {
  if (Number(setns(namespace, cloneNewNet)) < 0) throw new KernelError('entering a namespace', koffi.errno());
  try {
    return work();
  } finally {
    // To go on in the wrong namespace would be a leak.
    if (Number(setns(home, cloneNewNet)) < 0) process.abort();
  }
}

const ip = (...args: readonly string[]): void => {
  execFileSync('ip', args, { timeout: 10_000, stdio: ['ignore', 'ignore', 'pipe'] });
};
export const createNamed = (name: string): void => ip('netns', 'add', name);
export const deleteNamed = (name: string): void => ip('netns', 'delete', name);
export { closeSync as closeNamespace };
