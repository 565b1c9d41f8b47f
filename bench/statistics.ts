/** Order statistics of samples. Pure; knows no units. */

/**
 * The value below which the given share of the samples lies (nearest rank).
 * @param share 0 to 1
 * @throws RangeError when there are no samples: a figure without a measurement must not come about
 */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
  if (found === undefined) throw new RangeError('no samples');
  return found;
}
export const median = (samples: readonly number[]): number => percentile(samples, 0.5);
