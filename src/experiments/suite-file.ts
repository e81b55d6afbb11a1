/** Reads the content of a suite's file. */
import { ConfigError } from '../errors.js';
import { unknownName } from '../fields.js';
import { modelFields } from '../models/config.js';
import { trainFields } from '../train/config.js';
import { parseLawGrid } from './law/grid.js';
import { lawModels } from './law/models.js';
import { fieldsOf, list, nameOf, positive, section, text } from './sections.js';
import {
  type Budget,
  BUDGETS,
  type Fields,
  type Grid,
  type Scale,
  type Suite,
  type SuiteData,
  type SuiteGroup,
  type SuiteModel,
} from './suites.js';

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
const SECTIONS = ['description', ...SCALED, 'seeds', 'prompt', 'models', 'groups', 'law', 'full'];

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
  const grid = file.law === undefined ? null : parseLawGrid(file.law, `${where}: law`);
  const ofLaw = grid ? lawModels(grid) : { models: [], groups: [], law: [] };
  if (grid?.tokens && budget) {
    const rule = 'must not be given beside the tokens of the law';
    throw new ConfigError(`${where}: budget`, rule, `${budget.kind} ${budget.amount}`);
  }
  const named = grid && file.models === undefined ? [] : list(file.models, `${where}: models`);
  const models = [
    ...named.map((entry, i) => parseModel(entry, `${where}: models[${i}]`, preset)),
    ...ofLaw.models,
  ];
  const names = models.map((model) => model.name);
  const twice = names.find((own, i) => names.indexOf(own) !== i);
  if (twice !== undefined) throw new ConfigError(`${where}: models`, 'must have names of their own', twice);
  const limited = models.find((model) => (model.budget ?? budget) && model.train?.maxSteps !== undefined);
  if (limited) {
    const rule = 'must not be given beside the budget of the suite';
    throw new ConfigError(`${where}: ${limited.name}: train.maxSteps`, rule, limited.train!.maxSteps);
  }
  const title = file.description === undefined ? name : text(file.description, `${where}: description`);
  const groups =
    file.groups === undefined
      ? grid
        ? ofLaw.groups
        : [{ title, baseline: names[0], others: names.slice(1) }]
      : list(file.groups, `${where}: groups`).map((group, i) =>
          parseGroup(group, `${where}: groups[${i}]`, names),
        );
  const seeds = file.seeds === undefined ? 1 : positive(file.seeds, `${where}: seeds`, true);
  const prompt = file.prompt === undefined ? '' : text(file.prompt, `${where}: prompt`, true);
  const { law } = ofLaw;
  return { name, where, scale, title, models, groups, law, ...rest, train, budget, seeds, prompt };
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
  const name = nameOf(model.name, `${where}.name`);
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
