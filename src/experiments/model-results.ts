/** The finished runs of each model of a suite, as a report's tables and plots take them. */
import { seriesColor } from './plot.js';
import type { RunResult } from './result.js';
import type { Suite } from './suites.js';
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
  /** Steps measured side by side; empty where they were not. */
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

/** Tokens a second, from steps in turns; from the trainings themselves where those were not measured. */
export function tokensPerSecond({ timing, runs }: ModelResults): number {
  if (timing) return timing.tokensPerSecond;
  const [{ config, stepMs }] = runs;
  const { batchSize, gradAccumSteps } = config.train;
  return (batchSize * gradAccumSteps * config.model.blockSize * 1000) / stepMs;
}
