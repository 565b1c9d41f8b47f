/** The life of a host, as the rules have it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/errors.ts';
import type { AccountId, HostName, PortId } from '../model/ids.ts';
import { State } from '../model/state.ts';
import { PlannedIds } from '../region/ids.ts';
import type { Command } from './commands.ts';
import { decide } from './decide.ts';

const name = 'rack1.h7' as HostName;
const at = (minute: number): string => `2026-01-01T00:${String(minute).padStart(2, '0')}:00Z`;

function region() {
  const state = new State();
  return {
    state,
    /** @returns what was refused, or null */
    give(command: Command, minute = 0, accountId: AccountId | null = null): string | null {
      const decision = decide(command, { state, accountId, now: at(minute), ids: new PlannedIds() });
      if (isRefusal(decision)) return decision.code;
      state.apply(decision.changes, state.revision + 1);
      return null;
    },
  };
}
const invite = (tokenHash = 'aa', minute = 60): Command => ({
  kind: 'invite-host',
  name,
  tokenHash,
  expires: minute === 60 ? '2026-01-01T01:00:00Z' : at(minute),
});
const admit = (tokenHash = 'aa', keyHash = 'k1'): Command => ({ kind: 'admit-host', tokenHash, keyHash });
const remove = (attached: readonly PortId[] | null, lost = false): Command => ({
  kind: 'remove-host',
  name,
  attached,
  lost,
});

test('a token admits one host, once, and binds it to its key', () => {
  const { state, give } = region();
  assert.equal(give(invite()), null);
  assert.equal(give(admit('bb')), 'host-token-refused', 'not its token');
  assert.equal(give(admit()), null);
  assert.deepEqual(state.get('host', name), {
    kind: 'host',
    id: name,
    state: 'active',
    keyHash: 'k1',
    tokenHash: 'aa',
    tokenExpires: '2026-01-01T01:00:00Z',
    createdTime: at(0),
  });
  assert.equal(give(admit('aa', 'k2')), 'host-token-refused', 'used');
  assert.equal(state.get('host', name)?.keyHash, 'k1');
});

test('the key that a token admitted may ask again until it expires, and changes nothing by it', () => {
  const { state, give } = region();
  give(invite('aa', 10));
  give(admit('aa', 'k1'));
  const decision = decide(admit('aa', 'k1'), { state, accountId: null, now: at(9), ids: new PlannedIds() });
  assert.ok(!isRefusal(decision));
  assert.deepEqual([decision.changes, decision.result.id], [[], name]);
  assert.equal(give(admit('aa', 'k1'), 10), 'host-token-refused', 'a minute later it has expired');
  give({ kind: 'drain-host', name });
  assert.equal(give(admit('aa', 'k1'), 9), null);
  assert.equal(state.get('host', name)?.state, 'draining', 'it stays what it is');
  assert.equal(give(admit('aa', 'k2'), 9), 'host-token-refused', 'the control: another key');
  give(remove(null, true));
  assert.equal(give(admit('aa', 'k1'), 9), 'host-token-refused', 'removed is removed');
});

test('a token expires', () => {
  const { give } = region();
  give(invite('aa', 10));
  assert.equal(give(admit(), 10), 'host-token-refused');
  assert.equal(give(admit(), 9), null, 'a minute earlier it would have worked');
});

test('a second invitation voids the first, and a host that has joined is not invited again', () => {
  const { give } = region();
  give(invite('aa'));
  assert.equal(give(invite('bb')), null);
  assert.equal(give(admit('aa')), 'host-token-refused');
  assert.equal(give(admit('bb')), null);
  assert.equal(give(invite('cc')), 'host-exists');
});

test('draining and back; who has not joined cannot drain', () => {
  const { state, give } = region();
  assert.equal(give({ kind: 'drain-host', name }), 'host-unknown');
  give(invite());
  assert.equal(give({ kind: 'drain-host', name }), 'host-not-joined');
  give(admit());
  assert.equal(give({ kind: 'drain-host', name }), null);
  assert.equal(state.get('host', name)?.state, 'draining');
  const { revision } = state;
  assert.equal(give({ kind: 'undrain-host', name }), null);
  assert.equal(state.get('host', name)?.state, 'active');
  assert.equal(state.revision, revision + 1);
});

test('a host goes drained and empty, or lost', () => {
  const { state, give } = region();
  const port = 'port-aaaaaaaaaa' as PortId;
  give(invite());
  give(admit());
  assert.equal(give(remove([])), 'host-not-drained');
  give({ kind: 'drain-host', name });
  assert.equal(give(remove([port])), 'host-in-use');
  assert.equal(give(remove(null)), 'host-away');
  assert.equal(give(remove([])), null);
  assert.equal(state.get('host', name), undefined);
  give(invite());
  give(admit());
  assert.equal(give(remove([], true)), 'host-connected', 'who speaks is not lost');
  assert.equal(give(remove(null, true)), null, 'lost');
  give(invite());
  assert.equal(give(remove(null)), null, 'it never joined');
});

test('hosts are the business of the operator alone', () => {
  const { give } = region();
  const tenant = 'acct-aaaaaaaaaa' as AccountId;
  for (const command of [invite(), admit(), remove([]), { kind: 'drain-host', name } as const]) {
    assert.equal(give(command, 0, tenant), 'forbidden');
  }
});

test('the first authority stays', () => {
  const { state, give } = region();
  give({ kind: 'create-host-authority', certificate: 'one', privateKey: 'x' });
  give({ kind: 'create-host-authority', certificate: 'two', privateKey: 'y' });
  assert.equal(state.get('host-authority', 'host-authority')?.certificate, 'one');
  assert.ok(!JSON.stringify([...state.all('host-authority')]).includes('"x"'));
});
