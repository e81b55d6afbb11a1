/** Long: what `loopnn serve` has in memory of a model, beside what it has of a very small one. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { NodeStore } from '../../src/node/store.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { parseRunConfig } from '../../src/train/config.js';
import { createRun } from '../../src/train/run.js';
import { temporaryFolder } from '../cli/helpers.js';
import { randomWeights } from '../train/random-weights.js';
import { clientOf, metric, serveProcess } from './helpers.js';

/** Some 40 million parameters, of which two fifths are the embedding. */
const LARGE = { vocabSize: 30_000, nEmbd: 512, nHead: 8, nLayer: 8 };
const SMALL = { vocabSize: 257 };
/** Bytes of memory for each byte of the file, which holds floats; what attends and answers has a little of its own. */
const MOST = { f32: 1.1, bf16: 0.6, int8: 0.35 };
const FLAGS = {
  f32: ['--precision', 'f32'],
  bf16: ['--precision', 'bf16'],
  int8: ['--precision', 'bf16', '--weights', 'int8'],
};

async function written(fields: Record<string, unknown>): Promise<string> {
  const folder = temporaryFolder();
  const store = new NodeStore(folder);
  const model = await randomWeights(store, { depth: 'gpt2', nLoop: 1, blockSize: 64, ...fields });
  const config = parseRunConfig({ model, train: {} }, 'test');
  await createRun(store, config, new BytesTokenizer());
  return folder;
}

/** Resident bytes of a server that has answered. */
async function resident(folder: string, flags: readonly string[]): Promise<number> {
  const { url, stop } = await serveProcess(folder, ...flags);
  await clientOf(url).completions.create({ model: basename(folder), prompt: 'ab', max_tokens: 8 });
  const bytes = await metric(url, 'process_resident_memory_bytes');
  await stop();
  return bytes;
}

test('a served model takes the memory of its packed weights', async () => {
  const [small, large] = [await written(SMALL), await written(LARGE)];
  const floats = statSync(join(large, 'checkpoints/last-0000000/model.safetensors')).size;
  for (const [name, most] of Object.entries(MOST)) {
    const flags = FLAGS[name as keyof typeof FLAGS];
    const taken = (await resident(large, flags)) - (await resident(small, flags));
    const part = taken / floats;
    assert.ok(part < most, `${name}: ${part.toFixed(2)} of the ${floats} bytes of floats`);
    console.log(`${name}: ${part.toFixed(2)} of the bytes of floats`);
  }
});
