/** Reads a BPF ring buffer with libbpf. Does not wait: whoever reads comes again. */
import koffi from 'koffi';
import { KernelError } from './bpf.ts';

function bind() {
  const lib = koffi.load('libbpf.so.1');
  const Sample = koffi.proto('int isthmus_ring_sample(void *context, void *data, size_t size)');
  return {
    Sample,
    open: lib.func('ring_buffer__new', 'void *', ['int', koffi.pointer(Sample), 'void *', 'void *']),
    consume: lib.func('int ring_buffer__consume(void *)'),
    free: lib.func('void ring_buffer__free(void *)'),
  };
}
let bound: ReturnType<typeof bind> | undefined;

export class RingBuffer {
  readonly #lib: ReturnType<typeof bind>;
  readonly #ring: unknown;
  readonly #callback: unknown;

  /**
   * @param map descriptor of a map of type RINGBUF; it may be closed afterwards
   * @param size bytes of each record; others are passed over
   * @param take called for each record while `consume` runs; must not throw
   * @throws KernelError
   */
  constructor(map: number, size: number, take: (record: Buffer) => void) {
    bound ??= bind();
    this.#lib = bound;
    const bytes = koffi.array('uint8_t', size, 'Typed');
    const sample = (_context: unknown, data: unknown, length: number): number => {
      if (Number(length) >= size) take(Buffer.from(koffi.decode(data, bytes) as Uint8Array));
      return 0;
    };
    this.#callback = koffi.register(sample, koffi.pointer(bound.Sample));
    this.#ring = bound.open(map, this.#callback, null, null);
    if (this.#ring === null) {
      koffi.unregister(this.#callback as never);
      throw new KernelError('opening a ring buffer', koffi.errno());
    }
  }

  /** Hands over every record that is there. */
  consume(): void {
    this.#lib.consume(this.#ring);
  }

  close(): void {
    this.#lib.free(this.#ring);
    koffi.unregister(this.#callback as never);
  }
}
