/** Commands on a GPU: a training that is resumed, and its model’s loss and answers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { whyNoWebGpu } from '../webgpu.js';
import { loopnn, temporaryFolder, writeCorpus } from './helpers.js';

const skip = await whyNoWebGpu();
const folder = temporaryFolder();
const data = join(folder, 'data');
const run = join(folder, 'run');
const GPU = ['--backend', 'webgpu'];

/** What a command prints, as JSON. */
async function json(...args: string[]): Promise<Record<string, never>> {
  const { code, stdout, stderr } = await loopnn([...args, '--json']);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

test('a run is trained, continued, evaluated and asked on a GPU', { skip, timeout: 300_000 }, async () => {
  await json('prepare', writeCorpus(folder), '--out', data, '--tokenizer', 'bytes');
  const model = ['--depth', 'loop', '--n-layer', '1', '--n-loop', '2', '--n-embd', '8', '--n-head', '2'];
  const train = ['--block-size', '8', '--batch-size', '2', '--max-steps', '2', '--eval-batches', '1'];
  const trained = await loopnn(['train', '--data', data, '--out', run, ...model, ...train, ...GPU]);
  assert.equal(trained.code, 0, trained.stderr);
  assert.match(trained.stderr, /^webgpu \(.+, f32\)$/m);
  assert.equal(JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')).train.precision, 'f32');
  const more = await json('train', '--data', data, '--out', run, '--resume', '--max-steps', '3', ...GPU);
  assert.deepEqual([more.step, more.finished], [3, true]);

  const [onGpu, onProcessor] = [
    await json('eval', '--model', run, '--data', data, ...GPU),
    await json('eval', '--model', run, '--data', data, '--backend', 'native'),
  ] as unknown as { readonly backend: string; readonly results: readonly { readonly loss: number }[] }[];
  assert.match(onGpu.backend, /^webgpu /);
  const loss = onProcessor.results[0].loss;
  assert.ok(Math.abs(onGpu.results[0].loss / loss - 1) < 1e-5, `${onGpu.results[0].loss} against ${loss}`);
  const answer = await json('generate', '--model', run, '--prompt', 'Li', '--tokens', '4', ...GPU);
  assert.equal((answer.ids as unknown[]).length, 4);
});
