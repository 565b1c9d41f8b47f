/** What `isthmus top` shows: rates from two samples of counters, and how they fit a terminal. Pure. */
import { dropReasons } from '../model/drop-reason.ts';
import { type Column, renderTable } from './table.ts';
import { cut, escapeText, type Painter } from './terminal.ts';

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}
export interface HalfSample {
  readonly vpcPeeringId: string;
  readonly vpcPeeringName: string;
  readonly state: string;
  readonly sent: Traffic;
  readonly received: Traffic;
}
interface ExitSample extends Traffic {
  readonly exit: string;
}
/** One answer of the API; interfaces as a tenant sees them, their sum as the operator does. */
export interface Sample {
  readonly time: string;
  /** Another one when all counts began anew. */
  readonly epoch: string;
  readonly halves: readonly HalfSample[];
  readonly interfaces?: readonly {
    readonly networkInterfaceId: string;
    readonly networkInterfaceName: string;
    readonly exits: readonly ExitSample[];
  }[];
  readonly exits?: readonly ExitSample[];
}

export interface Rate {
  readonly packetsPerSecond: number;
  readonly bytesPerSecond: number;
}
export interface HalfRates {
  readonly vpcPeeringId: string;
  readonly vpcPeeringName: string;
  readonly state: string;
  readonly sent: Rate;
  readonly received: Rate;
}
export interface DropRates extends Rate {
  readonly reason: string;
  /** Since the plane counts. */
  readonly packets: number;
  /** The interface that loses most now; null where interfaces are not told apart. */
  readonly interface: string | null;
}
export interface Rates {
  readonly time: string;
  readonly seconds: number;
  /** Busiest first. */
  readonly halves: readonly HalfRates[];
  /** Reasons that took packets, those that do now first. */
  readonly drops: readonly DropRates[];
}

const nothing: Traffic = { packets: 0, bytes: 0 };
const isDrop: ReadonlySet<string> = new Set(dropReasons);
const busy = ({ sent, received }: HalfRates): number => sent.bytesPerSecond + received.bytesPerSecond;

/** What happened between two samples, a second. */
export function ratesOf(before: Sample, after: Sample): Rates {
  const seconds = Math.max(0.001, (Date.parse(after.time) - Date.parse(before.time)) / 1000);
  // Counts that began anew say nothing of what was before.
  const same = before.epoch === after.epoch;
  const rate = (old: Traffic | undefined, now: Traffic): Rate => {
    const from = same ? (old ?? now) : now;
    return {
      packetsPerSecond: Math.max(0, now.packets - from.packets) / seconds,
      bytesPerSecond: Math.max(0, now.bytes - from.bytes) / seconds,
    };
  };
  const known = new Map(before.halves.map((half) => [half.vpcPeeringId, half]));
  const halves = after.halves.map(({ vpcPeeringId, vpcPeeringName, state, sent, received }): HalfRates => {
    const old = known.get(vpcPeeringId);
    return {
      vpcPeeringId,
      vpcPeeringName,
      state,
      sent: rate(old?.sent, sent),
      received: rate(old?.received, received),
    };
  });
  halves.sort((a, b) => busy(b) - busy(a) || (a.vpcPeeringName < b.vpcPeeringName ? -1 : 1));
  return { time: after.time, seconds, halves, drops: dropsOf(before, after, rate) };
}

interface Owner {
  /** '' for the operator, who sees their sum. */
  readonly id: string;
  readonly name: string | null;
  readonly exits: readonly ExitSample[];
}
const ownersIn = ({ interfaces, exits = [] }: Sample): readonly Owner[] =>
  interfaces?.map((port) => ({
    id: port.networkInterfaceId,
    name: port.networkInterfaceName || port.networkInterfaceId,
    exits: port.exits,
  })) ?? [{ id: '', name: null, exits }];

function dropsOf(
  before: Sample,
  after: Sample,
  rate: (old: Traffic | undefined, now: Traffic) => Rate,
): readonly DropRates[] {
  const old = new Map(ownersIn(before).map(({ id, exits }) => [id, exits]));
  const sums = new Map<string, DropRates & { readonly most: number }>();
  for (const { id, name, exits } of ownersIn(after)) {
    for (const exit of exits.filter((one) => isDrop.has(one.exit))) {
      // An exit that nothing had taken is not in the sample.
      const now = rate(old.get(id)?.find((one) => one.exit === exit.exit) ?? nothing, exit);
      const sum = sums.get(exit.exit);
      const leads = sum === undefined || now.packetsPerSecond > sum.most;
      sums.set(exit.exit, {
        reason: exit.exit,
        packets: (sum?.packets ?? 0) + exit.packets,
        packetsPerSecond: (sum?.packetsPerSecond ?? 0) + now.packetsPerSecond,
        bytesPerSecond: (sum?.bytesPerSecond ?? 0) + now.bytesPerSecond,
        interface: leads ? name : sum.interface,
        most: leads ? now.packetsPerSecond : sum.most,
      });
    }
  }
  return [...sums.values()]
    .map(({ most: _most, ...drop }) => drop)
    .sort((a, b) => b.packetsPerSecond - a.packetsPerSecond || b.packets - a.packets);
}

const units = ['', 'k', 'M', 'G', 'T'] as const;
/** Three digits and a unit of 1000. */
export function short(value: number): string {
  let [rest, at] = [value, 0];
  while (rest >= 999.5 && at < units.length - 1) {
    rest /= 1000;
    at++;
  }
  const digits = at === 0 && Number.isInteger(rest) ? 0 : rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return `${rest.toFixed(digits)}${units[at]}`;
}

const halfColumns: readonly Column<HalfRates>[] = [
  { title: 'PEERING', of: (half) => half.vpcPeeringName, flexible: true },
  {
    title: 'STATE',
    of: (half) => half.state,
    tone: (half) => (half.state === 'Connected' ? 'good' : half.state === 'Initiated' ? 'warn' : 'bad'),
  },
  { title: 'SENT PKT/S', of: (half) => short(half.sent.packetsPerSecond), align: 'right' },
  { title: 'B/S', of: (half) => short(half.sent.bytesPerSecond), align: 'right' },
  { title: 'RECEIVED PKT/S', of: (half) => short(half.received.packetsPerSecond), align: 'right' },
  { title: 'B/S', of: (half) => short(half.received.bytesPerSecond), align: 'right' },
];
const dropColumns: readonly Column<DropRates>[] = [
  { title: 'DROPPED FOR', of: (drop) => drop.reason, tone: (drop) => (drop.packetsPerSecond > 0 ? 'bad' : undefined) },
  { title: 'PKT/S', of: (drop) => short(drop.packetsPerSecond), align: 'right' },
  { title: 'IN ALL', of: (drop) => short(drop.packets), align: 'right' },
  { title: 'MOST BY', of: (drop) => drop.interface ?? '', flexible: true },
];

/** The rows that fit, and a last line that says how many do not. */
function fitted<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  paint: Painter,
  room: number | undefined,
  height: number,
): readonly string[] {
  if (rows.length === 0 || height < 2) return [];
  const all = rows.length + 1 <= height;
  const shown = all ? rows : rows.slice(0, Math.max(0, height - 2));
  const lines = renderTable(columns, shown, paint, room).trimEnd().split('\n');
  return all ? lines : [...lines, paint('dim', `… and ${rows.length - shown.length} more`)];
}

/**
 * The lines of one picture.
 * @param size columns and rows to fit into; null for as many as there are
 * @param title what stands first; already in the reader's words
 */
export function linesOf(
  { halves, drops }: Rates,
  title: string,
  paint: Painter,
  size: { readonly columns: number; readonly rows: number } | null,
): readonly string[] {
  const rows = size?.rows ?? Number.POSITIVE_INFINITY;
  const head = paint('strong', cut(escapeText(title), size?.columns ?? Number.POSITIVE_INFINITY));
  // Drops have up to a third of the screen, and more where peerings leave it to them.
  const left = Math.max(0, rows - 2);
  const wantedDrops = drops.length === 0 ? 0 : drops.length + 2;
  const forHalves = Math.max(left - wantedDrops, Math.ceil((left * 2) / 3));
  const top =
    halves.length === 0 ? ['No peering half here.'] : fitted(halfColumns, halves, paint, size?.columns, forHalves);
  const rest = left - top.length - 1;
  const below = fitted(dropColumns, drops, paint, size?.columns, rest);
  const lines = [head, '', ...top, ...(below.length === 0 ? [] : ['', ...below])];
  return Number.isFinite(rows) ? lines.slice(0, rows) : lines;
}
