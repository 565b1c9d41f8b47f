/** The OVSDB client against real servers: its copy is what is there, whatever changes it, and whoever dies. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type Operation, Ovsdb, OvsdbError } from '../../src/dataplane/ovn/ovsdb.ts';
import { MessageSplitter } from '../../src/dataplane/ovn/ovsdb-wire.ts';
import { cluster, folder, single, cannotRun as skip, until } from './ovsdb-server.ts';

const tables = {
  Logical_Router: ['name', 'enabled', 'external_ids', 'ports', 'static_routes'],
  Logical_Router_Port: ['name', 'mac', 'networks', 'peer', 'options'],
  Address_Set: ['name', 'addresses', 'external_ids'],
  NB_Global: ['nb_cfg', 'external_ids'],
} as const;
function client(t: TestContext, ...remotes: readonly string[]): Ovsdb {
  const made = new Ovsdb({ remotes, database: 'OVN_Northbound', tables, probe: 1000 });
  t.after(() => made.close());
  return made;
}
const mapOf = (entries: object): unknown => ['map', Object.entries(entries)];
const setOf = (...list: readonly string[]): unknown => ['set', list];
const insert = (table: string, row: object, more: object = {}): Operation => ({ op: 'insert', table, row, ...more });

test('a stream of messages is cut where each ends, however its bytes arrive', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.object(), fc.array(fc.string({ unit: 'grapheme' }))), { minLength: 1 }),
      fc.array(fc.nat(7)),
      (messages, cuts) => {
        const bytes = Buffer.from(messages.map((message) => JSON.stringify(message)).join(''));
        const splitter = new MessageSplitter();
        const found: unknown[] = [];
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = 1 + (cuts[n % Math.max(1, cuts.length)] ?? 3);
          found.push(...splitter.push(bytes.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(
          found.map((one) => JSON.stringify(one)),
          messages.map((one) => JSON.stringify(one)),
        );
      },
    ),
  );
});

test('any changes by another: the copy is what a fresh one reads', { skip }, async (t) => {
  const { remote } = single(t);
  const [copy, writer] = [client(t, remote), client(t, remote)];
  await Promise.all([copy.whenConnected(5000), writer.whenConnected(5000)]);
  const names = ['a', 'b', 'c'];
  await writer.transact(names.map((name) => insert('Address_Set', { name })));
  const step = fc.record({
    name: fc.constantFrom(...names),
    column: fc.constantFrom('addresses', 'external_ids'),
    how: fc.constantFrom('insert', 'delete', 'update'),
    keys: fc.uniqueArray(fc.constantFrom('1', '2', '3', '4'), { maxLength: 3 }),
    value: fc.constantFrom('x', 'y'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      for (const { name, column, how, keys, value } of steps) {
        const where = [['name', '==', name]];
        const wire =
          column === 'addresses' || how === 'delete'
            ? setOf(...keys)
            : mapOf(Object.fromEntries(keys.map((key) => [key, value])));
        const whole =
          column === 'addresses' ? setOf(...keys) : mapOf(Object.fromEntries(keys.map((key) => [key, value])));
        await writer.transact([
          how === 'update'
            ? { op: 'update', table: 'Address_Set', where, row: { [column]: whole } }
            : { op: 'mutate', table: 'Address_Set', where, mutations: [[column, how, wire]] },
        ]);
      }
      const fresh = client(t, remote);
      await fresh.whenConnected(5000);
      assert.deepEqual(
        writer.rows('Address_Set'),
        fresh.rows('Address_Set'),
        'what it wrote is in its own copy at once',
      );
      await until(
        'the copy has it',
        () => {
          try {
            assert.deepEqual(copy.rows('Address_Set'), fresh.rows('Address_Set'));
            return true;
          } catch {
            return false;
          }
        },
        2,
      );
      fresh.close();
    }),
    { numRuns: 25 },
  );
});

test('values have one form: sets sorted, optional ones of none or one, defaults where nothing is said', {
  skip,
}, async (t) => {
  const { remote } = single(t);
  const copy = client(t, remote);
  await copy.whenConnected(5000);
  const uuid = '5d0c1d5e-0000-4000-8000-0000000000ab';
  const port = { name: 'p', mac: '0a:00:00:00:00:01', networks: setOf('10.0.0.2/24', '10.0.0.1/24') };
  await copy.transact([
    insert('Logical_Router_Port', port, { uuid }),
    insert('Logical_Router', { name: 'r', ports: ['set', [['uuid', uuid]]] }),
  ]);
  assert.deepEqual(copy.rows('Logical_Router_Port').get(uuid), {
    name: 'p',
    mac: '0a:00:00:00:00:01',
    networks: ['10.0.0.1/24', '10.0.0.2/24'],
    peer: [],
    options: {},
  });
  const [router] = [...copy.rows('Logical_Router').values()];
  assert.deepEqual(router, { name: 'r', enabled: [], external_ids: {}, ports: [uuid], static_routes: [] });
  const set = (row: object): Promise<unknown> =>
    copy.transact([{ op: 'update', table: 'Logical_Router_Port', where: [['name', '==', 'p']], row }]);
  await set({ peer: 'q' });
  assert.deepEqual(copy.rows('Logical_Router_Port').get(uuid)?.['peer'], ['q']);
  await set({ peer: 'z' });
  assert.deepEqual(copy.rows('Logical_Router_Port').get(uuid)?.['peer'], ['z'], 'of one, not a difference');
  await set({ peer: setOf() });
  assert.deepEqual(copy.rows('Logical_Router_Port').get(uuid)?.['peer'], []);
  await copy.transact([
    { op: 'mutate', table: 'Logical_Router', where: [], mutations: [['ports', 'delete', ['set', [['uuid', uuid]]]]] },
  ]);
  assert.equal(copy.rows('Logical_Router_Port').size, 0, 'a child that nobody names is gone');
});

test('a transaction is refused whole, and says why: overtaken, wrong, or found wrong at its end', {
  skip,
}, async (t) => {
  const { remote } = single(t);
  const copy = client(t, remote);
  await copy.whenConnected(5000);
  await copy.transact([insert('Address_Set', { name: 'a', external_ids: mapOf({ generation: '1' }) })]);
  const guard = (generation: string): Operation => ({
    op: 'wait',
    table: 'Address_Set',
    timeout: 0,
    where: [['external_ids', 'includes', mapOf({ generation })]],
    columns: ['name'],
    until: '!=',
    rows: [],
  });
  const failed = (code: string, words: RegExp) => (error: unknown) =>
    error instanceof OvsdbError && error.code === code && words.test(error.message);
  const more = insert('Address_Set', { name: 'b' });
  await copy.transact([guard('1'), insert('Address_Set', { name: 'control' })]);
  await assert.rejects(copy.transact([guard('2'), more]), failed('overtaken', /operation 0, wait/));
  await assert.rejects(
    copy.transact([more, insert('Address_Set', { nope: 1 })]),
    failed('refused', /operation 1.*nope/),
  );
  await assert.rejects(copy.transact([more, more]), failed('refused', /commit.*identical values/));
  assert.deepEqual([...copy.rows('Address_Set').values()].map(({ name }) => name).sort(), ['a', 'control']);
});

test('a server that is killed and comes back is met again, and what was missed is read', { skip }, async (t) => {
  const { server, remote } = single(t);
  const [copy, other] = [client(t, remote), client(t, remote)];
  await Promise.all([copy.whenConnected(5000), other.whenConnected(5000)]);
  await other.transact([insert('Address_Set', { name: 'before' })]);
  const lost = once(copy, 'lost');
  await server.kill();
  await lost;
  await assert.rejects(copy.transact([]), (error) => error instanceof OvsdbError && error.code === 'unavailable');
  server.start();
  await Promise.all([copy.whenConnected(10_000), other.whenConnected(10_000)]);
  await other.transact([insert('Address_Set', { name: 'after' })]);
  await until('it has both', () => copy.rows('Address_Set').size === 2);
});

test('of a cluster the leader is found; when it is killed the next one is, and nothing is lost', {
  skip,
  timeout: 120_000,
}, async (t) => {
  const { servers, remotes, leader: leading } = await cluster(t);
  const copy = client(t, ...remotes.toReversed());
  await copy.whenConnected(10_000);
  await copy.transact([insert('Address_Set', { name: 'one' })]);
  const leader = leading();
  const lost = once(copy, 'lost');
  await servers[leader]?.kill();
  await lost;
  await copy.whenConnected(20_000);
  await copy.transact([insert('Address_Set', { name: 'two' })]);
  assert.deepEqual([...copy.rows('Address_Set').values()].map(({ name }) => name).sort(), ['one', 'two']);
});

test('a change that comes in one piece with the first copy is not lost', async (t) => {
  const path = join(folder(t), 's');
  const row = (name: string): object => ({ name, enabled: true });
  const column = { type: 'string' };
  const answers: { readonly [method: string]: unknown } = {
    set_db_change_aware: {},
    monitor_cond: { Database: { d: { initial: { name: 'OVN_Northbound', model: 'standalone' } } } },
    get_schema: { tables: { Address_Set: { columns: { name: column } } } },
    monitor_cond_since: [false, 't1', { Address_Set: { a: { initial: row('first') } } }],
  };
  const server = createServer((socket) => {
    const splitter = new MessageSplitter();
    socket.on('data', (chunk) => {
      for (const message of splitter.push(chunk as Buffer)) {
        const { id, method } = message as { id: number; method: string };
        const update = { method: 'update3', params: ['copy', 't2', { Address_Set: { b: { insert: row('second') } } }] };
        const more = method === 'monitor_cond_since' ? JSON.stringify({ ...update, id: null }) : '';
        socket.write(JSON.stringify({ id, result: answers[method] ?? {}, error: null }) + more);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  const of = new Ovsdb({ remotes: [`unix:${path}`], database: 'OVN_Northbound', tables: { Address_Set: ['name'] } });
  t.after(() => of.close());
  await of.whenConnected(5000);
  assert.deepEqual([...of.rows('Address_Set').values()].map(({ name }) => name).sort(), ['first', 'second']);
});
