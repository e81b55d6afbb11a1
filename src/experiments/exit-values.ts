/**
 * A criterion's value at each exit, from what the head reads there, and the thresholds that such values suggest. Runs
 * no model.
 */
import type { ExitCriterion } from '../models/exits/options.js';
import type { ExitReading } from '../models/losses.js';

/** A criterion's value for each token (R) at exits 1, 2, … but the last; null if it is not decided on. */
export interface CriterionValues {
  readonly values: readonly (Float64Array | null)[];
  /** Whether a token leaves above the threshold, not below. */
  readonly above: boolean;
  /** Loops of a token that leaves at no exit. */
  readonly loops: number;
}

/** How a criterion's value is distributed among the tokens at one exit. */
export interface Quantiles {
  /** Counted from 1. */
  readonly exit: number;
  /** The values that 10, 50 and 90 % of tokens lie below. */
  readonly at: readonly [low: number, middle: number, high: number];
}

/** Thresholds of a learned rule's probability. */
const PROBABILITIES = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/** The criteria's values from what the head reads at every exit. */
export function exitValues(exits: readonly ExitReading[]): Map<ExitCriterion, CriterionValues> {
  const R = exits[0].losses.length;
  const early = exits.slice(0, -1);
  const rows = (value: (r: number) => number) => Float64Array.from({ length: R }, (_, r) => value(r));
  const logs = early.map(({ logits }) => logits && logProbabilities(logits, R));
  const V = (logs[0]?.length ?? 0) / R;
  const all = (values: (Float64Array | null)[], above = false) => ({ values, above, loops: exits.length });
  const found = new Map<ExitCriterion, CriterionValues>([
    ['change', all(early.map(({ change }) => change && Float64Array.from(change)))],
    [
      'second-difference',
      all(early.map(({ secondDifference: turned }) => turned && Float64Array.from(turned))),
    ],
  ]);
  if (!logs.every((log) => log !== null)) return found;
  const read = logs as Float64Array[];
  found.set(
    'kl',
    all(read.map((p, n) => (n === 0 ? null : rows((r) => divergenceOf(p, read[n - 1], r, V))))),
  );
  found.set('entropy', all(read.map((p) => rows((r) => divergenceOf(p, null, r, V)))));
  found.set(
    'confidence',
    all(
      early.map(({ maxProb }) => Float64Array.from(maxProb)),
      true,
    ),
  );
  return found;
}

/** KL(p ‖ q) of row r from log-probabilities; the entropy of p without q. */
function divergenceOf(p: Float64Array, q: Float64Array | null, r: number, V: number): number {
  let sum = 0;
  for (let i = r * V; i < (r + 1) * V; i++) sum += Math.exp(p[i]) * (q ? p[i] - q[i] : -p[i]);
  return Math.max(0, sum);
}

function logProbabilities(logits: Float32Array, R: number): Float64Array {
  const V = logits.length / R;
  const out = new Float64Array(logits.length);
  for (let r = 0; r < R; r++) {
    let max = Number.NEGATIVE_INFINITY;
    for (let i = r * V; i < (r + 1) * V; i++) max = Math.max(max, logits[i]);
    let sum = 0;
    for (let i = r * V; i < (r + 1) * V; i++) sum += Math.exp(logits[i] - max);
    const logSum = max + Math.log(sum);
    for (let i = r * V; i < (r + 1) * V; i++) out[i] = logits[i] - logSum;
  }
  return out;
}

/** Mean loops of the tokens whose values these are, at a threshold. */
export function meanLoops({ values, above, loops }: CriterionValues, threshold: number): number {
  const R = values.find((row) => row !== null)?.length ?? 0;
  let sum = 0;
  for (let r = 0; r < R; r++) {
    const exit = values.findIndex((row) => row && (above ? row[r] > threshold : row[r] < threshold));
    sum += exit < 0 ? loops : exit + 1;
  }
  return sum / R;
}

/**
 * Thresholds that spread the mean loops evenly between the fewest and full depth, in few digits; none where no value is
 * above 0.
 */
export function spreadThresholds(values: CriterionValues, count: number): number[] {
  const sorted = Float64Array.from(values.values.flatMap((row) => (row ? Array.from(row) : [])))
    .filter((value) => Number.isFinite(value) && value > 0)
    .sort();
  if (sorted.length === 0) return [];
  if (values.above) sorted.reverse();
  // From here on, later in the list is a more eager threshold: fewer loops.
  const fewest = meanLoops(values, values.above ? 0 : Number.MAX_VALUE);
  const thresholds = Array.from({ length: count }, (_, i) => {
    const goal = values.loops - ((i + 1) * (values.loops - fewest)) / (count + 1);
    let [low, high] = [0, sorted.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (meanLoops(values, sorted[middle]) <= goal) high = middle;
      else low = middle + 1;
    }
    return inFewDigits(sorted[low], values.above);
  });
  return [...new Set(thresholds)].filter((threshold) => threshold > 0 && (!values.above || threshold < 1));
}

/** Three digits; for a probability, of what it leaves to 1. */
function inFewDigits(value: number, probability: boolean): number {
  if (probability && value > 0.5) return Number((1 - Number((1 - value).toPrecision(2))).toPrecision(12));
  return Number(value.toPrecision(probability ? 2 : 3));
}

/** Thresholds of a rule whose values the readings do not tell; null is the rule's own. */
export function ownThresholds(criterion: ExitCriterion): readonly (number | null)[] {
  return criterion === 'geometric' ? PROBABILITIES : [null];
}

export function quantilesOf(values: Float64Array): Quantiles['at'] {
  const sorted = values.slice().sort();
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.1), at(0.5), at(0.9)];
}
