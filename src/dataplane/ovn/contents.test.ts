import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { network } from '../../../test/ledger/networks.ts';
import { NorthboundCopy } from '../../../test/wire/northbound-copy.ts';
import { Sketch, twoSites } from '../../../test/wire/sketch.ts';
import type { VpcId } from '../../model/ids.ts';
import type { NetworkSpec, VpcSpec } from '../../model/network-spec.ts';
import { contentsOf, operationsFor } from './contents.ts';
import type { Row, Value } from './ovsdb-wire.ts';
import {
  children,
  idKey,
  numberKey,
  ownerKey,
  type RouterSpec,
  rowsOf,
  specKey,
  type TableName,
  uuidOf,
  vpcKey,
  type WantedRow,
} from './rows.ts';

const installation = 'inst';
/** Networks that OVN can carry: each interface has an address, and those of a subnet are on one route table. */
const suitable = network.map(
  ({ vpcs }): NetworkSpec => ({
    vpcs: vpcs.map((vpc): VpcSpec => {
      const interfaces = vpc.interfaces.filter(({ addresses }) => addresses.length > 0);
      const [first] = interfaces;
      return {
        ...vpc,
        interfaces: interfaces.map((one) => ({ ...one, routeTableId: first?.routeTableId ?? one.routeTableId })),
      };
    }),
  }),
);

/** Numbers as a driver gives them, in no order. */
const numberOf = (vpcId: VpcId): number => [...vpcId].reduce((sum, one) => (sum * 31 + one.charCodeAt(0)) % 65_000, 1);
function rows({ vpcs }: NetworkSpec): readonly WantedRow[] {
  const byId = new Map(vpcs.map((spec) => [spec.vpcId, spec]));
  return vpcs.flatMap((spec) =>
    rowsOf({ installationId: installation, spec, numberOf, remote: (vpcId) => byId.get(vpcId) }),
  );
}
function copyOf(spec: NetworkSpec): NorthboundCopy {
  const copy = new NorthboundCopy();
  for (const row of rows(spec)) copy.put(row);
  return copy;
}
const read = (copy: NorthboundCopy) => contentsOf(installation, copy);
const whats = (copy: NorthboundCopy): readonly string[] =>
  read(copy)
    .damage.map(({ what }) => what)
    .sort();
/** Does what a driver does to mend. */
function mend(copy: NorthboundCopy): void {
  const { damage } = read(copy);
  const unwanted = damage.filter(({ wanted, uuid }) => wanted === null && uuid !== '');
  copy.apply(
    operationsFor(
      copy,
      damage.flatMap(({ wanted }) => wanted ?? []),
      unwanted,
    ),
  );
}
const idsOf = (row: Row | undefined) => (row?.['external_ids'] ?? {}) as { readonly [key: string]: string };
function withIds(copy: NorthboundCopy, table: TableName, uuid: string, ids: { readonly [key: string]: string }): void {
  copy.change(table, uuid, { external_ids: { ...idsOf(copy.rows(table).get(uuid)), ...ids } });
}

test('what a network’s rows tell is that network, its numbers, and no damage', () => {
  fc.assert(
    fc.property(suitable, (spec) => {
      const contents = read(copyOf(spec));
      assert.deepEqual(contents.damage, []);
      assert.deepEqual(contents.foreign, []);
      assert.deepEqual(contents.network, spec);
      assert.deepEqual(
        [...contents.numbers].sort(),
        spec.vpcs.map(({ vpcId }) => [vpcId, numberOf(vpcId)]),
      );
    }),
  );
});

test('between any two networks the operations lead from the one to the other, and there is nothing to do then', () => {
  fc.assert(
    fc.property(suitable, suitable, (before, after) => {
      const copy = copyOf(before);
      const wanted = rows(after);
      const kept = new Set(wanted.map(({ uuid }) => uuid));
      const unwanted = rows(before).filter(({ uuid }) => !kept.has(uuid));
      const operations = operationsFor(copy, wanted, unwanted);
      const deleted = operations.filter(({ op }) => op === 'delete').map(({ table }) => table as TableName);
      assert.ok(!deleted.some((table) => children.has(table)), 'those go with the row that names them');
      copy.apply(operations);
      assert.deepEqual(operationsFor(copy, wanted, unwanted), []);
      const contents = read(copy);
      assert.deepEqual(contents.damage, []);
      assert.deepEqual(contents.network, after);
    }),
  );
});

test('where nothing differs there is nothing to do', () => {
  fc.assert(
    fc.property(suitable, (spec) => {
      assert.deepEqual(operationsFor(copyOf(spec), rows(spec), []), []);
    }),
  );
});

test('the order of a set, and of the halves that a router keeps, does not matter', () => {
  const spec = full();
  const copy = copyOf(spec);
  for (const { table, uuid, columns } of rows(spec)) {
    const turned = Object.entries(columns).map(([name, value]) => [
      name,
      Array.isArray(value) ? [...value].reverse() : value,
    ]);
    copy.change(table, uuid, Object.fromEntries(turned));
  }
  assert.deepEqual(read(copy).damage, []);
  assert.deepEqual(operationsFor(copy, rows(spec), []), []);
  const router = uuidOf(installation, 'Logical_Router', 'vpc-red0000000');
  const { halves, tables } = JSON.parse(idsOf(copy.rows('Logical_Router').get(router))[specKey] ?? '') as RouterSpec;
  assert.equal(halves.length, 2);
  const turned = JSON.stringify({ halves: [...halves].reverse(), tables });
  withIds(copy, 'Logical_Router', router, { [specKey]: turned });
  assert.deepEqual(read(copy).network, spec);
});

/** Another value for a column. */
function other(value: Value): Value {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'string') return `${value}x`;
  return Array.isArray(value) ? [...value, 'zz'] : { ...(value as object), zz: '' };
}
/** A network in which every kind of row occurs. */
function full(): NetworkSpec {
  const { sketch, red, r1 } = twoSites();
  sketch.port(red, 'x', ['10.1.0.9'], { sanityCheck: false });
  sketch.route(red, '192.0.2.0/24', { kind: 'interface', portId: r1 });
  sketch.route(red, '198.51.100.0/24', { kind: 'black-hole' });
  sketch.half(red, sketch.vpc('green', '10.3.0.0/16'), false);
  return sketch.network();
}

test('whatever column other hands write to is damage of that row, and is mended', () => {
  const spec = full();
  for (const { table, uuid, columns } of rows(spec)) {
    for (const column of Object.keys(columns).filter((name) => name !== 'external_ids')) {
      const copy = copyOf(spec);
      copy.change(table, uuid, { [column]: other(columns[column] as Value) });
      const { damage, network: told } = read(copy);
      // In a table that is not there a route is nowhere: that the network lacks it is for who compares networks.
      if (column === 'route_table') {
        assert.ok(damage.length > 0);
        continue;
      }
      assert.deepEqual(told, spec, `${table} ${column}`);
      assert.deepEqual(
        damage.map((one) => [one.table, one.uuid, one.wanted?.uuid]),
        [[table, uuid, uuid]],
      );
      assert.match(damage[0]?.what ?? '', new RegExp(` has another ${column}$`));
      mend(copy);
      assert.deepEqual(copy.rows(table).get(uuid), columns);
      assert.deepEqual(read(copy).damage, []);
    }
  }
});

test('a row that is missing is damage; what the network can be read without is mended', () => {
  const spec = full();
  for (const { table, uuid, columns } of rows(spec)) {
    const copy = copyOf(spec);
    copy.rows(table).delete(uuid);
    const { damage, network: told } = read(copy);
    assert.ok(damage.length > 0, table);
    const tells = idsOf(columns as Row)[specKey] !== undefined || table === 'Logical_Switch';
    if (tells) continue;
    assert.deepEqual(told, spec, table);
    const { [idKey]: id } = idsOf(columns as Row);
    assert.deepEqual(
      damage.map(({ what, wanted }) => [what, wanted?.uuid]),
      [[`${table} of ${id} is missing`, uuid]],
    );
    mend(copy);
    assert.deepEqual(copy.rows(table).get(uuid), columns);
    assert.deepEqual(read(copy).damage, []);
  }
});

test('what of ours belongs to nothing is damage, and goes', () => {
  const spec = full();
  const copy = copyOf(spec);
  const ids = { [ownerKey]: installation, [idKey]: 'x', [vpcKey]: 'vpc-gone000000' };
  copy.put({ table: 'Address_Set', uuid: 'stray', columns: { name: 'old', addresses: [], external_ids: ids } });
  assert.deepEqual(whats(copy), ['Address_Set old belongs to nothing']);
  assert.deepEqual(read(copy).network, spec);
  mend(copy);
  assert.equal(copy.rows('Address_Set').has('stray'), false);
  assert.deepEqual(read(copy).damage, []);
});

test('rows of others are told by name, are no damage, and nothing is done to them', () => {
  const spec = full();
  const copy = copyOf(spec);
  copy.put({ table: 'Logical_Switch', uuid: 'u1', columns: { name: 'theirs', ports: [], external_ids: {} } });
  const elsewhere = { [ownerKey]: 'another', [idKey]: 'vpc-red0000000', [vpcKey]: 'vpc-red0000000' };
  copy.put({ table: 'ACL', uuid: 'u2', columns: { match: 'ip', external_ids: elsewhere } });
  copy.put({ table: 'Address_Set', uuid: 'u3', columns: { external_ids: elsewhere } });
  const { damage, foreign, network: told } = read(copy);
  assert.deepEqual(foreign, ['ACL ip', 'Address_Set u3', 'Logical_Switch theirs']);
  assert.deepEqual(damage, []);
  assert.deepEqual(told, spec);
});

test('a row of ours that lost its owner’s name is foreign and missing', () => {
  const spec = full();
  const copy = copyOf(spec);
  const row = rows(spec).find(({ table }) => table === 'Port_Group');
  assert.ok(row !== undefined);
  withIds(copy, row.table, row.uuid, { [ownerKey]: 'another' });
  assert.deepEqual(read(copy).foreign, ['Port_Group pg_vpc_blue000000']);
  assert.deepEqual(whats(copy), ['Port_Group of vpc-blue000000 is missing']);
});

const broken = { spec: specKey, number: numberKey } as const;
for (const [what, key, value] of [
  ['no JSON', 'spec', '{'],
  ['no object', 'spec', '7'],
  ['null', 'spec', 'null'],
  ['no halves', 'spec', '{"tables":[]}'],
  ['a half without an id', 'spec', '{"halves":[{"remoteVpcId":"vpc-a"}],"tables":[]}'],
  ['a half that is null', 'spec', '{"halves":[null],"tables":[]}'],
  ['no tables', 'spec', '{"halves":[]}'],
  ['a table without destinations', 'spec', '{"halves":[],"tables":[{"id":"rtb-a"}]}'],
  ['no number', 'number', 'x'],
  ['a number that is none of ours', 'number', '0'],
  ['a number beyond the last', 'number', '65535'],
  ['half a number', 'number', '1.5'],
  ['the number of another VPC', 'number', String(numberOf('vpc-blue000000' as VpcId))],
] as const) {
  test(`a router that keeps ${what} cannot be read, and the rest of its VPC is left alone`, () => {
    const sketch = new Sketch();
    sketch.vpc('blue', '10.2.0.0/16');
    const red = sketch.vpc('red', '10.1.0.0/16');
    sketch.port(red, 'r1', ['10.1.0.4']);
    const spec = sketch.network();
    const copy = copyOf(spec);
    withIds(copy, 'Logical_Router', uuidOf(installation, 'Logical_Router', red), { [broken[key]]: value });
    assert.deepEqual(whats(copy), ['Logical_Router lr-vpc-red0000000 cannot be read']);
    assert.equal(read(copy).damage[0]?.wanted, null);
    assert.deepEqual(
      read(copy).network.vpcs.map(({ vpcId }) => vpcId),
      ['vpc-blue000000'],
      'the other VPC is read',
    );
  });
}

for (const [what, value] of [
  ['no JSON', '['],
  ['no id', '{"mac":"02:00:00:00:00:01","addresses":[{"address":"10.1.0.4","gateway":"10.1.0.1"}]}'],
  ['no addresses', '{"id":"port-r100000000","mac":"02:00:00:00:00:01","addresses":[]}'],
  ['an address without a gateway', '{"id":"port-r100000000","mac":"","addresses":[{"address":"10.1.0.4"}]}'],
] as const) {
  test(`an interface that keeps ${what} cannot be read, and is not in the network`, () => {
    const sketch = new Sketch();
    const red = sketch.vpc('red', '10.1.0.0/16');
    const port = sketch.port(red, 'r1', ['10.1.0.4']);
    sketch.port(red, 'r2', ['10.1.0.5']);
    const copy = copyOf(sketch.network());
    withIds(copy, 'Logical_Switch_Port', uuidOf(installation, 'Logical_Switch_Port', port), { [specKey]: value });
    assert.ok(whats(copy).includes(`Logical_Switch_Port ${port} cannot be read`), whats(copy).join('\n'));
    assert.deepEqual(
      read(copy).network.vpcs.flatMap(({ interfaces }) => interfaces.map(({ id }) => id)),
      ['port-r200000000'],
    );
  });
}

for (const [what, value] of [
  ['no JSON', '{'],
  ['no target', '{"destination":"198.51.100.0/24"}'],
  ['no destination', '{"target":{"kind":"black-hole"}}'],
] as const) {
  test(`a route that keeps ${what} is in no table, and belongs to nothing`, () => {
    const sketch = new Sketch();
    const red = sketch.vpc('red', '10.1.0.0/16');
    sketch.route(red, '198.51.100.0/24', { kind: 'black-hole' });
    const copy = copyOf(sketch.network());
    const id = `${red}|rtb-red0000000|198.51.100.0/24`;
    const uuid = uuidOf(installation, 'Logical_Router_Static_Route', id);
    withIds(copy, 'Logical_Router_Static_Route', uuid, { [specKey]: value });
    assert.deepEqual(whats(copy), [
      'Logical_Router lr-vpc-red0000000 has another static_routes',
      'Logical_Router_Static_Route 198.51.100.0/24 belongs to nothing',
    ]);
    assert.deepEqual(
      read(copy).network.vpcs[0]?.routeTables[0]?.routes.map(({ destination }) => destination),
      ['10.1.0.0/16'],
    );
  });
}

test('a network that OVN cannot carry is damage of its VPC alone', () => {
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16');
  sketch.port(sketch.vpc('blue', '10.2.0.0/16'), 'b1', ['10.2.0.4']);
  const [r1, r2] = [sketch.port(red, 'r1', ['10.1.0.4']), sketch.port(red, 'r2', ['10.1.0.5'])];
  const copy = copyOf(sketch.network());
  const moved = JSON.stringify({ ...sketch.spec(red, r2), routeTableId: 'rtb-second0000' });
  withIds(copy, 'Logical_Switch_Port', uuidOf(installation, 'Logical_Switch_Port', r2), {
    [specKey]: moved,
  });
  assert.deepEqual(whats(copy), [`${red}: ${r1} and ${r2} are in one subnet, but not on one route table`]);
});

test('an update waits for the row, so that one that somebody took away is not written past', () => {
  const spec = full();
  const copy = copyOf(spec);
  const row = rows(spec).find(({ table }) => table === 'Address_Set');
  assert.ok(row !== undefined);
  copy.change('Address_Set', row.uuid, { addresses: [] });
  assert.deepEqual(
    operationsFor(copy, [row], []).map(({ op }) => op),
    ['wait', 'update'],
  );
});
