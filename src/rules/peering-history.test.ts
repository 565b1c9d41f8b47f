import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Ledger } from '../../test/ledger/ledger.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HalfId, VpcId } from '../model/ids.ts';
import { type PeeringState, pairKey } from '../model/resources.ts';

type Half = PeeringState | 'none';

/** What a history of creates, deletes and VPC deletions must leave, told by three sentences and no table. */
class Model {
  readonly halves = new Map<string, Half>();
  readonly gone = new Set<VpcId>();
  get = (from: VpcId, to: VpcId): Half => this.halves.get(pairKey(from, to)) ?? 'none';
  #set = (from: VpcId, to: VpcId, state: Half): void => void this.halves.set(pairKey(from, to), state);
  create(from: VpcId, to: VpcId): boolean {
    if (from === to || this.gone.has(from) || this.gone.has(to) || this.get(from, to) !== 'none') return false;
    const both = this.get(to, from) !== 'none'; // a half that faces its mirror is Connected, both are
    this.#set(from, to, both ? 'Connected' : 'Initiated');
    if (both) this.#set(to, from, 'Connected');
    return true;
  }
  delete(from: VpcId, to: VpcId): boolean {
    if (this.get(from, to) === 'none') return false;
    this.#set(from, to, 'none');
    if (this.get(to, from) === 'Connected') this.#set(to, from, 'Disconnected'); // what was Connected remembers it
    return true;
  }
  deleteVpc(vpc: VpcId, all: readonly VpcId[]): boolean {
    if (this.gone.has(vpc)) return false;
    this.gone.add(vpc);
    for (const other of all) {
      this.#set(vpc, other, 'none');
      if (this.get(other, vpc) !== 'none') this.#set(other, vpc, 'Disconnected'); // whatever it was
    }
    return true;
  }
}

test('any history of three tenants leaves what an independent model says, in the same states', () => {
  const step = fc.record({
    event: fc.constantFrom('create', 'create', 'create', 'delete', 'delete', 'delete-vpc'),
    from: fc.nat(3),
    to: fc.nat(3),
  });
  let connected = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      const ledger = new Ledger();
      const tenants = ['red', 'green', 'blue'].map((name) => ledger.account(name));
      const owners = [0, 1, 2, 2].map((n) => tenants[n] ?? null);
      const vpcs = owners.map((owner, n) => ledger.vpc(owner as AccountId, `10.${n}.0.0/16`));
      const model = new Model();
      for (const { event, from, to } of steps) {
        const [a, b] = [vpcs[from], vpcs[to]];
        assert.ok(a !== undefined && b !== undefined);
        const half = ledger.state.half(a, b)?.id ?? ('vpcpr-0000000000' as HalfId);
        const decision = ledger.submit(
          event === 'create'
            ? ledger.peering(a, b)
            : event === 'delete'
              ? { kind: 'delete-peering', halfId: half }
              : { kind: 'delete-vpc', vpcId: a, cascade: true },
          owners[from] ?? null,
        );
        const done =
          event === 'create' ? model.create(a, b) : event === 'delete' ? model.delete(a, b) : model.deleteVpc(a, vpcs);
        assert.equal(!isRefusal(decision), done, `${event} ${from}→${to}: ${JSON.stringify(decision)}`);
        for (const one of vpcs) {
          for (const other of vpcs) {
            assert.equal(ledger.stateOf(one, other), model.get(one, other));
            assert.equal(ledger.stateOf(one, other) === 'Connected', ledger.stateOf(other, one) === 'Connected');
            if (model.get(one, other) === 'Connected') connected++;
          }
        }
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(connected > 100, `the histories connect: ${connected}`);
});
