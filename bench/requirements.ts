/** What a full run needs of this machine: says what is missing and how to get it, before anything is measured. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { EbpfDriver } from '../src/dataplane/ebpf/driver.ts';

const runs = (command: string, ...args: readonly string[]): boolean =>
  spawnSync(command, args, { timeout: 10_000, stdio: 'ignore' }).status === 0;

/** Whether the test object of the fence's control can be built. */
export const canCompile = (): boolean =>
  runs('clang', '--version') && runs('llvm-strip', '--version') && runs('make', '--version');

/** What is missing for measurements with real packets, a line each; empty: nothing. */
export async function missing(): Promise<readonly string[]> {
  if (process.getuid?.() !== 0) return ['root: network namespaces and BPF need it. Run: sudo npm run bench'];
  const lines: string[] = [];
  if (!runs('ip', '-V')) lines.push('the ip command: apt-get install iproute2');
  if (!existsSync('/proc/self/ns/net')) lines.push('network namespaces in this kernel (CONFIG_NET_NS)');
  if (lines.length > 0) return lines;
  try {
    for (const { feature, state, required, detail } of await EbpfDriver.probe()) {
      if (required && state === 'no') lines.push(`${feature}: ${detail}`);
    }
  } catch (error) {
    lines.push(`eBPF: ${error instanceof Error ? error.message : String(error)}`);
  }
  return lines;
}
