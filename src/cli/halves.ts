/** `isthmus agent` and `isthmus region`: one half of the service each, for two units of systemd. See deploy/. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import { type PlaceOptions, placeOptions, placesOf, serviceUser } from './places.ts';
import {
  demandOptions,
  prepareDirectories,
  regionCommand,
  regionOptions,
  storeEnvironment,
  type UpOptions,
} from './up.ts';

/** Runs a process in our place: its signals, its output, its end. */
export async function become(file: string, args: readonly string[], env = process.env): Promise<void> {
  const child = spawn(file, args, { stdio: 'inherit', env });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

export function register(program: Command): void {
  placeOptions(program.command('agent').description('the privileged half alone (systemd)'))
    .option('--user <name>', 'whom the region runs as (default isthmus)')
    .action(async (options: PlaceOptions & { user?: string }) => {
      const { prepareAgent } = await import('../agent/ebpf-launch.ts');
      const places = placesOf(options);
      const { uid, gid } = serviceUser(options.user, places.namespace);
      const { file, args } = prepareAgent({ runDir: places.runDir, namespace: places.namespace, uid, gid });
      await become(file, args);
    });
  regionOptions(program.command('region').description('the unprivileged half alone (systemd)')).action(
    async (options: UpOptions) => {
      demandOptions(options);
      const places = placesOf(options);
      const user = serviceUser(options.user, places.namespace);
      prepareDirectories(places, user);
      const { file, args } = regionCommand(options, places, user);
      await become(file, args, { ...process.env, ...storeEnvironment(options) });
    },
  );
}
