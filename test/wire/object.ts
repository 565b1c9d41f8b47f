/** BPF objects with a fault compiled in. Proves that a test can fail; never shipped. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../../bpf', import.meta.url));

/** Builds a variant of the object. @param flags such as `-DWIDEN_US=20` @throws when there is no clang */
export function variant(directory: string, name: string, flags: string): string {
  const out = join(directory, `${name}.o`);
  const args = ['-s', '-C', source, 'variant', `OUT=${out}`, `EXTRA=${flags}`];
  execFileSync('make', args, { timeout: 60_000, stdio: 'pipe' });
  return out;
}

/** For `test`'s option `skip`: why no variant can be built here. */
export const cannotBuild: string | false = (() => {
  if (process.env['CI'] === 'true') return false;
  try {
    execFileSync('clang', ['--version'], { stdio: 'ignore', timeout: 10_000 });
    return false;
  } catch {
    return 'needs clang, to compile a fault into the program';
  }
})();
