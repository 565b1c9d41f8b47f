/** Runs a loaded program on a frame, without any device sending it (BPF_PROG_TEST_RUN). For tests and measurements. */
import { attr, must, pointer } from './bpf.ts';

export interface TestRun {
  readonly verdict: number;
  /** The frame as the program left it. */
  readonly out: Buffer;
  /** What the packet would carry on. */
  readonly mark: number;
  readonly priority: number;
  /** Nanoseconds a run, averaged by the kernel over `repeat`. */
  readonly nanoseconds: number;
}
export interface TestContext {
  /** Default 1. */
  readonly repeat?: number;
  readonly mark?: number;
  readonly priority?: number;
  /** Bytes of payload of each segment, and their number (0: left open), of a segmented packet. */
  readonly gsoSize?: number;
  readonly gsoSegments?: number;
}

// Offsets in struct __sk_buff (linux/bpf.h); what is not named here must be zero.
const field = { mark: 8, priority: 32, ifindex: 40, gsoSegments: 164, gsoSize: 176 } as const;

/**
 * @param program descriptor of a program for tc
 * @param ifindex the device it seems to come from, in this thread's namespace
 * @throws KernelError
 */
export function testRun(program: number, frame: Buffer, ifindex: number, of: TestContext = {}): TestRun {
  const out = Buffer.alloc(frame.length + 512);
  const context = Buffer.alloc(192);
  context.writeUInt32LE(ifindex, field.ifindex);
  context.writeUInt32LE(of.mark ?? 0, field.mark);
  context.writeUInt32LE(of.priority ?? 0, field.priority);
  context.writeUInt32LE(of.gsoSegments ?? 0, field.gsoSegments);
  context.writeUInt32LE(of.gsoSize ?? 0, field.gsoSize);
  const after = Buffer.alloc(context.length);
  const attribute = attr(80, (at) => {
    at.writeUInt32LE(program, 0);
    at.writeUInt32LE(frame.length, 8);
    at.writeUInt32LE(out.length, 12);
    at.writeBigUInt64LE(pointer(frame), 16);
    at.writeBigUInt64LE(pointer(out), 24);
    at.writeUInt32LE(of.repeat ?? 1, 32);
    at.writeUInt32LE(context.length, 40);
    at.writeUInt32LE(after.length, 44);
    at.writeBigUInt64LE(pointer(context), 48);
    at.writeBigUInt64LE(pointer(after), 56);
  });
  must('test run', 'testRun', attribute);
  return {
    verdict: attribute.readUInt32LE(4),
    out: out.subarray(0, attribute.readUInt32LE(12)),
    mark: after.readUInt32LE(field.mark),
    priority: after.readUInt32LE(field.priority),
    nanoseconds: attribute.readUInt32LE(36),
  };
}
