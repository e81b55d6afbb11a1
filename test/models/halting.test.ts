/** Rows that halt: skipping them gives the bits of masking them, later tokens change nothing, and rules stop where they say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native.js';
import type { ReferenceBackend } from '../../src/backend/reference.js';
import { hostRows } from '../../src/backend/rows.js';
import { ConfigError } from '../../src/errors.js';
import { parseModelConfig } from '../../src/models/config.js';
import type { ForwardOptions } from '../../src/models/context.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/nn/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { parseRunConfig } from '../../src/train/config.js';

const tiny = { vocabSize: 31, blockSize: 40, nHead: 2, nEmbd: 16 };
const T = 40;
const tokens = Int32Array.from({ length: 2 * T }, (_, i) => (i * i + 3 * i) % 31);
const targets = Int32Array.from({ length: 2 * T }, (_, i) => (i * 7) % 31);

const systems: Record<string, readonly [model: Record<string, unknown>, options?: ForwardOptions]> = {
  'universal, ACT': [{ depth: 'universal', nLayer: 1, nLoop: 4, halting: 'act' }],
  'loop, ACT': [{ depth: 'loop', nLayer: 2, nLoop: 4, nInnerLoop: 2, loopForm: 'output', halting: 'act' }],
  'loop with prelude and coda, ACT': [
    { depth: 'loop', nLayer: 3, nLoop: 4, nPrelude: 1, nCoda: 1, halting: 'act', inputInjection: 'linear' },
  ],
  'adaptive, geometric': [{ depth: 'adaptive', nLayer: 4, halting: 'geometric' }],
  'adaptive, multinomial, separate': [
    { depth: 'adaptive', nLayer: 4, halting: 'multinomial', exitHead: 'separate' },
  ],
  'universal, sequence': [{ depth: 'universal', nLayer: 1, nLoop: 4, halting: 'sequence' }],
  'loop, confidence': [
    { depth: 'loop', nLayer: 2, nLoop: 4, halting: 'confidence' },
    { exitThreshold: 0.16 },
  ],
};

/** A backend that cannot tell which rows run, so that all are computed. */
class Masking extends NativeBackend {
  override readonly rows = { ...hostRows, compact: () => null };
}

function build(backend: NativeBackend | ReferenceBackend, config: Record<string, unknown>): GPT {
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' ? 1 : 0;
    const scale = p.name.includes('halting') && !p.name.includes('bias') ? 0.6 : 0.3;
    backend.write(
      p.storage,
      normal(3, p.name, p.size, scale).map((x) => x + gain),
    );
  }
  return model;
}

async function score(model: GPT, ids: Int32Array, options?: ForwardOptions) {
  using output = model.loss(ids, targets.subarray(0, ids.length), 2, 1, options);
  return { losses: await output.losses.read(), steps: Array.from(await output.stepsPerRow!.read()) };
}

for (const [name, [config, options]] of Object.entries(systems)) {
  test(`${name}: skipping halted rows gives the bits of masking them, on every precision`, async () => {
    for (const precision of ['f32', 'bf16'] as const) {
      const model = build(new NativeBackend(precision), config);
      const skipped = await score(model, tokens, options);
      const masked = await score(build(new Masking(precision), config), tokens, options);
      assert.deepEqual(skipped, masked);
      const kinds = new Set(skipped.steps).size;
      assert.ok(kinds > 1, `rows halt at different steps: ${skipped.steps}`);
      assert.equal(model.runtime.pool.live, 0, 'buffers left over');
    }
  });

  test(`${name}: what comes later changes neither a token's loss nor its steps`, async () => {
    const model = build(new NativeBackend('f32'), config);
    const whole = await score(model, tokens, options);
    const changed = tokens.slice();
    const half = T / 2;
    for (let t = half; t < T; t++) changed[t] = changed[T + t] = 5;
    const other = await score(model, changed, options);
    for (const b of [0, 1]) {
      const part = [b * T, b * T + half] as const;
      assert.deepEqual(other.losses.slice(...part), whole.losses.slice(...part));
      assert.deepEqual(other.steps.slice(...part), whole.steps.slice(...part));
    }
  });

  test(`${name}: the last position's logits are read at the exit that it took`, async () => {
    const model = build(new NativeBackend('f32'), config);
    const { steps } = await score(model, tokens, options);
    const { logits, steps: last } = await model.lastLogits(tokens, 2, options);
    assert.deepEqual(Array.from(last!), [steps[T - 1], steps[2 * T - 1]]);
    const { losses } = await score(model, tokens, options);
    for (const b of [0, 1]) {
      const row = Array.from(logits.subarray(b * 31, (b + 1) * 31));
      const logSum = Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
      const end = (b + 1) * T - 1;
      assert.ok(Math.abs(logSum - row[targets[end]] - losses[end]) < 1e-5);
    }
  });
}

test('a lower threshold of confidence lets tokens leave earlier; without early exit none does', async () => {
  const model = build(new NativeBackend('f32'), systems['loop, confidence'][0]);
  const mean = async (exitThreshold: number) => {
    const { steps } = await score(model, tokens, { exitThreshold });
    return steps.reduce((total, n) => total + n, 0) / steps.length;
  };
  const means = [await mean(0.05), await mean(0.15), await mean(0.2), await mean(0.999)];
  assert.deepEqual([...means].sort(), means);
  assert.equal(means[3], 4);
  using full = model.loss(tokens, targets, 2, 1, { earlyExit: false });
  assert.equal(full.stepsPerRow, null);
});

test('wrong combinations are refused before any training, by field and rule', () => {
  const refused: [model: Record<string, unknown>, message: RegExp, train?: Record<string, unknown>][] = [
    [
      { depth: 'gpt2', halting: 'act' },
      /halting: must be none where depth is gpt2, got 'act'; set depth to loop/,
    ],
    [{ depth: 'sharing', nLayer: 2, nApplication: 4, halting: 'confidence' }, /halting: must be none/],
    [
      { depth: 'sharing', nLayer: 3, nApplication: 7, sharing: 'sequence' },
      /nApplication: must be a multiple of nLayer = 3/,
    ],
    [
      { depth: 'sharing', nLayer: 3, nApplication: 5, sharing: 'cycle-rev' },
      /nApplication: must be at least 6/,
    ],
    [{ depth: 'sharing', nLayer: 3, nApplication: 2 }, /nApplication: must be at least 3/],
    [{ depth: 'sharing', nLayer: 3 }, /nApplication: must be given/],
    [{ depth: 'loop', nLayer: 2, nPrelude: 1, nCoda: 1 }, /nPrelude: must leave a layer to loop/],
    [{ depth: 'loop', halting: 'act' }, /halting: must be none where there is a single exit/],
    [{ depth: 'loop', nLoop: 1, inputInjection: 'add' }, /inputInjection: must be none where nLoop is 1/],
    [{ depth: 'loop', nLoop: 3, norm: 'pre' }, /norm: must be post where depth is loop/],
    [{ depth: 'adaptive', nLoop: 2 }, /nLoop: must be 1 where depth is adaptive/],
    [{ depth: 'universal', nLoop: 2, halting: 'act', exitHead: 'separate' }, /exitHead: must be shared/],
    [
      { depth: 'loop', nLoop: 2, nLayer: 2, nCoda: 1, halting: 'confidence' },
      /nCoda: must be 0/,
      { exitLoss: 'uniform' },
    ],
    [{ depth: 'gpt2' }, /exitLoss: must be last where the model has a single exit/, { exitLoss: 'uniform' }],
    [
      { depth: 'loop', nLoop: 2, halting: 'act' },
      /exitLoss: must be last where halting is act/,
      { exitLoss: 'mixed' },
    ],
    [
      { depth: 'adaptive', halting: 'geometric' },
      /exitLoss: must be uniform or linear/,
      { exitLoss: 'mixed' },
    ],
    [{ depth: 'adaptive', halting: 'confidence' }, /exitLoss: must train the early exits/],
    [{ depth: 'loop' }, /loopSampling: must be fixed where nLoop is 1/, { loopSampling: 'uniform' }],
    [{ depth: 'gpt2' }, /backpropLoops: must be 0/, { backpropLoops: 1 }],
  ];
  for (const [model, message, train = {}] of refused) {
    assert.throws(
      () => parseRunConfig({ model, train }, 'test'),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
      `${JSON.stringify(model)} ${message}`,
    );
  }
});
