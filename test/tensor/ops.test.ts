/** Each op's gradients against finite differences in double precision. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVATIONS, type Dropout } from '../../src/backend/backend.js';
import { attention, placeHeads } from '../../src/tensor/attention-ops.js';
import {
  activation,
  add,
  addToLoss,
  alias,
  checkpoint,
  constantOffset,
  detach,
  dropout,
  embedding,
  gatedActivation,
  gatedResidual,
  headLoss,
  layerNorm,
  linear,
  rmsNorm,
  scaleRows,
  selectRows,
} from '../../src/tensor/ops.js';
import { rotations } from '../../src/nn/rotary.js';
import { Tape } from '../../src/tensor/tape.js';
import { checkGradients, doubleRuntime, read, randomParameter, randomTensor } from './helpers.js';

const mask: Dropout = { p: 0.3, key: [123, 456], firstSample: 2 };

test('linear: gradients by input, weight and bias', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [5, 3]);
  const weight = randomParameter(runtime, 'w', [3, 4]);
  const bias = randomParameter(runtime, 'b', [4], 'bias');
  await checkGradients(runtime, { x, weight, bias }, () => linear(x, weight, bias));
  await checkGradients(runtime, { x, weight }, () => linear(x, weight, null));
});

test('layerNorm: gradients by input, weight and bias', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [4, 6]);
  const weight = randomParameter(runtime, 'w', [6], 'norm');
  const bias = randomParameter(runtime, 'b', [6], 'bias');
  await checkGradients(runtime, { x, weight, bias }, () => layerNorm(x, weight, bias, 1e-5));
  await checkGradients(runtime, { x, weight }, () => layerNorm(x, weight, null, 0.3));
});

test('rmsNorm: gradients by input and weight', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [4, 6]);
  const weight = randomParameter(runtime, 'w', [6], 'norm');
  await checkGradients(runtime, { x, weight }, () => rmsNorm(x, weight, 0.3));
});

test('rows: gradients of select and scale, of a constant offset, and none through detach', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [4, 3]);
  const y = randomTensor(runtime, 'y', [4, 3]);
  const scale = randomTensor(runtime, 'scale', [4]);
  const chosen = runtime.from(Int32Array.of(1, 0, 0, 1), [4]);
  await checkGradients(runtime, { x, y }, () => selectRows(chosen, x, y));
  await checkGradients(runtime, { x, scale }, () => scaleRows(x, scale));
  await checkGradients(runtime, { x, y, scale }, () => scaleRows(x, scale, y));
  for (const kind of ['relu', 'relu2', 'tanh', 'sigmoid'] as const) {
    await checkGradients(runtime, { x }, () => activation(x, kind));
  }
  await checkGradients(runtime, { x }, () => {
    using held = detach(y);
    return add(x, held);
  });
  assert.equal(y.grad, null);

  const tape = new Tape(runtime);
  runtime.recording(tape, () => {
    using moved = constantOffset(y, x);
    addToLoss(moved, y);
  });
  tape.backward();
  assert.deepEqual(Array.from(await runtime.backend.read(x.grad!.storage)), Array.from(await read(y)));
  assert.equal(y.grad, null);
});

test('activations, add and alias: gradients', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [3, 5]);
  const y = randomTensor(runtime, 'y', [3, 5]);
  for (const kind of ['gelu_new', 'gelu', 'silu', 'quick_gelu'] as const) {
    await checkGradients(runtime, { x }, () => activation(x, kind));
  }
  const halves = randomTensor(runtime, 'halves', [3, 10]);
  for (const kind of ACTIVATIONS)
    await checkGradients(runtime, { halves }, () => gatedActivation(halves, kind));
  await checkGradients(runtime, { x, y }, () => add(x, y));
  await checkGradients(runtime, { x }, () => {
    using twice = add(x, x);
    return alias(twice);
  });
});

test('a value read by two ops gets the sum of their gradients, even where they share a buffer', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [3, 4]);
  await checkGradients(runtime, { x }, () => {
    using active = activation(x, 'gelu_new');
    using sum = add(x, active);
    using more = activation(sum, 'gelu_new');
    return add(sum, more);
  });
});

test('attention: gradients, with and without dropout, at one and at several sequences', async () => {
  const runtime = doubleRuntime();
  const qkv = randomTensor(runtime, 'qkv', [8, 18]);
  const heads = { NH: 2, KV: 2, HS: 3 };
  await checkGradients(runtime, { qkv }, () => attention(qkv, 2, 4, heads, null));
  await checkGradients(runtime, { qkv }, () => attention(qkv, 1, 8, { NH: 3, KV: 3, HS: 2 }, null));
  await checkGradients(runtime, { qkv }, () => attention(qkv, 2, 4, heads, mask));
  await checkGradients(runtime, { qkv }, () => attention(qkv, 2, 4, { NH: 4, KV: 1, HS: 3 }, mask));
});

test('placeHeads: gradients of norm, rotation and both, where another op holds the same gradient', async () => {
  const runtime = doubleRuntime();
  const qkv = randomTensor(runtime, 'qkv', [3, 24]);
  using positions = runtime.from(Int32Array.of(4, 0, 2), [3]);
  using rotation = runtime.from(rotations(5, 4, 100), [5, 4]);
  const heads = { NH: 4, KV: 1, HS: 4 };
  for (const eps of [null, 0.1]) {
    for (const turn of eps === null ? [rotation] : [null, rotation]) {
      await checkGradients(runtime, { qkv }, () => {
        using copy = dropout(qkv, 3, mask); // it overwrites what it is given
        using placed = placeHeads(copy, positions, heads, { eps, rotation: turn });
        return add(placed, qkv);
      });
    }
  }
});

test('dropout: gradients, the share kept, and the scale', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [6, 5]);
  await checkGradients(runtime, { x }, () => dropout(x, 3, mask));
  using ones = runtime.from(new Float64Array(40_000).fill(1), [400, 100]);
  using dropped = dropout(ones, 10, mask);
  const values = await read(dropped);
  const kept = values.filter((v) => v !== 0);
  assert.ok(Math.abs(kept.length / values.length - 0.7) < 0.01, `kept ${kept.length} of ${values.length}`);
  assert.ok(kept.every((v) => Math.abs(v - 1 / 0.7) < 1e-12));
});

test('gatedResidual: gradients in both forms, with vector and scalar gates', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [4, 3]);
  const f = randomTensor(runtime, 'f', [4, 3]);
  for (const form of ['output', 'correction'] as const) {
    for (const G of [3, 1]) {
      const gate = randomParameter(runtime, 'gate', [G], 'gate');
      await checkGradients(runtime, { x, f, gate }, () => gatedResidual(x, f, gate, form));
    }
  }
});

test('embedding: gradients, a repeated token getting the sum', async () => {
  const runtime = doubleRuntime();
  const wte = randomParameter(runtime, 'wte', [5, 3], 'embedding');
  const wpe = randomParameter(runtime, 'wpe', [4, 3], 'position');
  using tokens = runtime.from(Int32Array.of(1, 4, 1, 0, 1, 2), [6]);
  using positions = runtime.from(Int32Array.of(0, 1, 2, 0, 1, 2), [6]);
  await checkGradients(runtime, { wte, wpe }, () => embedding(tokens, positions, wte, wpe));
});

test('headLoss: value against a softmax written out, gradients by input and weight, ignored targets', async () => {
  const runtime = doubleRuntime();
  const { backend } = runtime;
  using x = randomTensor(runtime, 'x', [4, 3]);
  const weight = randomParameter(runtime, 'w', [7, 3], 'embedding');
  using targets = runtime.from(Int32Array.of(3, -1, 0, 6), [4]);
  const scale = [0.5, 9, 1, 2];
  using rowWeights = runtime.from(Float64Array.from(scale), [4]);
  const total = async () => {
    using losses = headLoss(x, weight, targets, rowWeights);
    return (await read(losses)).reduce((sum, loss, r) => sum + scale[r] * loss, 0);
  };

  const xs = await x.read();
  const ws = await weight.read();
  const scores = Array.from(
    { length: 7 },
    (_, v) => xs[0] * ws[v * 3] + xs[1] * ws[v * 3 + 1] + xs[2] * ws[v * 3 + 2],
  );
  const expected = Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0)) - scores[3];
  using losses = headLoss(x, weight, targets, rowWeights);
  const found = await losses.read();
  assert.ok(Math.abs(found[0] - expected) < 1e-12);
  assert.equal(found[1], 0);

  const tape = new Tape(runtime);
  runtime.recording(tape, () => headLoss(x, weight, targets, rowWeights)).dispose();
  tape.backward();
  for (const [input, gradient] of [
    [x, x.grad!.storage],
    [weight, weight.gradient!],
  ] as const) {
    const analytic = await backend.read(gradient);
    const values = await read(input);
    for (let i = 0; i < values.length; i++) {
      const at = async (v: number) => {
        const moved = values.slice();
        moved[i] = v;
        backend.write(input.storage, moved);
        return total();
      };
      const numeric = ((await at(values[i] + 1e-5)) - (await at(values[i] - 1e-5))) / 2e-5;
      backend.write(input.storage, values);
      assert.ok(Math.abs(analytic[i] - numeric) < 1e-7, `${analytic[i]} against ${numeric}`);
    }
  }
});

test('checkpoint: the same gradients as without, nested too', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [3, 4]);
  const weight = randomParameter(runtime, 'w', [4, 4]);
  await checkGradients(runtime, { x, weight }, () =>
    checkpoint(x, (h) => {
      using y = checkpoint(h, (k) => linear(k, weight, null));
      using z = activation(y, 'gelu_new');
      return add(h, z);
    }),
  );
});
