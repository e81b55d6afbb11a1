/** The cost of a comparison, before it begins: runs, steps, tokens, FLOPs, and by the speed of a few steps the time. */
import type { Backend } from '../backend/backend.js';
import { benchmarkSteps } from '../bench/steps.js';
import type { Clock } from '../platform.js';
import type { RunConfig, TrainConfig } from '../train/config.js';
import { withAllLoops } from '../train/loops.js';
import { choicesOf, pilotSteps } from './entrants.js';
import { trainingFlopsPerToken } from './result.js';
import { candidates, requireSuite, type Suite, tokensPerStep } from './suites.js';

/** One model of a comparison. */
export interface PlannedModel {
  readonly name: string;
  readonly label: string;
  /** With the first fields of the grid and the first seed. */
  readonly config: RunConfig;
  /** Whole runs, one a seed. */
  readonly runs: number;
  /** Beginnings of runs that choose the fields of the grid; one of them continues. */
  readonly pilots: number;
  /** Of a whole run. */
  readonly steps: number;
  /** Steps of all runs and pilots. */
  readonly allSteps: number;
  /** Tokens and FLOPs of all runs and pilots, forward and backward. */
  readonly tokens: number;
  readonly flops: number;
}

/** Every model of a suite. Throws ConfigError. */
export function planComparison(
  suite: Suite,
  seeds: number,
  vocabSize: number,
  precision: TrainConfig['precision'],
): PlannedModel[] {
  requireSuite(suite);
  const tuned = candidates(suite).length > 0;
  return suite.models.map((model) => {
    const choices = choicesOf(suite, model, vocabSize, precision);
    const [{ config }] = choices;
    const steps = config.train.maxSteps;
    const [pilots, beginning] = [choices.length - 1, pilotSteps(config.train)];
    const allSteps = seeds * steps + pilots * beginning;
    const flopsOf = (updates: number) =>
      updates * tokensPerStep(config) * trainingFlopsPerToken(config, updates);
    return {
      name: model.name,
      label: model.label,
      config,
      runs: seeds,
      pilots: tuned ? choices.length : 0,
      steps,
      allSteps,
      tokens: allSteps * tokensPerStep(config),
      flops: seeds * flopsOf(steps) + pilots * flopsOf(beginning),
    };
  });
}

/** FLOPs of a sequence, from which on a few are timed instead of a whole batch. */
const TIMED_FLOPS = 2e11;
const TIMED_STEPS = 5;

/**
 * Seconds that a planned model takes on this machine, its evaluations included: from a few steps, of fewer sequences
 * where a batch is large.
 */
export async function plannedSeconds(planned: PlannedModel, backend: Backend, clock: Clock): Promise<number> {
  const { model, train } = planned.config;
  const { batchSize, gradAccumSteps, maxSteps, evalInterval, evalBatches } = train;
  const sequence = trainingFlopsPerToken(planned.config) * model.blockSize;
  const timed = Math.max(1, Math.min(batchSize, Math.floor(TIMED_FLOPS / sequence)));
  const entry = { name: planned.name, config: { model, train: { ...train, batchSize: timed } } };
  const [{ stepMs, evaluation }] = await benchmarkSteps([entry], TIMED_STEPS, backend, null, clock, () => {});
  const whole = batchSize / timed;
  // Steps are timed with all loops.
  const share =
    planned.flops / (planned.tokens * trainingFlopsPerToken({ model, train: withAllLoops(train) }));
  const evaluations = (Math.floor(maxSteps / evalInterval) + 1) * (planned.allSteps / maxSteps);
  const ms =
    planned.allSteps * gradAccumSteps * whole * stepMs.median * share +
    evaluations * 2 * evalBatches * whole * evaluation.ms;
  return ms / 1000;
}
