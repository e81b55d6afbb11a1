/**
 * Suites: which models a comparison trains, on which text, for how long, and who is compared with whom. A suite is a file, as a
 * preset is; this reads its content and knows neither where it lies nor how to train.
 */
import { ConfigError } from '../errors.js';
import { type Fields as FieldTable, parseFields, unknownName } from '../fields.js';
import { modelFields } from '../models/config.js';
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
  /** Training fields of its own. */
  readonly train?: Fields;
  /** The losses that a paper reports, nats per token of its own text. */
  readonly paper?: { readonly trainLoss?: number; readonly valLoss: number };
}

/** Models that are set against a baseline. */
export interface SuiteGroup {
  readonly title: string;
  readonly baseline: string;
  readonly others: readonly string[];
}

/** Texts to prepare, and the tokenizer to prepare them with; or the path of data that is prepared. */
export type SuiteData = { readonly sources: readonly string[]; readonly tokenizer: string } | string;

/** How long each model trains: steps of its own batches, or as many of them as come nearest to the tokens or the FLOPs. */
export type Budget = { readonly kind: (typeof BUDGETS)[number]; readonly amount: number };

const BUDGETS = ['steps', 'tokens', 'flops'] as const;

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
  /** Null where the user must bring the data. */
  readonly data: SuiteData | null;
  /** Model and training fields that all models share. */
  readonly model: Fields;
  readonly train: Fields;
  /** Null where `maxSteps` of the training fields says it. */
  readonly budget: Budget | null;
  /** Of its combinations pilots pick one for each model; without fields there is nothing to pick. */
  readonly grid: Grid;
  /** Runs of each model, where the caller names no number. */
  readonly seeds: number;
  /** What every trained model continues. */
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
  const whole = suite.budget ? { ...train, maxSteps: Number.MAX_SAFE_INTEGER } : train;
  const config = parseRunConfig({ model: fields, train: whole }, where);
  requireEffect(model, [config], where);
  if (!suite.budget) return config;
  return parseRunConfig({ model: fields, train: shortened(train, stepsOf(suite.budget, config)) }, where);
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

/** The content of a suite's file, before it is checked, and what it is called. */
export interface SuiteFile {
  readonly name: string;
  /** For messages. */
  readonly where: string;
  readonly content: unknown;
  /** Reads a preset that the field `where` names. Throws ConfigError. */
  preset(name: string, where: string): unknown;
}

/** Fields of a file that differ at the scale `full`. */
const SCALED = ['data', 'model', 'train', 'budget', 'grid'];
const SECTIONS = ['description', ...SCALED, 'seeds', 'prompt', 'models', 'groups', 'full'];

/**
 * Reads a suite's file.
 *
 * @throws ConfigError naming the file, the field, what it must be, what it is, and the nearest name that is known
 *
 * @example
 * parseSuite({
 *   name: 'wider', where: 'wider.json', preset: () => ({}),
 *   content: {
 *     data: { sources: ['sotu'], tokenizer: 'bytes' },
 *     budget: { tokens: 1e6 },
 *     grid: { lr: [1e-3, 3e-3] },
 *     models: [
 *       { name: 'narrow', preset: 'mini-1x2' },
 *       { name: 'wide', preset: 'mini-1x2', model: { nEmbd: 256 } },
 *     ],
 *   },
 * }, 'mini')
 */
export function parseSuite({ name, where, content, preset }: SuiteFile, scale: Scale): Suite {
  const file = section(content, where, SECTIONS);
  const full = file.full === undefined ? null : section(file.full, `${where}: full`, SCALED);
  if (scale === 'full' && !full) {
    const hint = `add a section full to ${where}`;
    throw new ConfigError('--scale', `must be mini for suite ${name}, which has no other`, scale, hint);
  }
  // The other scale is checked too: its mistakes would show only on a cluster.
  const scaled = (full ? [file, full] : [file]).map((own, i) =>
    parseScale(own, i === 0 ? where : `${where}: full`),
  );
  const { train, budget, ...rest } = scaled[scale === 'full' ? 1 : 0];
  const models = list(file.models, `${where}: models`).map((entry, i) =>
    parseModel(entry, `${where}: models[${i}]`, preset),
  );
  const names = models.map((model) => model.name);
  const twice = names.find((own, i) => names.indexOf(own) !== i);
  if (twice !== undefined) throw new ConfigError(`${where}: models`, 'must have names of their own', twice);
  const limited = models.find((model) => budget && model.train?.maxSteps !== undefined);
  if (limited) {
    const rule = 'must not be given beside the budget of the suite';
    throw new ConfigError(`${where}: ${limited.name}: train.maxSteps`, rule, limited.train!.maxSteps);
  }
  const title = file.description === undefined ? name : text(file.description, `${where}: description`);
  const groups =
    file.groups === undefined
      ? [{ title, baseline: names[0], others: names.slice(1) }]
      : list(file.groups, `${where}: groups`).map((group, i) =>
          parseGroup(group, `${where}: groups[${i}]`, names),
        );
  const seeds = file.seeds === undefined ? 1 : positive(file.seeds, `${where}: seeds`, true);
  const prompt = file.prompt === undefined ? '' : text(file.prompt, `${where}: prompt`, true);
  return { name, where, scale, title, models, groups, ...rest, train, budget, seeds, prompt };
}

function parseScale(
  file: Fields,
  where: string,
): Pick<Suite, 'data' | 'model' | 'train' | 'budget' | 'grid'> {
  const model = fieldsOf(file.model, modelFields, `${where}: model`);
  const train = fieldsOf(file.train, trainFields, `${where}: train`);
  const budget = file.budget === undefined ? null : parseBudget(file.budget, `${where}: budget`);
  if (budget && train.maxSteps !== undefined) {
    throw new ConfigError(`${where}: train.maxSteps`, 'must not be given beside a budget', train.maxSteps);
  }
  return {
    data: file.data === undefined ? null : parseData(file.data, `${where}: data`),
    model,
    train,
    budget,
    grid: parseGrid(file.grid, `${where}: grid`),
  };
}

function parseModel(entry: unknown, where: string, preset: SuiteFile['preset']): SuiteModel {
  const model = section(entry, where, ['name', 'label', 'preset', 'model', 'train', 'paper']);
  const name = text(model.name, `${where}.name`);
  if (!/^\w[\w.-]*$/.test(name)) {
    throw new ConfigError(`${where}.name`, 'must be letters, digits, dots, dashes and underscores', name);
  }
  const named = model.preset === undefined ? null : text(model.preset, `${where}.preset`);
  const base =
    named === null
      ? null
      : section(preset(named, `${where}.preset`), named, ['description', 'model', 'train']);
  return {
    name,
    label: model.label === undefined ? name : text(model.label, `${where}.label`),
    ...(base
      ? { preset: { model: { ...(base.model as Fields) }, train: { ...(base.train as Fields) } } }
      : {}),
    model: fieldsOf(model.model, modelFields, `${where}.model`),
    train: fieldsOf(model.train, trainFields, `${where}.train`),
    ...(model.paper === undefined ? {} : { paper: parsePaper(model.paper, `${where}.paper`) }),
  };
}

function parsePaper(entry: unknown, where: string): NonNullable<SuiteModel['paper']> {
  const { trainLoss, valLoss } = section(entry, where, ['trainLoss', 'valLoss']);
  return {
    ...(trainLoss === undefined ? {} : { trainLoss: positive(trainLoss, `${where}.trainLoss`) }),
    valLoss: positive(valLoss, `${where}.valLoss`),
  };
}

function parseGroup(entry: unknown, where: string, names: readonly string[]): SuiteGroup {
  const group = section(entry, where, ['title', 'baseline', 'others']);
  const known = (value: unknown, at: string): string => {
    const name = text(value, at);
    if (!names.includes(name)) throw unknownName(at, 'model', name, names);
    return name;
  };
  const baseline = known(group.baseline, `${where}.baseline`);
  const others =
    group.others === undefined
      ? names.filter((name) => name !== baseline)
      : list(group.others, `${where}.others`).map((name, i) => known(name, `${where}.others[${i}]`));
  const title = group.title === undefined ? `Against ${baseline}` : text(group.title, `${where}.title`);
  return { title, baseline, others };
}

function parseData(entry: unknown, where: string): SuiteData {
  if (typeof entry === 'string') return text(entry, where);
  const data = section(entry, where, ['sources', 'tokenizer']);
  return {
    sources: list(data.sources, `${where}.sources`).map((source, i) =>
      text(source, `${where}.sources[${i}]`),
    ),
    tokenizer: data.tokenizer === undefined ? 'bytes' : text(data.tokenizer, `${where}.tokenizer`),
  };
}

function parseBudget(entry: unknown, where: string): Budget {
  const given = Object.entries(section(entry, where, BUDGETS));
  if (given.length !== 1) {
    const found = given.map(([kind]) => kind).join(' and ') || 'none';
    throw new ConfigError(where, `must have one of ${BUDGETS.join(', ')}`, found);
  }
  const [kind, amount] = given[0] as [Budget['kind'], unknown];
  return { kind, amount: positive(amount, `${where}.${kind}`, kind !== 'flops') };
}

/** Fields of a grid that would be no other way to train. */
const NOT_TUNED = ['seed', 'maxSteps', 'precision', 'evalInterval', 'evalBatches', 'checkpointInterval'];

function parseGrid(entry: unknown, where: string): Grid {
  if (entry === undefined) return {};
  const known = Object.keys(trainFields).filter((name) => !NOT_TUNED.includes(name));
  const grid = section(entry, where, known);
  return Object.fromEntries(
    Object.entries(grid).map(([name, values]) => {
      const at = `${where}.${name}`;
      const own = list(values, at);
      for (const [i, value] of own.entries()) {
        fieldsOf({ [name]: value }, trainFields, `${at}[${i}]`);
      }
      return [name, own];
    }),
  );
}

/** Given fields of a table, each by itself within its range; whether they go together is seen with all of them. */
function fieldsOf(entry: unknown, table: FieldTable, where: string): Fields {
  if (entry === undefined) return {};
  parseFields(table, entry, where);
  return entry as Fields;
}

/** An object without any other fields than the known ones. */
function section(entry: unknown, where: string, known: readonly string[]): Fields {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    const found = entry === undefined ? 'nothing' : Array.isArray(entry) ? 'a list' : String(entry);
    throw new ConfigError(where, `must be an object with ${known.join(', ')}`, found);
  }
  for (const key of Object.keys(entry))
    if (!known.includes(key)) throw unknownName(where, 'field', key, known);
  return entry as Fields;
}

function list(entry: unknown, where: string): readonly unknown[] {
  if (Array.isArray(entry) && entry.length > 0) return entry;
  throw new ConfigError(where, 'must be a list with an entry at least', describe(entry));
}

function text(entry: unknown, where: string, empty = false): string {
  if (typeof entry === 'string' && (empty || entry !== '')) return entry;
  throw new ConfigError(where, 'must be a text', describe(entry));
}

function positive(entry: unknown, where: string, whole = false): number {
  const right = typeof entry === 'number' && Number.isFinite(entry) && entry > 0;
  if (right && (!whole || Number.isInteger(entry))) return entry;
  throw new ConfigError(where, `must be a ${whole ? 'whole ' : ''}number above 0`, describe(entry));
}

function describe(entry: unknown): unknown {
  if (entry === undefined) return 'nothing';
  return typeof entry === 'object' ? JSON.stringify(entry) : entry;
}
