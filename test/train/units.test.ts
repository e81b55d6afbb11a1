/** The learning rate, batches, weight-decay groups and configurations. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { batchAt, randomBatch } from '../../src/evaluate/batches.js';
import { overrideTrain, parseRunConfig, type TrainConfig } from '../../src/train/config.js';
import type { ModelConfig } from '../../src/models/config.js';
import { presetNames } from '../../src/node/presets.js';
import { chooseConfig } from '../../src/operations/config.js';
import { evaluate, worseThanGuessing } from '../../src/evaluate/evaluation.js';
import { AdamW } from '../../src/train/optimizer.js';
import { UpdateSums } from '../../src/train/update-sums.js';
import { learningRate } from '../../src/train/schedule.js';
import { source, testClock } from './helpers.js';

test('the learning rate rises linearly, falls as a cosine and stays at minLr', () => {
  const { train } = parseRunConfig({ train: { lr: 1, minLr: 0.1, warmupSteps: 9, maxSteps: 109 } }, 'test');
  assert.equal(learningRate(0, train), 0.1);
  assert.equal(learningRate(4, train), 0.5);
  assert.equal(learningRate(9, train), 1);
  assert.ok(Math.abs(learningRate(59, train) - 0.55) < 1e-12);
  assert.equal(learningRate(109, train), 0.1);
  assert.equal(learningRate(1000, train), 0.1);
});

test('initial values that are drawn piece by piece are those drawn at once', async () => {
  const all = normal(1, 'x', 11, 0.5);
  assert.deepEqual([...normal(1, 'x', 4, 0.5), ...normal(1, 'x', 7, 0.5, 4)], [...all]);
  const runtime = new Runtime(new ReferenceBackend('f64'));
  const { model } = parseRunConfig({ model: { vocabSize: 33_000, nEmbd: 32, nHead: 1, nLayer: 1 } }, 'test');
  const gpt = new GPT(model, runtime, { train: false });
  gpt.parameters.initialise(7);
  const embedding = gpt.parameters.all.find(({ name }) => name === 'transformer.wte.weight')!;
  assert.ok(embedding.size > 1 << 20, 'more than a piece');
  assert.deepEqual(
    await runtime.backend.read(embedding.storage),
    normal(7, embedding.name, embedding.size, 0.02),
  );
});

test('batches follow from seed, step, micro-step and row; targets are the next tokens', async () => {
  const key = { seed: 1, step: 2, microStep: 3 };
  const data = source(1000);
  const batch = await randomBatch(data, 4, 8, 31, key);
  assert.deepEqual(await randomBatch(data, 4, 8, 31, key), batch);
  for (const other of [
    { ...key, seed: 2 },
    { ...key, step: 3 },
    { ...key, microStep: 4 },
  ]) {
    assert.notDeepEqual((await randomBatch(data, 4, 8, 31, other)).tokens, batch.tokens);
  }
  const { tokens, targets } = await batchAt(data, [100], 8, 31);
  assert.deepEqual([...targets.slice(0, 7)], [...tokens.slice(1)]);
});

test('every offset of the source can be drawn, the last one included', async () => {
  const drawn = new Set<number>();
  const ids = Uint16Array.from({ length: 12 }, (_, i) => i);
  const data = {
    name: 'ids',
    length: 12,
    read: async (at: number, count: number) => ids.slice(at, at + count),
  };
  for (let step = 0; step < 200; step++) {
    drawn.add((await randomBatch(data, 1, 8, 12, { seed: 1, step, microStep: 0 })).tokens[0]);
  }
  assert.deepEqual([...drawn].sort(), [0, 1, 2, 3]);
});

test('a source too short, and an id beyond the vocabulary, are named', async () => {
  const key = { seed: 1, step: 0, microStep: 0 };
  await assert.rejects(randomBatch(source(8), 1, 8, 31, key), /DataError|must hold at least 9 tokens.*got 8/);
  await assert.rejects(
    batchAt(source(100), [0], 50, 7),
    /source, token \d+: must be below the model's vocabSize = 7, got \d+/,
  );
});

test('weight decay goes by role: matrices and embeddings, the loop gates alone on request', async () => {
  const shape = { vocabSize: 5, blockSize: 4, nLayer: 1, nHead: 1, nEmbd: 2, depth: 'loop', nLoop: 2 };
  for (const [decayGates, recipe] of [
    [false, {}],
    [true, {}],
    [true, { inputInjection: 'scalars', hyperConnections: 'dynamic', nStream: 2 }],
    [true, { inputInjection: 'stable' }],
  ] as const) {
    const { model: config, train } = parseRunConfig(
      { model: { ...shape, ...recipe }, train: { weightDecay: 0.5, decayGates } },
      'test',
    );
    const runtime = new Runtime(onEngine(new ReferenceBackend('f64')));
    const model = new GPT(config, runtime, { train: true });
    for (const p of model.parameters.all) runtime.backend.fill(p.storage, 1);
    const sums = new UpdateSums(runtime, 1);
    new AdamW(model.parameters, train).update(1, 0.1, sums.squares, sums.nonFinite);
    for (const p of model.parameters.all) {
      const decayed =
        ['matrix', 'embedding', 'position'].includes(p.role) || (p.name.endsWith('.gates') && decayGates);
      for (const value of await p.read())
        assert.ok(Math.abs(value - (decayed ? 0.95 : 1)) < 1e-12, `${p.name} ${value}`);
    }
  }
});

test('evaluate scores every token once, whatever the batch size', async () => {
  const { model: config } = parseRunConfig(
    { model: { vocabSize: 31, blockSize: 8, nLayer: 1, nHead: 1, nEmbd: 4 } },
    'test',
  );
  const runtime = new Runtime(onEngine(new ReferenceBackend('f64')));
  const model = new GPT(config, runtime, { train: false });
  model.parameters.initialise(1);
  const results = [];
  for (const B of [1, 3, 100]) results.push(await evaluate(model, source(53), { B, bytes: 200 }, testClock));
  assert.equal(results[0].tokens, 52);
  for (const { loss, bpb, perplexity } of results) {
    assert.ok(Math.abs(loss - results[0].loss) < 1e-12);
    assert.ok(Math.abs(perplexity - Math.exp(loss)) < 1e-9);
    assert.ok(Math.abs(bpb! - (loss * 52) / Math.LN2 / 200) < 1e-12);
  }
});

test('impossible and unknown configurations name the field, and the nearest known one', () => {
  const cases: [unknown, RegExp][] = [
    [{ model: { nEmbed: 64 } }, /unknown field, got 'nEmbed'; did you mean 'nEmbd'\?/],
    [{ model: { zzz: 1 } }, /unknown field, got 'zzz'; known are depth/],
    [{ modle: {} }, /unknown section, got 'modle'; did you mean 'model'\?/],
    [{ model: { nEmbd: 100, nHead: 12 } }, /nEmbd: must be a multiple of nHead = 12, got 100/],
    [{ model: { nLoop: 2 } }, /nLoop: must be 1 where depth is gpt2.*got 2; set depth to loop/],
    [{ model: { vocabSize: 70_000 } }, /vocabSize: must be a whole number between 1 and 65536, got 70000/],
    [{ model: { dropout: 1 } }, /dropout: must be a number in \[0, 1\), got 1/],
    [{ model: { loopForm: 'sum' } }, /loopForm: must be one of output, correction, got 'sum'/],
    [{ model: { gateInit: 'half' } }, /gateInit: must be a number or '1\/n', got 'half'/],
    [{ train: { lr: '1' } }, /lr: must be a number of at least 0, got '1'/],
    [{ train: { minLr: 1 } }, /minLr: must not exceed lr = 0\.0006, got 1/],
    [{ train: { maxSteps: 0 } }, /maxSteps: must be a whole number of at least 1, got 0/],
    [[], /must be an object/],
  ];
  for (const [input, message] of cases) assert.throws(() => parseRunConfig(input, 'file.json'), message);
});

test('a field that nothing reads is refused where it is given and not its default, and kept where stored', () => {
  const loop = { depth: 'loop', nLayer: 2, nLoop: 2 } as const;
  const act = { ...loop, halting: 'act' } as const;
  const learned = { ...loop, halting: 'geometric' } as const;
  type Case = readonly [model: Partial<ModelConfig>, train: Partial<TrainConfig>, message: RegExp | null];
  const cases: readonly Case[] = [
    [
      { gate: 'scalar' },
      {},
      /model\.gate: must be vector where the model has no gates, got 'scalar'; set depth/,
    ],
    [{ gateInit: '1/n' }, {}, /model\.gateInit: must be 1 where the model has no gates/],
    [{ depth: 'loop', loopForm: 'output' }, {}, /model\.loopForm: must be correction where the model has no/],
    [{ depth: 'loop', nInnerLoop: 2, loopForm: 'output' }, {}, null],
    [
      { depth: 'loop', nInnerLoop: 2, nCoda: 1 },
      {},
      /model\.nCoda: must be 0 where nLoop is 1, got 1; raise/,
    ],
    [{ residualInit: 'loops' }, {}, /model\.residualInit: must be layers where every layer is applied once/],
    [{ ...loop, residualInit: 'loops' }, {}, null],
    [
      loop,
      { ponderCost: 0.02 },
      /train\.ponderCost: must be 0\.01 where halting is none, got 0\.02; set halting/,
    ],
    [loop, { ponderCost: 0.01 }, null],
    [act, { ponderCost: 0.02 }, null],
    [
      act,
      { oracleSigma: 0 },
      /train\.oracleSigma: must be 2 where halting is act, which has no oracle, got 0/,
    ],
    [loop, { oracleLambda: 0.1 }, /train\.oracleLambda: must be 0\.02 where halting is none/],
    [loop, { oracle: 'correctness' }, /train\.oracle: must be likelihood where halting is none/],
    [learned, { exitLoss: 'uniform', oracle: 'correctness', oracleLambda: 0, oracleSigma: 0 }, null],
    [{}, { decayGates: true }, /train\.decayGates: must be false where the model has no gates, got true/],
    [loop, { decayGates: true }, null],
    [loop, { decayGates: true, weightDecay: 0 }, /train\.decayGates: must be false where weightDecay is 0/],
    [loop, { backpropLoops: 3 }, /train\.backpropLoops: must be at most nLoop = 2, got 3; gradients pass/],
    [loop, { backpropLoops: 3, loopSampling: 'poisson' }, null],
    [loop, { backpropLoops: 2 }, null],
  ];
  for (const [model, train, message] of cases) {
    const choose = () => chooseConfig({ model, train });
    if (message) assert.throws(choose, message);
    else choose();
    parseRunConfig({ model, train }, 'config.json');
  }
  // What a preset says, and a flag leaves without a reader, nobody gave.
  const single = { preset: 'gpt2-45m-loop-literal', model: { nLoop: 1 } } as const;
  assert.equal(chooseConfig(single).model.loopForm, 'output');
  for (const preset of presetNames()) chooseConfig({ preset });
});

test('a loss is set against that of guessing', () => {
  assert.equal(worseThanGuessing(108.2, 257), 'above 5.5491, the loss of guessing among 257 tokens');
  assert.equal(worseThanGuessing(Math.log(257), 257), null);
  assert.equal(worseThanGuessing(1.4, 257), null);
});

test('what is not given follows what is given: minLr the learning rate, warm-up the updates', () => {
  const alone = (train: object) => {
    const { lr, minLr, maxSteps, warmupSteps } = parseRunConfig({ train }, 'test').train;
    return [lr, Number(minLr.toPrecision(6)), maxSteps, warmupSteps];
  };
  assert.deepEqual(alone({}), [6e-4, 6e-5, 2000, 100]);
  assert.deepEqual(alone({ lr: 3e-5 }), [3e-5, 3e-6, 2000, 100]);
  assert.deepEqual(alone({ maxSteps: 50 }), [6e-4, 6e-5, 50, 5]);
  assert.deepEqual(alone({ maxSteps: 200 }), [6e-4, 6e-5, 200, 100]);
  const preset = { lr: 1e-3, minLr: 2e-4, maxSteps: 2000, warmupSteps: 100 };
  const over = (given: object) => alone(overrideTrain(preset, given));
  assert.deepEqual(over({}), [1e-3, 2e-4, 2000, 100]);
  assert.deepEqual(over({ lr: 3e-5, maxSteps: 50 }), [3e-5, 6e-6, 50, 5]);
  assert.deepEqual(over({ lr: 1e-3, maxSteps: 4000 }), [1e-3, 2e-4, 4000, 100]);
  assert.deepEqual(over({ lr: 3e-5, minLr: 1e-5, maxSteps: 50, warmupSteps: 40 }), [3e-5, 1e-5, 50, 40]);
  assert.throws(() => over({ minLr: 2e-3 }), /minLr: must not exceed lr = 0\.001, got 0\.002/);
});
