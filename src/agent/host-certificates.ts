/**
 * The certificates by which ovn-controller of this host reaches databases by TLS: those of Open vSwitch's table, as
 * `ovs-vsctl set-ssl` writes it, or else of its own command line. They are tried before the host joins.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProbeRow } from '../dataplane/driver.ts';
import { contextOf, type OvsdbPki } from '../dataplane/ovn/ovsdb-tls.ts';
import { greet, type Shown } from './database-greeting.ts';
import { list } from './local-ovsdb.ts';

/** Paths. */
export type PkiFiles = OvsdbPki;
export interface Certificates extends PkiFiles {
  /** The authority is taken from the first server that is met, while there is no such file. */
  readonly bootstrap: boolean;
}

/** null: it has none. @param ovnDirectory where ovn-controller keeps its pid file */
export const certificatesOf = async (runDirectory: string, ovnDirectory: string): Promise<Certificates | null> =>
  (await certificatesInTable(runDirectory)) ?? certificatesOnCommandLine(ovnDirectory);
export async function certificatesInTable(runDirectory: string): Promise<Certificates | null> {
  const [row] = await list(runDirectory, 'SSL', ['private_key', 'certificate', 'ca_cert', 'bootstrap_ca_cert']);
  if (row === undefined) return null;
  return {
    key: String(row['private_key']),
    certificate: String(row['certificate']),
    authority: String(row['ca_cert']),
    bootstrap: row['bootstrap_ca_cert'] === true,
  };
}
export function certificatesOnCommandLine(ovnDirectory: string): Certificates | null {
  let args: readonly string[];
  try {
    const pid = readFileSync(join(ovnDirectory, 'ovn-controller.pid'), 'utf8').trim();
    args = readFileSync(`/proc/${Number(pid)}/cmdline`, 'utf8').split('\0');
  } catch {
    return null;
  }
  const option = (long: string, short: string): string | undefined => {
    const at = args.findIndex((arg) => arg === short || arg === long || arg.startsWith(`${long}=`));
    const found = args[at];
    return found?.startsWith(`${long}=`) ? found.slice(long.length + 1) : at < 0 ? undefined : args[at + 1];
  };
  const [key, certificate] = [option('--private-key', '-p'), option('--certificate', '-c')];
  const bootstrap = option('--bootstrap-ca-cert', '');
  const authority = option('--ca-cert', '-C') ?? bootstrap;
  if (key === undefined || certificate === undefined || authority === undefined) return null;
  return { key, certificate, authority, bootstrap: bootstrap !== undefined };
}

const feature = 'certificates';
const setSsl = 'ovs-vsctl set-ssl KEY CERTIFICATE CA';

/** Whether ovn-controller could reach the remotes of `ssl:` with them. @param remotes some of `ssl:` */
export async function probeCertificates(
  remotes: readonly string[],
  certificates: Certificates | null,
): Promise<ProbeRow> {
  const row = (state: 'yes' | 'no', detail: string): ProbeRow => ({ feature, state, required: true, detail });
  const [first = ''] = remotes;
  if (certificates === null) {
    const remedy = `run ${setSsl}, or give --ovn-key, --ovn-cert and --ovn-ca`;
    return row('no', `${first} needs some, and ovn-controller has none: ${remedy}`);
  }
  const { bootstrap, ...names } = certificates;
  if (bootstrap && !existsSync(names.authority)) {
    return row('yes', `${names.certificate}; the first database that is met says whom it believes from then on`);
  }
  let shown: Shown;
  try {
    shown = shownOf(names);
  } catch (error) {
    return row('no', (error as Error).message);
  }
  const greetings = await Promise.all(remotes.map((remote) => greet(remote, shown)));
  const problems = greetings.filter((one) => one.kind === 'failed');
  const say = (of: typeof problems): string => of.map(({ remote, why }) => `${remote}: ${why}`).join('; ');
  const wrong = problems.filter((problem) => problem.wrong);
  if (wrong.length > 0) return row('no', say(wrong));
  if (problems.length < remotes.length) return row('yes', `${names.certificate}, which the southbound database takes`);
  // Not the certificates' fault, and mended without this machine.
  return row('yes', `${names.certificate}; not tried, for ${say(problems)}`);
}
/** What a server is shown. @throws Error naming what cannot be read or used */
export const shownOf = ({ key, certificate, authority }: PkiFiles): Shown => {
  const names = { key, certificate, authority };
  return { secureContext: contextOf(readPki(names), names), names };
};
/** @throws Error naming the file that cannot be read */
function readPki(files: PkiFiles): OvsdbPki {
  const { authority, certificate, key } = files;
  return { authority: readFile(authority), certificate: readFile(certificate), key: readFile(key) };
}
function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
