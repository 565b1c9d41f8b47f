/**
 * The ways from one namespace to another that are compared, and the two that are built by hand: a bare pair of devices,
 * and a router on either side, the way VPCs are joined without a product. Isthmus's own are in
 * `tenants.ts`, that of OVN in `ovn.ts`.
 */
import { writeFileSync } from 'node:fs';
import { closeNamespace, inside, openNamed } from '../src/kernel/netns.ts';
import { type Address, parseAddress } from '../src/model/ip.ts';
import type { Sandbox } from './sandbox.ts';

export const pathNames = ['raw', 'raw-v6', 'peered', 'peered-v6', 'same-vpc', 'bridge', 'routers', 'ovs'] as const;
export type PathName = (typeof pathNames)[number];

export interface Path {
  readonly name: PathName;
  /** Name of the sender's namespace. */
  readonly from: string;
  /** Name of the receiver's namespace, and its address there. */
  readonly to: string;
  readonly address: Address;
  /** Where that is not the kernel. */
  readonly forwarder?: Forwarder;
}

/** Processes that forward: they stand still while other paths have their turn. */
export interface Forwarder {
  /** Whose CPU time counts. */
  readonly pid: number;
  readonly resume: () => void;
  readonly pause: () => void;
}

const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.value;
};

/** A pair of devices between two namespaces, with these addresses. */
function pair(
  sandbox: Sandbox,
  a: readonly [name: string, cidr: string],
  b: readonly [name: string, cidr: string],
): void {
  const [near, far] = [sandbox.name('').slice(0, 12), sandbox.name('').slice(0, 12)];
  sandbox.ip('-n', a[0], 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', b[0]);
  for (const [namespace, device, cidr] of [
    [a[0], near, a[1]],
    [b[0], far, b[1]],
  ] as const) {
    sandbox.ip('-n', namespace, 'addr', 'add', cidr, 'dev', device);
    sandbox.ip('-n', namespace, 'link', 'set', device, 'up');
  }
}

/** A bare pair, as a path of each family. */
export function rawPaths(sandbox: Sandbox): readonly Path[] {
  const [from, to] = [sandbox.namespace('raw-a'), sandbox.namespace('raw-b')];
  pair(sandbox, [from, '10.9.0.1/24'], [to, '10.9.0.2/24']);
  for (const [namespace, cidr] of [
    [from, 'fd09::1/64'],
    [to, 'fd09::2/64'],
  ] as const) {
    sandbox.ip('-n', namespace, 'addr', 'add', cidr, 'dev', deviceIn(sandbox, namespace), 'nodad');
  }
  return [
    { name: 'raw', from, to, address: address('10.9.0.2') },
    { name: 'raw-v6', from, to, address: address('fd09::2') },
  ];
}

/** The one device of a namespace beside its loopback. */
function deviceIn(sandbox: Sandbox, namespace: string): string {
  const rows = sandbox.ask('-n', namespace, '-o', 'link').trim().split('\n');
  return rows.map((row) => row.split(': ')[1]?.split('@')[0] ?? '').find((name) => name !== 'lo') ?? '';
}

/** Two workloads on a Linux bridge: one segment, no routing, no isolation. */
export function bridgePath(sandbox: Sandbox): Path {
  const [from, middle, to] = [sandbox.namespace('br-a'), sandbox.namespace('br-m'), sandbox.namespace('br-b')];
  sandbox.ip('-n', middle, 'link', 'add', 'br0', 'type', 'bridge');
  sandbox.ip('-n', middle, 'link', 'set', 'br0', 'up');
  for (const [end, cidr] of [
    [from, '10.8.0.1/24'],
    [to, '10.8.0.2/24'],
  ] as const) {
    const [near, far] = [sandbox.name('').slice(0, 12), sandbox.name('').slice(0, 12)];
    sandbox.ip('-n', end, 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', middle);
    sandbox.ip('-n', end, 'addr', 'add', cidr, 'dev', near);
    sandbox.ip('-n', end, 'link', 'set', near, 'up');
    sandbox.ip('-n', middle, 'link', 'set', far, 'master', 'br0');
    sandbox.ip('-n', middle, 'link', 'set', far, 'up');
  }
  return { name: 'bridge', from, to, address: address('10.8.0.2') };
}

/** A — router A — router B — B, with static routes. */
export function routersPath(sandbox: Sandbox): Path {
  const [from, routerA, routerB, to] = [
    sandbox.namespace('rtr-a'),
    sandbox.namespace('rtr-ra'),
    sandbox.namespace('rtr-rb'),
    sandbox.namespace('rtr-b'),
  ];
  pair(sandbox, [from, '10.1.0.2/24'], [routerA, '10.1.0.1/24']);
  pair(sandbox, [routerA, '10.9.0.1/30'], [routerB, '10.9.0.2/30']);
  pair(sandbox, [to, '10.2.0.2/24'], [routerB, '10.2.0.1/24']);
  sandbox.ip('-n', from, 'route', 'add', 'default', 'via', '10.1.0.1');
  sandbox.ip('-n', to, 'route', 'add', 'default', 'via', '10.2.0.1');
  sandbox.ip('-n', routerA, 'route', 'add', '10.2.0.0/24', 'via', '10.9.0.2');
  sandbox.ip('-n', routerB, 'route', 'add', '10.1.0.0/24', 'via', '10.9.0.1');
  for (const router of [routerA, routerB]) {
    const namespace = openNamed(router);
    inside(namespace, () => writeFileSync('/proc/sys/net/ipv4/ip_forward', '1'));
    closeNamespace(namespace);
  }
  return { name: 'routers', from, to, address: address('10.2.0.2') };
}
