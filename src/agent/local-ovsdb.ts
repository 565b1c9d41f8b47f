/** Open vSwitch's own database on this host, by its own tool. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const patience = 15_000;

/** @param runDirectory of Open vSwitch's sockets @returns what it printed */
export async function vsctl(runDirectory: string, ...args: readonly string[]): Promise<string> {
  const database = `--db=unix:${join(runDirectory, 'db.sock')}`;
  const limits = { timeout: patience, maxBuffer: 256 * 1024 * 1024 };
  const { stdout } = await run('ovs-vsctl', [database, '--timeout=10', ...args], limits);
  return stdout.trim();
}

/** A row as `ovs-vsctl --format=json` prints it. */
export type PrintedRow = { readonly [column: string]: unknown };
export async function list(
  runDirectory: string,
  table: string,
  columns: readonly string[],
): Promise<readonly PrintedRow[]> {
  const text = await vsctl(runDirectory, '--format=json', `--columns=${columns.join(',')}`, 'list', table);
  const { headings, data } = JSON.parse(text) as {
    readonly headings: readonly string[];
    readonly data: readonly (readonly unknown[])[];
  };
  return data.map((row) => Object.fromEntries(headings.map((heading, at) => [heading, row[at]])));
}
/** `external_ids` of a row. */
export function externalIds(row: PrintedRow | undefined): ReadonlyMap<string, string> {
  const [, pairs = []] = (row?.['external_ids'] ?? []) as readonly [string?, (readonly (readonly [string, string])[])?];
  return new Map(pairs);
}
