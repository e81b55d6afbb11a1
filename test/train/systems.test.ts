/**
 * Every system trains, stops and goes on bit for bit, evaluates and generates; loop counts are sampled as they should
 * be.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelCost } from '../../src/models/cost.js';
import { Model } from '../../src/generate/model.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { evaluate } from '../../src/evaluate/evaluation.js';
import { sampleLoops } from '../../src/train/loops.js';
import { Run, createRun } from '../../src/train/run.js';
import type { StepEvent, TrainEvent } from '../../src/train/events.js';
import { makeTrainer, MemoryStore, runAll, source, testClock } from './helpers.js';
import { nodeClock } from '../../src/node/store.js';
import { systems } from './systems.js';

const stepsOf = (events: readonly TrainEvent[]) =>
  events.flatMap((event) => (event.kind === 'step' ? [{ ...event, stepMs: 0, tokensPerSecond: 0 }] : []));

for (const [name, [model, train = {}]] of Object.entries(systems)) {
  test(`${name}: learns, resumes bit for bit, evaluates, generates`, async () => {
    const shape = { vocabSize: 257, ...model };
    const fields = { lr: 5e-3, minLr: 5e-4, maxSteps: 24, ...train };
    const straight = makeTrainer(new MemoryStore(), fields, shape);
    const all = await runAll(straight.trainer);
    assert.equal(straight.runtime.pool.live, 0, 'buffers left over');
    const losses = stepsOf(all).map(({ loss }) => loss);
    assert.ok(losses.at(-1)! < losses[0] - 0.1, `learns: ${losses[0]} to ${losses.at(-1)}`);

    const store = new MemoryStore();
    const first = makeTrainer(store, fields, shape);
    const part = await runAll(first.trainer, (event) => event.kind === 'step' && event.step === 13);
    const second = makeTrainer(store, fields, shape);
    const rest = await runAll(second.trainer);
    assert.deepEqual([...stepsOf(part), ...stepsOf(rest)], stepsOf(all));
    const bits = async ({ model: m }: typeof first) => m.runtime.backend.read(m.parameters.storage);
    assert.deepEqual(await bits(second), await bits(straight));

    const config = { model: second.model.config, train: second.config };
    await createRun(store, config, null);
    const loaded = await (await Run.open(store, name)).load(second.runtime);
    const cost = modelCost(loaded.model.config);
    assert.equal(
      cost.parameters.total,
      loaded.model.parameters.all.reduce((n, p) => n + p.size, 0),
    );
    const options = { B: 2, bytes: 200 };
    const found = await evaluate(loaded.model, source(200), options, testClock);
    assert.ok(found.loss < Math.log(257) && Number.isFinite(found.bpb));
    const halts = loaded.model.config.halting !== 'none';
    assert.equal(found.meanSteps !== null, halts);
    let made = 0;
    const generator = new Model(loaded.model, new BytesTokenizer(), nodeClock);
    for await (const { id } of generator.generate('ab', { temperature: 0, maxTokens: 5 })) {
      made++;
      assert.ok(id === null || id < 257);
    }
    assert.ok(made > 0 && made <= 6);
  });
}

test('adaptive systems report what halting adds, step by step', async () => {
  const act = makeTrainer(new MemoryStore(), { maxSteps: 2 }, { nLoop: 3, halting: 'act' });
  for (const step of stepsOf(await runAll(act.trainer)) as StepEvent[]) {
    assert.ok(step.meanSteps! >= 1 && step.meanSteps! <= 3);
    assert.ok(step.auxLoss! > step.meanSteps! && step.auxLoss! <= step.meanSteps! + 1, 'steps and remainder');
  }
});

test('sampled loop counts: range, mean and reproducibility', () => {
  const draw = (sampling: 'fixed' | 'uniform' | 'poisson', n: number) =>
    Array.from({ length: 20_000 }, (_, step) => sampleLoops(sampling, n, { seed: 1, step, microStep: 0 }));
  const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  assert.deepEqual(new Set(draw('fixed', 6)), new Set([6]));
  const uniform = draw('uniform', 6);
  assert.deepEqual([...new Set(uniform)].sort(), [1, 2, 3, 4, 5, 6]);
  assert.ok(Math.abs(mean(uniform) - 3.5) < 0.05);
  const poisson = draw('poisson', 8);
  assert.ok(Math.abs(mean(poisson) - 8) < 0.12, `mean ${mean(poisson)}`);
  assert.ok(Math.min(...poisson) === 1 && Math.max(...poisson) <= 24 && Math.max(...poisson) > 16);
  // The variance of a Poisson count with a log-normal rate: m + m²(e^σ² − 1), m = 7, σ = ½.
  const variance = mean(poisson.map((x) => (x - mean(poisson)) ** 2));
  assert.ok(Math.abs(variance - (7 + 49 * (Math.exp(0.25) - 1))) < 1.5, `variance ${variance}`);
  assert.deepEqual(poisson, draw('poisson', 8));
});
