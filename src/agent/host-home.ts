/** What a host keeps of its own: its key, its certificate, whom it calls. A folder that only root may look into. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const defaultHome = '/var/lib/isthmus-host';

export interface Home {
  readonly name: string;
  readonly installationId: string;
  /** `HOST:PORT` of each API server. */
  readonly regions: readonly string[];
  /** Remotes of the southbound database. */
  readonly southbound: readonly string[];
  /** The address of its tunnels. */
  readonly encapsulation: string;
  /** Of Open vSwitch's sockets. */
  readonly runDirectory: string;
  /** PEM. */
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
}

const files = { key: 'key.pem', certificate: 'certificate.pem', authority: 'authority.pem' } as const;
const settings = 'host.json';
const joiningFile = 'joining.pem';

function write(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(`${path}.new`, path);
}

/**
 * The key to join with. It is kept before the token is shown: should the answer be lost, it is given to this key alone.
 * @param make a new one, if there is none
 */
export function joiningKey(folder: string, make: () => string): string {
  const path = join(folder, joiningFile);
  if (!existsSync(path)) write(folder, joiningFile, make());
  return readFileSync(path, 'utf8');
}

/** Whole or not at all: the settings come last. */
export function writeHome(folder: string, { key, certificate, authority, ...rest }: Home): void {
  write(folder, files.key, key);
  write(folder, files.certificate, certificate);
  write(folder, files.authority, authority);
  write(folder, settings, `${JSON.stringify(rest, null, 2)}\n`);
  rmSync(join(folder, joiningFile), { force: true });
}

/** null: this machine has not joined. @throws Error when what is there cannot be read */
export function readHome(folder: string): Home | null {
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
  let text: string;
  try {
    text = read(settings);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  // Nobody but root writes there, and `writeHome` alone.
  const rest = JSON.parse(text) as Omit<Home, keyof typeof files>;
  return { ...rest, key: read(files.key), certificate: read(files.certificate), authority: read(files.authority) };
}
