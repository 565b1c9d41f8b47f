/**
 * The bpf(2) system call and the few parts of libbpf that load an object. Owns file descriptors only as long as a call
 * lasts; whoever gets one closes it with `closeFd`. Knows nothing of VPCs.
 */

import { readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const syscall = libc.func('long syscall(long, int, void *, uint)');
const closeCall = libc.func('int close(int)');
const fcntl = libc.func('int fcntl(int, int, int)');
const bpfNumber = process.arch === 'arm64' ? 280 : 321;

/** A system call failed. `errno` is the kernel's number, `name` its name (`ENOENT`). */
export class KernelError extends Error {
  readonly errno: number;
  readonly errorName: string;
  constructor(what: string, errno: number, detail = '') {
    const [errorName = `errno ${errno}`, text = ''] = getSystemErrorMap().get(-errno) ?? [];
    super(`${what}: ${text || 'failed'} (${errorName})${detail === '' ? '' : `: ${detail}`}`);
    this.name = 'KernelError';
    this.errno = errno;
    this.errorName = errorName;
  }
}

export const closeFd = (fd: number): void => {
  closeCall(fd);
};
/** Another descriptor of the same object, which outlives the first; the caller closes it. */
export function duplicate(fd: number): number {
  const copy = Number(fcntl(fd, 1030, 0)); // F_DUPFD_CLOEXEC
  if (copy < 0) throw new KernelError('duplicating a descriptor', koffi.errno());
  return copy;
}

export const mapTypes = { hash: 1, array: 2, percpuArray: 6, lpm: 11, arrayOfMaps: 12, devmap: 14 } as const;
const commands = {
  mapCreate: 0,
  lookup: 1,
  update: 2,
  delete: 3,
  nextKey: 4,
  pin: 6,
  get: 7,
  testRun: 10,
  mapById: 14,
  info: 15,
  lookupBatch: 24,
  updateBatch: 26,
  linkCreate: 28,
  linkUpdate: 29,
} as const;
type Cmd = keyof typeof commands;

/** Every bpf(2) call made, by command: "adoption writes nothing" is checked with it. */
export const calls: Record<string, number> = {};

// An address does not keep its buffer: with the last use inlined away, a collection before the call would free the memory
// under the kernel. No call takes more than a handful of addresses.
const recent: Buffer[] = [];
let place = 0;
/** The address of a buffer's memory, good for the next call that blocks; one that waits must hold the buffer itself. */
export function pointer(buffer: Buffer): bigint {
  recent[place++ % 64] = buffer;
  return BigInt(koffi.address(buffer) as number | bigint);
}

/** The argument of a call, zeroed and filled. */
export function attr(size: number, fill: (at: Buffer) => void): Buffer {
  const buffer = Buffer.alloc(size);
  fill(buffer);
  return buffer;
}

/** One bpf(2) call. @returns its value, or −errno */
function call(cmd: Cmd, attribute: Buffer): number {
  calls[cmd] = (calls[cmd] ?? 0) + 1;
  const result = Number(syscall(bpfNumber, commands[cmd], attribute, attribute.length));
  return result < 0 ? -koffi.errno() : result;
}
/** One call that has to succeed. @returns its value @throws KernelError */
export function must(what: string, cmd: Cmd, attribute: Buffer): number {
  const result = call(cmd, attribute);
  if (result < 0) throw new KernelError(what, -result);
  return result;
}

export interface MapInfo {
  readonly type: number;
  readonly id: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** Creates an anonymous map; inner tables are made so. */
export function createMap(of: {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
}): number {
  return must(
    'creating a map',
    'mapCreate',
    attr(72, (at) => {
      at.writeUInt32LE(of.type, 0);
      at.writeUInt32LE(of.keySize, 4);
      at.writeUInt32LE(of.valueSize, 8);
      at.writeUInt32LE(of.maxEntries, 12);
      at.writeUInt32LE(of.flags ?? 0, 16);
    }),
  );
}

const element = (fd: number, key: Buffer | null, value: Buffer | null, flags = 0n): Buffer =>
  attr(32, (at) => {
    at.writeUInt32LE(fd, 0);
    if (key !== null) at.writeBigUInt64LE(pointer(key), 8);
    if (value !== null) at.writeBigUInt64LE(pointer(value), 16);
    at.writeBigUInt64LE(flags, 24);
  });

/** @returns the value, or undefined when there is none */
export function lookup(fd: number, key: Buffer, valueSize: number): Buffer | undefined {
  const value = Buffer.alloc(valueSize);
  const result = call('lookup', element(fd, key, value));
  if (result >= 0) return value;
  if (result === -2) return undefined; // ENOENT
  throw new KernelError('reading a map', -result);
}
export const update = (fd: number, key: Buffer, value: Buffer): void => {
  must('writing a map', 'update', element(fd, key, value));
};
/** @returns whether the key was new; an element that is there is left as it is */
export function insert(fd: number, key: Buffer, value: Buffer): boolean {
  const result = call('update', element(fd, key, value, 1n)); // BPF_NOEXIST
  if (result >= 0) return true;
  if (result === -17) return false; // EEXIST
  throw new KernelError('writing a map', -result);
}
/** @returns whether there was one */
export function remove(fd: number, key: Buffer): boolean {
  const result = call('delete', element(fd, key, null));
  if (result >= 0) return true;
  if (result === -2) return false;
  throw new KernelError('deleting from a map', -result);
}

/** A call on a thread of its own, for those that wait for an RCU grace period (8 ms and more). */
function callWaiting(what: string, cmd: Cmd, attribute: Buffer, keep: readonly Buffer[]): Promise<void> {
  calls[cmd] = (calls[cmd] ?? 0) + 1;
  return new Promise((resolve, reject) => {
    syscall.async(bpfNumber, commands[cmd], attribute, attribute.length, (error: unknown, result: number | bigint) => {
      const errno = koffi.errno(); // carried over from the thread that made the call
      // The kernel reads `keep` until now: naming it here keeps it from being collected.
      if (error !== null) reject(error);
      else if (Number(result) < 0) reject(new KernelError(`${what} (${keep.length} buffers)`, errno));
      else resolve();
    });
  });
}

/** The same write, waiting: updating a map of maps waits for a grace period. */
export const updateWaiting = (fd: number, key: Buffer, value: Buffer): Promise<void> =>
  callWaiting('writing a map of maps', 'update', element(fd, key, value), [key, value]);

const batch = (
  fd: number,
  inBatch: Buffer | null,
  outBatch: Buffer | null,
  keys: Buffer,
  values: Buffer | null,
  n: number,
) =>
  attr(56, (at) => {
    if (inBatch !== null) at.writeBigUInt64LE(pointer(inBatch), 0);
    if (outBatch !== null) at.writeBigUInt64LE(pointer(outBatch), 8);
    at.writeBigUInt64LE(pointer(keys), 16);
    if (values !== null) at.writeBigUInt64LE(pointer(values), 24);
    at.writeUInt32LE(n, 32);
    at.writeUInt32LE(fd, 36);
  });

/** Writes many elements of a map of maps in one call, hence one grace period. */
export const updateBatchWaiting = (fd: number, keys: Buffer, values: Buffer, n: number): Promise<void> =>
  callWaiting(`writing ${n} maps`, 'updateBatch', batch(fd, null, null, keys, values, n), [keys, values]);

export type Entry = readonly [key: Buffer, value: Buffer];

/** Elements read in one call; beyond any bucket of a hash, so that the kernel never runs out of room. */
const batchSize = 1024;

/** The same one by one, where a kernel cannot read that kind of map in batches (EINVAL, ENOTSUPP). */
export function walk(fd: number, keySize: number, valueSize: number): Entry[] {
  const found: Entry[] = [];
  for (let from: Buffer | null = null; ; ) {
    const next = Buffer.alloc(keySize);
    const result = call('nextKey', element(fd, from, next));
    if (result === -2) return found;
    if (result < 0) throw new KernelError('walking a map', -result);
    const value = lookup(fd, next, valueSize);
    if (value !== undefined) found.push([next, value]); // else it went in the meantime
    from = next;
  }
}

/** All elements of a hash or LPM map, in no order. */
export function entries(fd: number, keySize: number, valueSize: number): Entry[] {
  const found: Entry[] = [];
  for (let from: Buffer | null = null; ; ) {
    const keys = Buffer.alloc(batchSize * keySize);
    const values = Buffer.alloc(batchSize * valueSize);
    const next = Buffer.alloc(Math.max(keySize, 4));
    const attribute = batch(fd, from, next, keys, values, batchSize);
    const result = call('lookupBatch', attribute);
    if (from === null && (result === -22 || result === -524)) return walk(fd, keySize, valueSize);
    if (result < 0 && result !== -2) throw new KernelError('walking a map', -result);
    const n = attribute.readUInt32LE(32);
    for (let at = 0; at < n; at++) {
      const key = keys.subarray(at * keySize, (at + 1) * keySize);
      found.push([key, values.subarray(at * valueSize, (at + 1) * valueSize)]);
    }
    if (result === -2) return found; // ENOENT: that was all
    from = next;
  }
}

/** `n` elements of an array-like map from `first` on, in one call. @param valueSize of all CPUs, for a per-CPU map */
export function readArray(fd: number, first: number, n: number, valueSize: number): Buffer {
  const keys = Buffer.alloc(n * 4);
  const values = Buffer.alloc(n * valueSize);
  const out = Buffer.alloc(8);
  // The batch starts after the given key.
  const after = first === 0 ? null : Buffer.from(Uint32Array.of(first - 1).buffer);
  const result = call('lookupBatch', batch(fd, after, out, keys, values, n));
  if (result < 0 && result !== -2) throw new KernelError('reading an array', -result);
  return values;
}

/** Descriptor of a map by its id (CAP_SYS_ADMIN): how the inner maps of a map of maps are reached. */
export const mapById = (id: number): number =>
  must(
    `opening map ${id}`,
    'mapById',
    attr(16, (at) => at.writeUInt32LE(id, 0)),
  );

export function infoOfMap(fd: number): MapInfo {
  const info = Buffer.alloc(88);
  must(
    'reading map info',
    'info',
    attr(16, (at) => {
      at.writeUInt32LE(fd, 0);
      at.writeUInt32LE(info.length, 4);
      at.writeBigUInt64LE(pointer(info), 8);
    }),
  );
  const [type = 0, id = 0, keySize = 0, valueSize = 0, maxEntries = 0, flags = 0] = new Uint32Array(
    info.buffer,
    info.byteOffset,
    6,
  );
  return { type, id, keySize, valueSize, maxEntries, flags };
}

/** Id and tag (16 hexadecimal digits over the instructions) of a program. */
export function infoOfProgram(fd: number): { readonly id: number; readonly tag: string } {
  const info = Buffer.alloc(232);
  must(
    'reading program info',
    'info',
    attr(16, (at) => {
      at.writeUInt32LE(fd, 0);
      at.writeUInt32LE(info.length, 4);
      at.writeBigUInt64LE(pointer(info), 8);
    }),
  );
  return { id: info.readUInt32LE(4), tag: info.toString('hex', 8, 16) };
}

const pathAttr = (path: string): { readonly text: Buffer; readonly at: Buffer } => {
  const text = Buffer.from(`${path}\0`);
  return { text, at: attr(16, (at) => at.writeBigUInt64LE(pointer(text), 0)) };
};
export function pin(fd: number, path: string): void {
  const { at } = pathAttr(path);
  at.writeUInt32LE(fd, 8);
  must(`pinning ${path}`, 'pin', at);
}
/** @returns a descriptor, or undefined when nothing is pinned there */
export function getPinned(path: string): number | undefined {
  const result = call('get', pathAttr(path).at);
  if (result >= 0) return result;
  if (result === -2) return undefined;
  throw new KernelError(`opening ${path}`, -result);
}

/** CPUs that per-CPU maps have a value for. */
export const possibleCpus = ((): number => {
  const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
  return text.split(',').reduce((sum, range) => {
    const [first = '0', last = first] = range.split('-');
    return sum + Number(last) - Number(first) + 1;
  }, 0);
})();
