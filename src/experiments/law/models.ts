/**
 * The models of a law's grid: those without loops, which recipes of the same blocks share, and the looped ones
 * of each recipe.
 */
import { unknownName } from '../../fields.js';
import { counted, metric } from '../../printable.js';
import type { LawRecipe, Suite, SuiteGroup, SuiteModel } from '../suites.js';
import { type GridRecipe, type LawGrid, loopedAt } from './grid.js';

/** Models of a grid, who is compared with whom, and which models the law of each recipe is fitted to. */
export interface LawModels {
  readonly models: readonly SuiteModel[];
  /** Of each depth: the looped models against the one without loops, where there is one. */
  readonly groups: readonly SuiteGroup[];
  readonly law: readonly LawRecipe[];
}

/** A length of training: what it adds to names and labels. */
interface Length {
  readonly name: string;
  readonly label: string;
  readonly own: Pick<SuiteModel, 'budget'>;
}

export function lawModels(grid: LawGrid): LawModels {
  const parts = byBlocks(grid.recipes).flatMap((recipes) =>
    lengthsOf(grid).map((length) => partOf(grid, recipes, length)),
  );
  return {
    models: parts.flatMap(({ models }) => models),
    groups: parts.flatMap(({ groups }) => groups),
    law: grid.recipes.map(({ name, label }) => ({
      name,
      label,
      models: parts.flatMap(({ law }) => law.find((own) => own.name === name)?.models ?? []),
    })),
  };
}

/**
 * The suite without the models that only other recipes' laws are fitted to. Throws ConfigError for an unknown
 * recipe.
 */
export function onlyRecipes(suite: Suite, recipes: readonly string[]): Suite {
  const known = suite.law.map(({ name }) => name);
  for (const name of recipes)
    if (!known.includes(name)) throw unknownName('--recipes', 'recipe', name, known);
  const law = suite.law.filter(({ name }) => recipes.includes(name));
  const fitted = new Set(law.flatMap(({ models }) => models));
  const dropped = new Set(suite.law.flatMap(({ models }) => models.filter((name) => !fitted.has(name))));
  const groups = suite.groups
    .filter(({ baseline }) => !dropped.has(baseline))
    .map((group) => ({ ...group, others: group.others.filter((name) => !dropped.has(name)) }))
    .filter(({ others }) => others.length > 0);
  return { ...suite, law, groups, models: suite.models.filter(({ name }) => !dropped.has(name)) };
}

/** The models of recipes with the same blocks, trained so long. */
function partOf(grid: LawGrid, recipes: readonly GridRecipe[], length: Length): LawModels {
  const [{ name: first, blocks }] = recipes;
  // The blocks of the first recipe need no name.
  const named = first !== grid.recipes[0].name;
  const of = `${named ? `, blocks of ${first}` : ''}${length.label}`;
  const unlooped = grid.unlooped.map(
    (nLayer): SuiteModel => ({
      name: `${named ? `${first}-` : ''}layers-${nLayer}${length.name}`,
      label: `${counted(nLayer, 'layer')}${of}`,
      model: { depth: 'gpt2', ...blocks, nLayer },
      ...length.own,
    }),
  );
  const looped = recipes.map((recipe) =>
    grid.depths.map((depth) => loopedModels(grid, recipe, depth, length)),
  );
  const groups = grid.depths.flatMap((depth, i): SuiteGroup[] => {
    const baseline = unlooped[grid.unlooped.indexOf(depth)];
    const others = namesOf(looped.flatMap((own) => own[i]));
    const title = `Equal compute: ${counted(depth, 'layer')} deep${of}`;
    return baseline ? [{ title, baseline: baseline.name, others }] : [];
  });
  const law = recipes.map(({ name, label }, i) => {
    return { name, label, models: namesOf([...unlooped, ...looped[i].flat()]) };
  });
  return { models: [...unlooped, ...looped.flat(2)], groups, law };
}

function loopedModels(grid: LawGrid, recipe: GridRecipe, depth: number, length: Length): SuiteModel[] {
  const { prelude: nPrelude, coda: nCoda } = grid;
  const once = (layers: number, text: string) => (layers > 0 ? text : '');
  return loopedAt(grid, depth).map(({ layers, loops }) => {
    const shape = `${once(nPrelude, `${nPrelude} + `)}${layers} × ${loops}${once(nCoda, ` + ${nCoda}`)}`;
    return {
      name: `${recipe.name}-${layers}x${loops}${length.name}`,
      label: `${recipe.label}, ${shape}${length.label}`,
      model: {
        ...{ depth: 'loop', ...recipe.blocks, ...recipe.model },
        ...{ nLayer: nPrelude + layers + nCoda, nLoop: loops, nPrelude, nCoda },
      },
      train: recipe.train,
      ...length.own,
    };
  });
}

function lengthsOf({ tokens }: LawGrid): Length[] {
  if (!tokens) return [{ name: '', label: '', own: {} }];
  return tokens.map((amount) => ({
    name: `-${amount}`,
    label: `, ${metric(amount)} tokens`,
    own: { budget: { kind: 'tokens', amount } },
  }));
}

/** Recipes with the same blocks, in the order of the first of each. */
function byBlocks(recipes: readonly GridRecipe[]): GridRecipe[][] {
  const found = new Map<string, GridRecipe[]>();
  for (const recipe of recipes) {
    const key = JSON.stringify(Object.entries(recipe.blocks).sort());
    found.set(key, [...(found.get(key) ?? []), recipe]);
  }
  return [...found.values()];
}

const namesOf = (models: readonly SuiteModel[]) => models.map(({ name }) => name);
