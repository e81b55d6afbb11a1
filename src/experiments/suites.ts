/**
 * Suites: which models a comparison trains, on which text, for how long, and who is compared with whom; and the
 * configurations that it makes.
 */
import {
  overrideTrain,
  parseRunConfig,
  requireEffect,
  type RunConfig,
  type TrainConfig,
  trainFields,
} from '../train/config.js';
import { trainingFlopsPerToken } from './result.js';

/** Fields of a configuration. */
export type Fields = Readonly<Record<string, unknown>>;

export interface SuiteModel {
  /** Name of its folders. */
  readonly name: string;
  readonly label: string;
  /** Fields of its preset, which all others override. */
  readonly preset?: { readonly model: Fields; readonly train: Fields };
  readonly model: Fields;
  /** Its own training fields. */
  readonly train?: Fields;
  /** How long it trains, in place of the suite's budget. */
  readonly budget?: Budget;
  /** The losses that a paper reports, nats per token of its own text. */
  readonly paper?: { readonly trainLoss?: number; readonly valLoss: number };
}

/** Models that are set against a baseline. */
export interface SuiteGroup {
  readonly title: string;
  readonly baseline: string;
  readonly others: readonly string[];
}

/** The models that the law of what loops are worth is fitted to, for one way to loop. */
export interface LawRecipe {
  readonly name: string;
  readonly label: string;
  /** Those without loops, which recipes share, and its own. */
  readonly models: readonly string[];
}

/** Texts to prepare, and the tokenizer to prepare them with; or the path of data that is prepared. */
export type SuiteData = { readonly sources: readonly string[]; readonly tokenizer: string } | string;

/**
 * How long each model trains: steps of its own batches, or as many of them as come nearest to the tokens or the FLOPs.
 */
export type Budget = { readonly kind: (typeof BUDGETS)[number]; readonly amount: number };

export const BUDGETS = ['steps', 'tokens', 'flops'] as const;

/** Values of training fields to try. */
export type Grid = Readonly<Record<string, readonly unknown[]>>;

export interface Suite {
  readonly name: string;
  /** For messages: the suite, or its file. */
  readonly where: string;
  readonly scale: Scale;
  /** What the suite shows, in one line. */
  readonly title: string;
  readonly models: readonly SuiteModel[];
  readonly groups: readonly SuiteGroup[];
  /** The recipes whose loops are measured; none in most suites. */
  readonly law: readonly LawRecipe[];
  /** Null if the user must bring the data. */
  readonly data: SuiteData | null;
  /** Model and training fields that all models share. */
  readonly model: Fields;
  readonly train: Fields;
  /** Null if `maxSteps` of the training fields says it. */
  readonly budget: Budget | null;
  /** Of its combinations pilots pick one for each model; without fields there is nothing to pick. */
  readonly grid: Grid;
  /** Runs of each model, where the caller names no number. */
  readonly seeds: number;
  /** The prompt that every trained model continues. */
  readonly prompt: string;
}

export type Scale = 'mini' | 'full';
export const SCALES: readonly Scale[] = ['mini', 'full'];

const FIRST_SEED = 1337;

/** The seeds of `count` runs. */
export function seedsOf(count: number): number[] {
  return Array.from({ length: count }, (_, i) => FIRST_SEED + i);
}

/** The combinations of a grid's values, in its order; none where it has no fields. */
export function candidates({ grid }: Pick<Suite, 'grid'>): Fields[] {
  const entries = Object.entries(grid);
  if (entries.length === 0) return [];
  return entries.reduce<Fields[]>(
    (found, [name, values]) =>
      found.flatMap((fields) => values.map((value) => ({ ...fields, [name]: value }))),
    [{}],
  );
}

/** lr 0.003, weightDecay 0.1. */
export function describeFields(fields: Fields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

/** The configuration of a suite's model, with a combination of its grid. Throws ConfigError. */
export function runConfig(
  suite: Suite,
  model: SuiteModel,
  vocabSize: number,
  precision: TrainConfig['precision'],
  candidate: Fields = {},
): RunConfig {
  const where = `${suite.where}: ${model.name}`;
  const { preset } = model;
  const fields = { vocabSize, ...preset?.model, ...suite.model, ...model.model };
  // A learning rate of the grid decays to its tenth.
  const tenth = candidate.lr === undefined ? {} : { minLr: Number(candidate.lr) / 10 };
  const own = { ...suite.train, ...model.train, ...tenth, ...candidate, precision };
  const train = overrideTrain({ ...preset?.train }, own as Partial<TrainConfig>);
  const budget = model.budget ?? suite.budget;
  const whole = budget ? { ...train, maxSteps: Number.MAX_SAFE_INTEGER } : train;
  const config = parseRunConfig({ model: fields, train: whole }, where);
  requireEffect(model, [config], where);
  if (!budget) return config;
  return parseRunConfig({ model: fields, train: shortened(train, stepsOf(budget, config)) }, where);
}

/** Throws ConfigError for a wrong configuration of a model, and for a field of all models that none of them reads. */
export function requireSuite(suite: Suite): void {
  const grid = candidates(suite);
  for (const candidate of grid.length > 0 ? grid : [{}]) {
    const configs = suite.models.map((model) => runConfig(suite, model, 257, 'f32', candidate));
    requireEffect({ model: suite.model, train: { ...suite.train, ...candidate } }, configs, suite.where);
  }
}

/** Tokens of one update. */
export function tokensPerStep({ model, train }: RunConfig): number {
  return train.batchSize * train.gradAccumSteps * model.blockSize;
}

function stepsOf({ kind, amount }: Budget, config: RunConfig): number {
  if (kind === 'steps') return amount;
  const tokens = kind === 'tokens' ? amount : amount / trainingFlopsPerToken(config);
  return Math.max(1, Math.round(tokens / tokensPerStep(config)));
}

/** Training fields for so many steps, evaluated ten times at least. */
function shortened(train: Partial<TrainConfig>, maxSteps: number): Partial<TrainConfig> {
  const { evalInterval = trainFields.evalInterval.default } = train;
  const tenth = Math.max(1, Math.ceil(maxSteps / 10));
  return { ...overrideTrain(train, { maxSteps }), evalInterval: Math.min(evalInterval, tenth) };
}
