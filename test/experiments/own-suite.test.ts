/** Finished runs as one page, and the time that the rest of a comparison takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ComparisonEvent } from '../../src/experiments/comparison-events.js';
import type { Section } from '../../src/experiments/document.js';
import { type Entrant, trainingFlops } from '../../src/experiments/entrants.js';
import { terminalTables } from '../../src/experiments/group-table.js';
import { factsOfRuns, suiteOfRuns } from '../../src/experiments/own-suite.js';
import { planComparison } from '../../src/experiments/plan.js';
import { RemainingWork } from '../../src/experiments/remaining.js';
import { reportSections } from '../../src/experiments/report.js';
import { type RunResult, trainingFlopsPerToken } from '../../src/experiments/result.js';
import type { Suite } from '../../src/experiments/suites.js';
import { modelCost } from '../../src/models/cost.js';
import { grouped } from '../../src/printable.js';
import { parseRunConfig } from '../../src/train/config.js';

function resultOf(seed: number, nLoop: number, text = 'data/mine', tokens = 1000): RunResult {
  const model = { depth: 'loop', nLayer: 1, nLoop, nEmbd: 8, nHead: 2, blockSize: 16, vocabSize: 31 };
  const config = parseRunConfig({ model, train: { seed } }, 'test');
  const provenance = { machine: 'here', backend: 'native', commit: 'abc' };
  const heldOut = { text, tokens };
  return {
    name: 'run',
    label: 'run',
    seed,
    config,
    tokensSeen: 10,
    provenance,
    heldOut,
  } as unknown as RunResult;
}

test('runs that differ by the seed alone are one model; the first, or a named one, is the baseline', () => {
  const found = [
    { run: 'a', result: resultOf(1, 1) },
    { run: 'b', result: resultOf(1, 2) },
    { run: 'c', result: resultOf(2, 1) },
  ];
  const { suite, results } = suiteOfRuns(found, 'runs');
  assert.deepEqual(
    suite.models.map(({ name, label }) => [name, label]),
    [
      ['a', 'run'],
      ['b', 'b'],
    ],
  );
  assert.deepEqual(
    results.map(({ name, seed }) => [name, seed]),
    [
      ['a', 1],
      ['a', 2],
      ['b', 1],
    ],
  );
  assert.deepEqual(suite.groups, [{ title: 'Side by side', baseline: 'a', others: ['b'] }]);
  assert.deepEqual(suiteOfRuns(found, 'runs', 'b').suite.groups[0].baseline, 'b');
  assert.deepEqual(suiteOfRuns(found, 'runs', 'c').suite.groups[0].baseline, 'a');
});

test('the recipes that runs were trained by are among their facts', () => {
  const facts = (train: object) => new Map(factsOfRuns([scheduledResult(train)]).facts);
  const told = facts({ optimizer: 'muon', loopSchedule: 'switch', loopStart: 0.7, emaDecay: 0.9 });
  assert.equal(told.get('Muon for the blocks'), 'run: learning rate 0.02');
  assert.equal(told.get('loops'), 'run: 1, from 70 % of the steps on 2');
  assert.equal(told.get('averaged weights'), 'run: decay 0.9');
  assert.equal(facts({}).get('loops'), undefined);
});

test('losses of different texts, or of different parts of one, are said to be no comparison', () => {
  assert.deepEqual(factsOfRuns([resultOf(1, 1), resultOf(2, 1)]).warnings, []);
  const texts = factsOfRuns([resultOf(1, 1), resultOf(1, 2, 'data/other')]).warnings;
  assert.match(texts[0], /of different texts, and not to be compared: data\/mine; data\/other/);
  const parts = factsOfRuns([resultOf(1, 1), resultOf(1, 2, 'data/mine', 99)]).warnings;
  assert.match(parts[0], /different parts of the text: 1,000, 99 tokens/);
  // The same text, as a training names it and as a comparison does.
  const same = '90 and 10 tokens, tokenizer bytes';
  const named = factsOfRuns([resultOf(1, 1, `data/mine, ${same}`), resultOf(1, 2, same, 99)]).warnings;
  assert.match(named.join(), /^the runs’ losses are of different parts of the text: 1,000, 99 tokens$/);
});

/** A run of 100 steps with two loops, trained by the schedule; its loss falls evenly. */
function scheduledResult(train: object, nLoop = 2): RunResult {
  const run = resultOf(1, nLoop);
  const config = parseRunConfig({ model: run.config.model, train: { maxSteps: 100, ...train } }, 'test');
  const curve = Array.from({ length: 11 }, (_, i) => {
    return { step: 10 * i, tokensSeen: 1000 * i, trainLoss: 4 - i / 10, valLoss: 4 - i / 10 };
  });
  const analysis = { lossByLoops: [], lossByExit: [], gates: {}, change: [], halting: null };
  const numbers = { trainLoss: 3, valLoss: 3, bpb: null, meanSteps: null, stepMs: 10, sample: '' };
  return { ...run, ...numbers, config, cost: modelCost(config.model), curve, analysis };
}

/** Points of a chart's curves, in the order of the models. */
function curvesOf(sections: readonly Section[], chart: string): string[][] {
  const blocks = sections.flatMap((section) => section.blocks);
  const { svg } = blocks.find((block) => block.kind === 'chart' && block.name === chart) as { svg: string };
  return [...svg.matchAll(/<path fill="none"[^>]* d="M(.*?)"/g)].map(([, path]) => path.split('L'));
}

test('a run is charged for the loops of its schedule when they have run, not before', () => {
  const late = scheduledResult({ loopSchedule: 'switch', loopStart: 0.7 });
  const found = [
    { run: 'one', result: scheduledResult({}, 1) },
    { run: 'late', result: late },
    { run: 'two', result: scheduledResult({}) },
  ];
  const { suite, results } = suiteOfRuns(found, 'runs');
  const context = { suite, facts: [], timings: [], missing: [], tokenText: String };
  const [one, until, two] = curvesOf(reportSections(results, context), 'loss-flops');
  assert.equal(one.length, 10);
  assert.deepEqual(until.slice(0, 7), one.slice(0, 7));
  assert.ok(Number.parseFloat(until[7]) > Number.parseFloat(one[7]));
  assert.ok(Number.parseFloat(until[9]) < Number.parseFloat(two[9]));
  const [pilot, other] = results.map((run) => trainingFlops({ ...run, until: 25 }));
  assert.equal(pilot, other, 'a pilot too');
});

test('steps that were timed with all loops count for as much as a schedule has run of them', () => {
  const [one, late] = [scheduledResult({}, 1), scheduledResult({ loopSchedule: 'switch', loopStart: 0.5 })];
  const found = [
    { run: 'one', result: one },
    { run: 'late', result: late },
  ];
  const { suite, results } = suiteOfRuns(found, 'runs');
  const [single, mean] = [one, late].map(({ config }) => trainingFlopsPerToken(config));
  const both = 2 * mean - single;
  // A machine whose steps take the time of their FLOPs.
  const timing = (name: string, flops: number) => {
    const stepMs = { median: flops, min: flops, max: flops };
    return { name, stepMs, tokensPerSecond: 1e6 / flops, skippingRatio: null, provenance: one.provenance };
  };
  const timings = [timing('one', single), timing('late', both)];
  const context = { suite, facts: [], timings, missing: [], tokenText: String };
  const [{ header, rows }] = terminalTables(results, context).groups;
  const cell = (column: string) => rows[1][header.indexOf(column)];
  assert.equal(cell('step ratio'), cell('FLOPs ratio'));
  assert.equal(cell('tokens/s'), grouped(1e6 / mean));
  const [first, then] = curvesOf(reportSections(results, context), 'loss-time');
  assert.deepEqual(then.slice(0, 5), first.slice(0, 5));
  assert.ok(Number.parseFloat(then[5]) > Number.parseFloat(first[5]));
  // Of a training that has not been timed, its own mean step.
  const [untimed] = terminalTables(results, { suite, timings: [] }).groups;
  assert.deepEqual(
    untimed.rows.map((row) => row.at(-1)),
    [grouped(19200), grouped(19200)],
  );
});

test('the time left is that of the whole comparison, and what was trained before counts as done', () => {
  const suite: Suite = {
    ...{
      name: 's',
      where: 's',
      scale: 'mini',
      title: 's',
      groups: [],
      law: [],
      data: null,
      seeds: 2,
      prompt: '',
    },
    models: [
      { name: 'a', label: 'a', model: {} },
      { name: 'b', label: 'b', model: {} },
    ],
    model: { depth: 'gpt2', nLayer: 1, nEmbd: 8, nHead: 2, blockSize: 16 },
    train: { batchSize: 2, evalInterval: 5 },
    ...{ budget: { kind: 'steps', amount: 20 }, grid: { lr: [1e-3, 1e-2] } },
  };
  const planned = planComparison(suite, 2, 31, 'f32');
  // A pilot of each model beside the one that goes on, and two runs: 46 steps a model, evaluated every two.
  assert.deepEqual(
    planned.map(({ allSteps }) => allSteps),
    [46, 46],
  );
  let now = 0;
  const work = new RemainingWork(planned, { now: () => now, yield: async () => {} });
  const [{ config }] = planned;
  const entrant = (name: string, until: number): Entrant => ({ name, label: name, config, until });
  const step = (of: Entrant, at: number) =>
    ({ kind: 'train', entrant: of, event: { kind: 'step', step: at } }) as unknown as ComparisonEvent;
  const first = entrant('a-lr0.001-seed1337', 6);
  work.take({ kind: 'start', entrant: first, step: 0 });
  now = 3000;
  for (let at = 1; at <= 3; at++) work.take(step(first, at));
  assert.ok(Math.abs(work.secondsLeft - 89) < 1e-9, `${work.secondsLeft}`);
  // Another process had trained the other pilot, and all but two steps of a run.
  work.take({ kind: 'start', entrant: entrant('a-lr0.01-seed1337', 20), step: 18 });
  assert.ok(Math.abs(work.secondsLeft - 71) < 1e-9, `${work.secondsLeft}`);
  const pilots = [
    { fields: { lr: 1e-3 }, valLoss: 2 },
    { fields: { lr: 1e-2 }, valLoss: 1 },
  ];
  work.take({ kind: 'tuned', model: suite.models[0], fields: { lr: 1e-2 }, pilots });
  assert.ok(Math.abs(work.secondsLeft - 68) < 1e-9, `${work.secondsLeft}`);
});
