/**
 * What an earlier version wrote keeps working: files of 35e8274 (`test/fixtures/35e8274/make.sh`), on the reference
 * backend.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadModel } from '../../src/index.js';
import { loopnn, temporaryFolder } from './helpers.js';

const EARLIER = fileURLToPath(new URL('../../../test/fixtures/35e8274/', import.meta.url));
const folder = temporaryFolder();

/** What 35e8274 itself made of its run when it resumed it from step 10 to step 20. */
const RESUMED = {
  'model.safetensors': 'e8dfbdd2f437d640a96f2aa71b9e609b0967ed25da6180d37ed867c3b237a5f5',
  'optimizer.safetensors': '5e953ff11f738d20b3cf9cf2141c93d4394fe023b8d6d96724213a31ce24f1a3',
};

async function done(...args: string[]): Promise<void> {
  const { code, stderr } = await loopnn(args, { LOOPNN_BACKEND: 'reference' });
  assert.equal(code, 0, stderr);
}

test('a run resumes with the bits that its own version gives it', async () => {
  const run = join(folder, 'run');
  cpSync(join(EARLIER, 'run'), run, { recursive: true });
  await done('train', '--resume', '--max-steps', '20', '--data', join(EARLIER, 'data'), '--out', run);
  for (const [name, hash] of Object.entries(RESUMED)) {
    const content = readFileSync(join(run, 'checkpoints', 'last-0000020', name));
    assert.equal(createHash('sha256').update(content).digest('hex'), hash, name);
  }
});

test('a run opens and generates what its own version does', async () => {
  await using model = await loadModel(join(EARLIER, 'run'), { backend: 'reference' });
  const stream = model.generate('the same', { maxTokens: 8, temperature: 0 });
  let text = '';
  for await (const token of stream) text += token.text;
  assert.equal(text, ' '.repeat(8));
});

test('a data folder trains', async () => {
  const small =
    '--n-layer 1 --n-embd 16 --n-head 2 --block-size 32 --max-steps 2 --warmup-steps 1 --eval-batches 1';
  const out = join(folder, 'new');
  await done('train', ...small.split(' '), '--data', join(EARLIER, 'data'), '--out', out);
});

test('an exported model imports as the weights that were exported', async () => {
  const out = join(folder, 'imported');
  await done('import', join(EARLIER, 'huggingface'), '--out', out);
  const weights = (run: string, checkpoint: string) =>
    readFileSync(join(run, 'checkpoints', checkpoint, 'model.safetensors'));
  assert.deepEqual(weights(out, 'last-0000000'), weights(join(EARLIER, 'run'), 'best-0000010'));
});

test('a run exports as the graph that its own version wrote', async () => {
  const out = join(folder, 'onnx');
  await done('export', '--model', join(EARLIER, 'run'), '--out', out, '--format', 'onnx');
  const graph = (exported: string) => readFileSync(join(exported, 'onnx', 'model.onnx'));
  assert.deepEqual(graph(out), graph(join(EARLIER, 'onnx')));
});
