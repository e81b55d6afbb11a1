/** The law of each recipe of a suite: what it takes of planned models, and what it makes of finished runs. */
import { blockParameters } from '../../models/cost.js';
import type { RunConfig, TrainConfig } from '../../train/config.js';
import type { RunResult } from '../result.js';
import { type LawRecipe, runConfig, type Suite, tokensPerStep } from '../suites.js';
import { type FittedModel, fitLaw, type LawFit, type LawModel, unfit } from './fit.js';
import type { LawPoint } from './law.js';

/** What the finished runs say of a recipe's loops. */
export interface MeasuredLaw {
  readonly name: string;
  readonly label: string;
  /** Why φ is not determined; null where it is. */
  readonly undetermined: string | null;
  /** Without what it makes of the models, which is beside them; null where too few are finished. */
  readonly fit: Omit<LawFit, 'models' | 'undetermined'> | null;
  readonly models: readonly (MeasuredModel & Partial<FittedModel>)[];
}

export interface MeasuredModel extends LawModel {
  readonly name: string;
  readonly label: string;
}

/** The laws of all recipes whose loops have finished runs. */
export function measureLaws(suite: Suite, results: readonly RunResult[]): MeasuredLaw[] {
  return suite.law.flatMap((recipe): MeasuredLaw[] => {
    const { name, label } = recipe;
    const models = finishedModels(suite, recipe, results);
    if (models.every(({ loops }) => loops === 1)) return [];
    const why = unfit(models);
    if (why !== null) return [{ name, label, undetermined: why, fit: null, models }];
    const { models: fitted, undetermined, ...fit } = fitLaw(models);
    return [
      { name, label, undetermined, fit, models: models.map((model, i) => ({ ...model, ...fitted[i] })) },
    ];
  });
}

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

function finishedModels(suite: Suite, recipe: LawRecipe, results: readonly RunResult[]): MeasuredModel[] {
  return suite.models.flatMap(({ name, label }) => {
    const runs = recipe.models.includes(name) ? results.filter((result) => result.name === name) : [];
    if (runs.length === 0) return [];
    const losses = runs.map(({ valLoss }) => valLoss);
    return [{ name, label, ...pointOf(runs[0].config), losses }];
  });
}

function pointOf(config: RunConfig): LawPoint {
  const { model, train } = config;
  return { ...blockParameters(model), loops: model.nLoop, tokens: train.maxSteps * tokensPerStep(config) };
}
