/** A comparison's folder: what it began with stays, steps are timed once, and its report says what it holds for. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ConfigError } from '../../src/errors.js';
import { compare, type ComparisonOptions } from '../../src/experiments/compare.js';
import { ComparisonFolder } from '../../src/experiments/comparison-folder.js';
import { Outcome } from '../../src/experiments/outcome.js';
import { reportFacts } from '../../src/experiments/report-facts.js';
import type { Suite } from '../../src/experiments/suites.js';
import { reportRuns } from '../../src/operations/report.js';
import { findSuite } from '../../src/operations/suites.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { temporaryFolder } from '../cli/helpers.js';
import { MemoryStore, source, testClock, VOCAB } from '../train/helpers.js';

const demo = findSuite('demo', 'mini');
const dataOf = (length: number) => ({
  train: source(length),
  val: source(900),
  valBytes: null,
  tokenizer: null,
  vocabSize: VOCAB,
});
const refusal = (where: string, rule: RegExp) => (error: unknown) =>
  error instanceof ConfigError && error.message.startsWith(where) && rule.test(error.message);

test('a comparison resumes with the data, the precision and the suite that it began with, and nothing else', async () => {
  const home = new MemoryStore();
  const fresh = await ComparisonFolder.open(home, demo);
  assert.equal(fresh.precision(dataOf(4000), 'auto'), 'auto');
  await fresh.begin(dataOf(4000), 'bf16');
  const noted = '900 tokens, tokenizer unknown';
  assert.deepEqual(JSON.parse(home.text('comparison.json')), {
    suite: 'demo',
    scale: 'mini',
    precision: 'bf16',
    data: `4000 and ${noted}`,
  });

  const begun = await ComparisonFolder.open(home, demo);
  assert.equal(begun.precision(dataOf(4000), 'auto'), 'bf16');
  assert.equal(begun.precision(dataOf(4000), 'bf16'), 'bf16');
  assert.throws(
    () => begun.precision(dataOf(4000), 'f32'),
    refusal('--precision', /must stay bf16, .*'f32'/),
  );
  const other = new RegExp(`must stay the data .*, 4000 and ${noted}, got '4001 and ${noted}'`);
  assert.throws(() => begun.precision(dataOf(4001), 'auto'), refusal('--data', other));
  await begun.begin(dataOf(4001), 'f32');
  assert.match(home.text('comparison.json'), /"precision": "bf16"/);
  const loops = findSuite('loops', 'mini');
  await assert.rejects(ComparisonFolder.open(home, loops), refusal('--out', /suite loops .*'demo at mini'/));
});

test('steps are timed once, again for a model that has finished since; the report holds what was measured', async () => {
  const suite: Suite = {
    ...demo,
    model: { nEmbd: 8, nHead: 2, blockSize: 16 },
    budget: { kind: 'steps', amount: 4 },
    train: { batchSize: 2, lr: 3e-3, warmupSteps: 1, evalInterval: 2, evalBatches: 1 },
  };
  const home = new MemoryStore();
  const stores = new Map<string, MemoryStore>();
  const options: ComparisonOptions = {
    suite,
    seeds: 1,
    data: dataOf(4000),
    runtime: new Runtime(onEngine(new NativeBackend('f32'))),
    clock: testClock,
    provenance: { machine: 'test', backend: 'test', commit: 'test' },
    store: (name) => stores.get(name) ?? stores.set(name, new MemoryStore()).get(name)!,
  };
  const outcome = new Outcome(suite);
  for await (const event of compare(options)) outcome.take(event);
  const { results, tuned, missing } = outcome;
  assert.deepEqual([results.length, tuned, missing], [3, [], []]);

  const folder = await ComparisonFolder.open(home, suite);
  let steps = 0;
  const time = (count: number) => folder.timings(results.slice(0, count), options, () => steps++);
  const two = await time(2);
  const measured = steps;
  assert.ok(measured > 0);
  assert.deepEqual(JSON.parse(JSON.stringify(await time(2))), JSON.parse(JSON.stringify(two)));
  assert.equal(steps, measured);
  const timings = await time(3);
  assert.ok(steps > measured);
  assert.deepEqual(
    timings.map(({ name }) => name),
    suite.models.map(({ name }) => name),
  );
  const full = await ComparisonFolder.open(new MemoryStore(), { ...suite, scale: 'full' });
  assert.deepEqual(await full.timings(results, options, () => assert.fail('a full scale is not timed')), []);

  const of = { command: 'loopnn compare', suite, corpus: 'sotu', data: options.data, outcome, timings };
  const facts = new Map(reportFacts({ ...of, heldOut: 'tail' }));
  assert.equal(
    facts.get('text'),
    'sotu, 4,000 training and 900 held-out tokens, the end of a document held out',
  );
  assert.match(facts.get('training')!, /^128 tokens a run in 4 steps of 32, /);
  assert.equal(facts.get('learning rate'), '0.003 for all');
  assert.equal(facts.get('machine'), 'test');
  assert.equal(facts.get('loops'), undefined);
  const recipes = { optimizer: 'muon', loopSchedule: 'switch', loopStart: 0.35, emaDecay: 0.9 } as const;
  const late = results.map(({ config, ...rest }, i) => {
    const own = { model: { ...config.model, nLoop: 2 }, train: { ...config.train, ...recipes } };
    return { ...rest, config: i === 0 ? own : config };
  });
  const pilots = [1e-3, 3e-3].map((lr) => ({ fields: { lr }, valLoss: 3 }));
  const chosen = results.map(({ name, label }) => ({ name, label, ...pilots[0], pilots }));
  const tunedLate = Object.create(outcome, { results: { value: late }, tuned: { value: chosen } });
  const told = new Map(reportFacts({ ...of, heldOut: 'tail', outcome: tunedLate }));
  assert.match(told.get('step time')!, /with all loops, and by FLOPs from there to a schedule’s loops/);
  assert.equal(told.get('loops'), `${late[0].label}: 1, from 35 % of the steps on 2`);
  assert.equal(told.get('averaged weights'), `${late[0].label}: decay 0.9`);
  assert.equal(told.get('Muon for the blocks'), `${late[0].label}: learning rate 0.02`);
  const early = `learning rates of ${late[0].label} (1 of 2 loops) were chosen before all their loops came on`;
  assert.equal(told.get('pilots'), early);
  const context = { suite, facts: [...facts], timings, missing, tokenText: String };
  const document = {
    suite: 'demo',
    scale: 'mini',
    ...options.provenance,
    missing,
    tuned,
    timings,
    law: [],
    equalCost: [],
    results,
  };
  await folder.writeReport(context, document);
  assert.deepEqual(JSON.parse(home.text('results.json')), JSON.parse(JSON.stringify(document)));
  assert.deepEqual(await home.list('.'), [
    'plots',
    'report.html',
    'report.md',
    'results.json',
    'timings.json',
  ]);
  assert.match(home.text('report.md'), /- text: sotu, 4,000 training/);
});

test('a report of a comparison’s unfinished run says what that is', async () => {
  const folder = temporaryFolder();
  const run = join(folder, 'a-lr0.003-seed1337');
  mkdirSync(run);
  writeFileSync(join(folder, 'comparison.json'), '{}');
  writeFileSync(
    join(run, 'config.json'),
    JSON.stringify({ model: {}, train: { maxSteps: 20, evalInterval: 5 } }),
  );
  const line = (step: number) =>
    `${JSON.stringify({ kind: 'eval', step, trainLoss: 5, valLoss: 5, tokensSeen: 9, best: true })}\n`;
  for (const [step, what] of [
    [5, 'a pilot, which tried a learning rate for 5 of 20 steps'],
    [10, 'a run of 10 of 20 steps'],
  ] as const) {
    writeFileSync(join(run, 'metrics.jsonl'), line(step));
    const rule = new RegExp(`scores, got '${what}'; report the comparison, loopnn report`);
    await assert.rejects(reportRuns([run]), refusal(run, rule));
  }
});
