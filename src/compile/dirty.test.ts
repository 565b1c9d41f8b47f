import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { prefix } from '../../test/wire/sketch.ts';
import type { AccountId, VpcId } from '../model/ids.ts';
import type { VpcSpec } from '../model/network-spec.ts';
import type { Command } from '../rules/commands.ts';
import { compileAll, compileVpc } from './compile.ts';
import { dirtyVpcs } from './dirty.ts';

/** A region that is compiled as the service does it: after each command only the VPCs that it made dirty. */
class Incremental {
  readonly ledger = new Ledger();
  readonly specs = new Map<VpcId, VpcSpec>();
  #dirty: ReadonlySet<VpcId> = new Set();

  constructor() {
    const { state } = this.ledger;
    const fold = state.apply.bind(state);
    state.apply = (changes, revision) => {
      this.#dirty = dirtyVpcs(changes, (kind, id) => state.get(kind, id));
      fold(changes, revision);
      for (const vpcId of this.#dirty) {
        const spec = compileVpc(state, vpcId);
        if (spec === undefined) this.specs.delete(vpcId);
        else this.specs.set(vpcId, spec);
      }
    };
    populate(this.ledger);
  }
  /** @returns what the command made dirty */
  give(command: Command, as: AccountId | null): ReadonlySet<VpcId> {
    this.#dirty = new Set();
    this.ledger.submit(command, as);
    return this.#dirty;
  }
  all(): string {
    return JSON.stringify({ vpcs: [...this.specs.values()].sort((a, b) => (a.vpcId < b.vpcId ? -1 : 1)) });
  }
}

test('after any history the VPCs that were marked dirty, compiled one by one, are the whole region compiled', () => {
  let spared = 0;
  fc.assert(
    fc.property(fc.array(draw, { minLength: 20, maxLength: 120 }), (draws) => {
      const region = new Incremental();
      for (const one of draws) {
        const command = commandOf(region.ledger.state, one);
        const dirty = region.give(command, giverOf(region.ledger, command, one));
        assert.equal(region.all(), JSON.stringify(compileAll(region.ledger.state)), command.kind);
        if (dirty.size < region.specs.size) spared++;
      }
    }),
    { numRuns: 40 },
  );
  assert.ok(spared > 100, 'the control: not everything is compiled each time');
});

test('a command makes dirty what it touches: the one VPC, both of a peering, none for an account', () => {
  const region = new Incremental();
  const { ledger } = region;
  const [red, green, blue] = [...ledger.state.all('vpc')].map(({ id }) => id);
  assert.ok(red !== undefined && green !== undefined && blue !== undefined);
  const owner = (vpcId: VpcId): AccountId => ledger.get('vpc', vpcId).accountId;
  const table = ledger.get('vpc', red).defaultRouteTableId;
  const routes = [{ destination: prefix('192.168.0.0/16'), nextHop: { kind: 'internet' } }] as const;
  const half = (from: VpcId, to: VpcId) => {
    const found = ledger.state.half(from, to);
    assert.ok(found !== undefined);
    return found.id;
  };
  const dirty = (command: Command, as: AccountId | null): readonly VpcId[] => [...region.give(command, as)].sort();

  assert.deepEqual(dirty({ kind: 'add-routes', routeTableId: table, routes }, owner(red)), [red]);
  assert.deepEqual(dirty({ kind: 'create-account', name: 'new' }, null), []);
  assert.deepEqual(dirty({ kind: 'set-quota', accountId: owner(red), type: 'vpc', limit: 3 }, null), []);
  // Blue waits for green: the answer makes both live, a later disconnect both dead.
  assert.deepEqual(dirty(ledger.peering(green, blue), owner(green)), [green, blue].sort());
  assert.deepEqual(dirty({ kind: 'delete-peering', halfId: half(green, blue) }, owner(green)), [green, blue].sort());
  // A half towards somebody who has none is the caller's alone; so is one that nobody answers any more.
  assert.deepEqual(dirty(ledger.peering(red, blue, 'alone'), owner(red)), [red]);
  assert.deepEqual(dirty({ kind: 'delete-peering', halfId: half(red, blue) }, owner(red)), [red]);
  // A VPC that goes is dirty by what it was, and so is who was Connected with it.
  assert.deepEqual(dirty({ kind: 'delete-vpc', vpcId: green, cascade: true }, owner(green)), [green, red].sort());
  assert.equal(region.all(), JSON.stringify(compileAll(ledger.state)));
});
