/**
 * What looping pays at equal cost: the looped models of each recipe against models without loops that cost the same,
 * by four measures of cost. A model without loops of exactly that cost rarely exists: its loss is read between the two
 * that cost next to it.
 */
import { weightsReadPerToken } from '../../models/cost.js';
import { signed } from '../../printable.js';
import { mean, verdict } from '../../statistics.js';
import type { Block, Section } from '../document.js';
import { intervalChart } from '../interval-plot.js';
import { type ModelResults, turnMs } from '../model-results.js';
import { seriesColor } from '../plot.js';
import { trainingFlopsPerToken } from '../result.js';
import { type LawRecipe, tokensPerStep } from '../suites.js';

/** One looped model of a recipe at one measure of cost. */
export interface AtEqualCost {
  /** Layers around the loops, and layers × loops. */
  readonly shape: string;
  /** Nats per token against a model without loops of equal cost; null beyond the measured costs. */
  readonly against: { readonly difference: number; readonly word: string } | null;
}

export interface CostVerdict {
  readonly title: string;
  readonly recipes: readonly {
    readonly name: string;
    readonly label: string;
    readonly models: readonly AtEqualCost[];
  }[];
}

interface Cost {
  readonly title: string;
  /** Null where it is not known. */
  readonly of: (model: ModelResults) => number | null;
}

const COSTS: readonly Cost[] = [
  { title: 'Equal parameters', of: ({ runs: [{ cost }] }) => cost.parameters.total },
  { title: 'Equal training compute', of: ({ runs: [{ config }] }) => trainingFlopsPerToken(config) },
  {
    title: 'Equal weights read per decoded token',
    of: ({ runs: [{ config }] }) => weightsReadPerToken(config.model),
  },
  { title: 'Equal training time', of: turnMs },
];

/** So much beyond the smallest and the largest cost the line through the two models there is still read. */
const BEYOND = 1.1;

/** The verdict by each measure of cost that is known of models without loops and looped ones. */
export function verdicts(laws: readonly LawRecipe[], found: readonly ModelResults[]): CostVerdict[] {
  return COSTS.flatMap(({ title, of }): CostVerdict[] => {
    const recipes = laws.flatMap(({ name, label, models }) => {
      const own = found.filter((model) => models.includes(model.name));
      const looped = own.filter((model) => loopsOf(model) > 1 && of(model) !== null);
      const rivals = own.filter((model) => loopsOf(model) === 1 && of(model) !== null);
      if (looped.length === 0 || rivals.length < 2) return [];
      return [{ name, label, models: looped.map((model) => atEqualCost(model, rivals, of)) }];
    });
    return recipes.length > 0 ? [{ title, recipes }] : [];
  });
}

const loopsOf = ({ runs: [{ config }] }: ModelResults) => config.model.nLoop;
const tokensOf = ({ runs: [{ config }] }: ModelResults) => config.train.maxSteps * tokensPerStep(config);

function atEqualCost(model: ModelResults, rivals: readonly ModelResults[], of: Cost['of']): AtEqualCost {
  const shape = shapeOf(model);
  const line = rivals
    .filter((rival) => tokensOf(rival) === tokensOf(model))
    .map((rival) => ({ cost: of(rival)!, runs: rival.runs }))
    .sort((a, b) => a.cost - b.cost);
  const cost = of(model)!;
  if (line.length < 2 || cost < line[0].cost / BEYOND || cost > line.at(-1)!.cost * BEYOND) {
    return { shape, against: null };
  }
  const above = line.findIndex((rival) => rival.cost >= cost);
  const next = above < 0 ? line.length - 1 : Math.max(1, above);
  const [low, high] = [line[next - 1], line[next]];
  const share = Math.log(cost / low.cost) / Math.log(high.cost / low.cost);
  // Seed by seed, so that there are as many losses as seeds.
  const losses = low.runs.flatMap(({ seed, valLoss }) => {
    const other = high.runs.find((run) => run.seed === seed);
    return other ? [valLoss * (other.valLoss / valLoss) ** share] : [];
  });
  if (losses.length === 0) return { shape, against: null };
  const own = model.runs.map(({ valLoss }) => valLoss);
  return { shape, against: verdict(own, losses) };
}

/** Layers that run once, layers × loops, layers that run once. */
function shapeOf({ runs: [{ config }] }: ModelResults): string {
  const { nPrelude, nCoda, nLayer, nLoop } = config.model;
  const looped = `${nLayer - nPrelude - nCoda} × ${nLoop}`;
  return [nPrelude, looped, nCoda].filter((part) => part !== 0).join(' + ');
}

/** A measure's table: shapes below each other, recipes side by side, their means at the end. */
export function verdictTable({ recipes }: CostVerdict): { header: string[]; rows: string[][] } {
  const shapes = [...new Set(recipes.flatMap(({ models }) => models.map(({ shape }) => shape)))];
  const cell = (models: readonly AtEqualCost[], shape: string) => {
    const found = models.filter((model) => model.shape === shape).flatMap(({ against }) => against ?? []);
    if (found.length === 0) return '–';
    return found.map(({ difference, word }) => `${signed(difference)}, ${word}`).join('; ');
  };
  const rows = shapes.map((shape) => [shape, ...recipes.map(({ models }) => cell(models, shape))]);
  const means = recipes.map((recipe) => {
    const found = differences(recipe);
    return found.length > 0 ? signed(mean(found)) : '–';
  });
  return {
    header: ['layers × loops', ...recipes.map(({ name }) => name)],
    rows: [...rows, ['mean', ...means]],
  };
}

const differences = ({ models }: CostVerdict['recipes'][number]) =>
  models.flatMap(({ against }) => against?.difference ?? []);

/** The section of a report: a table for each measure of cost, and one picture of all. */
export function verdictSections(found: readonly CostVerdict[]): Section[] {
  if (found.length === 0) return [];
  const blocks = found.flatMap((measure): Block[] => [
    { kind: 'text', text: measure.title },
    { kind: 'table', ...verdictTable(measure) },
  ]);
  const rows = found.flatMap(({ title, recipes }) =>
    recipes.flatMap((recipe, i) => {
      const all = differences(recipe);
      if (all.length === 0) return [];
      const [low, high] = [Math.min(...all), Math.max(...all)];
      return [{ label: `${title}: ${recipe.name}`, color: seriesColor(i), value: mean(all), low, high }];
    }),
  );
  const title = 'Loss against models without loops of equal cost';
  const chart: Block = {
    ...{ kind: 'chart', name: 'equal-cost', title },
    says: 'Left of 0 looping pays: a point is the mean of all looped models of a recipe, its line their range.',
    svg: intervalChart(title, 'nats per token', rows, [0], 3),
  };
  return [{ title: 'At equal cost', blocks: [{ kind: 'text', text: IN_WORDS }, ...blocks, chart] }];
}

const IN_WORDS =
  'Differences of the loss, in nats per token, to a model without loops that costs the same; below 0 looping pays. ' +
  'Losses of such a model are read, seed by seed, between the two that cost next to it, along a line on logarithmic ' +
  'axes; – where none costs about as much. Every loop reads the weights of its blocks: their bytes are what decoding ' +
  'costs.';
