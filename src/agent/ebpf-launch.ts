/**
 * How the agent is started: inside the private namespace, so that device indexes mean what they should, and with the
 * capabilities it needs and no others, so that root in it is not root on the host.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mountBpffs } from '../dataplane/ebpf/tables.ts';
import { createNamed } from '../kernel/netns.ts';

/** What each is for: see docs/security.md. */
const capabilities = ['net_admin', 'bpf', 'perfmon', 'sys_admin', 'sys_ptrace', 'chown', 'dac_override'];

export interface LaunchOptions {
  readonly runDir: string;
  /** Name of the private namespace. */
  readonly namespace: string;
  /** Who may say what is wanted. */
  readonly uid: number;
  readonly gid: number;
}

/** Makes what the agent cannot make from inside, and answers with the command that starts it. */
export function prepareAgent(options: LaunchOptions): { readonly file: string; readonly args: readonly string[] } {
  mkdirSync(options.runDir, { recursive: true, mode: 0o755 });
  mountBpffs(join(options.runDir, 'bpf'));
  if (!existsSync(`/run/netns/${options.namespace}`)) createNamed(options.namespace);
  const program = fileURLToPath(new URL('./ebpf-main.ts', import.meta.url));
  return {
    file: 'nsenter',
    args: [
      `--net=/run/netns/${options.namespace}`,
      'setpriv',
      `--bounding-set=-all,${capabilities.map((name) => `+${name}`).join(',')}`,
      '--inh-caps=-all',
      '--no-new-privs',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      program,
      `--run-dir=${options.runDir}`,
      `--namespace=${options.namespace}`,
      `--uid=${options.uid}`,
      `--gid=${options.gid}`,
    ],
  };
}
