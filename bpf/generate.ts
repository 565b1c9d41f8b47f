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
