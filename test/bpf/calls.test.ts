/** The bindings of bpf(2) and libbpf against the real kernel: values come back, and refusals carry their name. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { encodeRouteKey, u32 } from '../../src/dataplane/ebpf/layout.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { createLink, updateLink } from '../../src/kernel/bpf-link.ts';
import { LoadError, withObject } from '../../src/kernel/bpf-object.ts';
import type { Prefix } from '../../src/model/ip.ts';
import { cannotBuild } from '../wire/object.ts';
import { cannotLoad, committedObject, TestPlane } from './plane.ts';

const named = (errorName: string) => (error: unknown) =>
  error instanceof bpf.KernelError && error.errorName === errorName && error.message.includes(errorName);

/** Lends a map, and closes it. */
function withMap<T>(of: Parameters<typeof bpf.createMap>[0], work: (fd: number) => T): T {
  const fd = bpf.createMap(of);
  try {
    return work(fd);
  } finally {
    bpf.closeFd(fd);
  }
}
const hash = { type: bpf.mapTypes.hash, keySize: 4, valueSize: 8, maxEntries: 5000 };

describe('bpf(2)', { skip: cannotLoad }, () => {
  test('elements are written, read, kept when already there, and deleted', () => {
    withMap(hash, (fd) => {
      const value = Buffer.from('0102030405060708', 'hex');
      assert.equal(bpf.lookup(fd, u32(1), 8), undefined);
      bpf.update(fd, u32(1), value);
      assert.deepEqual(bpf.lookup(fd, u32(1), 8), value);
      assert.equal(bpf.insert(fd, u32(1), Buffer.alloc(8)), false);
      assert.deepEqual(bpf.lookup(fd, u32(1), 8), value);
      assert.equal(bpf.insert(fd, u32(2), Buffer.alloc(8)), true);
      assert.equal(bpf.remove(fd, u32(1)), true);
      assert.equal(bpf.remove(fd, u32(1)), false);
      const { type, keySize, valueSize, maxEntries } = bpf.infoOfMap(fd);
      assert.deepEqual({ type, keySize, valueSize, maxEntries }, hash);
    });
  });

  test('a walk sees every element once, in batches and one by one alike', () => {
    const text = (entries: readonly bpf.Entry[]): readonly string[] =>
      entries.map(([key, value]) => `${key.toString('hex')}=${value.toString('hex')}`).sort();
    withMap(hash, (fd) => {
      assert.deepEqual(bpf.entries(fd, 4, 8), []);
      for (let key = 0; key < 3000; key++) bpf.update(fd, u32(key), Buffer.concat([u32(key), u32(~key >>> 0)]));
      const batched = text(bpf.entries(fd, 4, 8));
      assert.equal(new Set(batched).size, 3000);
      assert.deepEqual(text(bpf.walk(fd, 4, 8)), batched);
    });
    withMap({ type: bpf.mapTypes.lpm, keySize: 24, valueSize: 8, maxEntries: 2000, flags: 1 }, (fd) => {
      for (let n = 0; n < 1500; n++) {
        bpf.update(fd, encodeRouteKey(`10.${n >> 8}.${n & 255}.0/24` as Prefix), Buffer.concat([u32(n), u32(0)]));
      }
      const batched = text(bpf.entries(fd, 24, 8));
      assert.equal(new Set(batched).size, 1500);
      assert.deepEqual(text(bpf.walk(fd, 24, 8)), batched);
    });
  });

  test('a part of an array is read in one call, from its first element on', () => {
    withMap({ type: bpf.mapTypes.array, keySize: 4, valueSize: 4, maxEntries: 100 }, (fd) => {
      for (let key = 0; key < 100; key++) bpf.update(fd, u32(key), u32(key * 3));
      for (const [first, n] of [
        [0, 1],
        [0, 100],
        [7, 5],
        [99, 1],
      ] as const) {
        const read = bpf.readArray(fd, first, n, 4);
        assert.deepEqual(
          Array.from({ length: n }, (_, at) => read.readUInt32LE(at * 4)),
          Array.from({ length: n }, (_, at) => (first + at) * 3),
        );
      }
    });
  });

  test('refusals carry the kernel’s name for them, waiting calls too', async () => {
    assert.throws(() => bpf.lookup(9999, u32(0), 4), named('EBADF'));
    withMap({ ...hash, maxEntries: 1 }, (fd) => {
      bpf.update(fd, u32(1), Buffer.alloc(8));
      assert.throws(() => bpf.update(fd, u32(2), Buffer.alloc(8)), named('E2BIG'));
    });
    assert.throws(() => bpf.createMap({ ...hash, keySize: 0 }), named('EINVAL'));
    assert.throws(() => bpf.duplicate(9999), named('EBADF'));
    await assert.rejects(bpf.updateWaiting(9999, u32(0), u32(0)), named('EBADF'));
    assert.equal(bpf.getPinned('/sys/fs/bpf/isthmus-nothing-is-here'), undefined);
  });

  test('the fence waits without holding up the event loop', async () => {
    const plane = new TestPlane();
    const inner = bpf.createMap({ type: bpf.mapTypes.array, keySize: 4, valueSize: 4, maxEntries: 1 });
    try {
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      for (let n = 0; n < 10; n++) await bpf.updateWaiting(plane.fd('fence'), u32(0), u32(inner));
      clearInterval(timer);
      assert.ok(turns > 0, 'timers ran meanwhile');
      assert.notEqual(bpf.lookup(plane.fd('fence'), u32(0), 4)?.readUInt32LE(0), 0);
    } finally {
      bpf.closeFd(inner);
      plane.close();
    }
  });

  test('a tcx link puts a program on a device, and another in its place', () => {
    const plane = new TestPlane();
    try {
      const ifindex = plane.makeDevice();
      const ids = (): { readonly ingress: number; readonly egress: number } => ({
        ingress: bpf.infoOfProgram(plane.program('ingress')).id,
        egress: bpf.infoOfProgram(plane.program('egress')).id,
      });
      assert.notEqual(ids().ingress, ids().egress);
      const link = plane.inside(() => createLink(plane.program('ingress'), ifindex, 'ingress'));
      updateLink(link, plane.program('egress'));
      bpf.closeFd(link);
      assert.throws(() => plane.inside(() => createLink(plane.program('ingress'), 9999, 'ingress')), named('ENODEV'));
      assert.throws(() => updateLink(9999, plane.program('egress')), named('EBADF'));
    } finally {
      plane.close();
    }
  });
});

describe('libbpf', { skip: cannotLoad || cannotBuild }, () => {
  let directory = '';
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'isthmus-libbpf-'));
  });
  after(() => rmSync(directory, { recursive: true }));
  const programs = ['ingress', 'egress'] as const;

  test('an object is loaded with other sizes, onto maps that exist, a DEVMAP among them', () => {
    withObject(committedObject, { programs, maxEntries: { halves: 32, devs: 16 } }, ({ map, program }) => {
      assert.equal(bpf.infoOfMap(map('halves')).maxEntries, 32);
      const ids = [map('halves'), map('devs')].map((fd) => bpf.infoOfMap(fd).id);
      const { tag } = bpf.infoOfProgram(program('ingress'));
      const reuse = { halves: map('halves'), devs: map('devs') };
      withObject(committedObject, { programs, reuse }, (again) => {
        assert.deepEqual(
          [again.map('halves'), again.map('devs')].map((fd) => bpf.infoOfMap(fd).id),
          ids,
        );
        assert.equal(bpf.infoOfProgram(again.program('ingress')).tag, tag, 'the same program');
      });
    });
  });

  test('what is not there, or no object, is refused with its name', () => {
    const nothing = (): void => undefined;
    assert.throws(() => withObject(join(directory, 'none.o'), { programs }, nothing), named('ENOENT'));
    writeFileSync(join(directory, 'text.o'), 'no object');
    assert.throws(() => withObject(join(directory, 'text.o'), { programs }, nothing), bpf.KernelError);
    assert.throws(() => withObject(committedObject, { programs: ['nobody'] }, nothing), /no program nobody/);
    assert.throws(
      () => withObject(committedObject, { programs, maxEntries: { nowhere: 1 } }, nothing),
      /no map nowhere/,
    );
  });

  test('the verifier’s log comes whole, and its last words as one line', () => {
    const source = join(directory, 'bad.c');
    writeFileSync(
      source,
      `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int ingress(struct __sk_buff *skb) { return *(unsigned char *)(long)skb->data; }
char _license[] SEC("license") = "GPL";
`,
    );
    const object = join(directory, 'bad.o');
    const include = `-I/usr/include/${{ arm64: 'aarch64' }[process.arch as string] ?? 'x86_64'}-linux-gnu`;
    execFileSync('clang', ['-O2', '-g', '-target', 'bpf', include, '-c', source, '-o', object], { timeout: 60_000 });
    assert.throws(
      () => withObject(object, { programs: ['ingress'] }, () => undefined),
      (error: unknown) => {
        assert.ok(error instanceof LoadError);
        assert.match(error.log, /invalid access to packet/);
        assert.match(error.log, /processed \d+ insns/);
        assert.match(error.message, /^[^\n]*EACCES[^\n]*$/);
        return true;
      },
    );
  });
});
