/** Summaries of repeated measurements. */

/** The smallest, middle and largest of several values. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  return { min: Math.min(...values), median: median(values), max: Math.max(...values) };
}

/** The middle value, the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

/** Standard deviation of a sample; null for a single value. */
export function deviation(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const m = mean(values);
  return Math.sqrt(values.reduce((sum, x) => sum + (x - m) ** 2, 0) / (values.length - 1));
}

/**
 * How often n and m values of one distribution lie apart, all of one below all of the other or above: 2·n!·m!/(n + m)!.
 */
export function chanceOfSeparation(n: number, m: number): number {
  let ways = 1;
  for (let i = 1; i <= n; i++) ways *= (m + i) / i;
  return 2 / ways;
}

/** How a model's losses over seeds lie to a baseline's. */
export interface Verdict {
  /** Difference of the means. */
  readonly difference: number;
  /**
   * `lower` and `higher` where every seed is below, or above, every seed of the baseline; `inside the spread` where
   * they overlap; `one seed` where nothing can be said.
   */
  readonly word: 'lower' | 'higher' | 'inside the spread' | 'one seed';
}

export function verdict(losses: readonly number[], baseline: readonly number[]): Verdict {
  const difference = mean(losses) - mean(baseline);
  if (losses.length < 2 || baseline.length < 2) return { difference, word: 'one seed' };
  if (Math.max(...losses) < Math.min(...baseline)) return { difference, word: 'lower' };
  if (Math.min(...losses) > Math.max(...baseline)) return { difference, word: 'higher' };
  return { difference, word: 'inside the spread' };
}
