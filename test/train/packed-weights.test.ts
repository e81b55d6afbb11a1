/** A checkpoint for inference: the answers of one that is loaded whole, and no memory for what nobody reads. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { DType } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { GPT } from '../../src/models/gpt.js';
import { NodeStore } from '../../src/node/store.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { loadWeights } from '../../src/train/checkpoint.js';
import { MemoryStore } from '../../src/web/memory-store.js';
import { assertSameBits } from '../backend/helpers.js';
import { delayed, onEngine } from '../engines.js';
import { randomWeights, VOCAB } from './random-weights.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const TOKENS = Int32Array.from({ length: 16 }, (_, t) => (5 * t) % VOCAB);
const MODEL = 'checkpoints/last-0000000/model.safetensors';
const ENGINES = { f32: ['f32', false], bf16: ['bf16', false], int8: ['bf16', true] } as const;

async function logitsOf(model: GPT, tokens = TOKENS): Promise<Float32Array> {
  using logits = model.logits(tokens, 1);
  return (await logits.read()) as Float32Array;
}

for (const [name, [precision, int8]] of Object.entries(ENGINES)) {
  test(`${name}: logits have the bits of weights that are kept whole`, async () => {
    for (const fields of [{}, { tiedHead: false }, { exitHead: 'separate' }, { depth: 'universal' }]) {
      for (const store of [new NodeStore(join(folder, name, JSON.stringify(fields))), new MemoryStore()]) {
        const config = await randomWeights(store, fields);
        const found: Float32Array[] = [];
        for (const packed of [false, true]) {
          const runtime = new Runtime(onEngine(new NativeBackend(precision, int8)));
          const model = new GPT(config, runtime, { train: false, packed });
          await loadWeights(store, model);
          found.push(await logitsOf(model));
          model.dispose();
        }
        assertSameBits(found[1], found[0], JSON.stringify(fields));
      }
    }
  });
}

/** Counts what is allocated. */
class Counting extends NativeBackend {
  held = 0;
  most = 0;

  override allocate(dtype: DType, length: number) {
    this.held += 4 * length;
    this.most = Math.max(this.most, this.held);
    return super.allocate(dtype, length);
  }

  protected override release(storage: Parameters<NativeBackend['release']>[0]): void {
    this.held -= 4 * storage.length;
    super.release(storage);
  }
}

test('what is only packed is never held as floats, the largest matrix apart', async () => {
  const store = new NodeStore(join(folder, 'memory'));
  const config = await randomWeights(store, { nEmbd: 64, nHead: 2 });
  const held: Record<string, number> = {};
  for (const [name, [precision, int8]] of Object.entries(ENGINES)) {
    const backend = new Counting(precision, int8);
    const model = new GPT(config, new Runtime(backend), { train: false, packed: true });
    await loadWeights(store, model);
    held[name] = backend.held;
    const largest = 64 * 4 * 64 * 4;
    assert.ok(
      backend.most <= backend.held + 2 * largest,
      `${name}: ${backend.most} of ${backend.held} bytes`,
    );
    await logitsOf(model);
    model.dispose();
    model.runtime.pool.trim();
    assert.equal(backend.held, 0, name);
  }
  const floats = readFileSync(join(folder, 'memory', MODEL)).length;
  // The vocabulary is padded to whole panels, and scales and what is no matrix are floats.
  assert.ok(held.f32 < 1.1 * floats, `f32: ${held.f32} of ${floats} bytes`);
  assert.ok(held.bf16 < 0.6 * floats, `bf16: ${held.bf16} of ${floats} bytes`);
  assert.ok(held.int8 < 0.35 * floats, `int8: ${held.int8} of ${floats} bytes`);
});

const windows = process.platform === 'win32' && 'rows are held there';
const skip = delayed ? 'the delayed engine keeps weights as they are' : windows;

test('another checkpoint in place of the one in use changes nothing', { skip }, async () => {
  const path = join(folder, 'replaced');
  const config = await randomWeights(new NodeStore(path));
  const load = async () => {
    const model = new GPT(config, new Runtime(onEngine(new NativeBackend('f32'))), {
      train: false,
      packed: true,
    });
    await loadWeights(new NodeStore(path), model);
    return model;
  };
  const [expected, model] = [await logitsOf(await load()), await load()];
  const file = join(path, MODEL);
  const bytes = readFileSync(file);
  writeFileSync(
    `${file}.new`,
    bytes.map((byte, i) => (i > 2000 ? byte ^ 1 : byte)),
  );
  renameSync(`${file}.new`, file);
  assertSameBits(await logitsOf(model), expected, 'replaced');
  cpSync(path, `${path}-moved`, { recursive: true });
  rmSync(path, { recursive: true });
  const other = TOKENS.map((id) => (id + 1) % VOCAB);
  assert.equal((await logitsOf(model, other)).length, expected.length, 'rows that were not read before');
  model.dispose();
});

test('a checkpoint that is written over while it is in use is an error', { skip }, async () => {
  const path = join(folder, 'written');
  const config = await randomWeights(new NodeStore(path));
  for (const change of [
    (bytes: Buffer) => bytes.map((byte, i) => (i > 2000 ? byte ^ 1 : byte)),
    (bytes: Buffer) => bytes.subarray(0, 2000),
  ]) {
    const model = new GPT(config, new Runtime(onEngine(new NativeBackend('f32'))), {
      train: false,
      packed: true,
    });
    await loadWeights(new NodeStore(path), model);
    const file = join(path, MODEL);
    const bytes = readFileSync(file);
    writeFileSync(file, change(bytes));
    await assert.rejects(logitsOf(model), {
      name: 'CheckpointError',
      message:
        /model\.safetensors.*(must not be written to while it is in use; load the model again|has become shorter)/,
    });
    writeFileSync(file, bytes);
    await logitsOf(model);
    model.dispose();
  }
});
