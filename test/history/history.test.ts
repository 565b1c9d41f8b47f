/**
 * Two servers on one store and one OVN, eight clients, 2,000 commands, and half way the server that keeps the network is
 * killed. What each client saw must be explained, object by object, by one order of the commands; and the journal, the
 * store, both servers and OVN's databases must tell the same. No host is there: what hosts prove is `test/cluster`'s.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { compileAll } from '../../src/compile/compile.ts';
import { OvnDriver } from '../../src/dataplane/ovn/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { AccountId } from '../../src/model/ids.ts';
import type { State } from '../../src/model/state.ts';
import { type Central, startCentral } from '../cluster/central.ts';
import { cannotRun } from '../cluster/ground.ts';
import { LocalHosts } from '../cluster/local-hosts.ts';
import { judge } from '../ledger/linearizable.ts';
import { House } from '../processes/house.ts';
import { startPostgres, until } from '../store/postgres-server.ts';
import { Caller, type Key } from './caller.ts';
import { Clients } from './clients.ts';
import { booksOf, everythingOf, matchEntries, ordered, replay } from './journal.ts';
import { linesOf, linesOfState, listsOf } from './lists.ts';
import { storiesOf } from './models.ts';
import { countsOf, dump, type Told, toldBy, toldOf } from './northbound.ts';
import { Witness } from './witness.ts';

const clients = 8;
const commandsOfEach = 250;
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

interface Status {
  readonly revision: number;
  readonly appliedRevision: number;
  readonly planeProblem: string | null;
  readonly leads: boolean;
}
const statusOf = async ({ admin }: House): Promise<Status> => (await admin.call('GET', '/status')) as Status;
const settled = (house: House): Promise<void> =>
  until('it is there and agrees', () =>
    statusOf(house).then(
      ({ revision, appliedRevision, planeProblem }) => planeProblem === null && appliedRevision === revision,
      () => false,
    ),
  );
async function leaderOf(houses: readonly House[]): Promise<House> {
  let leader: House | undefined;
  await until('one leads', async () => {
    const statuses = await Promise.all(houses.map((house) => statusOf(house).catch(() => null)));
    leader = houses[statuses.findIndex((status) => status?.leads === true)];
    return leader !== undefined;
  });
  return leader ?? assert.fail();
}

async function startServer(t: TestContext, store: string, central: Central): Promise<House> {
  const hostsListen = `127.0.0.1:${30_000 + (randomBytes(2).readUInt16LE() % 2_000)}`;
  const ovn = { driver: 'ovn', ovnNb: central.northbound, ovnSb: central.southbound, hostsListen };
  return House.start(t, { ...ovn, store });
}

/** Another server on OVN, which looks, and writes only what it is told to. */
class Onlooker {
  readonly #central: Central;
  readonly #installationId: string;
  readonly #state: State;
  readonly driver: OvnDriver;
  readonly reconciler: Reconciler;

  constructor(t: TestContext, central: Central, installationId: string, state: State) {
    this.#central = central;
    this.#installationId = installationId;
    this.#state = state;
    const { northbound, southbound } = central;
    const remotes = { northbound: [northbound], southbound: [southbound] };
    this.driver = new OvnDriver({ installationId, ...remotes, hosts: new LocalHosts(new Map()) });
    this.reconciler = new Reconciler(this.driver, { driftInterval: 0 });
    t.after(() => this.reconciler.close());
  }
  /** All rows, as text: nothing was written when two are the same. */
  rows(): string {
    return JSON.stringify([...dump(this.#central.northbound, 'OVN_Northbound')]);
  }
  /** What differs from the state by rows. Throws when it does. */
  byRows(): Told {
    const north = dump(this.#central.northbound, 'OVN_Northbound');
    const told = toldBy(north, this.#installationId);
    assert.deepEqual(told, toldOf(this.#state));
    const counts = countsOf(told);
    const there = Object.keys(counts).map((table) => [table, north.get(table)?.length]);
    assert.deepEqual(Object.fromEntries(there), counts);
    return told;
  }
  /** What the driver reads. Throws when that differs. */
  async byDriver(): Promise<void> {
    const { network, damage, foreign } = await this.driver.observe();
    assert.deepEqual({ network, damage, foreign }, { network: compileAll(this.#state), damage: [], foreign: [] });
  }
  /** Whether northd has made of it what hosts are given: a datapath for each router and switch. */
  compiled(): boolean {
    const [global] = dump(this.#central.northbound, 'OVN_Northbound').get('NB_Global') ?? [];
    return global?.columns['sb_cfg'] === global?.columns['nb_cfg'];
  }
  datapaths(): number {
    return dump(this.#central.southbound, 'OVN_Southbound').get('Datapath_Binding')?.length ?? 0;
  }
  sync(): Promise<unknown> {
    const { vpcs } = compileAll(this.#state);
    return this.reconciler.sync({ revision: this.#state.revision, full: true, vpcs, removed: [] });
  }
}

test(`${clients} clients of two servers on OVN, one killed: one order explains all, seed ${seed}`, {
  skip: cannotRun,
  timeout: 300_000,
}, async (t) => {
  const postgres = await startPostgres(t);
  if (postgres === null) return;
  const store = await postgres.database('history');
  const central = await startCentral(t);
  const houses = [await startServer(t, store, central), await startServer(t, store, central)] as const;
  const [first] = houses;
  const { accountId } = (await first.admin.call('POST', '/accounts', { name: 'red' })) as { accountId: AccountId };
  await first.admin.call('PATCH', `/accounts/${accountId}`, { requestsPerSecond: 10_000 });
  for (const type of ['vpc', 'vpcpeering', 'network_interface']) {
    await first.admin.call('PUT', `/accounts/${accountId}/quotas/${type}`, { maxLimit: 1000 });
  }
  const caller = new Caller((await first.admin.call('POST', `/accounts/${accountId}/keys`, {})) as Key);
  t.after(() => caller.close());
  const urls = houses.map(({ service }) => service.ready.url) as [string, string];
  const { revision: since } = await statusOf(first);
  for (const url of urls) {
    await until('the key is known', async () => {
      const met = await caller.send(url, 'GET', '/vpcs/', undefined, since);
      return typeof met !== 'string' && met.status === 200;
    });
  }

  const witness = new Witness(t, central.northbound);
  const crowd = new Clients(caller, urls, (asked, answer) => witness.look(asked, answer));
  await crowd.begin();
  const leader = await leaderOf(houses);
  let killed = false;
  const killHalfWay = (): void => {
    if (killed || crowd.commands < (clients * commandsOfEach) / 2) return;
    killed = true;
    leader.kill('region');
  };
  const began = performance.now();
  await Promise.all(
    Array.from({ length: clients }, (_, n) => crowd.work(seed + 7919 * n, commandsOfEach, killHalfWay)),
  );
  const seconds = (performance.now() - began) / 1000;
  for (const house of houses) await settled(house);
  await crowd.end();
  for (const house of houses) await settled(house);
  const { notebook, commands, nobody, unknown, pending, stale, took } = crowd;
  const slowest = took.sort((a, b) => b - a).map(Math.round);
  t.diagnostic(
    `${commands} commands in ${seconds.toFixed(1)} s, median ${slowest[slowest.length >> 1]} ms, ` +
      `slowest ${slowest.slice(0, 3).join(', ')} ms; ${nobody} met nobody, ${unknown} unknown, ${pending} pending, ` +
      `${stale} reads behind`,
  );
  assert.equal(commands, clients * commandsOfEach);
  assert.ok(nobody > 0, 'the control: a server was away');
  const survivor = houses.find((house) => house !== leader);
  assert.equal(await leaderOf(houses), survivor, 'the other keeps the network now');

  // The books.
  const { journal, resources, installationId } = await booksOf(store);
  const unanswered = matchEntries(journal, notebook, since);
  const state = replay(journal, notebook, accountId);
  assert.deepEqual(ordered(resources), everythingOf(state), 'the store holds what its journal tells');
  const changes = Map.groupBy(journal.slice(since), ({ operation }) => operation);
  t.diagnostic(
    `${[...changes].map(([kind, entries]) => `${entries.length} ${kind}`).join(', ')}; ${unanswered} unanswered`,
  );
  for (const kind of ['delete-vpc', 'delete-subnet', 'delete-peering', 'remove-routes', 'delete-interface']) {
    assert.ok((changes.get(kind)?.length ?? 0) > 5, `the control: ${kind} happened`);
  }

  const reversed = witness.judge(notebook);
  assert.ok(witness.looks > 100 && reversed < witness.looks / 4, `${witness.looks} looks, ${reversed} overtaken`);

  // One order for each object. Were its last read as stale as its first, there would be none.
  let controls = 0;
  const stories = storiesOf(notebook);
  for (const { name, model, seen } of stories) {
    const judgement = judge(model, seen);
    assert.equal(judgement.kind, 'linearizable', `${name}: ${JSON.stringify(judgement)}`);
    const reads = seen.filter(({ input, end }) => model.reads(input) && end !== null);
    const [early, last] = [reads[0], reads.at(-1)];
    if (early?.end == null || last?.end == null || early.input.asked.kind !== last.input.asked.kind) continue;
    const damaged = seen.with(seen.indexOf(last), { ...last, end: { ...last.end, output: early.end.output } });
    if (judge(model, damaged).kind === 'impossible') controls++;
  }
  t.diagnostic(`${stories.length} objects, ${controls} of them with a stale read that was found`);
  for (const kind of ['vpc', 'range', 'table', 'pair']) assert.ok(stories.some(({ name }) => name.startsWith(kind)));
  assert.ok(controls > 20, 'the control: a stale read is found');

  // Both servers.
  const head = state.revision;
  for (const house of houses) {
    await settled(house); // connections that idled meanwhile are closed: the first of them may be met
    const { revision, appliedRevision } = await statusOf(house);
    assert.deepEqual([revision, appliedRevision], [head, head], 'the plane holds it');
  }
  const [one, other] = [await listsOf(caller, urls[0], head), await listsOf(caller, urls[1], head)];
  assert.deepEqual(one, other, 'both answer alike');
  assert.deepEqual(linesOf(one), linesOfState(state), 'and what the journal tells');

  // OVN. The server that keeps it stands still from here on, so that nothing is healed unseen.
  const onlooker = new Onlooker(t, central, installationId, state);
  const pid = survivor?.service.pids().region ?? assert.fail();
  process.kill(pid, 'SIGSTOP');
  try {
    await until('northd has compiled it', () => onlooker.compiled());
    const told = onlooker.byRows();
    await onlooker.byDriver();
    assert.equal(onlooker.datapaths(), told.routers.length + told.switches.length);
    t.diagnostic(
      Object.entries(told)
        .map(([what, lines]) => `${lines.length} ${what}`)
        .join(', '),
    );
    for (const lines of [told.switches, told.interfaces, told.peerings, told.routes]) assert.ok(lines.length > 0);
    const rows = onlooker.rows();
    await onlooker.sync();
    assert.equal(onlooker.rows(), rows, 'there is nothing to write');
    for (const take of ways(central, told)) {
      take();
      assert.throws(() => onlooker.byRows(), isFinding, 'the control: a row is missing');
      await until('the driver sees it too', () => onlooker.byDriver().then(() => false, isFinding));
      assert.ok((await onlooker.reconciler.checkDrift()).length > 0);
      onlooker.byRows();
      await onlooker.byDriver();
    }
    nbctl(central, 'lr-add', 'theirs');
    assert.throws(() => onlooker.byRows(), isFinding, 'the control: a row too many');
    await until('the driver sees that too', () => onlooker.byDriver().then(() => false, isFinding));
  } finally {
    process.kill(pid, 'SIGCONT');
  }
});

const isFinding = (error: unknown): boolean => error instanceof assert.AssertionError;

const nbctl = ({ northbound }: Central, ...args: readonly string[]): string =>
  execFileSync('ovn-nbctl', [`--db=${northbound}`, '--timeout=20', ...args], { stdio: 'pipe' })
    .toString()
    .trim();

/** Ways to take a row away by another hand: an interface, a port of a peering, a route. */
function ways(central: Central, told: Told): readonly (() => void)[] {
  const labelled = (table: string, id: string): string =>
    nbctl(central, '--bare', '--columns=_uuid', 'find', table, `external_ids:"isthmus:id"="${id}"`);
  const [port = ''] = told.interfaces[0]?.split(' ') ?? [];
  const [, half = ''] = told.peerings[0]?.split(' ') ?? [];
  const [vpcId = '', tableId, destination] = told.routes[0]?.split(' ') ?? [];
  return [
    () => nbctl(central, 'lsp-del', port),
    () => nbctl(central, 'lrp-del', labelled('Logical_Router_Port', half)),
    () => {
      const route = labelled('Logical_Router_Static_Route', `${vpcId}|${tableId}|${destination}`);
      nbctl(central, 'remove', 'Logical_Router', `lr-${vpcId}`, 'static_routes', route);
    },
  ];
}
