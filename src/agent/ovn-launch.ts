/** How the agent of a host of OVN's is started: where Open vSwitch runs, with the capabilities it needs and no others. */
import { fileURLToPath } from 'node:url';

/** Devices; namespaces of workloads, by name and by process; sockets of daemons with other users. */
const capabilities = ['net_admin', 'sys_admin', 'sys_ptrace', 'chown', 'dac_override'];

export interface HostLaunch {
  readonly runDir: string;
  readonly state: string;
}
export function hostAgentCommand({ runDir, state }: HostLaunch): {
  readonly file: string;
  readonly args: readonly string[];
} {
  return {
    file: 'setpriv',
    args: [
      `--bounding-set=-all,${capabilities.map((name) => `+${name}`).join(',')}`,
      '--inh-caps=-all',
      '--no-new-privs',
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      fileURLToPath(new URL('./ovn-main.ts', import.meta.url)),
      `--run-dir=${runDir}`,
      `--state=${state}`,
    ],
  };
}
