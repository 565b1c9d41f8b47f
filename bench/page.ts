/** docs/benchmarks.md and its plots, written from what a run found. Says what was measured, never why it matters. */
import { writeFileSync } from 'node:fs';
import { bars, distribution } from './plot.ts';
import { type Figure, metAim, shown, spreadOf } from './report.ts';

export interface Machine {
  readonly text: string;
  readonly quick: boolean;
  readonly minutes: number;
  readonly loadBefore: number;
  readonly loadAfter: number;
  readonly missing: readonly string[];
}

const folder = new URL('../docs/', import.meta.url);
const cell = (text: string): string => text.replaceAll('|', '\\|');

const aimText = ({ aim, unit }: Figure): string =>
  aim === undefined ? '–' : `${aim.at === 'most' ? '≤' : '≥'} ${shown(aim.value, unit)}`;
function row(figure: Figure): string {
  const spread = spreadOf(figure);
  const between = spread === null ? '' : `${shown(spread[0], figure.unit)} – ${shown(spread[1], figure.unit)}`;
  const met = metAim(figure);
  const verdict = met === null ? '' : met ? 'met' : '**missed**';
  const value = figure.note === 'not installed' ? '–' : shown(figure.value, figure.unit);
  return `| ${cell(figure.name)} | ${value} | ${between} | ${aimText(figure)} | ${verdict} | ${cell(figure.note ?? '')} |`;
}

const barsOf = (title: string, figures: readonly Figure[]): string =>
  bars(
    title,
    figures.map((figure) => ({
      name: figure.name,
      value: figure.value,
      text: shown(figure.value, figure.unit),
      spread: spreadOf(figure),
      aim: figure.aim ?? null,
    })),
  );

/** Writes the page. @param titles of the sections */
export function writePage(
  figures: readonly Figure[],
  titles: Readonly<Record<string, string>>,
  machine: Machine,
): void {
  const sections = [...new Set(figures.map(({ section }) => section))];
  const plots = new Map<string, string>();
  const put = (name: string, svg: string): void => {
    writeFileSync(new URL(`benchmark-${name}.svg`, folder), svg);
    plots.set(name, `![${name}](benchmark-${name}.svg)`);
  };
  for (const section of sections) {
    const own = figures.filter((figure) => figure.section === section);
    const ratios = own.filter(({ unit }) => unit === '×');
    if (ratios.length > 1) put(section, barsOf(titles[section] ?? section, ratios));
  }
  const times = figures.filter(
    ({ section, samples, unit }) =>
      (section === 'fence-time' || section === 'join') && unit === 'ms' && (samples?.length ?? 0) > 20,
  );
  for (const section of ['fence-time', 'join']) {
    const lines = times
      .filter((figure) => figure.section === section)
      .map(({ name, samples = [] }) => ({ name: name.replace(/, p50/, ''), samples }));
    if (lines.length > 0) put(section, distribution(titles[section] ?? section, lines, 'ms'));
  }
  const aims = figures.filter(({ aim }) => aim !== undefined);
  const header = ['| what | figure | middle half | aim | | |', '|---|---|---|---|---|---|'];
  const placed = (figure: Figure): Figure => ({
    ...figure,
    name: `${titles[figure.section] ?? figure.section}: ${figure.name}`,
  });
  const lines = [
    '# Benchmarks',
    '',
    'Written by `sudo npm run bench`; nothing here is typed by hand. What is measured and how, and why some aims are missed, is in',
    '[measurements.md](measurements.md). Figures with × are ratios within this run, medians of interleaved rounds; the middle half of',
    'the rounds stands beside them.',
    '',
    `${new Date().toISOString().slice(0, 10)}. Machine: ${machine.text}. Load ${machine.loadBefore.toFixed(1)} before, ${machine.loadAfter.toFixed(1)} after; ${machine.minutes.toFixed(0)} minutes${machine.quick ? ', with `--quick`: few samples' : ''}.`,
    ...machine.missing.map((line) => `Missing here: ${line}.`),
    '',
    '## Aims',
    '',
    ...header,
    ...aims.map(placed).map(row),
    '',
    ...sections.flatMap((section) => [
      `## ${titles[section] ?? section}`,
      '',
      ...(plots.has(section) ? [plots.get(section) ?? '', ''] : []),
      ...header,
      ...figures.filter((figure) => figure.section === section).map(row),
      '',
    ]),
  ];
  writeFileSync(new URL('benchmarks.md', folder), lines.join('\n'));
}
