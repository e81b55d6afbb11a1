/** `loadModel`: a run as a library's user loads it, asks it and gives it back. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { nativeInfo, setThreads } from '../../src/backend/native/addon.js';
import { NodeStore } from '../../src/node/store.js';
import { CheckpointError, ConfigError, type DataError, loadModel, type Model } from '../../src/index.js';
import type { GenerateOptions } from '../../src/index.js';
import { writeRun } from '../data/helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
const run = join(folder, 'run');
after(() => rmSync(folder, { recursive: true, force: true }));
before(() => writeRun(run));

async function textOf(model: Model, prompt: string | ArrayLike<number>, options?: GenerateOptions) {
  let text = '';
  for await (const token of model.generate(prompt, options)) text += token.text;
  return text;
}

test('a loaded model continues texts and ids, at any loop count', async () => {
  await using model = await loadModel(run, { backend: 'native' });
  assert.equal(model.tokenizer.name, 'bytes');
  assert.deepEqual([model.config.depth, model.config.nLoop], ['loop', 2]);
  const options = { maxTokens: 10, seed: 4 };
  const text = await textOf(model, 'ab', options);
  assert.ok(text.length > 0);
  assert.equal(await textOf(model, model.tokenizer.encode('ab'), options), text);
  // Like distributions mostly draw the same, so it is their probabilities that tell.
  const firstLogprob = async (loops: number) => {
    for await (const { logprob } of model.generate('ab', { ...options, loops, topLogprobs: 0 }))
      return logprob;
    return null;
  };
  assert.notEqual(await firstLogprob(1), await firstLogprob(2));
  assert.equal(await textOf(model, '', options), await textOf(model, [model.tokenizer.eot!], options));
  const logitBias = { [model.tokenizer.eot!]: -100 };
  const stream = model.generate('ab', { logitBias });
  let made = 0;
  let next = await stream.next();
  for (; !next.done; next = await stream.next()) if (next.value.id !== null) made++;
  assert.deepEqual([next.value.reason, made], ['block size', 15], 'by default as many as there is room for');
});

test('text that is held back until the end comes last, with a null id', async () => {
  await using model = await loadModel(run);
  // The first byte of a character of three, then nothing.
  const first = 0xe4;
  const logitBias = { [first]: 100 };
  const seen: [number | null, string][] = [];
  const options = { temperature: 0, maxTokens: 1, logitBias };
  for await (const { id, text } of model.generate('ab', options)) seen.push([id, text]);
  assert.deepEqual(seen, [
    [first, ''],
    [null, '\ufffd'],
  ]);
});

test('a signal ends an answer', async () => {
  await using model = await loadModel(run);
  const controller = new AbortController();
  const logitBias = { [model.tokenizer.eot!]: -100 };
  const stream = model.generate('a', { logitBias, signal: controller.signal });
  let made = 0;
  let next = await stream.next();
  for (; !next.done; next = await stream.next()) if (++made === 3) controller.abort();
  assert.equal(next.value.reason, 'aborted');
  assert.ok(next.value.tokens >= 3 && next.value.tokens <= 4);
});

test('several models at once answer as each does alone, and outlive each other', async () => {
  const other = join(folder, 'other');
  await writeRun(other, { nLayer: 1, nLoop: 3 });
  const first = await loadModel(run);
  const alone = await textOf(first, 'ab', { maxTokens: 12 });
  const second = await loadModel(other);
  const [a, b] = await Promise.all([
    textOf(first, 'ab', { maxTokens: 12 }),
    textOf(second, 'ab', { maxTokens: 12 }),
  ]);
  assert.equal(a, alone);
  await first.dispose();
  assert.equal(await textOf(second, 'ab', { maxTokens: 12 }), b);
  await second.dispose();
});

test('dispose ends what is being generated, may be called again, and then generate is refused', async () => {
  const model = await loadModel(run);
  const stream = model.generate('a', { logitBias: { [model.tokenizer.eot!]: -100 } });
  await stream.next();
  await Promise.all([model.dispose(), model.dispose()]);
  let next = await stream.next();
  while (!next.done) next = await stream.next();
  assert.equal(next.value.reason, 'aborted');
  await assert.rejects(model.generate('a').next(), (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.message, /must not be used after it was disposed of/);
    return true;
  });
  {
    using gone = await loadModel(run);
    assert.equal(gone.config.nEmbd, 12);
  }
});

test('threads, precision and backend are the caller’s choice', async () => {
  const { threads } = nativeInfo();
  try {
    await using model = await loadModel(run, { backend: 'native', threads: 1, precision: 'f32' });
    assert.equal(nativeInfo().threads, 1);
    await using plain = await loadModel(run, { backend: 'reference' });
    const options = { temperature: 0, maxTokens: 6 };
    assert.equal(await textOf(plain, 'ab', options), await textOf(model, 'ab', options));
  } finally {
    setThreads(threads);
  }
  await assert.rejects(loadModel(run, { backend: 'gpu' }), ConfigError);
});

test('keys and values may be shared in another way than the run was trained for, which is said', async () => {
  const warnings: string[] = [];
  const onWarning = (line: string) => warnings.push(line);
  await using model = await loadModel(run, { kvSharing: 'first-loop', onWarning });
  assert.deepEqual([model.config.kvSharing, model.config.kvLoops], ['first-loop', 1]);
  assert.match(
    warnings.join(),
    /trained with kvSharing per-application: with first-loop it is another model/,
  );
  await using same = await loadModel(run, { kvSharing: 'per-application', onWarning });
  assert.equal(same.config.kvSharing, 'per-application');
  assert.equal(warnings.length, 1);
});

test('options that do not exist are refused, also where no types are checked', async () => {
  const wrong: [object, RegExp][] = [
    [{ weights: 'int4' }, /weights: must be float or int8, got 'int4'/],
    [{ precision: 'fp16' }, /precision: must be auto or f32 or bf16 or f16, got 'fp16'/],
    [{ threads: 0 }, /threads: must be a whole number of at least 1, got 0/],
    [{ kvSharing: 'first' }, /kvSharing: must be one of/],
    [{ kvLoops: 2 }, /kvLoops: must be 1 where kvSharing is per-application/],
    [{ kvLoops: 1 }, /kvLoops: must not be given where kvSharing is per-application, got 1; set kvSharing/],
  ];
  for (const [options, message] of wrong)
    await assert.rejects(loadModel(run, options), { name: 'ConfigError', message });
});

test('what is no run, or has no tokenizer, is refused', async () => {
  await assert.rejects(loadModel(join(folder, 'nothing')), (error: unknown) => {
    assert.ok(error instanceof CheckpointError);
    assert.match(error.message, /nothing: must be the folder of a run, with a config\.json/);
    return true;
  });
  const bare = join(folder, 'bare');
  await writeRun(bare);
  rmSync(join(new NodeStore(bare).folder, 'tokenizer.json'));
  await assert.rejects(loadModel(bare), (error: DataError) => {
    assert.match(error.message, /bare: must hold a tokenizer\.json/);
    return true;
  });
});
