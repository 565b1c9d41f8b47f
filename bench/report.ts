/** What a run found, as rows of data, and as tables that fit 80 columns. Measures nothing. */
import { percentile } from './statistics.ts';

/** One figure. `aim` is what it should be at most or at least; absent where there is none. */
export interface Figure {
  readonly section: string;
  readonly name: string;
  readonly value: number;
  /** Shown behind the value: '×' for ratios, or a unit. */
  readonly unit: string;
  readonly aim?: { readonly at: 'most' | 'least'; readonly value: number };
  /** Spread, sample size or condition, in a few words. */
  readonly note?: string;
  /** What the value is the middle of; plots and spreads are made from it. */
  readonly samples?: readonly number[];
}

/** The middle half of the samples. */
export const spreadOf = ({ samples }: Figure): readonly [number, number] | null =>
  samples === undefined || samples.length < 3 ? null : [percentile(samples, 0.25), percentile(samples, 0.75)];

export const metAim = ({ value, aim }: Figure): boolean | null =>
  aim === undefined ? null : aim.at === 'most' ? value <= aim.value : value >= aim.value;

export function shown(value: number, unit: string): string {
  const size = Math.abs(value);
  const digits = Number.isInteger(value) && unit !== '×' ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : 2;
  const text = value.toFixed(digits).replace(/\B(?=(\d{3})+$)/g, ' ');
  return unit === '×' ? `${text} ×` : unit === '' ? text : `${text} ${unit}`;
}

/** A table for people, at most 80 columns. */
export function table(title: string, figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const { name, value, unit, aim, note = '' } = figure;
    const left = `  ${name.padEnd(31)} ${shown(value, unit).padStart(11)}  `;
    if (aim === undefined) return `${left}${note}`.trimEnd();
    const goal = `${aim.at === 'most' ? '≤' : '≥'} ${shown(aim.value, unit)}`;
    const line = `${left}${goal.padEnd(9)} ${(metAim(figure) ? 'met' : 'missed').padEnd(6)} ${note}`;
    return line.trimEnd();
  });
  return ['', `── ${title} ${'─'.repeat(Math.max(0, 75 - title.length))}`, ...rows].join('\n');
}
