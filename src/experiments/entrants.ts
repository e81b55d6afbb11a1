/** The runs of a comparison: their folders' names, their configurations, and how far each is trained. */
import { readTrainFields, type RunConfig, type TrainConfig } from '../train/config.js';
import { trainingFlopsPerToken } from './result.js';
import {
  candidates,
  describeFields,
  type Fields,
  runConfig,
  seedsOf,
  type Suite,
  type SuiteModel,
  tokensPerStep,
} from './suites.js';

/**
 * A pilot is this share of a run, with the run's own schedule. A shorter schedule would decay sooner, and so choose
 * rates that are too high for the whole run (docs/log.md).
 */
export const PILOT_SHARE = 0.25;

/** One run of a comparison: a pilot, or a model with a seed. */
export interface Entrant {
  /** Name of its folder. */
  readonly name: string;
  readonly label: string;
  readonly config: RunConfig;
  /** The last step that is trained: for a pilot, one before the run's end. */
  readonly until: number;
}

/** A combination of the grid, and a model's configuration with it. */
export interface Choice {
  readonly fields: Fields;
  readonly config: RunConfig;
}

/**
 * What a model's pilots choose from: the combinations of the grid, but for those that train it as an earlier one does,
 * in fields that it does not read. Without a grid there is one, of no fields. Throws ConfigError.
 */
export function choicesOf(
  suite: Suite,
  model: SuiteModel,
  vocabSize: number,
  precision: TrainConfig['precision'],
): Choice[] {
  const grid = candidates(suite);
  const choices = (grid.length > 0 ? grid : [{}]).map((fields) => {
    return { fields, config: runConfig(suite, model, vocabSize, precision, fields) };
  });
  const trainings = choices.map(({ config }) => JSON.stringify(readTrainFields(config)));
  return choices.filter((_, i) => trainings.indexOf(trainings[i]) === i);
}

/** The folder of a model's run, which tells the fields of the grid where those are chosen. */
export function runName(model: string, fields: Fields, seed: number): string {
  const chosen = Object.entries(fields).map(([name, value]) => `-${name}${value}`);
  return `${model}${chosen.join('')}-seed${seed}`;
}

/** The fields of the grid that a run of its suite was trained with. */
export function chosenFields({ grid }: Suite, { train }: RunConfig): Fields {
  return Object.fromEntries(Object.keys(grid).map((name) => [name, train[name as keyof typeof train]]));
}

/** A model's run with a seed, by default the first. */
export function runOf(model: SuiteModel, { fields, config }: Choice, seed = seedsOf(1)[0]): Entrant {
  const train = { ...config.train, seed };
  return {
    name: runName(model.name, fields, seed),
    label: `${model.label}, seed ${seed}`,
    config: { ...config, train },
    until: train.maxSteps,
  };
}

/** Steps of a pilot: its share of a run, up to an evaluation. */
export function pilotSteps({ maxSteps, evalInterval }: RunConfig['train']): number {
  return Math.min(maxSteps, Math.ceil((maxSteps * PILOT_SHARE) / evalInterval) * evalInterval);
}

/** The beginning of a run, up to an evaluation. */
export function pilotOf(run: Entrant, { fields }: Choice): Entrant {
  const until = pilotSteps(run.config.train);
  return { ...run, label: `${run.label}, pilot with ${describeFields(fields)}`, until };
}

export function isPilot({ until, config }: Entrant): boolean {
  return until < config.train.maxSteps;
}

/** FLOPs of its training from the first step on. */
export function trainingFlops({ config, until }: Entrant): number {
  return until * tokensPerStep(config) * trainingFlopsPerToken(config, until);
}
