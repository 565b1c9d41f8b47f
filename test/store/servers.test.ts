/**
 * Several regions on one store, as several API servers are: each folds what the others write, one keeps the plane, and a
 * reply waits for that one's fence whoever was asked.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, HalfId, VpcId } from '../../src/model/ids.ts';
import { parsePrefix } from '../../src/model/ip.ts';
import { type Resource, resourceKinds } from '../../src/model/resources.ts';
import { Region } from '../../src/region/region.ts';
import type { Outcome, Principal } from '../../src/region/service.ts';
import type { Command } from '../../src/rules/commands.ts';
import { PostgresStore } from '../../src/store/postgres.ts';
import { OwingDriver } from '../hosts/owing-driver.ts';
import { startPostgres, until } from './postgres-server.ts';

interface Server {
  readonly region: Region;
  readonly store: PostgresStore;
  readonly driver: FakeDriver;
}
async function startServer(t: TestContext, url: string, driver = new FakeDriver()): Promise<Server> {
  const store = await PostgresStore.open(url);
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store, plane });
  t.after(() => region.close().catch(() => {}));
  return { region, store, driver };
}
/** Two servers on one plane, of which one leads. */
async function two(t: TestContext, url: string, driver: FakeDriver) {
  const servers = [await startServer(t, url, driver), await startServer(t, url, driver)];
  await until('one leads', () => servers.some(({ region }) => region.status().leads));
  const leader = servers.find(({ region }) => region.status().leads);
  const other = servers.find((server) => server !== leader);
  assert.ok(leader !== undefined && other !== undefined);
  return { servers, leader, other };
}
const everything = ({ region }: Server): readonly Resource[] =>
  resourceKinds.flatMap((kind): Resource[] => [...region.state.all(kind)]).sort((a, b) => (a.id < b.id ? -1 : 1));
const operator: Principal = { kind: 'operator' };
const tenant = (accountId: AccountId): Principal => ({ kind: 'tenant', accountId, keyId: 'k' as never });
let serial = 0;
async function give({ region }: Server, command: Command, principal: Principal = operator): Promise<string> {
  const outcome = await region.submit(command, { principal, requestId: `r${serial++}` });
  assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
  return outcome.result.id ?? '';
}
const vpc = (name: string, n: number): Command => {
  const cidr = parsePrefix(`10.${n}.0.0/16`);
  assert.ok(cidr.ok);
  return { kind: 'create-vpc', name, description: '', cidrs: [cidr.value] };
};

test('what one writes the others read; the journal has no gap, and nothing is done twice', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('together');
  const driver = new FakeDriver(); // the plane that they share
  const servers = [await startServer(t, url, driver), await startServer(t, url, driver)] as const;
  const [a, b] = servers;
  await until('one leads', () => servers.filter(({ region }) => region.status().leads).length === 1);

  const accountId = (await give(a, { kind: 'create-account', name: 'red' })) as AccountId;
  assert.equal(await b.region.reach(a.region.state.revision), true);
  assert.ok(b.region.state.get('account', accountId) !== undefined, 'who asks for a revision reads it');
  assert.equal(await b.region.reach(a.region.state.revision + 1), false, 'the control');
  for (const type of ['vpc'] as const) await give(b, { kind: 'set-quota', accountId, type, limit: 1000 });
  const key = await a.region.submit(
    { kind: 'create-key', accountId, description: '' },
    { principal: operator, requestId: 'k' },
  );
  assert.ok(!isRefusal(key) && key.secret !== undefined);
  await until('the key is known', () => b.region.secretOf(key.result.id ?? '') === key.secret);

  const ids = await Promise.all(
    Array.from({ length: 8 }, async (_, client) => {
      const made: string[] = [];
      for (let n = 0; n < 12; n++) {
        const server = servers[(client + n) % 2] ?? a;
        made.push(await give(server, vpc(`c${client}-${n}`, client * 12 + n), tenant(accountId)));
      }
      return made;
    }),
  );
  await until('both have it all', () => a.region.state.revision === b.region.state.revision);
  assert.deepEqual(everything(a), everything(b));
  assert.equal(new Set(ids.flat()).size, 96);
  assert.deepEqual(ids.flat().sort(), [...a.region.state.all('vpc')].map(({ id }) => id).sort());
  const journal = await a.store.entriesAfter(0, 10_000);
  assert.deepEqual(
    journal.map(({ revision }) => revision),
    Array.from({ length: a.region.state.revision }, (_, n) => n + 1),
  );
  await give(a, { kind: 'delete-key', keyId: key.result.id as never });
  await until('and forgotten', () => b.region.secretOf(key.result.id ?? '') === undefined);
});

test('a reply waits for the leader’s fence; when the leader goes another takes over, and nothing is lost', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('takeover');
  const driver = new FakeDriver();
  const { leader, other } = await two(t, url, driver);

  const accountId = (await give(other, { kind: 'create-account', name: 'red' })) as AccountId;
  const who = tenant(accountId);
  const [x, y] = [(await give(other, vpc('x', 1), who)) as VpcId, (await give(leader, vpc('y', 2), who)) as VpcId];
  const observed = async () => (await driver.observe()).network.vpcs;
  assert.deepEqual((await observed()).map(({ vpcId }) => vpcId).sort(), [x, y].sort(), 'there with the reply');
  const half = (server: Server, vpcId: VpcId, remoteVpcId: VpcId) =>
    give(server, { kind: 'create-peering', name: `h-${vpcId}`, description: '', vpcId, remoteVpcId }, who);
  const halfId = (await half(other, x, y)) as HalfId;
  await half(leader, y, x);
  assert.equal((await observed()).flatMap(({ halves }) => halves.filter(({ live }) => live)).length, 2);

  await leader.region.close();
  await until('the other leads', () => other.region.status().leads);
  const answer: Outcome = await other.region.submit(
    { kind: 'delete-peering', halfId },
    { principal: who, requestId: 'd' },
  );
  assert.ok(!isRefusal(answer) && answer.applied);
  assert.equal(
    (await observed()).flatMap(({ halves }) => halves.filter(({ live }) => live)).length,
    0,
    'cut with the reply',
  );
});

test('what leaves the network alone counts as applied on every server, also on one that starts later', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('quiet');
  const driver = new FakeDriver();
  const { leader, other, servers } = await two(t, url, driver);
  const level = (of: readonly Server[], revision: number): boolean =>
    of.every(({ region }) => region.status().appliedRevision === revision && region.status().revision === revision);
  for (const [n, server] of [leader, other, leader].entries()) {
    await give(server, { kind: 'create-account', name: `a${n}` });
    await until(`revision ${n + 1} is applied`, () => level(servers, n + 1));
  }
  const third = await startServer(t, url, driver);
  assert.ok(level([third], 3), 'it waited for no other change');
});

test('a server that has not heard of a change does not answer from before it', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('deaf');
  const a = await startServer(t, url);
  const store = await PostgresStore.open(url);
  Object.assign(store.others, { onNews: () => {} }); // it hears nothing
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const deaf = { ...a, store, region: await Region.start({ name: 'r', version: '0', store, plane }) };
  t.after(() => deaf.region.close());
  const accountId = (await give(deaf, { kind: 'create-account', name: 'red' })) as AccountId;
  await until('it is known', () => a.region.reach(deaf.region.state.revision));
  const who = tenant(accountId);
  const vpcId = (await give(deaf, vpc('x', 1), who)) as VpcId;
  await until('and this', () => a.region.reach(deaf.region.state.revision));
  const described = (description: string) => ({ kind: 'modify-vpc', vpcId, description }) as const;

  // Nothing to change, had the other not changed it meanwhile.
  await give(a, described('new'), who);
  assert.equal(deaf.region.state.get('vpc', vpcId)?.description, '', 'the control: it has not heard');
  await give(deaf, described(''), who);
  assert.equal(await a.region.reach(deaf.region.state.revision), true);
  assert.equal(a.region.state.get('vpc', vpcId)?.description, '', 'what was acknowledged is there');

  // Refused, did it rest on what is no longer so.
  const cidr = parsePrefix('10.2.0.0/16');
  assert.ok(cidr.ok);
  await give(a, { kind: 'add-cidr', vpcId, cidr: cidr.value }, who);
  assert.deepEqual(deaf.region.state.get('vpc', vpcId)?.cidrs.length, 1, 'the control: it has not heard');
  await give(deaf, { kind: 'remove-cidr', vpcId, cidr: cidr.value }, who);

  await postgres.kill();
  const refused = await deaf.region.submit(described(''), { principal: who, requestId: 'x' });
  assert.ok(isRefusal(refused) && refused.code === 'store-unavailable', 'nothing is said that it cannot know');
});

test('without the store reads go on and writes are refused; with it they go on, on every server', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('lost');
  const servers = [await startServer(t, url), await startServer(t, url)] as const;
  const [a, b] = servers;
  const accountId = (await give(a, { kind: 'create-account', name: 'red' })) as AccountId;
  await postgres.kill();
  const refused = await a.region.submit(vpc('x', 1), { principal: tenant(accountId), requestId: 'x' });
  assert.ok(isRefusal(refused) && refused.code === 'store-unavailable' && refused.http === 503);
  assert.ok(a.region.state.get('account', accountId) !== undefined, 'reads go on');
  await until('it is said', () => a.region.status().storeProblem !== null);
  await postgres.up();
  await until('it is back', () => a.region.status().storeProblem === null && b.region.status().storeProblem === null);
  const vpcId = await give(b, vpc('x', 1), tenant(accountId));
  await until('and everywhere', () => a.region.state.get('vpc', vpcId) !== undefined);
  await until('one leads again', () => servers.some(({ region }) => region.status().leads));
  await until(
    'the plane follows',
    () => a.region.status().planeProblem === null && b.region.status().planeProblem === null,
  );
  assert.deepEqual(everything(a), everything(b));
});

test('a server that was away for longer than the journal remembers reads the whole anew', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('gap');
  const a = await startServer(t, url);
  const accountId = (await give(a, { kind: 'create-account', name: 'red' })) as AccountId;
  const b = await startServer(t, url);
  const told: string[] = [];
  b.region.feed.follow(accountId, null, ({ event }) => void told.push(event));
  const vpcId = (await give(a, vpc('before', 1), tenant(accountId))) as VpcId;
  await until('it follows', () => b.region.state.get('vpc', vpcId) !== undefined);
  // As if its connection had been cut: two entries are made and one is forgotten before it looks again.
  await give(a, { kind: 'delete-vpc', vpcId, cascade: false } as Command, tenant(accountId));
  const { revision } = a.region.state;
  const direct = new (await import('pg')).default.Client({ connectionString: url });
  await direct.connect();
  await until('it has that too', () => b.region.state.revision === revision);
  await direct.query(
    `with gone as (delete from isthmus.resource where kind = 'account' returning doc), made as (
       insert into isthmus.journal values ($1, '', null, '', '', '', '[]', '')
     ) update isthmus.head set revision = $1`,
    [revision + 2],
  );
  await direct.query('notify isthmus_journal');
  await direct.end();
  await until('it has read anew', () => b.region.state.revision === revision + 2);
  assert.equal(b.region.state.get('account', accountId), undefined);
  assert.ok(told.includes('reset'), 'who follows is told');
});

test('what a host owes is shown by every server, with and without a sync, whoever leads', async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const url = await postgres.database('owed');
  const driver = new OwingDriver();
  const { servers, leader, other } = await two(t, url, driver);
  const accountId = (await give(other, { kind: 'create-account', name: 'red' })) as AccountId;
  const who = tenant(accountId);
  const [x, y] = [(await give(other, vpc('x', 1), who)) as VpcId, (await give(other, vpc('y', 2), who)) as VpcId];
  const half = async (vpcId: VpcId, remoteVpcId: VpcId): Promise<HalfId> => {
    const command = { kind: 'create-peering', name: `h-${vpcId}`, description: '', vpcId, remoteVpcId } as const;
    return (await give(other, command, who)) as HalfId;
  };
  const [gone, left] = [await half(x, y), await half(y, x)];
  const events = servers.map(({ region }) => {
    const told: string[] = [];
    region.feed.follow(accountId, null, (event) => {
      if (event.event === 'fence' && event.vpcPeeringId !== null) told.push(event.notFencedOn.join());
    });
    return told;
  });
  const shown = ({ region }: Server): readonly string[] => {
    const found = region.state.get('peering', left);
    return found === undefined ? [] : region.notFenced(found);
  };

  driver.leave('h3');
  // Asked is the one that does not lead.
  const answer = await other.region.submit(
    { kind: 'delete-peering', halfId: gone },
    { principal: who, requestId: 'd' },
  );
  assert.ok(!isRefusal(answer));
  assert.deepEqual([answer.applied, answer.behind], [false, { notFencedOn: ['h3'], notInstalledOn: [] }]);
  await until('both show it', () => servers.every((server) => shown(server).join() === 'h3'));
  for (const { region } of servers) assert.deepEqual(region.behind(x).notFencedOn, ['h3']);
  driver.comeBack('h3');
  await until('both show that it is over', () => servers.every((server) => shown(server).length === 0));
  await until('and the VPCs', () => servers.every(({ region }) => region.status().owedVpcs === 0));
  assert.deepEqual(
    events,
    [
      ['h3', 'h3', '', ''],
      ['h3', 'h3', '', ''],
    ],
    'of both halves, one owner: told by both servers',
  );

  assert.equal(await half(x, y), gone);
  driver.leave('h4');
  const pending = await leader.region.submit(
    { kind: 'delete-peering', halfId: left },
    { principal: who, requestId: 'e' },
  );
  assert.ok(!isRefusal(pending) && pending.behind?.notFencedOn.join() === 'h4');
  await until('the other has it', () => other.region.behind(y).notFencedOn.join() === 'h4');
  await leader.region.close();
  await until('the other leads', () => other.region.status().leads);
  assert.deepEqual(other.region.behind(y).notFencedOn, ['h4'], 'a takeover forgets nothing');
  driver.comeBack('h4');
  await until('and it hears of the end', () => other.region.status().owedVpcs === 0);
});
