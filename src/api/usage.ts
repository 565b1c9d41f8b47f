/**
 * Usage as the books have it, for tenants and the operator alike: which hours are asked for, and how rows are shown. What
 * is booked, the meter decides.
 */
import Type from 'typebox';
import type { AccountId } from '../model/ids.ts';
import type { BookedHalf, Traffic } from '../store/store.ts';
import type { Call } from './operation.ts';
import { Text } from './operation.ts';
import { rejectField } from './refused.ts';

/** Why it costs nothing. */
export const price = '0.00';
export const priceRule = 'Peering within one region carries no charge (JD Cloud: Price)';

export const TrafficObject = Type.Object({ packets: Type.Integer(), bytes: Type.Integer() });
export const trafficView = ({ packets, bytes }: Traffic): { readonly packets: number; readonly bytes: number } => ({
  packets: Number(packets),
  bytes: Number(bytes),
});

const millisecondsPerHour = 3_600_000;
const hourForm = /^\d{4}-\d\d-\d\dT\d\d(?::00(?::00(?:\.000)?)?)?Z?$/;
const isoHour = (hour: number): string => `${new Date(hour * millisecondsPerHour).toISOString().slice(0, 19)}Z`;

/** Rows of one answer; whoever wants more asks for less time at once. */
const mostRows = 10_000;

const modes = ['hour', 'half', 'total'] as const;
export const UsageQueryObject = Type.Object({
  from: Type.Optional(Type.String({ description: 'First hour, UTC: 2026-05-04T07:00:00Z. Default: 24 hours back' })),
  to: Type.Optional(Type.String({ description: 'The hour after the last one. Default: up to now' })),
  by: Type.Optional(
    Type.Enum(modes, {
      description:
        'hour (default): a row for each hour and half; half: sums of those hours; total: since the half exists',
    }),
  ),
});

const row = {
  vpcPeeringId: Text,
  vpcPeeringName: Type.Union([Text, Type.Null()], { description: 'null of a half that is gone' }),
  localVpcId: Text,
  remoteVpcId: Text,
  hour: Type.Union([Text, Type.Null()], { description: 'Its beginning, UTC; null of a sum' }),
  sent: TrafficObject,
  received: TrafficObject,
  price: Text,
};
const answer = <R extends Type.TObject>(rows: R) =>
  Type.Object({
    from: Type.Union([Text, Type.Null()]),
    to: Type.Union([Text, Type.Null()]),
    meteredUntil: Type.Union([Text, Type.Null()], {
      description:
        'What the data plane counted until then is in it: the time of the call, unless the plane is away; null where another server keeps it',
    }),
    usage: Type.Array(rows),
    priceRule: Text,
  });
export const UsageObject = answer(Type.Object(row));
export const RegionUsageObject = answer(Type.Object({ accountId: Text, ...row }));

function hourIn(call: Call, field: string): number | undefined {
  const text = call.query.get(field);
  if (text === undefined || text === '') return undefined;
  const [whole = '', minutes = ''] = text.replace('Z', '').split(/(?<=T\d\d)/);
  const time = hourForm.test(text)
    ? Date.parse(`${whole}${minutes === '' ? ':00' : minutes.slice(0, 3)}:00Z`)
    : Number.NaN;
  if (Number.isNaN(time)) {
    return rejectField(field, `'${text.slice(0, 40)}' is not a full hour in UTC, such as 2026-05-04T07:00:00Z`);
  }
  return time / millisecondsPerHour;
}

function modeIn(call: Call): (typeof modes)[number] {
  const text = call.query.get('by') || 'hour';
  return (
    modes.find((mode) => mode === text) ?? rejectField('by', `'${text.slice(0, 32)}' is not one of ${modes.join(', ')}`)
  );
}

/** The answer to what a call asks for. @param account only its halves; undefined for all, with their owners */
export async function usageIn(call: Call, account?: AccountId): Promise<object> {
  const by = modeIn(call);
  const [from, to] = [hourIn(call, 'from'), hourIn(call, 'to')];
  if (by === 'total' && (from !== undefined || to !== undefined)) {
    return rejectField(
      from === undefined ? 'to' : 'from',
      "it means nothing with by=total: hours long past are in no hour's row",
    );
  }
  const { meter, state } = call.region;
  // With the plane away the answer is what was booked before, and says until when.
  await meter.book().catch(() => {});
  const end = to ?? Math.floor(Date.now() / millisecondsPerHour) + 1;
  const start = from ?? end - 24;
  if (start >= end) return rejectField('from', 'it is not before to');
  const limit = mostRows + 1;
  const query = { from: start, to: end, limit, ...(account === undefined ? {} : { account }) };
  const rows: readonly (BookedHalf & { readonly hour?: number })[] = await (by === 'hour'
    ? meter.hours(query)
    : by === 'half'
      ? meter.sums(query)
      : meter.totals(limit, account));
  // A half that came and went without carrying anything is not worth a row.
  const worth = rows.filter(
    ({ halfId, sent, received }) => sent.packets + received.packets > 0n || state.get('peering', halfId) !== undefined,
  );
  if (rows.length > mostRows) {
    return rejectField(
      by === 'total' ? 'by' : 'from',
      `this is more than ${mostRows} rows; ask for fewer hours${by === 'hour' ? ', or for by=half' : ''}`,
    );
  }
  const { bookedUntil } = meter;
  return {
    from: by === 'total' ? null : isoHour(start),
    to: by === 'total' ? null : isoHour(end),
    meteredUntil: bookedUntil === null ? null : `${new Date(bookedUntil).toISOString().slice(0, 19)}Z`,
    usage: worth.map(({ halfId, accountId, localVpcId, remoteVpcId, hour, sent, received }) => ({
      ...(account === undefined ? { accountId } : {}),
      vpcPeeringId: halfId,
      vpcPeeringName: state.get('peering', halfId)?.name ?? null,
      localVpcId,
      remoteVpcId,
      hour: hour === undefined ? null : isoHour(hour),
      sent: trafficView(sent),
      received: trafficView(received),
      price,
    })),
    priceRule,
  };
}
