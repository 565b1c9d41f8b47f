/** The hosts as OVN's southbound database has them: which configuration each has installed, and since when. */
import { Ovsdb, type OvsdbPki } from './ovsdb.ts';

export interface ChassisState {
  /** The configuration that it has installed. */
  readonly number: number;
  /**
   * By how much the newest is younger than the one that it has installed, in milliseconds: numbers of configurations follow the
   * clock. null: it has installed none.
   */
  readonly behind: number | null;
}

const patience = 3_000;

export class ChassisBook {
  readonly #south: Ovsdb;

  constructor(southbound: readonly string[], pki?: OvsdbPki) {
    this.#south = new Ovsdb({
      remotes: southbound,
      database: 'OVN_Southbound',
      tables: { SB_Global: ['nb_cfg'], Chassis: ['name'], Chassis_Private: ['name', 'nb_cfg'] },
      ...(pki === undefined ? {} : { pki }),
    });
  }

  /** By name. A host that OVN does not know is left out. */
  states(): ReadonlyMap<string, ChassisState> {
    const wanted = Number([...this.#south.rows('SB_Global').values()][0]?.['nb_cfg'] ?? 0);
    const known = new Set([...this.#south.rows('Chassis').values()].map(({ name }) => String(name)));
    return new Map(
      [...this.#south.rows('Chassis_Private').values()].flatMap((row): [string, ChassisState][] => {
        const [name, number] = [String(row['name']), Number(row['nb_cfg'])];
        const behind = number === 0 && wanted > 0 ? null : Math.max(0, wanted - number);
        return known.has(name) ? [[name, { number, behind }]] : [];
      }),
    );
  }

  /** Takes a host that is gone for good out: the others send nothing to it any more. @throws OvsdbError */
  async remove(name: string): Promise<void> {
    await this.#south.whenConnected(patience);
    const where = [['name', '==', name]];
    await this.#south.transact([
      { op: 'delete', table: 'Chassis', where },
      { op: 'delete', table: 'Chassis_Private', where },
    ]);
  }

  close(): void {
    this.#south.close();
  }
}
