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

/** Milliseconds of a training step and of a forward pass alone, of `sequences` sequences. */
export interface TimedStep {
  readonly sequences: number;
  readonly stepMs: number;
  readonly evaluationMs: number;
}

/** Times a few steps of a planned model on this machine, of fewer sequences where a batch is large. */
export async function timeSteps(planned: PlannedModel, backend: Backend, clock: Clock): Promise<TimedStep> {
  const { model, train } = planned.config;
  const sequence = trainingFlopsPerToken(planned.config) * model.blockSize;
  const sequences = Math.max(1, Math.min(train.batchSize, Math.floor(TIMED_FLOPS / sequence)));
  const entry = { name: planned.name, config: { model, train: { ...train, batchSize: sequences } } };
  const [{ stepMs, evaluation }] = await benchmarkSteps([entry], TIMED_STEPS, backend, null, clock, () => {});
  return { sequences, stepMs: stepMs.median, evaluationMs: evaluation.ms };
}

/**
 * Seconds of all runs and pilots of a planned model: training, evaluations, and each run's score on all held-out text.
 */
export function plannedSeconds(
  planned: PlannedModel,
  { sequences, stepMs, evaluationMs }: TimedStep,
  heldOutTokens: number,
): number {
  const { model, train } = planned.config;
  const { batchSize, gradAccumSteps, maxSteps, evalInterval, evalBatches } = train;
  const whole = batchSize / sequences;
  // Steps are timed with all loops.
  const share =
    planned.flops / (planned.tokens * trainingFlopsPerToken({ model, train: withAllLoops(train) }));
  const training = planned.allSteps * gradAccumSteps * whole * stepMs * share;
  const evaluations = (Math.floor(maxSteps / evalInterval) + 1) * (planned.allSteps / maxSteps);
  const evaluating = evaluations * 2 * evalBatches * whole * evaluationMs;
  const scoring = planned.runs * (heldOutTokens / (sequences * model.blockSize)) * evaluationMs;
  return (training + evaluating + scoring) / 1000;
}
