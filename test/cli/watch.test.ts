/** `loopnn watch`, and `--watch` and `--eval-loops` of a training. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopnn, outcome, refused, start, temporaryFolder, writeCorpus } from './helpers.js';

test('watch says where, waits for runs, ends at once, and refuses what is no folder', async () => {
  const folder = temporaryFolder();
  const child = start(['watch', folder, '--port', '0']);
  const ended = outcome(child);
  await new Promise<void>((resolve) => {
    child.stderr!.on('data', (text: string) => /no run yet/.test(text) && resolve());
  });
  child.kill('SIGTERM');
  const { code, stderr } = await ended;
  assert.equal(code, 0);
  assert.match(
    stderr,
    /^listening on http:\/\/127\.0\.0\.1:\d+\nno run yet; new runs appear as they start\n$/,
  );
  await refused(['watch', join(folder, 'none')], /none: must be a folder with runs below it/);
  await refused(['watch'], /missing required argument 'runs'/, 2);
});

test('a training shows its page while it runs, and logs the loss by loop count', async () => {
  const folder = temporaryFolder();
  const data = join(folder, 'data');
  await loopnn(['prepare', writeCorpus(folder), '--out', data, '--tokenizer', 'bytes']);
  const model = ['--depth', 'loop', '--n-layer', '1', '--n-loop', '2', '--n-head', '2', '--n-embd', '16'];
  const sizes = ['--block-size', '16', '--batch-size', '2', '--max-steps', '2', '--eval-batches', '1'];
  const run = join(folder, 'run');
  const asked = ['--watch', '--eval-loops', '1,3'];
  const { code, stderr } = await loopnn([
    'train',
    '--data',
    data,
    '--out',
    run,
    ...model,
    ...sizes,
    ...asked,
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^watch it on http:\/\/127\.0\.0\.1:\d+\n/);
  assert.ok(stderr.endsWith(`the page is closed; to see it again: loopnn watch ${run}\n`), stderr);
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const last = JSON.parse(lines.at(-1)!);
  assert.deepEqual(
    last.lossByLoops.map(({ loops }: { loops: number }) => loops),
    [1, 3],
  );
  assert.equal(typeof last.sample, 'string');
  assert.ok(last.memoryBytes > 1e7);
  await refused(['train', '--data', data, '--out', run, '--eval-loops', '0'], /--eval-loops/, 2);
});
