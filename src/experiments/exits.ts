/**
 * What early exits cost and save: for each criterion, the loss against the mean loops and against the time, measured by
 * running the model at a sweep of thresholds. The sweep comes from one pass at full depth, whose readings tell how the
 * criterion's value is distributed at each exit.
 */
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
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
import {
  type CriterionValues,
  exitValues,
  ownThresholds,
  type Quantiles,
  quantilesOf,
  spreadThresholds,
} from './exit-values.js';

/** One way to run the model, measured. */
export interface ExitPoint {
  /** Null if every token takes the same loops. */
  readonly criterion: ExitCriterion | null;
  /** Null if the criterion has none. */
  readonly threshold: number | null;
  /** Mean loops, steps or layers of a token. */
  readonly loops: number;
  /** Nats per token. */
  readonly loss: number;
  /** Time over that of full depth, the median of pairs in turns. */
  readonly time: number;
}

export interface CriterionSweep {
  readonly criterion: ExitCriterion;
  /** Empty where the readings do not tell: a learned rule's own values. */
  readonly quantiles: readonly Quantiles[];
  /** By falling mean loops. */
  readonly points: readonly ExitPoint[];
  /** The fewest mean loops within the tolerance of full depth; null if no threshold of the sweep is. */
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
  /** Requested criteria, by name or as all, that have no effect here. */
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

/** Tokens that a sweep's thresholds are chosen by. */
const CALIBRATION = 1024;

/**
 * Measures the criteria of a model on held-out tokens. Throws ConfigError for criteria or thresholds that it does not
 * have.
 */
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
  const { exits } = await model.readings(tokens, targets, B, { loops }, nCoda === 0);
  return exitValues(exits);
}

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
