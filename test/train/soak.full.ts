/** Long: 500 training steps, with evaluations and checkpoints, do not grow resident memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import type { FileContent } from '../../src/platform.js';
import { median } from '../../src/statistics.js';
import { MemoryStore, makeTrainer } from './helpers.js';

/** Reads checkpoints and forgets them. */
class DrainStore extends MemoryStore {
  override async createFolder(_path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    for (const [, content] of files) for await (const chunk of content) assert.ok(chunk.length > 0);
  }

  override async append(): Promise<void> {}
}

/** What is held in the end is the median of so many steps: V8 now and then keeps a page or two for a moment. */
const LAST_STEPS = 50;

/** What V8's own heap, which grows to its working size over some hundred steps, may come to. */
const LARGEST_HEAP = 40e6;

test('resident memory outside the JavaScript heap grows by less than 2 % from step 20 to step 500', async () => {
  const { trainer } = makeTrainer(
    new DrainStore(),
    { maxSteps: 500, batchSize: 1, evalInterval: 10, checkpointInterval: 10, activationMemory: 4 },
    { vocabSize: 65_536, nEmbd: 256, nHead: 4, blockSize: 64, nLayer: 1, nLoop: 3, nInnerLoop: 2 },
  );
  await trainer.start();
  let early = 0;
  const later: number[] = [];
  for await (const event of trainer.run()) {
    if (event.kind !== 'step') continue;
    const { rss, heapTotal } = process.memoryUsage();
    assert.ok(heapTotal < LARGEST_HEAP, `a heap of ${heapTotal} bytes`);
    const outside = rss - getHeapStatistics().total_physical_size;
    if (event.step <= 20) early = Math.max(early, outside);
    else later.push(outside);
  }
  const late = median(later.slice(-LAST_STEPS));
  assert.ok(early > 450e6, `${early} bytes`);
  assert.ok(late < 1.02 * early, `${early} bytes by step 20, ${late} in the end`);
});
