/** `loopnn generate` from end to end. */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopnn, printed, refused, temporaryFolder, trainSmall } from './helpers.js';

const folder = temporaryFolder();
const { run } = await trainSmall(folder, 'run', '--max-steps', '30');

test('generate streams the same text for the same seed, another for another', async () => {
  const text = (...more: string[]) =>
    printed('generate', '--model', run, '--prompt', 'Line', '--tokens', '12', ...more);
  const first = await text();
  assert.equal(first.ids.length, 12);
  assert.equal(first.stopped, 'tokens');
  assert.deepEqual(await text(), first);
  assert.notDeepEqual((await text('--seed', '2')).ids, first.ids);
  assert.deepEqual((await text('--temperature', '0')).ids, (await text('--top-k', '1')).ids);
  const plain = await loopnn(['generate', '--model', run, '--prompt', 'Line', '--tokens', '12']);
  assert.equal(plain.stdout, `Line${first.text}\n`);
  assert.deepEqual((await text('--min-p', '1')).ids, (await text('--top-k', '1')).ids);
  const greedy = async (...more: string[]) => (await text('--temperature', '0', ...more)).ids;
  for (const penalty of ['--frequency-penalty', '--presence-penalty']) {
    assert.equal(new Set(await greedy(penalty, '1e6')).size, 12, `${penalty}: no token twice`);
  }
  assert.notDeepEqual(await greedy('--repetition-penalty', '5'), await greedy());
});

test('generate ends before the first of several stop texts', async () => {
  const args = ['generate', '--model', run, '--prompt', 'Line', '--tokens', '12'];
  const { text } = await printed(...args);
  const stops = ['--stop', text.slice(5, 8), '--stop', 'never to be found'];
  const stopped = await loopnn([...args, ...stops]);
  assert.equal(stopped.stdout, `Line${text.slice(0, text.indexOf(text.slice(5, 8)))}\n`);
  assert.match(stopped.stderr, /^stopped: stop text$/m);
});

test('generation ends at the block size and says so', async () => {
  const result = await loopnn(['generate', '--model', run, '--prompt', 'Line', '--tokens', '100']);
  assert.equal(result.code, 0);
  assert.match(result.stderr, /stopped: the sequence has filled the block size of 32 tokens/);
});

test('generate refuses what it cannot do', async () => {
  const generate = (...args: string[]) => ['generate', '--model', run, ...args];
  await refused(
    generate('--prompt', 'x'.repeat(40)),
    /prompt: must have at most blockSize = 32 tokens, got 40/,
  );
  await refused(generate('--temperature', '-1'), /temperature: must be at least 0, got -1/);
  await refused(generate('--top-p', '2'), /topP: must lie in \(0, 1\], got 2/);
  await refused(generate('--min-p', '2'), /minP: must lie in \[0, 1\], got 2/);
  await refused(generate('--repetition-penalty', '0'), /repetitionPenalty: must be above 0, got 0/);
  await refused(generate('--kv-loops', '1'), /kvLoops: must not be given where kvSharing is per-application/);
  await refused(generate('--stop', ''), /stop: must be texts that are not empty/);
  await refused(['generate', '--model', join(folder, 'nothing')], /nothing: must/);
  const broken = join(folder, 'broken');
  cpSync(run, broken, { recursive: true });
  for (const name of readdirSync(join(broken, 'checkpoints'))) {
    truncateSync(join(broken, 'checkpoints', name, 'model.safetensors'), 1000);
  }
  await refused(['generate', '--model', broken], /model\.safetensors/);
});
