/**
 * What early exits cost and save: for each criterion, the loss against the mean loops and against the time, measured by
 * running the model at a sweep of thresholds. The sweep comes from one pass at full depth, whose readings tell how the
 * criterion's value is distributed at each exit. Knows no terminal and no page.
 */
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import type { ExitReading } from '../models/losses.js';
import {
  CRITERIA,
  type ExitCriterion,
  exitCriteria,
  type ExitOptions,
  requireCriterion,
  requireExit,
  whyNoExit,
} from '../models/exits/options.js';
import type { ScorePass } from '../models/exits/pass.js';
import { type Batch, batchAt, requireTokens, type TokenSource } from '../evaluate/batches.js';
import type { Clock } from '../platform.js';
import { scoreBatch, Tally } from '../evaluate/evaluation.js';
import { median } from '../statistics.js';

/** One way to run the model, measured. */
export interface ExitPoint {
  /** Null where every token takes the same loops. */
  readonly criterion: ExitCriterion | null;
  /** Null where the criterion has none. */
  readonly threshold: number | null;
  /** Mean loops, steps or layers of a token. */
  readonly loops: number;
  /** Nats per token. */
  readonly loss: number;
  /** Time over that of full depth, the median of pairs in turns. */
  readonly time: number;
}

/** How a criterion's value is distributed among the tokens at one exit. */
export interface Quantiles {
  /** Counted from 1. */
  readonly exit: number;
  /** The values that 10, 50 and 90 % of tokens lie below. */
  readonly at: readonly [low: number, middle: number, high: number];
}

export interface CriterionSweep {
  readonly criterion: ExitCriterion;
  /** Empty where the readings do not tell: a learned rule's own values. */
  readonly quantiles: readonly Quantiles[];
  /** By falling mean loops. */
  readonly points: readonly ExitPoint[];
  /** The fewest mean loops within the tolerance of full depth; null where no threshold of the sweep is. */
  readonly best: ExitPoint | null;
}

/** A criterion that the sweep leaves out. */
export interface Unmeasured {
  readonly criterion: ExitCriterion;
  readonly reason: string;
}

export interface ExitSweep {
  /** Predicted tokens of each measurement, in so many batches. */
  readonly tokens: number;
  readonly batches: number;
  /** Nats that a threshold may cost to be named the best. */
  readonly tolerance: number;
  /** Milliseconds a token at full depth, in whole sequences. */
  readonly fullMs: number;
  /** All tokens with 1, 2, … loops; the last is full depth. */
  readonly fixed: readonly ExitPoint[];
  readonly criteria: readonly CriterionSweep[];
  /** Those that were asked for, by name or as all, and say nothing here. */
  readonly unmeasured: readonly Unmeasured[];
}

export interface ExitSweepOptions {
  /** All that the model has by default. */
  readonly criteria?: readonly ExitCriterion[];
  /** For a single criterion, in place of a sweep. */
  readonly thresholds?: readonly number[];
  /** Thresholds of a sweep. */
  readonly points: number;
  /** Full depth; the trained count by default. */
  readonly loops?: number;
  /** Sequences in a forward pass. */
  readonly B: number;
  /** Tokens of the source to measure on. */
  readonly maxTokens: number;
  readonly tolerance: number;
  readonly onProgress?: (fraction: number, what: string) => void;
}

/** Thresholds of a rule whose values the readings do not tell. */
const PROBABILITIES = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/** Tokens that a sweep's thresholds are chosen by. */
const CALIBRATION = 1024;

/** Measures the criteria of a model on held-out tokens. Throws ConfigError for criteria or thresholds that it does not have. */
export async function sweepExits(
  model: GPT,
  source: TokenSource,
  options: ExitSweepOptions,
  clock: Clock,
): Promise<ExitSweep> {
  const { points, tolerance, onProgress } = options;
  const loops = options.loops ?? exitCount(model.config);
  const criteria = chosenCriteria(model, options, loops);
  const unmeasured = options.criteria ? [] : criteriaLeftOut(model, loops);
  const batches = await heldOut(model, source, options);
  onProgress?.(0, 'reading every exit');
  const values = await readValues(model, batches[0], loops);
  const full: ScorePass = { loops, earlyExit: false };
  const runs: Run[] = Array.from({ length: loops }, (_, n) => ({ options: { ...full, loops: n + 1 } }));
  for (const criterion of criteria) {
    const measured = values.get(criterion);
    const thresholds =
      options.thresholds ?? (measured ? spreadThresholds(measured, points) : ownThresholds(criterion));
    if (thresholds.length === 0) {
      unmeasured.push({
        criterion,
        reason: 'its values leave no threshold to choose',
      });
    }
    for (const threshold of thresholds) {
      const exit: ExitOptions = { criterion, ...(threshold === null ? {} : { threshold }) };
      requireExit(model.config, exit, loops);
      runs.push({ exit, options: { loops, exit } });
    }
  }
  const { found, fullMs } = await measure(model, batches, runs, full, clock, (fraction, { exit }) =>
    onProgress?.(fraction, exit ? `${exit.criterion} ${exit.threshold ?? ''}` : 'fixed loops'),
  );
  const fixed = found.filter(({ criterion }) => criterion === null);
  const { loss } = fixed[loops - 1];
  return {
    tokens: batches.reduce((sum, { tokens }) => sum + tokens.length, 0),
    batches: batches.length,
    tolerance,
    fullMs,
    fixed,
    criteria: criteria.flatMap((criterion) => {
      const own = found.filter((point) => point.criterion === criterion).sort((a, b) => b.loops - a.loops);
      if (own.length === 0) return [];
      const quantiles = (values.get(criterion)?.values ?? []).flatMap((row, n) =>
        row ? [{ exit: n + 1, at: quantilesOf(row) }] : [],
      );
      return [{ criterion, quantiles, points: own, best: cheapest(own, loss + tolerance) }];
    }),
    unmeasured,
  };
}

/** The point with the fewest loops whose loss is at most so much; null for none. */
export function cheapest(points: readonly ExitPoint[], loss: number): ExitPoint | null {
  const good = points.filter((point) => point.loss <= loss).sort((a, b) => a.loops - b.loops);
  return good[0] ?? null;
}

function chosenCriteria(
  { config }: GPT,
  { criteria, thresholds }: ExitSweepOptions,
  loops: number,
): readonly ExitCriterion[] {
  const possible = exitCriteria(config, loops);
  if (possible.length === 0) {
    const reason = whyNoExit(config, 'change', loops)!;
    throw new ConfigError('model', 'must have exits that a token can take early', undefined, reason);
  }
  const chosen = criteria ?? possible;
  for (const criterion of chosen) requireCriterion('criterion', config, criterion, loops);
  if (thresholds && chosen.length !== 1) {
    throw new ConfigError('thresholds', 'must be given for a single criterion', chosen.length);
  }
  return chosen;
}

/** Criteria that need no training, and that the model can nevertheless not leave by. */
function criteriaLeftOut({ config }: GPT, loops: number): Unmeasured[] {
  return CRITERIA.flatMap((criterion) => {
    const reason = whyNoExit(config, criterion, loops);
    return reason ? [{ criterion, reason }] : [];
  });
}

/** The first tokens of a source, in batches of equal shape. */
async function heldOut(
  { config }: GPT,
  source: TokenSource,
  { B: most, maxTokens }: ExitSweepOptions,
): Promise<Batch[]> {
  requireTokens(source, 2);
  const predicted = Math.min(maxTokens, source.length - 1);
  const T = Math.min(config.blockSize, predicted);
  const sequences = Math.floor(predicted / T);
  const B = Math.min(most, sequences);
  return Promise.all(
    Array.from({ length: Math.floor(sequences / B) }, (_, i) => {
      const offsets = Array.from({ length: B }, (_, b) => (i * B + b) * T);
      return batchAt(source, offsets, T, config.vocabSize);
    }),
  );
}

// ---- where thresholds lie ------------------------------------------------------------------------------------------

/** A criterion's value for each token (R) at exits 1, 2, … but the last; null where it is not decided on. */
export interface CriterionValues {
  readonly values: readonly (Float64Array | null)[];
  /** Whether a token leaves above the threshold, not below. */
  readonly above: boolean;
  /** Loops of a token that leaves at no exit. */
  readonly loops: number;
}

/** The criteria's values at every exit of full depth, of some tokens of a batch. */
async function readValues(
  model: GPT,
  batch: Batch,
  loops: number,
): Promise<Map<ExitCriterion, CriterionValues>> {
  const { T } = batch;
  const B = Math.max(1, Math.min(batch.B, Math.floor(CALIBRATION / T)));
  const [tokens, targets] = [batch.tokens.subarray(0, B * T), batch.targets.subarray(0, B * T)];
  const { nCoda } = model.config;
  const { entry, exits } = await model.readings(tokens, targets, B, { loops }, nCoda === 0);
  return exitValues(entry!, exits, model.config.nEmbd);
}

/** The criteria's values from what the head reads at every exit; `entry` is the state before the first (R, C). */
export function exitValues(
  entry: Float32Array,
  exits: readonly ExitReading[],
  C: number,
): Map<ExitCriterion, CriterionValues> {
  const R = entry.length / C;
  const early = exits.slice(0, -1);
  const states = [entry, ...early.map(({ state }) => state)];
  const rows = (value: (r: number) => number) => Float64Array.from({ length: R }, (_, r) => value(r));
  const logs = early.map(({ logits }) => logits && logProbabilities(logits, R));
  const V = (logs[0]?.length ?? 0) / R;
  const all = (values: (Float64Array | null)[], above = false) => ({ values, above, loops: exits.length });
  const found = new Map<ExitCriterion, CriterionValues>([
    ['change', all(early.map((_, n) => rows((r) => movement([states[n + 1], states[n]], r, C))))],
    [
      'second-difference',
      all(
        early.map((_, n) =>
          n === 0 ? null : rows((r) => movement([states[n + 1], states[n], states[n - 1]], r, C)),
        ),
      ),
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

/** ‖x − a‖ / ‖a‖, or ‖(x − a) − (a − b)‖ / ‖a‖, of row r. */
function movement([x, a, b]: readonly Float32Array[], r: number, C: number): number {
  let [moved, size] = [0, 0];
  for (let i = r * C; i < (r + 1) * C; i++) {
    moved += (x[i] - a[i] - (b ? a[i] - b[i] : 0)) ** 2;
    size += a[i] ** 2;
  }
  return Math.sqrt(moved / size);
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

/** Thresholds that spread the mean loops evenly between the fewest and full depth, in few digits; none where no value is above 0. */
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

function ownThresholds(criterion: ExitCriterion): readonly (number | null)[] {
  return criterion === 'geometric' ? PROBABILITIES : [null];
}

function quantilesOf(values: Float64Array): Quantiles['at'] {
  const sorted = values.slice().sort();
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.1), at(0.5), at(0.9)];
}

// ---- measuring -----------------------------------------------------------------------------------------------------

interface Run {
  readonly exit?: ExitOptions;
  readonly options: ScorePass;
}

/** Runs everything on every batch, each next to a run at full depth, first and second in turns. */
async function measure(
  model: GPT,
  batches: readonly Batch[],
  runs: readonly Run[],
  full: ScorePass,
  clock: Clock,
  onRun: (fraction: number, run: Run) => void,
): Promise<{ found: ExitPoint[]; fullMs: number }> {
  const timed = async (batch: Batch, options: ScorePass) => {
    const start = clock.now();
    const scores = await scoreBatch(model, batch, options);
    return { scores, ms: clock.now() - start };
  };
  const tallies = runs.map(() => new Tally());
  const ratios = runs.map((): number[] => []);
  const fullTimes: number[] = [];
  const rows = batches[0].tokens.length;
  await timed(batches[0], full); // packs the weights
  for (const [i, batch] of batches.entries()) {
    for (const [k, run] of runs.entries()) {
      onRun((i * runs.length + k) / (batches.length * runs.length), run);
      const first = (i + k) % 2 === 0 ? await timed(batch, full) : null;
      const { scores, ms } = await timed(batch, run.options);
      const whole = first ?? (await timed(batch, full));
      tallies[k].add(batch.targets, scores);
      ratios[k].push(ms / whole.ms);
      fullTimes.push(whole.ms / rows);
      await clock.yield();
    }
  }
  const found = runs.map(({ exit, options }, k): ExitPoint => {
    const { nats, tokens } = tallies[k];
    return {
      criterion: exit?.criterion ?? null,
      threshold: exit?.threshold ?? null,
      loops: tallies[k].steps().meanSteps ?? options.loops!,
      loss: nats / tokens,
      time: median(ratios[k]),
    };
  });
  return { found, fullMs: median(fullTimes) };
}
