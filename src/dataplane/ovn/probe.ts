/** What of OVN answers, and how far each part has come: for `isthmus doctor`. */
import type { ProbeRow } from '../driver.ts';
import type { Hosts } from './hosts.ts';
import type { Ovsdb } from './ovsdb.ts';
import type { Row } from './ovsdb-wire.ts';

export interface ProbedPlace {
  readonly north: Ovsdb;
  readonly south: Ovsdb;
  readonly hosts: Pick<Hosts, 'connected'>;
}

/** How long a database that is away is waited for, in milliseconds. */
const patience = 3_000;

export async function probeOvn({ north, south, hosts }: ProbedPlace): Promise<readonly ProbeRow[]> {
  const rows: ProbeRow[] = [];
  for (const [feature, database] of [
    ['northbound database', north],
    ['southbound database', south],
  ] as const) {
    await database.whenConnected(patience).catch(() => {});
    const { connected, problem } = database;
    const detail = connected ? 'connected to the member that leads' : problem;
    rows.push({ feature, state: connected ? 'yes' : 'no', required: true, detail });
  }
  const global = (): Row | undefined => [...north.rows('NB_Global').values()][0];
  const config = (): number => Number(global()?.['nb_cfg'] ?? 0);
  // It may just be at work on what was written last.
  const lag = (): number => config() - Number(global()?.['sb_cfg'] ?? 0);
  for (let tries = 0; tries < 40 && lag() > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
  const [number, behind] = [config(), lag()];
  rows.push({
    feature: 'ovn-northd',
    state: behind <= 0 ? 'yes' : 'no',
    required: true,
    detail: behind <= 0 ? `has compiled configuration ${number}` : `${behind} configurations behind: does it run?`,
  });
  const connected = hosts.connected();
  const proven = new Map(
    [...south.rows('Chassis_Private').values()].map((row) => [String(row['name']), Number(row['nb_cfg'])]),
  );
  const chassis = [...south.rows('Chassis').values()].map((row) => String(row['name'])).sort();
  for (const name of chassis) {
    const at = proven.get(name) ?? 0;
    const agent = connected.has(name);
    rows.push({
      feature: `host ${name}`,
      state: agent && at === number ? 'yes' : agent ? 'unknown' : 'no',
      required: false,
      detail: agent ? `its agent is connected; configuration ${at} of ${number}` : 'its agent is not connected',
    });
  }
  return rows;
}
