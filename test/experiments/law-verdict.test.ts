/** Looped models against models without loops of equal cost: losses that are known, at costs that are known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chartFiles, renderMarkdown } from '../../src/experiments/document.js';
import { onlyRecipes } from '../../src/experiments/law/models.js';
import { verdicts, verdictSections, verdictTable } from '../../src/experiments/law/verdict.js';
import { type ModelResults, modelsOf } from '../../src/experiments/model-results.js';
import type { RunResult } from '../../src/experiments/result.js';
import { runConfig } from '../../src/experiments/suites.js';
import type { Timing } from '../../src/experiments/timing.js';
import { modelCost, weightsReadPerToken } from '../../src/models/cost.js';
import { findSuite } from '../../src/operations/suites.js';

const suite = onlyRecipes(findSuite('recurrence'), ['plain', 'switch']);

/** Every model with two seeds: the loss of its layers, in the shape of a power of the layers; looped ones as told. */
function found(loss: (layers: number, loops: number) => number): ModelResults[] {
  const results = suite.models.flatMap((model) => {
    const config = runConfig(suite, model, 257, 'f32');
    const { nLayer, nLoop } = config.model;
    return [0, 1].map((seed) => {
      const valLoss = loss(nLayer, nLoop) + 0.001 * seed;
      const { name, label } = model;
      return { name, label, seed, config, cost: modelCost(config.model), valLoss, bpb: null } as RunResult;
    });
  });
  return modelsOf(results, { suite, timings: [] });
}

/** A step takes as long as its blocks run, and what stands around them. */
function timed(models: readonly ModelResults[]): ModelResults[] {
  return models.map((model) => {
    const ms = 1 + model.runs[0].cost.applications;
    return { ...model, timing: { stepMs: { min: ms, median: ms, max: ms } } as Timing };
  });
}

const rowOf = (rows: readonly (readonly string[])[], shape: string) => rows.find(([own]) => own === shape)!;

test('at equal parameters the rival has as many layers, at equal compute and weights read as many applications', () => {
  // Looped models lose as those of their own layers do, and a hundredth less.
  const models = found((layers, loops) => 2 * layers ** -0.1 - (loops > 1 ? 0.01 : 0));
  const measures = verdicts(suite.law, models);
  assert.deepEqual(
    measures.map(({ title }) => title),
    ['Equal parameters', 'Equal training compute', 'Equal weights read per decoded token'],
    'no time where none was measured',
  );
  const [parameters, compute, weights] = measures.map((measure) => verdictTable(measure));
  assert.deepEqual(parameters.header, ['layers × loops', 'plain', 'switch']);
  // 1 + 2 × 2 has the parameters of three layers and its gates; 1 + 1 × 4 those of two.
  for (const shape of ['1 + 1 × 2', '1 + 2 × 2', '1 + 1 × 4']) {
    assert.match(rowOf(parameters.rows, shape)[1], /^−0\.0(10|09), lower$/, shape);
  }
  const plain = (shape: string) => Number(rowOf(compute.rows, shape)[1].split(',')[0].replace('−', '-'));
  const five = 2 * 5 ** -0.1;
  assert.ok(Math.abs(plain('1 + 2 × 2') - (2 * 3 ** -0.1 - 0.01 - five)) < 0.002);
  assert.ok(Math.abs(plain('1 + 1 × 4') - (2 * 2 ** -0.1 - 0.01 - five)) < 0.002);
  assert.match(rowOf(compute.rows, '1 + 1 × 4')[1], /higher$/);
  // Who loops late trains on less, but decodes with all its loops.
  const late = (rows: readonly (readonly string[])[]) =>
    Number(rowOf(rows, '1 + 1 × 6')[2].split(',')[0].replace('−', '-'));
  assert.ok(late(compute.rows) < late(weights.rows) - 0.01);
  assert.equal(rowOf(weights.rows, '1 + 1 × 6')[1], rowOf(weights.rows, '1 + 1 × 6')[2]);
  assert.equal(compute.rows.at(-1)![0], 'mean');
});

test('at equal time the steps that were measured count, and nothing is read far beyond the measured costs', () => {
  const models = timed(found((layers) => 2 * layers ** -0.1));
  const time = (slower: number) => {
    const own = models.map((model) => {
      if (model.name !== 'plain-3x2') return model;
      const ms = 8 * slower;
      return { ...model, timing: { stepMs: { min: ms, median: ms, max: ms } } as Timing };
    });
    const measure = verdicts(suite.law, own).find(({ title }) => title === 'Equal training time')!;
    return rowOf(verdictTable(measure).rows, '1 + 3 × 2')[1];
  };
  assert.equal(time(1), `+${(2 * 4 ** -0.1 - 2 * 7 ** -0.1).toFixed(3)}, higher`);
  assert.match(time(1.05), /^\+0\.\d+, higher$/);
  assert.equal(time(1.2), '–');
});

test('the report has a table for each measure and one picture; a suite without a law has neither', () => {
  const sections = verdictSections(verdicts(suite.law, timed(found((layers) => 2 * layers ** -0.1))));
  const markdown = renderMarkdown('Loops', sections);
  for (const title of ['Equal parameters', 'Equal training compute', 'Equal training time']) {
    assert.ok(markdown.includes(title), title);
  }
  assert.deepEqual(
    chartFiles(sections).map(([name]) => name),
    ['equal-cost.svg'],
  );
  assert.deepEqual(verdictSections(verdicts([], [])), []);
});

test('the weights that decoding reads are those of every application, and the head', () => {
  const { model } = runConfig(suite, suite.models.find(({ name }) => name === 'plain-2x2')!, 257, 'f32');
  // Of a block: queries, keys and values 3·64², projection 64², an MLP of 4·64 both ways.
  assert.equal(weightsReadPerToken(model), 5 * 12 * 64 * 64 + 257 * 64);
});
