/**
 * The section `law` of a suite's file: a grid of models without loops and of looped ones, for which the law of
 * what loops are worth is fitted, recipe by recipe. Knows no model.
 */
import { ConfigError } from '../../errors.js';
import { modelFields } from '../../models/config.js';
import { trainFields } from '../../train/config.js';
import { fieldsOf, list, nameOf, positive, section, text } from '../sections.js';
import type { Fields } from '../suites.js';

export interface LawGrid {
  /** Layers of the models without loops. */
  readonly unlooped: readonly number[];
  /** Layers before and after the looped ones. */
  readonly prelude: number;
  readonly coda: number;
  /** Of looped models: prelude, coda, and looped layers times loops. */
  readonly depths: readonly number[];
  /** Counts that are tried at every depth which they divide. */
  readonly loops: readonly number[];
  /** Lengths of training; null where the suite says the one there is. */
  readonly tokens: readonly number[] | null;
  readonly recipes: readonly GridRecipe[];
}

/** A way to loop. */
export interface GridRecipe {
  readonly name: string;
  readonly label: string;
  /** Model fields that its models without loops have too. */
  readonly blocks: Fields;
  readonly model: Fields;
  readonly train: Fields;
}

const SECTION = ['unlooped', 'prelude', 'coda', 'depths', 'loops', 'tokens', 'recipes'];
const RECIPE = ['name', 'label', 'blocks', 'model', 'train'];
/** What the grid says of its models. */
const OF_GRID = ['depth', 'nLayer', 'nLoop', 'nInnerLoop', 'nPrelude', 'nCoda'];
/** Models without loops that tell how the loss falls with parameters: it has a level, a size and a slope. */
const LEAST_UNLOOPED = 3;
/** Models in all, from which the law’s four parameters are fitted. */
const LEAST_MODELS = 7;

/** Reads the section. Throws ConfigError. */
export function parseLawGrid(entry: unknown, where: string): LawGrid {
  const law = section(entry, where, SECTION);
  const layers = (name: 'prelude' | 'coda') =>
    law[name] === undefined || law[name] === 0 ? 0 : positive(law[name], `${where}.${name}`, true);
  const grid: LawGrid = {
    unlooped: counts(law.unlooped, `${where}.unlooped`),
    prelude: layers('prelude'),
    coda: layers('coda'),
    depths: counts(law.depths, `${where}.depths`),
    loops: counts(law.loops, `${where}.loops`),
    tokens: law.tokens === undefined ? null : counts(law.tokens, `${where}.tokens`),
    recipes: list(law.recipes, `${where}.recipes`).map((recipe, i) =>
      parseRecipe(recipe, `${where}.recipes[${i}]`),
    ),
  };
  requireGrid(grid, where);
  return grid;
}

/** The looped models of a depth: how many layers, and how often. */
export function loopedAt(
  { prelude, coda, loops }: LawGrid,
  depth: number,
): { layers: number; loops: number }[] {
  return loops
    .map((count) => ({ layers: (depth - prelude - coda) / count, loops: count }))
    .filter(({ layers }) => Number.isInteger(layers) && layers > 0);
}

function requireGrid(grid: LawGrid, where: string): void {
  const { unlooped, depths, loops, prelude, coda, recipes } = grid;
  if (unlooped.length < LEAST_UNLOOPED) {
    const rule = `must have ${LEAST_UNLOOPED} layer counts at least, whose losses show what layers are worth`;
    throw new ConfigError(`${where}.unlooped`, rule, unlooped.join(', '));
  }
  const one = loops.indexOf(1);
  if (one >= 0) {
    const hint = 'models that run once are those of unlooped';
    throw new ConfigError(`${where}.loops[${one}]`, 'must be 2 at least', 1, hint);
  }
  const models = depths.map((depth) => loopedAt(grid, depth));
  for (const [i, own] of models.entries()) {
    if (own.length > 0) continue;
    const once = prelude + coda;
    const rule = `must be prelude and coda, ${once}, and a multiple of one of loops`;
    const hint = `e.g. ${once + loops[0]}`;
    throw new ConfigError(`${where}.depths[${i}]`, rule, depths[i], hint);
  }
  const used = models.flat();
  const usedLoops = new Set(used.map((model) => model.loops));
  const idle = loops.findIndex((count) => !usedLoops.has(count));
  if (idle >= 0) {
    const rule = 'must divide one of depths, without prelude and coda';
    throw new ConfigError(`${where}.loops[${idle}]`, rule, loops[idle]);
  }
  const least = Math.max(2, LEAST_MODELS - unlooped.length);
  if (used.length < least) {
    const rule = `must give ${least} looped models at least, beside ${unlooped.length} without loops`;
    throw new ConfigError(`${where}.depths`, rule, used.length, 'give more depths or more loops');
  }
  const names = recipes.map(({ name }) => name);
  const twice = names.find((own, i) => names.indexOf(own) !== i);
  if (twice !== undefined) throw new ConfigError(`${where}.recipes`, 'must have names of their own', twice);
}

function parseRecipe(entry: unknown, where: string): GridRecipe {
  const recipe = section(entry, where, RECIPE);
  const name = nameOf(recipe.name, `${where}.name`);
  for (const part of ['blocks', 'model'] as const) {
    const fields = fieldsOf(recipe[part], modelFields, `${where}.${part}`);
    const taken = OF_GRID.find((field) => fields[field] !== undefined);
    if (taken === undefined) continue;
    const rule = 'must not be given: the grid of the law says it';
    throw new ConfigError(`${where}.${part}.${taken}`, rule, fields[taken]);
  }
  return {
    name,
    label: recipe.label === undefined ? name : text(recipe.label, `${where}.label`),
    blocks: fieldsOf(recipe.blocks, modelFields, `${where}.blocks`),
    model: fieldsOf(recipe.model, modelFields, `${where}.model`),
    train: fieldsOf(recipe.train, trainFields, `${where}.train`),
  };
}

/** Different whole numbers above 0, the smallest first. */
function counts(entry: unknown, where: string): number[] {
  const found = list(entry, where).map((count, i) => positive(count, `${where}[${i}]`, true));
  const disordered = found.findIndex((count, i) => i > 0 && count <= found[i - 1]);
  if (disordered < 0) return found;
  const rule = `must be above the one before it, ${found[disordered - 1]}`;
  throw new ConfigError(`${where}[${disordered}]`, rule, found[disordered]);
}
