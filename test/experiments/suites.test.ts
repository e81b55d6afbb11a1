/**
 * Suites: the built-in files make the configurations that they always made; one's own are read, and refused by file and
 * field.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderPlan } from '../../src/cli/compare.js';
import { runName } from '../../src/experiments/entrants.js';
import { planComparison, plannedSeconds } from '../../src/experiments/plan.js';
import { trainingFlopsPerToken } from '../../src/experiments/result.js';
import { parseSuite } from '../../src/experiments/suite-file.js';
import {
  candidates,
  requireSuite,
  runConfig,
  type Scale,
  type Suite,
  type SuiteModel,
  tokensPerStep,
} from '../../src/experiments/suites.js';
import { findSuite, suiteNames } from '../../src/operations/suites.js';
import { parseRunConfig } from '../../src/train/config.js';
import { temporaryFolder } from '../cli/helpers.js';

/** A suite as it was when its results were made: its models' fields where they differ from the defaults. */
interface Former {
  readonly name: string;
  readonly scale: Scale;
  readonly title: string;
  readonly corpus: { readonly name: string; readonly tokenizer: string } | null;
  readonly learningRates: readonly number[];
  readonly seeds: number;
  readonly prompt: string;
  readonly groups: Suite['groups'];
  readonly models: readonly (Pick<SuiteModel, 'name' | 'label' | 'paper' | 'model'> & {
    readonly train: Record<string, unknown>;
  })[];
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const former: Former[] = JSON.parse(
  readFileSync(join(ROOT, 'test/fixtures/suites/configurations.json'), 'utf8'),
);

test('the files of the built-in suites make the runs that their published results come from', () => {
  assert.deepEqual(
    former.map(({ name }) => name).filter((name) => !suiteNames().includes(name)),
    [],
  );
  for (const { name, scale, corpus, learningRates, models, ...rest } of former) {
    const suite = findSuite(name, scale);
    const { title, groups, seeds, prompt } = suite;
    assert.deepEqual({ title, groups, seeds, prompt }, rest);
    assert.deepEqual(suite.data, corpus && { sources: [corpus.name], tokenizer: corpus.tokenizer });
    assert.equal(suite.models.length, models.length);
    for (const [i, then] of models.entries()) {
      const model = suite.models[i];
      assert.deepEqual(
        [model.name, model.label, model.paper ?? null],
        [then.name, then.label, then.paper ?? null],
      );
      const expected = parseRunConfig({ model: then.model, train: then.train }, name);
      assert.deepEqual(runConfig(suite, model, 257, 'f32'), expected, `${name} at ${scale}: ${model.name}`);
      const rates = candidates(suite);
      assert.deepEqual(
        rates.map((fields) => [
          runName(model.name, fields, 1337),
          runConfig(suite, model, 257, 'f32', fields),
        ]),
        learningRates.map((lr) => [
          `${model.name}-lr${lr}-seed1337`,
          { ...expected, train: { ...expected.train, lr, minLr: lr / 10 } },
        ]),
      );
    }
  }
  assert.equal(runName('gpt2-1', {}, 1338), 'gpt2-1-seed1338');
});

const folder = temporaryFolder();
const OWN = {
  data: { sources: ['texts', 'sotu'], tokenizer: 'bytes' },
  model: { blockSize: 64 },
  train: { batchSize: 4 },
  budget: { tokens: 51_200 },
  grid: { lr: [1e-3, 3e-3], weightDecay: [0, 0.1] },
  models: [
    { name: 'one', preset: 'mini-1x2', model: { nLoop: 1 } },
    { name: 'two', preset: 'mini-1x2' },
    { name: 'wide', preset: 'wide.json', label: 'wide' },
  ],
};

function written(content: unknown): string {
  const file = join(folder, 'own.json');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

test('a suite of one’s own has presets with changed fields, a budget, a grid, and paths from its folder', () => {
  mkdirSync(join(folder, 'texts'));
  writeFileSync(
    join(folder, 'wide.json'),
    JSON.stringify({ model: { nEmbd: 256, nHead: 4 }, train: { lr: 0.01 } }),
  );
  const suite = findSuite(written(OWN));
  assert.deepEqual(suite.data, { sources: [join(folder, 'texts'), 'sotu'], tokenizer: 'bytes' });
  assert.deepEqual([suite.name, suite.title, suite.seeds], ['own', 'own', 1]);
  assert.deepEqual(suite.groups, [{ title: 'own', baseline: 'one', others: ['two', 'wide'] }]);
  const [one, two, wide] = suite.models.map((model) => runConfig(suite, model, 257, 'f32'));
  assert.deepEqual([one.model.nLoop, two.model.nLoop, one.model.nEmbd, wide.model.nEmbd], [1, 2, 128, 256]);
  for (const { model, train } of [one, two, wide]) {
    assert.deepEqual(
      [model.blockSize, train.batchSize, train.maxSteps, train.evalInterval],
      [64, 4, 200, 20],
    );
  }
  assert.equal(one.train.warmupSteps, 100);
  assert.equal(candidates(suite).length, 4);
  assert.equal(runName('one', candidates(suite)[3], 1337), 'one-lr0.003-weightDecay0.1-seed1337');
  const tuned = runConfig(suite, suite.models[0], 257, 'f32', candidates(suite)[3]);
  assert.deepEqual([tuned.train.lr, tuned.train.minLr, tuned.train.weightDecay], [0.003, 0.003 / 10, 0.1]);
});

test('a field of all models may be one that some do not read; a model’s own must be read', () => {
  const models = [
    { name: 'plain', model: { depth: 'gpt2' } },
    { name: 'looped', model: { depth: 'loop', nLoop: 2 } },
  ];
  const shared = { model: { loopForm: 'output' }, train: { decayGates: true } };
  const suite = (content: object) => findSuite(written({ ...OWN, grid: {}, ...content }));
  requireSuite(suite({ ...shared, models }));
  const refused: readonly (readonly [object, RegExp])[] = [
    [
      { ...shared, models: [models[0]] },
      /own\.json: model\.loopForm: must be correction where the model has no gates/,
    ],
    [
      { models, grid: { ponderCost: [0.01, 0.1] } },
      /own\.json: train\.ponderCost: must be 0\.01 where halting is/,
    ],
    [
      { models: [models[1], { ...models[0], model: { gate: 'scalar' } }] },
      /own\.json: plain: model\.gate: must be vector where the model has no gates, got 'scalar'/,
    ],
  ];
  for (const [content, message] of refused) assert.throws(() => requireSuite(suite(content)), message);
});

test('a budget in FLOPs gives models that cost more fewer steps', () => {
  const suite = findSuite(written({ ...OWN, budget: { flops: 1e12 }, grid: {} }));
  const planned = planComparison(suite, 2, 257, 'f32');
  for (const { config, flops, runs } of planned) {
    const one = trainingFlopsPerToken(config) * tokensPerStep(config);
    assert.ok(Math.abs(flops / runs - 1e12) <= one / 2, `${flops}`);
  }
  assert.ok(planned[0].steps > planned[1].steps);
  // Pilots beside the one that goes on: a quarter of a run, up to an evaluation.
  const [tuned] = planComparison(findSuite(written(OWN)), 2, 257, 'f32');
  assert.deepEqual([tuned.runs, tuned.pilots, tuned.allSteps], [2, 4, 2 * 200 + 3 * 60]);
});

test('a plan counts the time of each run’s score on the held-out text', () => {
  const [planned] = planComparison(findSuite(written(OWN)), 2, 257, 'f32');
  const timed = { sequences: 4, stepMs: 30, evaluationMs: 10 };
  const { blockSize } = planned.config.model;
  const without = plannedSeconds(planned, timed, 0);
  // Two runs score 100 passes of four sequences each.
  assert.ok(
    Math.abs(plannedSeconds(planned, timed, 400 * blockSize) - without - (2 * 100 * 10) / 1000) < 1e-9,
  );
});

test('a plan says what its columns count, and whether scores are in its hours', () => {
  const suite = findSuite(written(OWN));
  const models = planComparison(suite, 2, 257, 'f32').map((model) => ({ ...model, seconds: 1 }));
  const sums = { models, runs: 4, pilots: 8, flops: 1e12, seconds: 2, backend: 'native' };
  const shown = (heldOutTokens: number | null) => renderPlan(suite, { ...sums, heldOutTokens }).join('\n');
  assert.match(shown(5e5), /model .* tokens +runs +steps per run +pilots\n/);
  assert.match(shown(5e5), /\nhours, FLOPs, tokens: of all runs and pilots of a model together\n/);
  assert.match(shown(5e5), /with evaluations and each run’s score on about 500 k held-out/);
  assert.match(shown(null), /with evaluations; without each run’s score/);
});

test('a full scale takes the place of the shared fields', () => {
  const full = { model: { nEmbd: 64, nHead: 4 }, budget: { steps: 7 } };
  const suite = findSuite(written({ ...OWN, models: [{ name: 'a' }], full }), 'full');
  assert.deepEqual(
    [suite.data, suite.model, suite.budget, suite.grid],
    [null, full.model, { kind: 'steps', amount: 7 }, {}],
  );
  assert.throws(
    () => findSuite(written(OWN), 'full'),
    /--scale: must be mini for suite own, .*got 'full'; add a section full to .*own\.json/,
  );
});

test('what is wrong in a suite is named by file, field, rule and value, with the nearest known name', () => {
  const [model] = OWN.models;
  const cases: [change: object, message: RegExp][] = [
    [{ modelss: [] }, /own\.json: unknown field, got 'modelss'; did you mean 'models'\?/],
    [{ models: [] }, /own\.json: models: must be a list with an entry at least, got '\[\]'/],
    [
      { models: [{ ...model, modle: {} }] },
      /models\[0\]: unknown field, got 'modle'; did you mean 'model'\?/,
    ],
    [{ models: [{ model: {} }] }, /models\[0\]\.name: must be a text, got 'nothing'/],
    [{ models: [{ name: '../up' }] }, /models\[0\]\.name: must be letters, digits.*got '\.\.\/up'/],
    [{ models: [model, model] }, /own\.json: models: must have names of their own, got 'one'/],
    [
      { models: [{ name: 'a', preset: 'mini-1x3' }] },
      /own\.json: models\[0\]\.preset: unknown preset, got 'mini-1x3'; did you mean 'mini-1x1'\?/,
    ],
    [
      { models: [{ name: 'a', model: { nLop: 2 } }] },
      /models\[0\]\.model: unknown field, got 'nLop'; did you mean 'nLoop'\?/,
    ],
    [{ train: { lr: -1 } }, /own\.json: train\.lr: must be a number of at least 0, got -1/],
    [{ train: { maxSteps: 10 } }, /own\.json: train\.maxSteps: must not be given beside a budget, got 10/],
    [
      { models: [{ name: 'a', train: { maxSteps: 10 } }] },
      /a: train\.maxSteps: must not be given beside the budget/,
    ],
    [
      { budget: { steps: 10, tokens: 10 } },
      /own\.json: budget: must have one of steps, tokens, flops, got 'steps and tokens'/,
    ],
    [{ budget: { token: 10 } }, /own\.json: budget: unknown field, got 'token'; did you mean 'tokens'\?/],
    [{ budget: { steps: 1.5 } }, /own\.json: budget\.steps: must be a whole number above 0, got 1\.5/],
    [{ grid: { lrs: [1] } }, /own\.json: grid: unknown field, got 'lrs'; did you mean 'lr'\?/],
    [{ grid: { lr: 1 } }, /own\.json: grid\.lr: must be a list with an entry at least, got 1/],
    [{ grid: { lr: [1, 'x'] } }, /own\.json: grid\.lr\[1\]\.lr: must be a number of at least 0, got 'x'/],
    [
      { groups: [{ baseline: 'on' }] },
      /groups\[0\]\.baseline: unknown model, got 'on'; did you mean 'one'\?/,
    ],
    [
      { groups: [{ baseline: 'one', others: ['tow'] }] },
      /others\[0\]: unknown model, got 'tow'; did you mean 'two'\?/,
    ],
    [{ seeds: 0 }, /own\.json: seeds: must be a whole number above 0, got 0/],
    [{ full: { data: 3 } }, /own\.json: full: data: must be an object with sources, tokenizer, got '3'/],
  ];
  for (const [change, message] of cases)
    assert.throws(() => findSuite(written({ ...OWN, ...change })), message);
  assert.throws(() => findSuite(written('{"models": ]')), /own\.json: must be JSON \(/);
  assert.throws(() => findSuite('paper-3'), /suite: unknown name, got 'paper-3'; did you mean 'paper-1'/);
  assert.throws(() => findSuite('none.json'), /none\.json: must be a readable file/);
  const wrong = parseSuite(
    {
      name: 'x',
      where: 'x.json',
      content: { models: [{ name: 'a', model: { halting: 'act' } }] },
      preset: () => ({}),
    },
    'mini',
  );
  assert.throws(
    () => runConfig(wrong, wrong.models[0], 257, 'f32'),
    /x\.json: a: model\.halting: must be none where/,
  );
});
