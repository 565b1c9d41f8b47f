import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commandKinds, commandOf, draw, giverOf, populate } from '../../test/ledger/commands.ts';
import { Ledger } from '../../test/ledger/ledger.ts';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HostName, KeyId } from '../model/ids.ts';
import { containsAddress } from '../model/ip.ts';
import type { Change, PeeringHalf, Resource, ResourceKind } from '../model/resources.ts';
import { type Command, operatorCommands } from './commands.ts';
import { effectivePrefixes, findOverlap } from './overlap.ts';

const kinds: readonly ResourceKind[] = [
  ...(['account', 'key', 'vpc', 'subnet', 'route-table'] as const),
  ...(['peering', 'half-identity', 'interface', 'client-token', 'host', 'host-authority'] as const),
];
const everything = (ledger: Ledger): readonly Resource[] => kinds.flatMap((kind) => [...ledger.state.all(kind)]);
/** The state as text; resources are frozen, so the same text is the same state. */
const dump = (ledger: Ledger): string =>
  JSON.stringify(everything(ledger).toSorted((a, b) => (`${a.kind} ${a.id}` < `${b.kind} ${b.id}` ? -1 : 1)));
const history = fc.array(draw, { minLength: 30, maxLength: 150 });

test('a decision is a function of what it is given: asked twice it is the same, and asking changes nothing', () => {
  fc.assert(
    fc.property(history, (draws) => {
      const ledger = new Ledger(); // freezes commands and all that is folded: a rule that writes to them throws
      populate(ledger);
      for (const one of draws) {
        const command = commandOf(ledger.state, one);
        const as = giverOf(ledger, command, one);
        const before = dump(ledger);
        const first = ledger.ask(command, as);
        assert.deepEqual(ledger.ask(structuredClone(command), as), first);
        assert.equal(dump(ledger), before);
        ledger.submit(command, as);
      }
    }),
    { numRuns: 15 },
  );
});

test('a refusal carries its sentence and no change, and leaves the state as it was', () => {
  let refused = 0;
  fc.assert(
    fc.property(history, (draws) => {
      const ledger = new Ledger();
      populate(ledger);
      for (const one of draws) {
        const command = commandOf(ledger.state, one);
        const { revision } = ledger.state;
        const decision = ledger.submit(command, giverOf(ledger, command, one));
        if (!isRefusal(decision)) continue;
        refused++;
        assert.equal(ledger.state.revision, revision);
        assert.ok(!('changes' in decision) && !('result' in decision));
        assert.ok(decision.http >= 400 && decision.http < 500, decision.code);
        for (const words of [decision.text, decision.remedy]) {
          assert.ok(words.length > 0 && !/[{}]|undefined|\[object/.test(words), words);
        }
      }
    }),
    { numRuns: 30 },
  );
  assert.ok(refused > 100, `${refused} refusals`);
});

test('every command of the closed union is done and refused by some history', () => {
  const done = new Set<string>();
  const refused = new Set<string>();
  for (const draws of fc.sample(history, { seed: 20_300_101, numRuns: 120 })) {
    const ledger = new Ledger();
    populate(ledger);
    for (const one of draws) {
      const command = commandOf(ledger.state, one);
      (isRefusal(ledger.submit(command, giverOf(ledger, command, one))) ? refused : done).add(command.kind);
    }
  }
  assert.deepEqual(
    commandKinds.filter((kind) => !done.has(kind)),
    [],
  );
  assert.deepEqual(
    commandKinds.filter((kind) => !refused.has(kind)),
    [],
  );
});

test('no tenant gives an operator’s command, whatever it names, and the operator may', () => {
  const ledger = new Ledger();
  const red = ledger.account('red');
  const name = 'h1' as HostName;
  const keyId = ledger.done({ kind: 'create-key', accountId: red, description: '' }, null) as KeyId;
  const commands: readonly Command[] = [
    { kind: 'create-account', name: 'blue' },
    { kind: 'modify-account', accountId: red, name: 'crimson' },
    { kind: 'set-quota', accountId: red, type: 'vpc', limit: 99 },
    { kind: 'create-key', accountId: red, description: '' },
    { kind: 'delete-key', keyId },
    { kind: 'delete-account', accountId: red, force: true },
    { kind: 'create-host-authority', certificate: '', privateKey: '' },
    { kind: 'invite-host', name, tokenHash: 'aa', expires: '2999-01-01T00:00:00Z' },
    { kind: 'admit-host', tokenHash: 'aa', keyHash: 'bb' },
    { kind: 'drain-host', name },
    { kind: 'undrain-host', name },
    { kind: 'remove-host', name, attached: null, lost: true },
  ];
  assert.deepEqual(commands.map(({ kind }) => kind).sort(), Object.keys(operatorCommands).sort());
  for (const command of commands) assert.equal(ledger.refused(command, red).code, 'forbidden');
  for (const command of commands) ledger.done(command, null);
});

/** Whose a resource is; a remembered id is its half's. */
const ownerOf = (ledger: Ledger, resource: Resource): AccountId | undefined => {
  if (resource.kind === 'account') return resource.id;
  if (resource.kind === 'half-identity') return ledger.state.get('vpc', resource.localVpcId)?.accountId;
  return 'accountId' in resource ? resource.accountId : undefined;
};
/** Whether a change to what is another's is the one that is allowed: the mirror's state follows. */
function follows(change: Change, before: Resource): boolean {
  // The id of a half whose VPC is gone is forgotten with the VPC that it named.
  if (change.op === 'delete') return before.kind === 'half-identity' && before.deletedTime !== null;
  if (change.resource.kind !== 'peering' || before.kind !== 'peering') return false;
  const { state: now, ...rest } = change.resource satisfies PeeringHalf;
  const { state: was, ...same } = before;
  assert.deepEqual(rest, same);
  return (now === 'Connected') !== (was === 'Connected') || now === 'Disconnected';
}

test('8. 9. a tenant’s command touches what is its own, and of others only the state of a mirror', () => {
  let mirrors = 0;
  fc.assert(
    fc.property(history, (draws) => {
      const ledger = new Ledger();
      populate(ledger);
      for (const one of draws) {
        const command = commandOf(ledger.state, one);
        const as = giverOf(ledger, command, one);
        if (as === null) {
          ledger.submit(command, as);
          continue;
        }
        const decision = ledger.ask(command, as);
        for (const change of isRefusal(decision) ? [] : decision.changes) {
          const [kind, id] =
            change.op === 'put' ? [change.resource.kind, change.resource.id] : [change.kind, change.id];
          const before = ledger.state.get(kind, id);
          if (before !== undefined && ownerOf(ledger, before) !== as) {
            assert.ok(follows(change, before), `${command.kind} of ${as}: ${JSON.stringify(change)}`);
            mirrors++;
          } else if (change.op === 'put') assert.equal(ownerOf(ledger, change.resource) ?? as, as);
        }
        ledger.submit(command, as);
      }
    }),
    { numRuns: 30 },
  );
  assert.ok(mirrors > 0, `mirrors do follow: ${mirrors}`);
});

/** What holds in every state that commands can reach. */
function check(ledger: Ledger): void {
  const { state } = ledger;
  const of = <K extends ResourceKind>(kind: K) => [...state.all(kind)];
  for (const half of of('peering')) {
    const mirror = state.half(half.remoteVpcId, half.localVpcId);
    assert.equal(half.state === 'Connected', mirror?.state === 'Connected', 'both halves are Connected or none is');
    assert.equal(state.get('half-identity', `${half.localVpcId}>${half.remoteVpcId}`)?.halfId, half.id);
    const [local, remote] = [state.get('vpc', half.localVpcId), state.get('vpc', half.remoteVpcId)];
    assert.ok(local !== undefined && local.accountId === half.accountId);
    if (half.state !== 'Connected') continue;
    assert.ok(remote !== undefined);
    assert.equal(findOverlap(effectivePrefixes(state, local), effectivePrefixes(state, remote)), null, 'no overlap');
  }
  for (const vpc of of('vpc')) assert.equal(state.get('route-table', vpc.defaultRouteTableId)?.vpcId, vpc.id);
  for (const subnet of of('subnet')) {
    const vpc = state.get('vpc', subnet.vpcId);
    assert.ok(vpc !== undefined);
    assert.equal(state.get('route-table', subnet.routeTableId)?.vpcId, vpc.id);
    const siblings = state.children('subnet', vpc.id).filter(({ id }) => id !== subnet.id);
    assert.equal(
      findOverlap(
        subnet.cidrs,
        siblings.flatMap(({ cidrs }) => cidrs),
      ),
      null,
    );
  }
  for (const port of of('interface')) {
    const subnet = state.get('subnet', port.subnetId);
    assert.ok(subnet !== undefined && subnet.vpcId === port.vpcId);
    assert.equal(port.primary.length, subnet.cidrs.length);
    for (const address of [...port.primary, ...port.secondary]) {
      assert.ok(subnet.cidrs.some((cidr) => containsAddress(cidr, address)));
      assert.equal(state.interfaceAt(port.vpcId, address), port.id, 'an address has one holder in its VPC');
    }
  }
  for (const table of of('route-table')) {
    const destinations = table.rules.map(({ destination }) => destination);
    assert.equal(new Set(destinations).size, destinations.length);
    assert.ok(state.get('vpc', table.vpcId) !== undefined);
  }
  const names = [...of('account'), ...of('peering')].map(
    (one) => `${'accountId' in one ? one.accountId : ''}/${one.name}`,
  );
  assert.equal(new Set(names).size, names.length);
}

test('17. after any history Connected halves are pairs of disjoint VPCs, and every object hangs together', () => {
  let connected = 0;
  fc.assert(
    fc.property(history, (draws) => {
      const ledger = new Ledger();
      populate(ledger);
      for (const one of draws) {
        const command = commandOf(ledger.state, one);
        if (isRefusal(ledger.submit(command, giverOf(ledger, command, one)))) continue;
        check(ledger);
        connected += [...ledger.state.all('peering')].filter(({ state }) => state === 'Connected').length;
      }
    }),
    { numRuns: 40 },
  );
  assert.ok(connected > 100, `peerings occur: ${connected}`);
});
