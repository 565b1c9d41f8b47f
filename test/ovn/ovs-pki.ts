/** An authority and its certificates as operators make them: with Open vSwitch's own tool. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OvsdbPki } from '../../src/dataplane/ovn/ovsdb-tls.ts';

/** Paths. */
export type PkiFiles = OvsdbPki;

export class OvsPki {
  readonly #folder: string;
  /** @param folder is made, and is the caller's */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
    this.#run('init');
  }
  #run(...args: readonly string[]): void {
    const options = [`--dir=${join(this.#folder, 'pki')}`, `--log=${join(this.#folder, 'log')}`, '--force'];
    execFileSync('ovs-pki', [...options, ...args], { cwd: this.#folder, stdio: 'pipe', timeout: 30_000 });
  }
  get authority(): string {
    return join(this.#folder, 'pki/switchca/cacert.pem');
  }
  /** A pair in the name, and who vouches for it. */
  files(name: string): PkiFiles {
    this.#run('req+sign', name, 'switch');
    const path = (what: string): string => join(this.#folder, `${name}-${what}.pem`);
    return { authority: this.authority, certificate: path('cert'), key: path('privkey') };
  }
}

export const serverOptions = ({ authority, certificate, key }: PkiFiles): readonly string[] => [
  `--private-key=${key}`,
  `--certificate=${certificate}`,
  `--ca-cert=${authority}`,
];
export const read = (files: PkiFiles): OvsdbPki => ({
  authority: readFileSync(files.authority, 'utf8'),
  certificate: readFileSync(files.certificate, 'utf8'),
  key: readFileSync(files.key, 'utf8'),
});
