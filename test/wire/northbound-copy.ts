/**
 * Rows of a northbound database in memory, as far as a test of `contents.ts` needs one: it carries operations out, and
 * what no row names any more goes, as OVSDB has it.
 */
import type { Copy } from '../../src/dataplane/ovn/contents.ts';
import type { Operation } from '../../src/dataplane/ovn/ovsdb.ts';
import { type ColumnType, columnType, type Row, type Value, valueFrom } from '../../src/dataplane/ovn/ovsdb-wire.ts';
import { children, references, type TableName, tableNames, type WantedRow } from '../../src/dataplane/ovn/rows.ts';

const types: { readonly [column: string]: ColumnType } = {
  ...Object.fromEntries(
    ['ports', 'static_routes', 'policies', 'acls'].map((column) => [
      column,
      columnType({ key: 'uuid', min: 0, max: 'unlimited' }),
    ]),
  ),
  ...Object.fromEntries(
    ['networks', 'peer', 'output_port', 'policy', 'addresses', 'port_security'].map((column) => [
      column,
      columnType({ key: 'string', min: 0, max: 'unlimited' }),
    ]),
  ),
  ...Object.fromEntries(
    ['options', 'external_ids'].map((column) => [column, columnType({ key: 'string', value: 'string' })]),
  ),
  priority: columnType('integer'),
};
const atom = columnType('string');

export class NorthboundCopy implements Copy {
  readonly #tables = new Map<string, Map<string, Row>>(tableNames.map((table) => [table, new Map()]));

  rows(table: string): Map<string, Row> {
    const rows = this.#tables.get(table);
    if (rows === undefined) throw new Error(`no table ${table}`);
    return rows;
  }
  typeOf(_table: string, column: string): ColumnType {
    return types[column] ?? atom;
  }
  /** As if somebody had written it; in place of what was there. */
  put({ table, uuid, columns }: WantedRow): void {
    this.rows(table).set(uuid, columns as Row);
  }
  change(table: TableName, uuid: string, columns: Row): void {
    this.rows(table).set(uuid, { ...this.rows(table).get(uuid), ...columns });
  }

  /** @throws when a row that is waited for is not there */
  apply(operations: readonly Operation[]): void {
    for (const operation of operations) this.#apply(operation as unknown as Spoken);
    for (const table of children) {
      for (const uuid of this.rows(table).keys()) if (!this.#isNamed(uuid)) this.rows(table).delete(uuid);
    }
  }
  #apply({ op, table, uuid = '', row = {}, where = [], mutations = [] }: Spoken): void {
    const rows = this.rows(table);
    const at = where[0]?.[2][1] ?? '';
    const values = Object.entries(row).map(([column, wire]) => [column, valueFrom(this.typeOf(table, column), wire)]);
    if (op === 'insert' && !rows.has(uuid)) rows.set(uuid, Object.fromEntries(values));
    else if (!rows.has(at)) throw new Error(`${op} of ${table} ${uuid}${at}`);
    else if (op === 'update') this.change(table, at, Object.fromEntries(values));
    else if (op === 'delete') rows.delete(at);
    for (const [column, mutator, wire] of mutations) {
      const change = valueFrom(this.typeOf(table, column), wire) as readonly string[];
      const before = (rows.get(at)?.[column] ?? []) as readonly string[];
      const after: Value =
        mutator === 'insert' ? [...before, ...change].sort() : before.filter((one) => !change.includes(one));
      this.change(table, at, { [column]: after });
    }
  }
  #isNamed(uuid: string): boolean {
    return tableNames.some((table) =>
      references[table].some((column) =>
        [...this.rows(table).values()].some((row) => ((row[column] ?? []) as readonly string[]).includes(uuid)),
      ),
    );
  }
}

/** An operation as `operationsFor` writes it. */
interface Spoken {
  readonly op: string;
  readonly table: TableName;
  readonly uuid?: string;
  readonly row?: { readonly [column: string]: unknown };
  readonly where?: readonly (readonly [string, string, readonly [string, string]])[];
  readonly mutations?: readonly (readonly [string, 'insert' | 'delete', unknown])[];
}
