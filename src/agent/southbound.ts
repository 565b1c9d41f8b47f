/** Whether this host's ovn-controller finds its database: the remotes before it joins, the connection afterwards. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProbeRow } from '../dataplane/driver.ts';
import { askDaemon } from '../dataplane/ovn/control-socket.ts';
import { type Greeting, greet } from './database-greeting.ts';
import { type Certificates, shownOf } from './host-certificates.ts';
import { externalIds, list } from './local-ovsdb.ts';

const database = 'OVN_Southbound';
const patience = 3_000;
const say = ({ remote, ...of }: Greeting): string =>
  of.kind === 'failed' ? `${remote}: ${of.why}` : `${remote} has ${of.databases.join(', ')} and not ${database}`;

/** Whether the database is where it was said. @param certificates that `ssl:` remotes are shown; null: none */
export async function probeSouthbound(
  remotes: readonly string[],
  certificates: Certificates | null,
): Promise<ProbeRow> {
  const row = (state: 'yes' | 'no', detail: string): ProbeRow => ({
    ...{ feature: 'southbound database', state, required: true, detail },
  });
  // ovn-controller believes the first that it meets, and has met none.
  const learns = certificates?.bootstrap === true && !existsSync(certificates.authority);
  const tried = learns ? remotes.filter((remote) => !remote.startsWith('ssl:')) : remotes;
  if (tried.length === 0) return row('yes', 'not tried before ovn-controller has an authority to believe');
  const shown = certificates === null || learns ? null : shownOf(certificates);
  const greetings = await Promise.all(tried.map((remote) => greet(remote, shown)));
  const wrong = greetings.filter((one) => one.kind === 'answered' && !one.databases.includes(database));
  const remedy = 'give the remotes of the southbound database with --ovn-remote, port 6642 unless it was given another';
  if (wrong.length > 0) return row('no', `${wrong.map(say).join('; ')}: ${remedy}`);
  const away = greetings.filter(({ kind }) => kind === 'failed');
  if (away.length === greetings.length) {
    return row('no', `none answers from here: ${away.map(say).join('; ')}. Start it, open the way, or ${remedy}`);
  }
  const answered = greetings.flatMap((one) => (one.kind === 'answered' ? one.remote : []));
  return row('yes', [`${answered.join(', ')} answers`, ...away.map(say)].join('; '));
}

/** Whether ovn-controller is connected to it now. @param ovnDirectory where it keeps its pid file */
export async function probeConnection(runDirectory: string, ovnDirectory: string): Promise<ProbeRow> {
  const row = (state: 'yes' | 'no', detail: string): ProbeRow => ({
    ...{ feature: 'ovn-controller connected', state, required: true, detail },
  });
  let status: string;
  try {
    const pid = readFileSync(join(ovnDirectory, 'ovn-controller.pid'), 'utf8').trim();
    const socket = join(ovnDirectory, `ovn-controller.${pid}.ctl`);
    status = (await askDaemon(socket, 'connection-status', [], patience)).trim();
  } catch (error) {
    return row('no', `it cannot be asked (${(error as Error).message}): systemctl restart ovn-host`);
  }
  if (status === 'connected') return row('yes', 'to its southbound database');
  const [settings] = await list(runDirectory, 'Open_vSwitch', ['external_ids']).catch(() => []);
  const remote = externalIds(settings).get('ovn-remote') ?? '';
  const where = remote === '' ? 'ovn-remote is not set' : `ovn-remote=${remote}`;
  return row(
    'no',
    `${status}; ${where}. Its log says why; if that is not the southbound database, run the line of host join again with the right --ovn-remote`,
  );
}
