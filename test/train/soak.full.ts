/** Long: 500 training steps, with evaluations and checkpoints, do not grow resident memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileContent } from '../../src/train/store.js';
import { MemoryStore, makeTrainer } from './helpers.js';

/** Reads checkpoints and forgets them. */
class DrainStore extends MemoryStore {
  override async createFolder(_path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    for (const [, content] of files) for await (const chunk of content) assert.ok(chunk.length > 0);
  }

  override async append(): Promise<void> {}
}

test('resident memory grows by less than 2 % from step 20 to step 500', async () => {
  const { trainer } = makeTrainer(
    new DrainStore(),
    { maxSteps: 500, batchSize: 4, evalInterval: 10, checkpointInterval: 10, activationMemory: 4 },
    { vocabSize: 30_000, nEmbd: 256, nHead: 4, blockSize: 64, nLayer: 1, nLoop: 3, nInnerLoop: 2 },
  );
  await trainer.start();
  let early = 0;
  let late = 0;
  for await (const event of trainer.run()) {
    if (event.kind !== 'step') continue;
    const { rss } = process.memoryUsage();
    if (event.step <= 20) early = Math.max(early, rss);
    else late = Math.max(late, rss);
  }
  assert.ok(early > 200e6, `${early} bytes`);
  assert.ok(late < 1.02 * early, `${early} bytes by step 20, ${late} by step 500`);
});
