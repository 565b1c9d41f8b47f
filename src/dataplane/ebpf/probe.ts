/** Tries each kernel feature on scratch objects, so that what is missing has a name before anything depends on it. */

import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as bpf from '../../kernel/bpf.ts';
import { LoadError, libbpfVersion, withObject } from '../../kernel/bpf-object.ts';
import { createPair, linkNamed } from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { createNamed, deleteNamed, inside, openNamed } from '../../kernel/netns.ts';
import { addHooks, attachProgram, programsOn } from '../../kernel/traffic-control.ts';
import { macOf } from '../../model/ip.ts';
import { gatewayMac } from '../../model/network-spec.ts';
import type { ProbeRow } from '../driver.ts';
import { exitsPerInterface, sizes, u32 } from './layout.ts';

const small = {
  ids: 16,
  interfaces: 4,
  devs: 4,
  exits: 4 * exitsPerInterface,
  addrs: 16,
  tables: 4,
  halves: 4,
  half_counts: 4,
};

/** A feature, how to try it, and what to do when it is missing. `attempt` answers with what was seen. */
interface Attempt {
  readonly feature: string;
  readonly required: boolean;
  readonly remedy: string;
  readonly attempt: () => string | Promise<string>;
}

export async function probeHost(objectPath: string): Promise<readonly ProbeRow[]> {
  const rows: ProbeRow[] = [];
  for (const { feature, required, remedy, attempt } of attempts(objectPath)) {
    try {
      rows.push({ feature, required, state: 'yes', detail: await attempt() });
    } catch (error) {
      const seen = error instanceof LoadError ? error.message : error instanceof Error ? error.message : String(error);
      rows.push({ feature, required, state: 'no', detail: `${seen.split('\n')[0]}. ${remedy}` });
    }
  }
  return rows;
}

function attempts(objectPath: string): readonly Attempt[] {
  return [
    {
      feature: 'root',
      required: true,
      remedy: 'Run it with sudo.',
      attempt: () => {
        if (process.geteuid?.() !== 0) throw new Error(`this is uid ${process.geteuid?.()}`);
        return 'uid 0';
      },
    },
    {
      feature: 'kernel 5.15 or newer',
      required: true,
      remedy: 'Boot a newer kernel.',
      attempt: () => {
        const [major = 0, minor = 0] = release().split('.').map(Number);
        if (major < 5 || (major === 5 && minor < 15)) throw new Error(`this is ${release()}`);
        return release();
      },
    },
    {
      feature: 'capabilities',
      required: true,
      remedy: 'In a container: add NET_ADMIN, SYS_ADMIN and BPF, in the initial user namespace.',
      attempt: () => {
        const held = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
        const missing = Object.entries({ NET_ADMIN: 12n, SYS_ADMIN: 21n, BPF: 39n })
          .filter(([, bit]) => ((held >> bit) & 1n) === 0n)
          .map(([name]) => name);
        if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
        return 'NET_ADMIN, SYS_ADMIN, BPF';
      },
    },
    {
      feature: 'libbpf 1',
      required: true,
      remedy: 'Install it: apt-get install libbpf1.',
      attempt: () => libbpfVersion(),
    },
    {
      feature: 'iproute2',
      required: true,
      remedy: 'Install it: apt-get install iproute2.',
      attempt: () => execFileSync('ip', ['-V'], { timeout: 5000 }).toString().trim(),
    },
    {
      feature: 'network namespaces',
      required: true,
      remedy: 'The kernel needs CONFIG_NET_NS, and this process CAP_SYS_ADMIN.',
      attempt: () => withNamespace(() => 'made and removed one'),
    },
    {
      // The verifier accepts the program only if all of these are there.
      feature: 'BPF program loads (tries, device map, redirect_peer)',
      required: true,
      remedy: 'The kernel needs CONFIG_BPF_SYSCALL, and this process CAP_BPF and CAP_NET_ADMIN.',
      attempt: () =>
        withObject(objectPath, { programs: ['ingress', 'egress'], maxEntries: small }, ({ program }) => {
          return `tag ${bpf.infoOfProgram(program('ingress')).tag}`;
        }),
    },
    {
      feature: 'clsact on a veth pair',
      required: true,
      remedy: 'The kernel needs CONFIG_VETH, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS.',
      attempt: () =>
        withNamespace((namespace, netlink) => {
          const far = { name: 'p1', mac: macOf(1n), mtu: 1500, namespace };
          createPair(netlink, { name: 'p0', mac: gatewayMac, mtu: 65_535 }, far);
          const ifindex = linkNamed(netlink, 'p0')?.ifindex ?? 0;
          addHooks(netlink, ifindex);
          withObject(objectPath, { programs: ['ingress', 'egress'], maxEntries: small }, ({ program }) =>
            attachProgram(netlink, ifindex, 'ingress', program('ingress')),
          );
          return `attached ${programsOn(netlink, ifindex, 'ingress').filter((id) => id !== 0).length} program`;
        }),
    },
    {
      feature: 'LPM tries in a map of maps, batched',
      required: true,
      remedy: 'Kernel 5.15 has it.',
      attempt: async () => {
        // The object is closed before the waiting write is done: the map is kept by a descriptor of our own.
        const tables = withObject(objectPath, { programs: ['ingress', 'egress'], maxEntries: small }, ({ map }) =>
          bpf.mapById(bpf.infoOfMap(map('tables')).id),
        );
        const trie = bpf.createMap({
          type: bpf.mapTypes.lpm,
          keySize: sizes.routeKey,
          valueSize: sizes.route,
          maxEntries: 256,
          flags: 1,
        });
        try {
          const start = performance.now();
          await bpf.updateBatchWaiting(tables, u32(1), u32(trie), 1);
          return `written behind a grace period of ${(performance.now() - start).toFixed(1)} ms`;
        } finally {
          bpf.closeFd(trie);
          bpf.closeFd(tables);
        }
      },
    },
    {
      feature: 'BPF just-in-time compiler',
      required: false,
      remedy: 'Switch it on: sysctl net.core.bpf_jit_enable=1.',
      attempt: () => {
        const path = '/proc/sys/net/core/bpf_jit_enable';
        if (existsSync(path) && readFileSync(path, 'utf8').trim() === '0') throw new Error('it is switched off');
        return 'on';
      },
    },
    {
      feature: 'bpffs mount',
      required: true,
      remedy: 'The kernel needs CONFIG_BPF_SYSCALL, and this process CAP_SYS_ADMIN.',
      attempt: () => {
        const path = mkdtempSync(join(tmpdir(), 'isthmus-probe-'));
        try {
          execFileSync('mount', ['-t', 'bpf', 'isthmus-probe', path], { timeout: 5000, stdio: 'pipe' });
          execFileSync('umount', [path], { timeout: 5000 });
          return 'mounted and unmounted one';
        } finally {
          rmdirSync(path);
        }
      },
    },
  ];
}

function withNamespace<T>(work: (namespace: number, netlink: Netlink) => T): T {
  const name = `isthmus-probe-${process.pid}`;
  createNamed(name);
  try {
    const namespace = openNamed(name);
    try {
      const netlink = inside(namespace, () => new Netlink());
      try {
        return work(namespace, netlink);
      } finally {
        netlink.close();
      }
    } finally {
      closeSync(namespace);
    }
  } finally {
    deleteNamed(name);
  }
}
