/** The section `law` of a suite's file: the models of its grid, what recipes share, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onlyRecipes } from '../../src/experiments/law/models.js';
import { plannedPoints } from '../../src/experiments/law/measured.js';
import { planComparison } from '../../src/experiments/plan.js';
import { parseSuite } from '../../src/experiments/suite-file.js';
import { requireSuite, runConfig } from '../../src/experiments/suites.js';
import { limited } from '../../src/operations/compare.js';
import { findSuite } from '../../src/operations/suites.js';

const LAW = {
  unlooped: [1, 2, 3, 4],
  prelude: 1,
  coda: 1,
  depths: [4, 6],
  loops: [2, 4],
  recipes: [
    { name: 'plain' },
    { name: 'stable', label: 'stable injection', model: { inputInjection: 'stable' } },
    { name: 'rms', blocks: { normType: 'rmsnorm' }, train: { loopSchedule: 'switch', loopStart: 0.5 } },
  ],
};

const read = (change: object = {}, law: object = {}) => {
  const content = { budget: { steps: 10 }, law: { ...LAW, ...law }, ...change };
  return parseSuite({ name: 'own', where: 'own.json', content, preset: () => ({}) }, 'mini');
};

test('a grid has each loop count at each depth that it divides, and recipes of the same blocks share the rest', () => {
  const suite = read();
  requireSuite(suite);
  assert.deepEqual(
    suite.models.map(({ name, label }) => [name, label]),
    [
      ['layers-1', '1 layer'],
      ['layers-2', '2 layers'],
      ['layers-3', '3 layers'],
      ['layers-4', '4 layers'],
      ['plain-1x2', 'plain, 1 + 1 × 2 + 1'],
      ['plain-2x2', 'plain, 1 + 2 × 2 + 1'],
      ['plain-1x4', 'plain, 1 + 1 × 4 + 1'],
      ['stable-1x2', 'stable injection, 1 + 1 × 2 + 1'],
      ['stable-2x2', 'stable injection, 1 + 2 × 2 + 1'],
      ['stable-1x4', 'stable injection, 1 + 1 × 4 + 1'],
      ['rms-layers-1', '1 layer, blocks of rms'],
      ['rms-layers-2', '2 layers, blocks of rms'],
      ['rms-layers-3', '3 layers, blocks of rms'],
      ['rms-layers-4', '4 layers, blocks of rms'],
      ['rms-1x2', 'rms, 1 + 1 × 2 + 1'],
      ['rms-2x2', 'rms, 1 + 2 × 2 + 1'],
      ['rms-1x4', 'rms, 1 + 1 × 4 + 1'],
    ],
  );
  assert.deepEqual(suite.groups, [
    { title: 'Equal compute: 4 layers deep', baseline: 'layers-4', others: ['plain-1x2', 'stable-1x2'] },
    { title: 'Equal compute: 4 layers deep, blocks of rms', baseline: 'rms-layers-4', others: ['rms-1x2'] },
  ]);
  const unlooped = ['layers-1', 'layers-2', 'layers-3', 'layers-4'];
  assert.deepEqual(
    suite.law.map(({ models }) => models.slice(0, 5)),
    [
      [...unlooped, 'plain-1x2'],
      [...unlooped, 'stable-1x2'],
      [...unlooped.map((name) => `rms-${name}`), 'rms-1x2'],
    ],
  );
  const config = runConfig(suite, suite.models[15], 257, 'f32');
  const { depth, nLayer, nLoop, nPrelude, nCoda, normType } = config.model;
  assert.deepEqual([depth, nLayer, nLoop, nPrelude, nCoda, normType], ['loop', 4, 2, 1, 1, 'rmsnorm']);
  assert.equal(config.train.loopSchedule, 'switch');
});

test('the law counts the parameters of blocks, once and looped, without what loops add', () => {
  const suite = read();
  const [plain, stable] = suite.law.map((recipe) => plannedPoints(suite, recipe, 257, 'f32'));
  const [{ once: block, tokens }] = plain;
  assert.deepEqual(
    plain.map(({ once, looped, loops }) => [once / block, looped / block, loops]),
    [
      [1, 0, 1],
      [2, 0, 1],
      [3, 0, 1],
      [4, 0, 1],
      [2, 1, 2],
      [2, 2, 2],
      [2, 1, 4],
    ],
  );
  assert.deepEqual(stable, plain);
  const { model, train } = runConfig(suite, suite.models[0], 257, 'f32');
  const C = model.nEmbd;
  assert.equal(block, 12 * C * C + 13 * C);
  assert.equal(tokens, 10 * train.batchSize * model.blockSize);
});

test('some recipes of a suite leave the models of the others out', () => {
  const suite = read();
  const names = (recipes: string[]) => onlyRecipes(suite, recipes).models.map(({ name }) => name);
  assert.deepEqual(names(['stable']), suite.law[1].models);
  assert.deepEqual(names(['rms']), suite.law[2].models);
  assert.deepEqual(onlyRecipes(suite, ['stable']).groups, [
    { title: 'Equal compute: 4 layers deep', baseline: 'layers-4', others: ['stable-1x2'] },
  ]);
  const own = read({ models: [{ name: 'mine' }] });
  assert.deepEqual(onlyRecipes(own, ['plain']).models[0].name, 'mine');
  assert.throws(() => names(['stabel']), /--recipes: unknown recipe, got 'stabel'; did you mean 'stable'\?/);
});

test('several lengths of training give each model of the grid several times', () => {
  const suite = read({ budget: undefined }, { tokens: [1e6, 4e6], recipes: LAW.recipes.slice(0, 1) });
  assert.equal(suite.models.length, 14);
  assert.deepEqual(
    [suite.models[4].name, suite.models[11].label],
    ['plain-1x2-1000000', 'plain, 1 + 1 × 2 + 1, 4.00 M tokens'],
  );
  const steps = planComparison(suite, 1, 257, 'f32').map((planned) => planned.steps);
  const [short, long] = [steps[0], steps[7]];
  assert.ok(long > 3.9 * short && long < 4.1 * short, `${short}, ${long}`);
  const trial = planComparison(limited(suite, 7), 1, 257, 'f32');
  assert.ok(trial.every((planned) => planned.steps === 7));
});

test('the built-in suite is a grid whose recipes are all right', () => {
  const suite = findSuite('recurrence');
  requireSuite(suite);
  assert.deepEqual(
    suite.law.map(({ name, models }) => [name, models.length]),
    ['plain', 'switch', 'stable', 'streams', 'paper'].map((name) => [name, 12]),
  );
});

test('what is wrong in the section is named by field, rule and value', () => {
  const cases: [law: object, message: RegExp][] = [
    [{ loop: [2] }, /own\.json: law: unknown field, got 'loop'; did you mean 'loops'\?/],
    [{ loops: [1, 2] }, /law\.loops\[0\]: must be 2 at least, got 1; models that run once are those of unl/],
    [{ loops: [2, 8] }, /law\.loops\[1\]: must divide one of depths, without prelude and coda, got 8/],
    [{ depths: [4, 5] }, /law\.depths\[1\]: must be prelude and coda, 2, and a multiple .*got 5; e\.g\. 4/],
    [{ depths: [6, 4] }, /law\.depths\[1\]: must be above the one before it, 6, got 4/],
    [
      { depths: [4], loops: [2] },
      /law\.depths: must give 3 looped models at least, beside 4 without loops, got 1/,
    ],
    [{ unlooped: [1, 2] }, /law\.unlooped: must have 3 layer counts at least, .* got '1, 2'/],
    [{ prelude: -1 }, /law\.prelude: must be a whole number above 0, got -1/],
    [{ recipes: [] }, /law\.recipes: must be a list with an entry at least/],
    [{ recipes: [{ name: 'a/b' }] }, /law\.recipes\[0\]\.name: must be letters, digits/],
    [{ recipes: [{ name: 'a' }, { name: 'a' }] }, /law\.recipes: must have names of their own, got 'a'/],
    [
      { recipes: [{ name: 'a', model: { nLoop: 3 } }] },
      /law\.recipes\[0\]\.model\.nLoop: must not be given: the grid of the law says it, got 3/,
    ],
    [
      { recipes: [{ name: 'a', model: { inputInjectoin: 'add' } }] },
      /recipes\[0\]\.model: unknown field, got 'inputInjectoin'; did you mean 'inputInjection'\?/,
    ],
    [{ tokens: [1e5] }, /own\.json: budget: must not be given beside the tokens of the law, got 'steps 10'/],
  ];
  for (const [law, message] of cases) assert.throws(() => read({}, law), message);
});
