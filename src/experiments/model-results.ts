/** The finished runs of each model of a suite, as a report's tables and plots take them. */
import { withAllLoops } from '../train/loops.js';
import { seriesColor } from './plot.js';
import { type RunResult, trainingFlopsPerToken } from './result.js';
import { type Suite, tokensPerStep } from './suites.js';
import type { Timing } from './timing.js';

export interface ModelResults {
  readonly name: string;
  readonly label: string;
  readonly color: string;
  readonly runs: readonly RunResult[];
  readonly timing: Timing | null;
  readonly paper: { readonly trainLoss?: number; readonly valLoss: number } | undefined;
}

/** A suite, and the speed of its models. */
export interface Measurements {
  readonly suite: Suite;
  /** Steps timed side by side; empty if they were not. */
  readonly timings: readonly Timing[];
}

/** The models of a suite that have finished runs, in its order. */
export function modelsOf(results: readonly RunResult[], { suite, timings }: Measurements): ModelResults[] {
  return suite.models.flatMap(({ name, label, paper }, i) => {
    const runs = results.filter((result) => result.name === name);
    const timing = timings.find((t) => t.name === name) ?? null;
    return runs.length > 0 ? [{ name, label, color: seriesColor(i), runs, timing, paper }] : [];
  });
}

/**
 * Tokens a second of the first `updates` updates, by default all: from steps in turns, or from the trainings themselves
 * where those were not measured.
 */
export function tokensPerSecond(model: ModelResults, updates?: number): number {
  const [{ config, stepMs }] = model.runs;
  const measured = model.timing?.tokensPerSecond ?? (tokensPerStep(config) * 1000) / stepMs;
  return measured / shareOfStep(model, updates);
}

/** Milliseconds of a run's mean step, from steps in turns; null if those were not measured. */
export function turnMs(model: ModelResults): number | null {
  return model.timing && model.timing.stepMs.median * shareOfStep(model);
}

/**
 * The mean step of the first `updates` updates against the step that was measured, by their FLOPs: in turns one with
 * all loops, in a training the mean one.
 */
function shareOfStep({ timing, runs }: ModelResults, updates?: number): number {
  const [{ config }] = runs;
  const measured = timing ? { ...config, train: withAllLoops(config.train) } : config;
  return trainingFlopsPerToken(config, updates) / trainingFlopsPerToken(measured);
}
