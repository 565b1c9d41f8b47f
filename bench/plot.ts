/**
 * Plots as SVG: bars with the spread of their samples, and distributions. Drawn by hand because two shapes are all that
 * is needed. Knows no figures; readable on light and dark pages.
 */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly text: string;
  /** The middle half of the samples. */
  readonly spread: readonly [number, number] | null;
  /** Where it should be at most or at least. */
  readonly aim: { readonly at: 'most' | 'least'; readonly value: number } | null;
}

const escape_ = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const font = 'font-family="ui-monospace, monospace" font-size="13"';
const small = 'font-family="ui-monospace, monospace" font-size="11"';
const ink = '#6b7280';
const colours = { plain: '#3b82f6', good: '#16a34a', bad: '#dc2626' } as const;

const page = (width: number, height: number, title: string, body: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape_(title)}</title>`,
    `<text x="12" y="22" ${font} font-weight="bold" fill="${ink}">${escape_(title)}</text>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');

/** Bars from zero, one below the other; an aim is a dashed line in the bar's row. */
export function bars(title: string, rows: readonly Bar[]): string {
  const [left, width, row] = [300, 420, 30];
  const most = Math.max(...rows.flatMap(({ value, spread, aim }) => [value, spread?.[1] ?? 0, aim?.value ?? 0]), 1e-9);
  const x = (value: number): number => Math.round((left + (value / most) * width) * 10) / 10;
  const body = rows.flatMap(({ name, value, text, spread, aim }, index) => {
    const y = 40 + index * row;
    const met = aim === null ? null : aim.at === 'most' ? value <= aim.value : value >= aim.value;
    const colour = met === null ? colours.plain : met ? colours.good : colours.bad;
    const parts = [
      `<text x="${left - 10}" y="${y + 15}" ${font} text-anchor="end" fill="${ink}">${escape_(name)}</text>`,
      `<rect x="${left}" y="${y + 3}" width="${Math.max(1, x(value) - left)}" height="16" rx="2" fill="${colour}"/>`,
      `<text x="${left + width + 14}" y="${y + 15}" ${font} fill="${ink}">${escape_(text)}</text>`,
    ];
    if (spread !== null) {
      const [low, high] = spread;
      parts.push(
        `<path d="M${x(low)} ${y + 11}H${x(high)}M${x(low)} ${y + 7}v8M${x(high)} ${y + 7}v8" stroke="#111827" stroke-width="1.5"/>`,
      );
    }
    if (aim !== null)
      parts.push(`<path d="M${x(aim.value)} ${y}v22" stroke="${ink}" stroke-width="2" stroke-dasharray="3 2"/>`);
    return parts;
  });
  const foot = 40 + rows.length * row + 16;
  body.push(
    `<text x="12" y="${foot}" ${small} fill="${ink}">whiskers: middle half of the samples · dashed: aim (green met, red missed)</text>`,
  );
  return page(left + width + 160, foot + 12, title, body);
}

/** The share of samples up to each value. @param unit of the samples */
export function distribution(
  title: string,
  lines: readonly { readonly name: string; readonly samples: readonly number[] }[],
  unit: string,
): string {
  const [left, top, width, height] = [50, 40, 560, 200];
  const sorted = lines.map(({ name, samples }) => ({ name, samples: [...samples].sort((a, b) => a - b) }));
  const at = (samples: readonly number[], share: number): number =>
    samples[Math.min(samples.length - 1, Math.floor(share * samples.length))] ?? 0;
  const most = Math.max(...sorted.map(({ samples }) => at(samples, 0.999)), 1e-9);
  const x = (value: number): number => Math.round((left + Math.min(1, value / most) * width) * 10) / 10;
  const y = (share: number): number => Math.round((top + (1 - share) * height) * 10) / 10;
  const body: string[] = [];
  for (const share of [0, 0.5, 1]) {
    body.push(
      `<path d="M${left} ${y(share)}H${left + width}" stroke="${ink}" stroke-opacity="0.3"/>`,
      `<text x="${left - 6}" y="${y(share) + 4}" ${small} text-anchor="end" fill="${ink}">${share * 100}</text>`,
    );
  }
  for (let n = 0; n <= 4; n++) {
    const value = (most * n) / 4;
    body.push(
      `<text x="${x(value)}" y="${top + height + 16}" ${small} text-anchor="middle" fill="${ink}">${value.toPrecision(2)} ${unit}</text>`,
    );
  }
  const strokes = [colours.plain, colours.good, colours.bad];
  for (const [index, { name, samples }] of sorted.entries()) {
    const points = Array.from({ length: 201 }, (_, n) => `${x(at(samples, n / 200))} ${y(n / 200)}`);
    const stroke = strokes[index % strokes.length];
    body.push(
      `<path d="M${points.join('L')}" fill="none" stroke="${stroke}" stroke-width="2"/>`,
      `<text x="${left + width + 12}" y="${top + 14 + index * 40}" ${font} fill="${stroke}">${escape_(name)}</text>`,
      `<text x="${left + width + 12}" y="${top + 30 + index * 40}" ${small} fill="${ink}">p50 ${at(samples, 0.5).toFixed(1)}, p99 ${at(samples, 0.99).toFixed(1)} ${unit}</text>`,
    );
  }
  return page(left + width + 230, top + height + 30, title, body);
}
