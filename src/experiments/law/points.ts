/** What the law takes of a suite's models: of the planned ones, and of those that have finished runs. */
import { blockParameters } from '../../models/cost.js';
import type { TrainConfig, RunConfig } from '../../train/config.js';
import type { RunResult } from '../result.js';
import { type LawRecipe, runConfig, type Suite, tokensPerStep } from '../suites.js';
import type { LawModel } from './fit.js';
import type { LawPoint } from './law.js';

/** The models of a recipe's law as they will be trained. Throws ConfigError. */
export function plannedPoints(
  suite: Suite,
  { models }: LawRecipe,
  vocabSize: number,
  precision: TrainConfig['precision'],
): LawPoint[] {
  return suite.models
    .filter(({ name }) => models.includes(name))
    .map((model) => pointOf(runConfig(suite, model, vocabSize, precision)));
}

/** The models of a recipe's law that have finished runs. */
export function finishedModels(
  { models }: LawRecipe,
  results: readonly RunResult[],
): (LawModel & { name: string; label: string })[] {
  return models.flatMap((name) => {
    const runs = results.filter((result) => result.name === name);
    if (runs.length === 0) return [];
    const [{ label, config }] = runs;
    return [{ name, label, ...pointOf(config), losses: runs.map(({ valLoss }) => valLoss) }];
  });
}

function pointOf(config: RunConfig): LawPoint {
  const { model, train } = config;
  return { ...blockParameters(model), loops: model.nLoop, tokens: train.maxSteps * tokensPerStep(config) };
}
