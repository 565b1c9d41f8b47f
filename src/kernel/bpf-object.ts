/** Loads a compiled BPF object with libbpf. Owns the object only while `withObject` runs; what shall last is pinned. */
import koffi from 'koffi';
import { KernelError } from './bpf.ts';

const logSize = 1 << 20;

function bind() {
  const lib = koffi.load('libbpf.so.1');
  lib.func('void *libbpf_set_print(void *)')(null);
  return {
    open: lib.func('void *bpf_object__open_file(const char *, void *)'),
    close: lib.func('void bpf_object__close(void *)'),
    load: lib.func('int bpf_object__load(void *)'),
    map: lib.func('void *bpf_object__find_map_by_name(void *, const char *)'),
    setMax: lib.func('int bpf_map__set_max_entries(void *, uint)'),
    reuse: lib.func('int bpf_map__reuse_fd(void *, int)'),
    mapFd: lib.func('int bpf_map__fd(void *)'),
    program: lib.func('void *bpf_object__find_program_by_name(void *, const char *)'),
    programFd: lib.func('int bpf_program__fd(void *)'),
    setLog: lib.func('int bpf_program__set_log_buf(void *, void *, size_t)'),
    version: lib.func('const char *libbpf_version_string()'),
  };
}
let bound: ReturnType<typeof bind> | undefined;
/** @throws when libbpf.so.1 is not installed */
const libbpf = (): ReturnType<typeof bind> => {
  bound ??= bind();
  return bound;
};

/** e.g. `v1.1`. @throws when libbpf.so.1 is not installed */
export const libbpfVersion = (): string => String(libbpf().version());

/** The verifier refused a program; its whole log is in `log`. */
export class LoadError extends Error {
  readonly log: string;
  constructor(message: string, log: string) {
    super(message);
    this.name = 'LoadError';
    this.log = log;
  }
}

export interface ObjectOptions {
  readonly programs: readonly string[];
  /** Sizes that differ from those compiled in, by map name. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Existing maps to use instead of new ones, by name. */
  readonly reuse?: Readonly<Record<string, number>>;
}

/**
 * Loads an object, lends its descriptors to `use`, and closes it.
 * @throws LoadError with the verifier's log, KernelError for the rest
 */
export function withObject<T>(
  path: string,
  options: ObjectOptions,
  use: (of: { readonly map: (name: string) => number; readonly program: (name: string) => number }) => T,
): T {
  const lib = libbpf();
  const object: unknown = lib.open(path, null);
  if (object === null) throw new KernelError(`opening ${path}`, koffi.errno());
  try {
    const find = (name: string): unknown => {
      const map: unknown = lib.map(object, name);
      if (map === null) throw new Error(`${path} has no map ${name}`);
      return map;
    };
    // libbpf follows a null pointer: a name that is not there must end here.
    const findProgram = (name: string): unknown => {
      const program: unknown = lib.program(object, name);
      if (program === null) throw new Error(`${path} has no program ${name}`);
      return program;
    };
    for (const [name, max] of Object.entries(options.maxEntries ?? {})) {
      const result = Number(lib.setMax(find(name), max));
      if (result < 0) throw new KernelError(`sizing map ${name} to ${max}`, -result);
    }
    for (const [name, fd] of Object.entries(options.reuse ?? {})) {
      const result = Number(lib.reuse(find(name), fd));
      if (result < 0) throw new KernelError(`reusing map ${name}`, -result);
    }
    const log = Buffer.alloc(logSize);
    for (const name of options.programs) lib.setLog(findProgram(name), log, logSize);
    const result = Number(lib.load(object));
    if (result < 0) {
      const text = log.toString('utf8', 0, log.indexOf(0));
      const last = text.trim().split('\n').slice(-3, -1).join('; ');
      throw new LoadError(new KernelError(`loading ${path}`, -result, last).message, text);
    }
    return use({
      map: (name) => Number(lib.mapFd(find(name))),
      program: (name) => Number(lib.programFd(findProgram(name))),
    });
  } finally {
    lib.close(object);
  }
}
