/**
 * `isthmus usage`: what peering connections carried, in exact bytes on the wire, and what it costs: nothing. Halves that
 * were deleted are in it.
 */
import type { Command } from 'commander';
import { isId } from '../model/ids.ts';
import { clientFor, type Query } from './client.ts';
import { type EitherOptions, eitherOptions, reader } from './either.ts';
import { Failure } from './failure.ts';
import { idOf } from './nouns.ts';
import { printJson, printList, printNote } from './output.ts';
import type { Column } from './table.ts';

interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}
interface UsageRow {
  readonly accountId?: string;
  readonly vpcPeeringId: string;
  /** null of a half that is gone. */
  readonly vpcPeeringName: string | null;
  readonly localVpcId: string;
  readonly remoteVpcId: string;
  readonly hour: string | null;
  readonly sent: Traffic;
  readonly received: Traffic;
  readonly price: string;
}
interface UsageAnswer {
  readonly meteredUntil: string | null;
  readonly usage: readonly UsageRow[];
  readonly priceRule: string;
}
interface UsageOptions extends EitherOptions {
  readonly hours?: string;
  readonly from?: string;
  readonly to?: string;
  readonly byHour?: true;
}

const number = (value: number): string => value.toLocaleString('en');
const millisecondsPerHour = 3_600_000;

/** Which hours, and how they are put together, in the API's words. */
function queryOf({ hours, from, to, byHour }: UsageOptions, now: number): Query {
  const query: (readonly [string, string])[] = [];
  if (hours !== undefined) {
    if (from !== undefined || to !== undefined) {
      throw new Failure(2, '--hours goes with neither --from nor --to.', { remedy: 'Give the one or the other.' });
    }
    if (!/^[1-9][0-9]{0,5}$/.test(hours)) {
      throw new Failure(2, `--hours '${hours}' is not a number of hours.`, { remedy: 'Give 1 or more.' });
    }
    const end = Math.floor(now / millisecondsPerHour) + 1;
    query.push(['from', new Date((end - Number(hours)) * millisecondsPerHour).toISOString()]);
  }
  if (from !== undefined) query.push(['from', from]);
  if (to !== undefined) query.push(['to', to]);
  const ranged = query.length > 0;
  return [['by', byHour === true ? 'hour' : ranged ? 'half' : 'total'], ...query];
}

/** The ids that are asked for: of a deleted half the id is all there is. */
async function wantedIds(texts: readonly string[], options: UsageOptions): Promise<ReadonlySet<string> | null> {
  if (texts.length === 0) return null;
  const ids = texts.map(async (text) => {
    if (isId('peering', text)) return text;
    if (options.operator === true) throw new Failure(2, `'${text}' is not the id of a peering half.`);
    return idOf(clientFor(options), 'peering', text);
  });
  return new Set(await Promise.all(ids));
}

function columns(options: UsageOptions): readonly Column<UsageRow>[] {
  return [
    ...(options.byHour === true ? [{ title: 'HOUR', of: (row: UsageRow) => row.hour ?? '' }] : []),
    ...(options.operator === true ? [{ title: 'ACCOUNT', of: (row: UsageRow) => row.accountId ?? '' }] : []),
    { title: 'ID', of: (row) => row.vpcPeeringId },
    { title: 'NAME', of: (row) => row.vpcPeeringName ?? '(deleted)', flexible: true },
    { title: 'BYTES SENT', of: (row) => number(row.sent.bytes), align: 'right' },
    { title: 'BYTES RECEIVED', of: (row) => number(row.received.bytes), align: 'right' },
    { title: 'PRICE', of: (row) => row.price, align: 'right' },
  ];
}

/** Of several servers only the one that keeps the data plane counts, and knows how far. */
const until = ({ meteredUntil }: UsageAnswer): string =>
  meteredUntil === null
    ? 'Until when it is counted is not known here: another server keeps the data plane, or it is away (isthmus doctor).'
    : `Counted until ${meteredUntil}.`;

export function register(program: Command): void {
  const usage = program.command('usage').description('what your peering connections carried, and its price');
  eitherOptions(usage.argument('[peering...]', 'your halves, by id or name; all when left out'))
    .option('--hours <number>', 'only in the last so many hours, this one included')
    .option('--from <hour>', 'from this hour on, UTC: 2026-05-04T07:00:00Z')
    .option('--to <hour>', 'up to this hour, without it')
    .option('--by-hour', 'a row for each hour (without a range: the last 24)')
    .action(async (texts: readonly string[], options: UsageOptions) => {
      const query = queryOf(options, Date.now());
      const wanted = await wantedIds(texts, options);
      const answer = (await reader(options)('/usage', '/usage', query)) as UsageAnswer;
      const rows = answer.usage.filter(({ vpcPeeringId }) => wanted === null || wanted.has(vpcPeeringId));
      const missing = [...(wanted ?? [])].filter((id) => !rows.some(({ vpcPeeringId }) => vpcPeeringId === id));
      if (options.json === true) return printJson(rows);
      printList(options, rows, {
        columns: columns(options),
        id: (row) => row.vpcPeeringId,
        none:
          query.length > 1 || options.byHour === true ? 'Nothing was carried in that time.' : 'No peering half here.',
      });
      if (options.quiet === true) return;
      for (const id of rows.length === 0 ? [] : missing) printNote(`Of ${id} there is nothing.`);
      if (rows.length > 0)
        printNote(`${answer.priceRule}. ${until(answer)}`);
    });
}
