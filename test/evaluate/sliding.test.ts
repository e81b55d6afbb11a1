/** Perplexity by sliding windows, against a computation of each token by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import type { RunOptions } from '../../src/evaluate/evaluation.js';
import { slidingLoss, slidingWindows } from '../../src/evaluate/sliding.js';
import { source, testClock, VOCAB } from '../train/helpers.js';
import { lastLogits } from '../models/last-logits.js';

const L = 8;

function makeModel(fields: Record<string, unknown> = {}): GPT {
  const config = parseModelConfig(
    {
      vocabSize: VOCAB,
      blockSize: L,
      nHead: 2,
      nEmbd: 8,
      depth: 'loop',
      nLayer: 1,
      nLoop: 2,
      initStd: 0.5,
      ...fields,
    },
    'test',
  );
  const model = new GPT(config, new Runtime(onEngine(new ReferenceBackend('f64'))), { train: false });
  model.parameters.initialise(3);
  return model;
}

/** Nats of the last token of a sequence after the others, from its logits. */
async function nats(model: GPT, ids: Uint16Array, options: RunOptions): Promise<number> {
  const { logits } = await lastLogits(model, Int32Array.from(ids.subarray(0, -1)), 1, options);
  const most = Math.max(...logits);
  const sum = logits.reduce((total, z) => total + Math.exp(z - most), 0);
  return Math.log(sum) + most - logits[ids.at(-1)!];
}

/** The guide's loop, word for word, but token by token within a window. */
async function straightforward(
  model: GPT,
  ids: Uint16Array,
  stride: number,
  options: RunOptions,
): Promise<{ loss: number; tokens: number }> {
  let sum = 0;
  let tokens = 0;
  let previousEnd = 0;
  for (let begin = 0; begin < ids.length; begin += stride) {
    const end = Math.min(begin + L, ids.length);
    const targetLength = end - previousEnd;
    const window = ids.subarray(begin, end);
    for (let i = 1; i < window.length; i++) {
      if (i < window.length - targetLength) continue;
      sum += await nats(model, window.subarray(0, i + 1), options);
      tokens++;
    }
    previousEnd = end;
    if (end === ids.length) break;
  }
  return { loss: sum / tokens, tokens };
}

test('every stride and loop count gives what scoring each token by itself gives', async () => {
  const systems: [Record<string, unknown>, RunOptions][] = [
    [{}, {}],
    [{}, { loops: 1 }],
    [{ halting: 'confidence' }, { exit: { threshold: 0.3 } }],
    [{ depth: 'adaptive', nLayer: 3, nLoop: 1, halting: 'geometric', exitHead: 'separate' }, {}],
    [
      { depth: 'adaptive', nLayer: 3, nLoop: 1, halting: 'geometric', exitHead: 'separate' },
      { loops: 2, earlyExit: false },
    ],
    [{ depth: 'gpt2', nLayer: 2, nLoop: 1 }, {}],
  ];
  for (const [fields, options] of systems) {
    const model = makeModel(fields);
    for (const length of [2, 7, 8, 9, 29]) {
      const text = source(length);
      const ids = await text.read(0, length);
      for (const stride of [1, 3, L / 2, L]) {
        const expected = await straightforward(model, ids, stride, options);
        for (const B of [1, 3]) {
          const found = await slidingLoss(model, text, { B, bytes: 100, stride, ...options }, testClock);
          const where = `${JSON.stringify([fields, options])}: ${length} tokens, stride ${stride}`;
          assert.equal(found.tokens, expected.tokens, where);
          assert.ok(Math.abs(found.loss - expected.loss) < 1e-5, `${where}: ${found.loss} ${expected.loss}`);
          assert.ok(Math.abs(found.perplexity - Math.exp(found.loss)) < 1e-9);
          const bits = (found.loss / Math.LN2) * length;
          assert.ok(Math.abs(found.bpb! - bits / 100) < 1e-9);
        }
      }
    }
    assert.equal(model.runtime.pool.live, 0);
    model.dispose();
  }
});

test('windows: one for a short text, disjoint ones at the block size, each token once', () => {
  assert.deepEqual(slidingWindows(5, 8, 4), [{ start: 0, end: 5, counted: 1 }]);
  assert.deepEqual(slidingWindows(8, 8, 4), [{ start: 0, end: 8, counted: 1 }]);
  assert.deepEqual(slidingWindows(19, 8, 8), [
    { start: 0, end: 8, counted: 1 },
    { start: 8, end: 16, counted: 9 },
    { start: 16, end: 19, counted: 17 },
  ]);
  // A last disjoint window of one token predicts nothing.
  assert.deepEqual(slidingWindows(9, 8, 8), [{ start: 0, end: 8, counted: 1 }]);
  for (let length = 2; length < 40; length++) {
    for (let stride = 1; stride < 8; stride++) {
      const counted = slidingWindows(length, 8, stride).flatMap((w) =>
        Array.from({ length: w.end - w.counted }, (_, i) => w.counted + i),
      );
      assert.deepEqual(
        counted,
        Array.from({ length: length - 1 }, (_, i) => i + 1),
      );
    }
  }
});

test('a short text is one window whatever the stride; more context lowers no count', async () => {
  const model = makeModel();
  const run = (length: number, stride: number) =>
    slidingLoss(model, source(length), { B: 4, bytes: 1, stride }, testClock);
  assert.equal((await run(6, 1)).loss, (await run(6, 8)).loss);
  assert.equal((await run(30, 1)).tokens, 29);
  assert.equal((await run(32, 8)).tokens, 28);
});

test('impossible strides and texts are named', async () => {
  const model = makeModel();
  const run = (length: number, stride: number) =>
    slidingLoss(model, source(length), { B: 4, bytes: 1, stride }, testClock);
  for (const stride of [0, 9, 2.5]) {
    await assert.rejects(run(30, stride), {
      name: 'ConfigError',
      message: `stride: must be a whole number from 1 to blockSize = 8, got ${stride}`,
    });
  }
  await assert.rejects(run(1, 4), /source: must hold at least 2 tokens/);
});
