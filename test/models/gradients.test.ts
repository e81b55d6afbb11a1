/** Whole models' gradients against finite differences in double precision, and what they must have in common. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModelConfig } from '../../src/models/config.js';
import type { TrainPass } from '../../src/models/exits/pass.js';
import { GPT } from '../../src/models/gpt.js';
import type { LossOutput } from '../../src/models/losses.js';
import { exitWeights, type Objective } from '../../src/models/exits/objective.js';
import { normal } from '../../src/random.js';
import { Tape } from '../../src/tensor/tape.js';
import type { Runtime } from '../../src/tensor/tensor.js';
import { doubleRuntime, read } from '../tensor/helpers.js';

const tiny = { vocabSize: 11, blockSize: 5, nLayer: 2, nHead: 2, nEmbd: 6 };
const tokens = Int32Array.of(1, 5, 3, 3, 0, 10, 2, 7, 9, 4);
const targets = Int32Array.of(5, 3, 3, 0, -1, 2, 7, 9, 4, 6);

type Variant = readonly [model: Record<string, unknown>, options?: TrainPass];

const uniform = { exitLoss: 'uniform' as const };
const variants: Record<string, Variant> = {
  gpt2: [{}],
  'untied, no bias': [{ tiedHead: false, bias: false }],
  'erf GELU, another epsilon, a wide MLP': [{ activation: 'gelu', layerNormEpsilon: 0.01, nInner: 31 }],
  'SiLU, a narrow MLP': [{ activation: 'silu', nInner: 1, layerNormEpsilon: 1e-6 }],
  'RMSNorm, SwiGLU': [{ normType: 'rmsnorm', gatedMlp: true, activation: 'silu', nInner: 5, bias: false }],
  'universal, RMSNorm, a gate of GELU': [
    { depth: 'universal', nLoop: 2, normType: 'rmsnorm', gatedMlp: true, activation: 'gelu', nInner: 3 },
  ],
  'squared ReLU, loops, RMSNorm': [{ depth: 'loop', nLoop: 2, normType: 'rmsnorm', activation: 'relu2' }],
  'rotary positions, QK norm, grouped queries': [
    { nHead: 4, nKvHead: 2, nEmbd: 8, positions: 'rotary', ropeTheta: 100, qkNorm: true },
  ],
  'QK norm and one key head in loops with the keys of the first, dropout': [
    { depth: 'loop', nLoop: 3, nKvHead: 1, qkNorm: true, kvSharing: 'first-loop', dropout: 0.2 },
  ],
  'outer loops': [{ depth: 'loop', nLoop: 3, loopForm: 'output' }],
  'outer loops, correction': [{ depth: 'loop', nLoop: 3, loopForm: 'correction', gateInit: 0.5 }],
  'inner loops': [{ depth: 'loop', nInnerLoop: 2, loopForm: 'output', gateInit: '1/n' }],
  'both, scalar gates': [
    { depth: 'loop', nLoop: 2, nInnerLoop: 2, loopForm: 'output', gate: 'scalar', gateInit: 0.7 },
  ],
  'both, dropout': [{ depth: 'loop', nLoop: 2, nInnerLoop: 2, dropout: 0.2 }],
  'more loops than gates': [{ depth: 'loop', nLoop: 2, loopForm: 'output' }, { loops: 3 }],
  'prelude, coda, injection': [
    { depth: 'loop', nLayer: 3, nPrelude: 1, nCoda: 1, nLoop: 2, inputInjection: 'add' },
  ],
  'linear injection': [{ depth: 'loop', nLoop: 2, inputInjection: 'linear', loopForm: 'output' }],
  'every loop’s loss': [{ depth: 'loop', nLoop: 3, loopForm: 'output' }, { objective: objective(uniform) }],
  'every loop’s loss through a coda': [
    { depth: 'loop', nLayer: 3, nPrelude: 1, nCoda: 1, nLoop: 2 },
    { objective: objective(uniform) },
  ],
  'keys of the first loop': [{ depth: 'loop', nLoop: 3, kvSharing: 'first-loop' }],
  'keys of the first two of five loops, inner loops, dropout': [
    {
      depth: 'loop',
      nLoop: 5,
      nInnerLoop: 2,
      loopForm: 'output',
      dropout: 0.2,
      kvSharing: 'first-loop',
      kvLoops: 2,
    },
  ],
  'stable injection, loop embeddings, norm': [
    { depth: 'loop', nLoop: 3, inputInjection: 'stable', loopEmbedding: true, loopNorm: true },
  ],
  'exact injection into a random state, more loops than trained': [
    { depth: 'loop', nLoop: 2, inputInjection: 'stable-exact', initialState: 'random', loopEmbedding: true },
    { loops: 3 },
  ],
  'scalars, a random state': [
    { depth: 'loop', nLoop: 2, loopForm: 'output', inputInjection: 'scalars', initialState: 'random' },
  ],
  'static streams, every loop’s loss through a coda': [
    { depth: 'loop', nLayer: 3, nPrelude: 1, nCoda: 1, nLoop: 3, hyperConnections: 'static', nStream: 3 },
    { objective: objective(uniform) },
  ],
  'dynamic streams, stable injection, exits that are drawn': [
    { depth: 'loop', nLoop: 3, inputInjection: 'stable', loopNorm: true, hyperConnections: 'dynamic' },
    { objective: objective({ exitLoss: 'mixed' }) },
  ],
  'dynamic streams, more loops than trained, keys of the first loop': [
    {
      ...{
        depth: 'loop',
        nLoop: 2,
        hyperConnections: 'dynamic',
        loopForm: 'output',
        kvSharing: 'first-loop',
      },
      ...{ normType: 'rmsnorm', loopNorm: true },
    },
    { loops: 4 },
  ],
  universal: [{ depth: 'universal', nLayer: 1, nLoop: 3 }],
  'universal, pre-norm, two layers': [{ depth: 'universal', nLoop: 2, norm: 'pre', dropout: 0.2 }],
  'universal, ACT': [
    { depth: 'universal', nLayer: 1, nLoop: 4, halting: 'act' },
    { objective: objective({ ponderCost: 0.3 }) },
  ],
  'loop, ACT, inner loops, dropout': [
    { depth: 'loop', nLoop: 3, nInnerLoop: 2, loopForm: 'output', halting: 'act', dropout: 0.2 },
    { objective: objective({ ponderCost: 0.3 }) },
  ],
  'adaptive, separate': [
    { depth: 'adaptive', nLayer: 3, exitHead: 'separate' },
    { objective: objective({ exitLoss: 'linear' }) },
  ],
  'adaptive, mixed': [
    { depth: 'adaptive', nLayer: 3, exitHead: 'shared' },
    { objective: objective({ exitLoss: 'mixed' }) },
  ],
  'adaptive, mixed, separate': [
    { depth: 'adaptive', nLayer: 3, exitHead: 'separate' },
    { objective: objective({ exitLoss: 'mixed' }) },
  ],
  'sharing, cycle-rev': [{ depth: 'sharing', nLayer: 2, nApplication: 5, sharing: 'cycle-rev' }],
};

function objective(change: Partial<Objective>): Objective {
  const usual = { exitLoss: 'last', ponderCost: 0, oracle: 'likelihood', oracleLambda: 0.1, oracleSigma: 1 };
  return { ...(usual as Objective), ...change };
}

const COUNTED = targets.filter((t) => t >= 0).length;
const sum = (values: Iterable<number>) => Array.from(values).reduce((total, x) => total + x, 0);

/** A model with values away from zeros and ones, so that every path carries a gradient. */
async function perturbedModel(runtime: Runtime, config: Record<string, unknown>): Promise<GPT> {
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), runtime, { train: true });
  for (const p of model.parameters.all) {
    const values = await read(p);
    const noise = normal(3, p.name, p.size, p.name.endsWith('halting.weight') ? 2 : 0.3);
    runtime.backend.write(
      p.storage,
      values.map((x, i) => x + noise[i]),
    );
  }
  return model;
}

/** Records a forward pass and walks it back. */
function backward(model: GPT, options: TrainPass): LossOutput {
  const tape = new Tape(model.runtime);
  model.parameters.zeroGradients();
  const output = model.runtime.recording(tape, () => model.loss(tokens, targets, 2, 1, options));
  tape.backward();
  return output;
}

/** The objective's value, as a forward pass that records nothing would add it up. */
async function objectiveValue(model: GPT, options: TrainPass): Promise<number> {
  const exitLoss = options.objective?.exitLoss ?? 'last';
  if (exitLoss === 'uniform' || exitLoss === 'linear') {
    const { exits } = await model.readings(tokens, targets, 2, options);
    const weights = exitWeights(exitLoss, exits.length);
    return sum(exits.map(({ losses }, n) => (weights[n] * sum(losses)) / COUNTED));
  }
  const tape = new Tape(model.runtime);
  using output = model.runtime.recording(tape, () => model.loss(tokens, targets, 2, 1, options));
  tape.clear();
  const ponder = output.auxLoss ? sum(await read(output.auxLoss)) / tokens.length : 0;
  return sum(await read(output.losses)) / COUNTED + (options.objective?.ponderCost ?? 0) * ponder;
}

for (const [name, [config, given]] of Object.entries(variants)) {
  for (const checkpointed of [false, true]) {
    test(`${name}${checkpointed ? ', checkpointed' : ''}: gradients against finite differences`, async () => {
      const runtime = doubleRuntime();
      const { backend } = runtime;
      const model = await perturbedModel(runtime, config);
      const options = {
        dropout: { seed: 1, step: 2, microStep: 3 },
        checkpoint: () => checkpointed,
        ...given,
      };
      backward(model, options)[Symbol.dispose]();
      assert.equal(runtime.pool.live, 0, 'buffers left over');

      const gradients = await Promise.all(model.parameters.all.map((p) => backend.read(p.gradient!)));
      for (const [k, p] of model.parameters.all.entries()) {
        const gradient = gradients[k];
        const values = await read(p);
        const direction = normal(5, p.name, p.size, 1);
        const slope = direction.reduce((total, d, i) => total + d * gradient[i], 0);
        const h = 1e-5;
        const at = async (t: number) => {
          backend.write(
            p.storage,
            values.map((v, i) => v + t * direction[i]),
          );
          return objectiveValue(model, options);
        };
        const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
        backend.write(p.storage, values);
        assert.ok(
          Math.abs(slope - numeric) < 1e-7 * Math.max(1, Math.abs(numeric)),
          `${p.name}: ${slope} against ${numeric}`,
        );
      }
    });
  }
}

test('ACT in these tests stops rows at different steps', async () => {
  for (const name of ['universal, ACT', 'loop, ACT, inner loops, dropout']) {
    const model = await perturbedModel(doubleRuntime(), variants[name][0]);
    using output = backward(model, { dropout: { seed: 1, step: 2, microStep: 3 }, ...variants[name][1] });
    const steps = Array.from(await output.stepsPerRow!.read());
    assert.ok(new Set(steps).size > 1, `${name}: ${steps}`);
  }
});

for (const halting of ['geometric', 'multinomial', 'sequence']) {
  test(`${halting}: the halting unit learns its own loss, and nothing else learns from it`, async () => {
    const runtime = doubleRuntime();
    const { backend } = runtime;
    const shape = { depth: 'adaptive', nLayer: 3 };
    const options = { objective: objective(uniform) };
    const model = await perturbedModel(runtime, { ...shape, halting });
    const plain = await perturbedModel(runtime, shape);
    backward(plain, options)[Symbol.dispose]();
    backward(model, options)[Symbol.dispose]();
    assert.equal(runtime.pool.live, 0, 'buffers left over');
    const auxLoss = async () => {
      using output = backward(model, options);
      return sum(await read(output.auxLoss!)) / tokens.length;
    };
    for (const p of model.parameters.all) {
      const gradient = Float64Array.from(await backend.read(p.gradient!));
      const twin = plain.parameters.all.find(({ name }) => name === p.name);
      if (twin) {
        assert.deepEqual(gradient, Float64Array.from(await backend.read(twin.gradient!)), p.name);
        continue;
      }
      const values = await read(p);
      for (const i of [0, p.size - 1]) {
        const at = (t: number) => {
          backend.write(
            p.storage,
            values.map((v, k) => (k === i ? v + t : v)),
          );
          return auxLoss();
        };
        const numeric = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5;
        backend.write(p.storage, values);
        assert.ok(Math.abs(gradient[i] - numeric) < 1e-7, `${p.name}[${i}]: ${gradient[i]}, ${numeric}`);
      }
    }
  });
}

test('truncated back-propagation: full when it spans every loop, and else the last loops alone train the stack', async () => {
  const runtime = doubleRuntime();
  const config = { depth: 'loop', nLayer: 1, nLoop: 3, loopForm: 'output' };
  const model = await perturbedModel(runtime, config);
  const gradients = async (backpropLoops: number) => {
    backward(model, { backpropLoops })[Symbol.dispose]();
    assert.equal(runtime.pool.live, 0, 'buffers left over');
    return Float64Array.from(await runtime.backend.read(model.parameters.gradient!));
  };
  const full = await gradients(0);
  assert.deepEqual(await gradients(3), full);
  assert.deepEqual(await gradients(9), full);
  assert.notDeepEqual(await gradients(1), full);
  const gates = model.parameters.all.find(({ role }) => role === 'gate')!;
  await gradients(1);
  const rows = Array.from(await runtime.backend.read(gates.gradient!));
  assert.ok(
    rows.slice(0, 12).every((x) => x === 0),
    'gates of the loops before the last learn nothing',
  );
  assert.ok(rows.slice(12).some((x) => x !== 0));
  for (const p of model.parameters.all.filter(({ role }) => role === 'position')) {
    const some = Array.from(await runtime.backend.read(p.gradient!)).some((x) => x !== 0);
    assert.ok(some, 'positions still learn');
  }
});
