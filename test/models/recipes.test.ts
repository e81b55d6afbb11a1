/**
 * Recipes for loops: where they start from, what they do beyond the trained count, what fits together, what they cost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loopParts, stateRms } from '../../src/evaluate/loop-parts.js';
import { gateSummaries } from '../../src/evaluate/gates.js';
import { parseModelConfig } from '../../src/models/config.js';
import { forwardFlopsPerToken, modelCost } from '../../src/models/cost.js';
import { exitCriteria } from '../../src/models/exits/options.js';
import { GPT } from '../../src/models/gpt.js';
import type { TrainPass } from '../../src/models/exits/pass.js';
import type { Backend } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { onEngine } from '../engines.js';

const tiny = { depth: 'loop', vocabSize: 11, blockSize: 6, nLayer: 2, nHead: 2, nEmbd: 8, nLoop: 3 };
const tokens = Int32Array.of(1, 5, 3, 3, 0, 10);
const double = () => onEngine(new ReferenceBackend('f64'));

function build(fields: object, backend: Backend = double()): GPT {
  const model = new GPT(parseModelConfig({ ...tiny, ...fields }), new Runtime(backend), { train: false });
  model.parameters.initialise(5);
  return model;
}

async function logitsOf(fields: object, backend: Backend = double(), loops?: number): Promise<number[]> {
  const model = build(fields, backend);
  using y = model.logits(tokens, 1, loops === undefined ? {} : { loops });
  const values = Array.from(await y.read());
  model.dispose();
  return values;
}

const near = (a: number[], b: number[]) => a.every((x, i) => Math.abs(x - b[i]) < 1e-12);

test('scalars, loop embeddings and streams start as the network without them, to the bit', async () => {
  const plain = () => [onEngine(new ReferenceBackend()), onEngine(new NativeBackend('f32'))];
  for (const loopForm of ['correction', 'output']) {
    for (const [i, backend] of plain().entries()) {
      const form = { loopForm, gateInit: 0.5, initStd: 0.3 };
      const expected = await logitsOf(form, backend);
      for (const fields of [
        { inputInjection: 'scalars' },
        { loopEmbedding: true },
        { hyperConnections: 'static' },
        { hyperConnections: 'dynamic', nStream: 4 },
      ]) {
        const found = await logitsOf({ ...form, ...fields }, plain()[i]);
        // Engines that fold reading into writing give the same bits; the reference adds up in another order.
        const same =
          i === 1 ? expected : expected.map((x, k) => (Math.abs(x - found[k]) < 1e-5 ? found[k] : x));
        assert.deepEqual(found, same, `${JSON.stringify(fields)} on ${backend.name}`);
      }
    }
  }
});

test('the first loop of stable-exact starts from e itself, and the others carry half of the state over', async () => {
  const fields = { inputInjection: 'stable-exact' };
  assert.ok(near(await logitsOf(fields, double(), 1), await logitsOf({}, double(), 1)));
  assert.ok(!near(await logitsOf(fields), await logitsOf({})));
  const half = { mean: 0.5, std: 0, min: 0.5, max: 0.5 };
  assert.deepEqual(await loopParts(build(fields)), { 'carry-over': [half] });
});

test('loops beyond the trained count reuse the last embedding, scalars, streams', async () => {
  for (const fields of [
    { inputInjection: 'scalars', loopEmbedding: true },
    { hyperConnections: 'dynamic', nStream: 3 },
  ]) {
    const model = build({ ...fields, nLoop: 2 });
    const longer = build({ ...fields, nLoop: 4 });
    for (const p of longer.parameters.all) {
      const source = model.parameters.all.find(({ name }) => name === p.name)!;
      const values = Array.from(await source.read()).map((x, i) => x + 0.1 * Math.sin(i + 1));
      model.runtime.backend.write(source.storage, Float64Array.from(values));
      const width = source.size / source.shape[0];
      const rows = Float64Array.from(
        { length: p.size },
        (_, i) => values[i < values.length ? i : values.length - width + (i % width)],
      );
      longer.runtime.backend.write(p.storage, rows);
    }
    using few = model.logits(tokens, 1, { loops: 4 });
    using many = longer.logits(tokens, 1);
    assert.ok(near(Array.from(await few.read()), Array.from(await many.read())), JSON.stringify(fields));
  }
});

test('a random state is drawn by the key in training, and is that of the position otherwise', async () => {
  const model = new GPT(
    parseModelConfig({ ...tiny, inputInjection: 'stable', initialState: 'random', initStd: 0.3 }),
    new Runtime(double()),
    { train: false },
  );
  model.parameters.initialise(5);
  const loss = async (pass: TrainPass) => {
    using output = model.loss(tokens, tokens, 1, 1, pass);
    return Array.from(await output.losses.read());
  };
  const key = { seed: 1, step: 2, microStep: 3 };
  const drawn = await loss({ dropout: key });
  assert.deepEqual(await loss({ dropout: key }), drawn);
  assert.notDeepEqual(await loss({ dropout: { ...key, microStep: 4 } }), drawn);
  using scored = model.score(tokens, tokens, 1);
  assert.deepEqual(await loss({}), Array.from(await scored.losses.read()));
  assert.notDeepEqual(await loss({}), drawn);
});

test('a random state costs a pass no more uploads than none', () => {
  class Counting extends NativeBackend {
    uploads: number[] = [];
    override write(...args: Parameters<NativeBackend['write']>): void {
      this.uploads.push(args[1].length);
      super.write(...args);
    }
  }
  const uploadsOf = (initialState: string) => {
    const backend = new Counting('f32');
    const model = build({ inputInjection: 'stable', initialState }, backend);
    backend.uploads = [];
    model.logits(tokens, 1).dispose();
    model.dispose();
    return backend.uploads;
  };
  const uploads = uploadsOf('random');
  assert.ok(uploads.length > 0);
  assert.deepEqual(uploads, uploadsOf('input'));
});

test('what does not fit together is refused by name', () => {
  const refused: [object, RegExp][] = [
    [{ nLoop: 1, loopNorm: true }, /model\.loopNorm: must be false where nLoop is 1, got true; raise nLoop/],
    [{ nLoop: 1, loopEmbedding: true }, /model\.loopEmbedding: must be false where nLoop is 1/],
    [{ nLoop: 1, hyperConnections: 'static' }, /model\.hyperConnections: must be none where nLoop is 1/],
    [{ nLoop: 1, inputInjection: 'stable' }, /model\.inputInjection: must be none where nLoop is 1/],
    [{ initialState: 'random' }, /model\.initialState: must be input where inputInjection is none/],
    [{ nStream: 3 }, /model\.nStream: must not be given where hyperConnections is none/],
    [
      { hyperConnections: 'static', nStream: 1 },
      /model\.nStream: must be a whole number between 2 and 16, got 1/,
    ],
    [
      { hyperConnections: 'dynamic', halting: 'act' },
      /model\.halting: must be none where hyperConnections is dynamic/,
    ],
    [
      { depth: 'universal', hyperConnections: 'static' },
      /model\.hyperConnections: must be none where depth is universal, got 'static'; set depth to loop/,
    ],
    [{ depth: 'gpt2', nLoop: 1, loopNorm: true }, /model\.loopNorm: must be false where depth is gpt2/],
  ];
  for (const [fields, message] of refused) {
    assert.throws(() => parseModelConfig({ ...tiny, ...fields }), message, JSON.stringify(fields));
  }
});

test('streams are left by their movement, not by what the head reads', () => {
  const config = parseModelConfig({ ...tiny, hyperConnections: 'static' });
  assert.deepEqual(exitCriteria(config), ['change', 'second-difference']);
});

test('what evaluations tell of the loops: learned parts by name, and the state’s size after each', async () => {
  const model = build({ inputInjection: 'scalars', hyperConnections: 'dynamic', nStream: 3 });
  assert.deepEqual(Object.keys(await gateSummaries(model)), ['transformer.gates']);
  const parts = await loopParts(model);
  const means = Object.fromEntries(
    Object.entries(parts).map(([name, loops]) => [name, loops.map(({ mean }) => mean)]),
  );
  const third = 1 / 3;
  assert.deepEqual(means, {
    'scale of the state': [1, 1, 1],
    'scale of the input': [0, 0, 0],
    'scale of the dynamic part': [0.01, 0.01, 0.01],
    'streams read': [third, third, third],
    'streams written': [1, 1, 1],
    'streams kept': [1, 1, 1],
    'streams mixed': [0, 0, 0],
  });
  const source = {
    name: 'test',
    length: 40,
    read: async (_: number, n: number) => Uint16Array.from({ length: n }, (_, i) => i % 11),
  };
  const rms = await stateRms(model, source, { B: 2, seed: 1 });
  const { entry, exits } = await model.readings(tokens, tokens, 1);
  assert.equal(rms.length, 3);
  assert.equal(entry!.length, 6 * 8);
  assert.ok(exits.every(({ state }) => state.length === 6 * 8));
  const own = await model.stateRms(tokens, 1);
  for (const [n, { state }] of exits.entries()) {
    const expected = Math.sqrt(state.reduce((sum, x) => sum + x * x, 0) / state.length);
    assert.ok(Math.abs(own[n] - expected) < 1e-6);
  }
  assert.deepEqual(await build({ depth: 'gpt2', nLoop: 1 }).stateRms(tokens, 1), []);
});

test('cost: injection once or in every loop, streams by their products and what they keep', () => {
  const cost = (fields: object) => modelCost(parseModelConfig({ ...tiny, ...fields }));
  const [C, N, T] = [8, 3, 6];
  const flops = (fields: object) => cost(fields).flopsPerToken.forward - cost({}).flopsPerToken.forward;
  assert.equal(flops({ inputInjection: 'stable' }), 2 * C * C);
  assert.equal(flops({ inputInjection: 'linear' }), 2 * 2 * C * C * N);
  assert.equal(flops({ inputInjection: 'scalars', loopEmbedding: true, loopNorm: true }), 0);
  assert.equal(flops({ hyperConnections: 'static' }), 0);
  assert.equal(flops({ hyperConnections: 'dynamic' }), 2 * 2 * C * 8 * N);
  const dynamic = parseModelConfig({ ...tiny, hyperConnections: 'dynamic' });
  const more = forwardFlopsPerToken(dynamic, T, 5) - forwardFlopsPerToken(parseModelConfig(tiny), T, 5);
  assert.equal(more, 2 * 2 * C * 8 * 5);
  const parameters = (fields: object) => cost(fields).parameters.total - cost({}).parameters.total;
  assert.equal(parameters({ inputInjection: 'stable' }), C * C + 2 * C);
  assert.equal(parameters({ inputInjection: 'scalars' }), 2 * N);
  assert.equal(parameters({ loopEmbedding: true, loopNorm: true }), N * C + 2 * C);
  assert.equal(parameters({ hyperConnections: 'static', nStream: 3 }), N * 15);
  assert.equal(parameters({ hyperConnections: 'dynamic' }), N * 8 + 2 * 2 * C + 2 * C * 8 + N);
  const kept = (fields: object) =>
    cost(fields).activationBytesPerSequence.kept - cost({}).activationBytesPerSequence.kept;
  assert.equal(kept({ hyperConnections: 'static' }), 4 * T * N * (2 * C + 2 * C + 8));
});
