/** A host joins a region of several API servers on one store: a token is for one key at all of them together. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { type Joining, join, joinAny, makeKey } from '../../src/agent/join.ts';
import { tokenHashOf } from '../../src/api/hosts/admission.ts';
import { HostGateway } from '../../src/api/hosts/gateway.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { HostName } from '../../src/model/ids.ts';
import { Region } from '../../src/region/region.ts';
import { PostgresStore } from '../../src/store/postgres.ts';
import { Way } from '../hosts/way.ts';
import { startPostgres, until } from './postgres-server.ts';

async function serve(t: TestContext, url: string) {
  const store = await PostgresStore.open(url);
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store, plane });
  const gateway = new HostGateway();
  const { installationId } = store;
  await gateway.open(region, {
    ...{ host: '127.0.0.1', port: 0, installationId, southbound: [], log: pino({ level: 'silent' }) },
  });
  let open = true;
  const close = async (): Promise<void> => {
    if (!open) return;
    open = false;
    await gateway.close();
    await region.close().catch(() => {});
  };
  t.after(close);
  const invite = async (name: string): Promise<string> => {
    const token = `token of ${name}`;
    const expires = '2999-01-01T00:00:00Z';
    const outcome = await region.submit(
      { kind: 'invite-host', name: name as HostName, tokenHash: tokenHashOf(token), expires },
      { principal: { kind: 'operator' }, requestId: 'test' },
    );
    assert.ok(!isRefusal(outcome));
    return token;
  };
  const authority = (): string => region.state.get('host-authority', 'host-authority')?.certificate ?? '';
  return { region, gateway, close, invite, authority, address: `127.0.0.1:${gateway.port}` };
}

test('a lost answer is given again by every server, also by one that was not there, and to the same key alone', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('joins');
  const [a, b] = [await serve(t, url), await serve(t, url)];
  assert.equal(a.authority(), b.authority());
  const [first, second] = [await a.invite('h1'), await a.invite('h2')];
  const joining = (token: string): Joining => ({ token, authority: a.authority(), key: makeKey() });

  const way = await Way.open(t, a.gateway.port);
  const mine = joining(first);
  a.region.onChanges((changes) => {
    if (changes.some((change) => change.op === 'put' && change.resource.id === 'h1')) way.cut();
  });
  // What the first server has done the second may not have heard yet.
  const joined = await joinAny([way.address, b.address], mine);
  assert.equal(joined.host, 'h1');
  await assert.rejects(join(b.address, joining(first)), /was used/);
  await assert.rejects(join(a.address, joining(first)), /was used/);

  const [one, two] = [joining(second), joining(second)];
  const outcomes = await Promise.allSettled([join(a.address, one), join(b.address, two)]);
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], 'one key of two');
  const [winner, loser] = outcomes[0]?.status === 'fulfilled' ? [one, two] : [two, one];
  await until('both know', () => [a, b].every(({ region }) => region.state.get('host', 'h2')?.state === 'active'));

  await Promise.all([a.close(), b.close()]);
  const later = await serve(t, url);
  assert.equal((await join(later.address, mine)).host, 'h1');
  assert.equal((await join(later.address, winner)).host, 'h2');
  await assert.rejects(join(later.address, loser), /was used/);
});
