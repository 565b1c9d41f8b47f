/**
 * Looks into the northbound database the moment that a server has answered: what the answer says is carried out must be
 * there, and what it says is gone must not, unless somebody else has asked for the contrary by then.
 */
import assert from 'node:assert/strict';
import { Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import type { Ending } from '../wire/lab.ts';
import type { Answer, Asked } from './caller.ts';
import type { Notebook } from './notebook.ts';

type Where = readonly (readonly [column: string, is: string, value: unknown])[];
interface Row {
  readonly table: string;
  readonly where: Where;
  /** Whether it is to be there. */
  readonly wanted: boolean;
}
interface Look {
  readonly asked: Asked;
  readonly answer: Answer;
  /** When the answer had come from the database. */
  readonly at: number;
}

export class Witness {
  readonly #north: Ovsdb;
  looks = 0;
  /** Looks that found the contrary. */
  readonly #contrary: Look[] = [];

  constructor(t: Ending, northbound: string) {
    this.#north = new Ovsdb({ remotes: [northbound], database: 'OVN_Northbound', tables: { NB_Global: ['nb_cfg'] } });
    t.after(() => this.#north.close());
  }

  async look(asked: Asked, answer: Answer): Promise<void> {
    const row = answer.output === 'done' && !answer.pending ? rowOf(asked, answer) : null;
    if (row === null) return;
    await this.#north.whenConnected(5_000);
    const { table, where, wanted } = row;
    const [found] = await this.#north.transact([{ op: 'select', table, where, columns: ['_uuid'] }]);
    this.looks++;
    const there = ((found?.['rows'] ?? []) as readonly unknown[]).length > 0;
    if (there !== wanted) this.#contrary.push({ asked, answer, at: performance.now() });
  }

  /** Throws when a look is not explained by what others had asked for. @returns how many were */
  judge({ deeds, sites }: Notebook): number {
    for (const { asked, answer, at } of this.#contrary) {
      const { made } = answer;
      const reverse = deeds.some(({ asked: other, called, end }) => {
        if (called > at) return false;
        if (asked.kind === 'create-vpc') return other.kind === 'delete-vpc' && other.vpcId === made;
        if (asked.kind === 'delete-peering')
          return other.kind === 'create-peering' && end?.answer.made === asked.halfId;
        if (asked.kind !== 'create-interface') return false;
        if (other.kind === 'delete-interface') return other.portId === made;
        const { vpcId } = sites.find(({ subnets }) => subnets.includes(asked.subnetId)) ?? {};
        return other.kind === 'delete-vpc' && other.vpcId === vpcId;
      });
      assert.ok(reverse, `answered as carried out, and it was not: ${JSON.stringify([asked, answer])}`);
    }
    return this.#contrary.length;
  }
}

function rowOf(asked: Asked, { made }: Answer): Row | null {
  const named = (table: string, name: string, wanted: boolean): Row => ({
    table,
    where: [['name', '==', name]],
    wanted,
  });
  switch (asked.kind) {
    case 'create-vpc':
      return named('Logical_Router', `lr-${made}`, true);
    case 'delete-vpc':
      return named('Logical_Router', `lr-${asked.vpcId}`, false);
    case 'create-interface':
      return named('Logical_Switch_Port', made ?? '', true);
    case 'delete-interface':
      return named('Logical_Switch_Port', asked.portId, false);
    case 'delete-peering': {
      const label = ['map', [['isthmus:id', asked.halfId]]];
      return { table: 'Logical_Router_Port', where: [['external_ids', 'includes', label]], wanted: false };
    }
    default:
      return null;
  }
}
