/** A run is opened once: its configuration is read then, whatever else is asked of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointError } from '../../src/errors.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { createRun, Run } from '../../src/train/run.js';
import { MemoryStore } from '../../src/web/memory-store.js';
import { makeTrainer } from './helpers.js';

/** A store that counts how often each file is read. */
class CountingStore extends MemoryStore {
  readonly reads = new Map<string, number>();

  override read(path: string): Promise<Uint8Array> {
    this.reads.set(path, (this.reads.get(path) ?? 0) + 1);
    return super.read(path);
  }
}

test('tokenizer, ids and weights of a run cost one reading of its configuration', async () => {
  const store = new CountingStore();
  const { trainer, model, config, runtime } = makeTrainer(store, { maxSteps: 2 }, { vocabSize: 257 });
  await trainer.start();
  await createRun(store, { model: model.config, train: config }, new BytesTokenizer());
  for await (const _event of trainer.run());
  store.reads.clear();

  const run = await Run.open(store, 'memory');
  assert.equal((await run.tokenizer()).vocabSize, 257);
  assert.deepEqual((await run.textIds()).eos, []);
  const loaded = await run.load(runtime);
  assert.equal(loaded.step, 2);
  assert.equal(store.reads.get('config.json'), 1);
  loaded.model.dispose();
});

test('a folder that holds no run is told so', async () => {
  await assert.rejects(
    Run.open(new MemoryStore(), 'elsewhere'),
    new CheckpointError('elsewhere', 'must be the folder of a run, with a config.json'),
  );
});
