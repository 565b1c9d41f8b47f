/**
 * Writes what is derived from `src/model/drop-reason.ts`: the header of the BPF program and the page of drops.
 * `--check` writes nothing and fails when a file is not what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { type Exit, exitNames, exits } from '../src/model/drop-reason.ts';

const header = [
  '/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */',
  '/* Made by bpf/generate.ts from src/model/drop-reason.ts: 0 forwarded, 1-15 answered, 16 and up dropped. */',
  '#pragma once',
  '',
  ...exitNames.map((name) => `#define EXIT_${name} ${exits[name].code}`),
  '',
].join('\n');

/** The functions of the program that take each exit, in the order of the sources. */
const places = new Map<string, Set<string>>();
for (const file of ['packet.h', 'answer.h', 'vpc.bpf.c']) {
  let inside = '';
  for (const line of readFileSync(new URL(file, import.meta.url), 'utf8').split('\n')) {
    inside = /^(?:static .*\b|int )(\w+)\([^)]*\)?$/.exec(line)?.[1] ?? inside;
    for (const [, dropped, named] of line.matchAll(/\bDROP\(&?p, (\w+)\)|\bEXIT_(\w+)\b/g)) {
      const name = dropped ?? named ?? '';
      places.set(name, (places.get(name) ?? new Set()).add(`\`${inside}\``));
    }
  }
}
const row = (name: Exit): string =>
  `| ${name} | ${exits[name].code} | ${exits[name].meaning} | ${exits[name].remedy || '–'} | ${[...(places.get(name) ?? [])].join(', ')} |`;
/** Where OVN ends such a packet. */
const onOvn = {
  Forwarded: 'counted for the half that it goes over, and for no interface',
  Answered: 'ARP and echo by flows; neighbour discovery by ovn-controller, which must live for it',
  NoPort: 'a device without `iface-id` has no flows',
  Short: 'Open vSwitch drops what it cannot parse',
  BadEtherType: 'not dropped between workloads of one subnet; no router takes it',
  WrongSourceMac: '`ls_in_apply_port_sec`, one drop for this and SpoofedAddress',
  BadHeader: 'not looked at: IPv4 options are carried',
  SpoofedAddress: '`ls_in_apply_port_sec`; of an interface without source check, towards a peer, `ls_in_acl`',
  NotToGateway: 'workloads of one subnet speak to each other directly',
  NoRoute: '`lr_in_ip_routing`, its last flow',
  BlackHole: '`lr_in_ip_routing`, a flow that drops; which route it is tells this from NoPeering',
  NoPeering: '`lr_in_ip_routing`, a flow that drops',
  NoSuchAddress:
    '`lr_in_policy`; `lr_in_ip_routing` of the peer where it has no such subnet; a gateway address `lr_in_ip_input`',
  StaleEntry: 'does not exist',
  TargetGone: 'behind the last stage: no host has bound the port',
  TtlExpired: '`lr_in_ip_input`: each router takes one, two for a peered packet; only the first one tells the sender',
  TooBig: 'silently, at the tunnel or at the device: OVN 23.03 tells the sender nothing',
  FromHost: 'does not exist',
  Internal: 'does not exist',
} as const satisfies Record<Exit, string>;
const page = [
  '# Every way out',
  '',
  'Each packet of a workload leaves the data plane by one of these exits and is counted there, for its interface:',
  '`isthmus interface counters ID`. The sum over all exits is what the workload sent. The drops are checked in this order;',
  'the first that holds is the one that counts. Made by `bpf/generate.ts` from `src/model/drop-reason.ts`',
  'and the sources in `bpf/`, whose functions the last column names.',
  '',
  '| exit | code | meaning | what to do | checked in |',
  '|---|---|---|---|---|',
  ...exitNames.map(row),
  '',
  '## On OVN',
  '',
  'With `--driver ovn` the reasons are the same, and `isthmus trace` names them; tests hold it against `ovn-trace`. But OVN',
  'counts per rule and not per interface, so the counters of an interface are empty there. `ovn-trace` shows the stage:',
  '',
  '| exit | on OVN |',
  '|---|---|',
  ...exitNames.map((name) => `| ${name} | ${onOvn[name]} |`),
  '',
  '`ls_out_acl` is the guard at the receiver: it drops what a host sends that has missed a disconnect, and has no exit of',
  'its own.',
  '',
].join('\n');

const files = [
  { at: new URL('./drop_reason.h', import.meta.url), text: header },
  { at: new URL('../docs/drops.md', import.meta.url), text: page },
];
for (const { at, text } of files) {
  if (!process.argv.includes('--check')) writeFileSync(at, text);
  else if (readFileSync(at, 'utf8') !== text) {
    console.error(`${at.pathname} is not current: run bpf/generate.ts`);
    process.exitCode = 1;
  }
}
