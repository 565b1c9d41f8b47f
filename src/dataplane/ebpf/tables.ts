/**
 * The pinned maps and programs of one installation: made, adopted or upgraded here, and nowhere else. They live in a
 * bpffs mount of our own and outlive every process.
 */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as bpf from '../../kernel/bpf.ts';
import { withObject } from '../../kernel/bpf-object.ts';
import { DriverError } from '../driver.ts';
import { decodeMeta, encodeMeta, exitsPerInterface, layoutVersion, type Meta, sizes, u32 } from './layout.ts';

export const mapNames = [
  'meta',
  'ids',
  'ports',
  'far_ports',
  'interfaces',
  'tables',
  'halves',
  'addrs',
  'devs',
  'half_counts',
  'exits',
  'fence',
] as const;
export type MapName = (typeof mapNames)[number];
export const programNames = ['ingress', 'egress'] as const;
export type ProgramName = (typeof programNames)[number];

/** How much the plane holds; fixed when its maps are made. */
export interface Limits {
  readonly interfaces: number;
  readonly addresses: number;
  readonly routeTables: number;
  readonly routesPerTable: number;
  readonly halves: number;
  /** Device indexes below this are found in an array, the others in a hash: any device is found, most are cheap. */
  readonly nearPorts: number;
}
export const defaultLimits: Limits = {
  interfaces: 8192,
  addresses: 65_536,
  routeTables: 16_384,
  routesPerTable: 256,
  halves: 16_384,
  nearPorts: 65_536,
};

export interface TablesOptions {
  readonly installationId: string;
  /** Mount point of our bpffs; made and mounted when it is not. */
  readonly bpffsPath: string;
  readonly objectPath: string;
  readonly limits: Limits;
}

/** What stands as device of our own bpffs in the table of mounts. */
const mountSource = 'isthmus';
/** Device and type of what is mounted there, the topmost one. */
function mountAt(path: string): { readonly source: string; readonly type: string } | undefined {
  const rows = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const [source = '', , type = ''] = rows.findLast((row) => row.split(' ')[1] === path)?.split(' ') ?? [];
  return source === '' ? undefined : { source, type };
}

/** Mounts a bpffs that only root may enter, unless one is there. */
export function mountBpffs(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (mountAt(path)?.type === 'bpf') return;
  execFileSync('mount', ['-t', 'bpf', '-o', 'mode=0700', mountSource, path], { timeout: 10_000 });
}

/**
 * Removes our pins; the mount and its mount point too, if we made them. Nothing below a mount point is ever removed as a
 * tree, and a mount that is not ours stays.
 */
export function unmountBpffs(path: string): void {
  if (mountAt(path)?.type === 'bpf') {
    for (const name of [...mapNames, ...programNames]) rmSync(join(path, name), { force: true });
  }
  if (mountAt(path)?.source === mountSource) execFileSync('umount', [path], { timeout: 10_000, stdio: 'ignore' });
  if (existsSync(path) && mountAt(path) === undefined && readdirSync(path).length === 0) rmdirSync(path);
}

/** Another one each time the kernel starts: 32 hexadecimal digits. */
const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
const hashOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 32);

export class Tables {
  readonly options: TablesOptions;
  readonly limits: Limits;
  /**
   * Lives exactly as long as the counts do: the kernel gives no map the number of another before it starts again. Not
   * kept in `meta`, so that tables made by earlier versions have one, too.
   */
  readonly epoch: string;
  readonly #maps: Readonly<Record<MapName, number>>;
  #programs: Readonly<Record<ProgramName, number>>;
  #meta: Meta;
  #fenceInner: readonly number[] = [];
  #flip = 0;
  /** Programs that stand in for the pinned ones for a while. */
  #instead: Readonly<Record<ProgramName, number>> | null = null;
  #fences = { count: 0, seconds: 0 };

  private constructor(
    options: TablesOptions,
    maps: Readonly<Record<MapName, number>>,
    programs: Readonly<Record<ProgramName, number>>,
  ) {
    this.options = options;
    this.#maps = maps;
    this.#programs = programs;
    this.#meta = decodeMeta(bpf.lookup(maps.meta, u32(0), sizes.meta) ?? Buffer.alloc(sizes.meta));
    this.epoch = `${bootId()}.${bpf.infoOfMap(maps.half_counts).id}`;
    const max = (name: MapName): number => bpf.infoOfMap(maps[name]).maxEntries;
    this.limits = {
      interfaces: max('interfaces'),
      addresses: max('addrs'),
      routeTables: max('tables'),
      routesPerTable: options.limits.routesPerTable,
      halves: max('halves'),
      nearPorts: max('ports'),
    };
  }

  /**
   * Adopts what is pinned, or makes it. Adoption of the same version writes nothing.
   * @param replaceProgram called with the descriptors of a new program version, to put it on every device
   * @throws DriverError when the pinned maps are of another installation or layout
   */
  static open(
    options: TablesOptions,
    replaceProgram: (programs: Readonly<Record<ProgramName, number>>) => void,
  ): Tables {
    mountBpffs(options.bpffsPath);
    const at = (name: string): string => join(options.bpffsPath, name);
    const found = Object.fromEntries(mapNames.map((name) => [name, bpf.getPinned(at(name))]));
    const closeAll = (): void => {
      for (const fd of Object.values(found)) if (fd !== undefined) bpf.closeFd(fd);
    };
    if (found['meta'] === undefined) {
      closeAll();
      return Tables.#create(options);
    }
    const meta = decodeMeta(bpf.lookup(found['meta'], u32(0), sizes.meta) ?? Buffer.alloc(sizes.meta));
    if (meta.installationId !== options.installationId || meta.version !== layoutVersion) {
      closeAll();
      throw new DriverError(
        'unavailable',
        `the tables in ${options.bpffsPath} belong to installation '${meta.installationId}', layout ${meta.version}; ` +
          `this is '${options.installationId}', layout ${layoutVersion}: purge the old one with its own version`,
      );
    }
    if (mapNames.some((name) => found[name] === undefined)) {
      closeAll();
      return Tables.#create(options);
    }
    const maps = found as Record<MapName, number>;
    const hash = hashOf(options.objectPath);
    const pinned = programNames.map((name) => bpf.getPinned(at(name)));
    const [ingress, egress] = pinned;
    if (meta.objectHash === hash && ingress !== undefined && egress !== undefined) {
      return new Tables(options, maps, { ingress, egress });
    }
    // Another version of the program on the same tables: it takes the old one's place under traffic.
    const programs = withObject(
      options.objectPath,
      { programs: programNames, reuse: maps },
      ({ program }): Record<ProgramName, number> => {
        for (const name of programNames) {
          rmSync(at(`${name}_new`), { force: true });
          bpf.pin(program(name), at(`${name}_new`));
          renameSync(at(`${name}_new`), at(name));
        }
        return openPrograms(options);
      },
    );
    replaceProgram(programs);
    for (const fd of pinned) if (fd !== undefined) bpf.closeFd(fd);
    const tables = new Tables(options, maps, programs);
    tables.#writeMeta({ ...meta, objectHash: hash });
    return tables;
  }

  static #create(options: TablesOptions): Tables {
    const { limits } = options;
    const at = (name: string): string => join(options.bpffsPath, name);
    for (const name of [...mapNames, ...programNames]) rmSync(at(name), { force: true }); // a start that was cut short
    const maps = withObject(
      options.objectPath,
      {
        programs: programNames,
        maxEntries: {
          ids: limits.interfaces + limits.routeTables + limits.halves * 3, // VPCs, halves, final counts of halves
          interfaces: limits.interfaces,
          devs: limits.interfaces,
          exits: limits.interfaces * exitsPerInterface,
          addrs: limits.addresses,
          tables: limits.routeTables,
          halves: limits.halves,
          half_counts: limits.halves,
          ports: limits.nearPorts,
          far_ports: limits.interfaces,
        },
      },
      ({ map, program }) => {
        bpf.update(
          map('meta'),
          u32(0),
          encodeMeta({
            version: layoutVersion,
            nextVpc: 1,
            nextGeneration: 1,
            installationId: options.installationId,
            objectHash: hashOf(options.objectPath),
          }),
        );
        for (const name of programNames) bpf.pin(program(name), at(name));
        // `meta` is pinned last: a set without it is not complete, and is made anew.
        for (const name of [...mapNames].reverse()) bpf.pin(map(name), at(name));
        return Object.fromEntries(mapNames.map((name) => [name, bpf.getPinned(at(name))])) as Record<MapName, number>;
      },
    );
    return new Tables(options, maps, openPrograms(options));
  }

  fd(name: MapName): number {
    return this.#maps[name];
  }
  /** The program that belongs on every device now. */
  program(name: ProgramName): number {
    return (this.#instead ?? this.#programs)[name];
  }
  /** Others than the pinned programs, or (null) those again. They are not pinned: they end with this process. */
  use(programs: Readonly<Record<ProgramName, number>> | null): void {
    this.#instead = programs;
  }

  /** The interface slot that a device leads to; 0 is nobody's. */
  portAt(ifindex: number): number {
    const fd = ifindex < this.limits.nearPorts ? this.#maps.ports : this.#maps.far_ports;
    return bpf.lookup(fd, u32(ifindex), 4)?.readUInt32LE(0) ?? 0;
  }
  /** @param slot 0 takes the device out */
  setPort(ifindex: number, slot: number): void {
    if (ifindex < this.limits.nearPorts) bpf.update(this.#maps.ports, u32(ifindex), u32(slot));
    else if (slot === 0) bpf.remove(this.#maps.far_ports, u32(ifindex));
    else bpf.update(this.#maps.far_ports, u32(ifindex), u32(slot));
  }

  #writeMeta(meta: Meta): void {
    bpf.update(this.#maps.meta, u32(0), encodeMeta(meta));
    this.#meta = meta;
  }
  /** A VPC number that was never used before. */
  freshVpc(): number {
    const { nextVpc } = this.#meta;
    this.#writeMeta({ ...this.#meta, nextVpc: nextVpc + 1 });
    return nextVpc;
  }
  /** A generation that was never used before. */
  freshGeneration(): number {
    const { nextGeneration } = this.#meta;
    this.#writeMeta({ ...this.#meta, nextGeneration: nextGeneration + 1 });
    return nextGeneration;
  }

  /** A new, empty table of routes; not yet in `tables`. */
  createRoutes(): number {
    return bpf.createMap({
      type: bpf.mapTypes.lpm,
      keySize: sizes.routeKey,
      valueSize: sizes.route,
      maxEntries: this.limits.routesPerTable,
      flags: 1, // BPF_F_NO_PREALLOC, demanded of a trie
    });
  }

  /**
   * The fence: resolves when no packet that saw the tables as they were before the call is under way any more. Updating
   * an element of a map of maps waits for an RCU grace period, "so that userspace, when we return to it, knows that all
   * programs that could be running use the new map value" (maybe_wait_bpf_programs).
   */
  async fence(): Promise<void> {
    if (this.#fenceInner.length === 0) {
      const make = (): number => bpf.createMap({ type: bpf.mapTypes.array, keySize: 4, valueSize: 4, maxEntries: 1 });
      this.#fenceInner = [make(), make()];
    }
    this.#flip = 1 - this.#flip;
    const start = performance.now();
    await bpf.updateWaiting(this.#maps.fence, u32(0), u32(this.#fenceInner[this.#flip] ?? 0));
    const { count, seconds } = this.#fences;
    this.#fences = { count: count + 1, seconds: seconds + (performance.now() - start) / 1000 };
  }
  /** Since the tables were opened. */
  get fences(): { readonly count: number; readonly seconds: number } {
    return this.#fences;
  }

  close(): void {
    for (const fd of [...Object.values(this.#maps), ...Object.values(this.#programs), ...this.#fenceInner]) {
      bpf.closeFd(fd);
    }
  }
}

function openPrograms(options: TablesOptions): Record<ProgramName, number> {
  return Object.fromEntries(
    programNames.map((name) => {
      const fd = bpf.getPinned(join(options.bpffsPath, name));
      if (fd === undefined) throw new DriverError('kernel', `program ${name} could not be pinned`);
      return [name, fd];
    }),
  ) as Record<ProgramName, number>;
}
