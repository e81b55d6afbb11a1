/** Training on a slow source: the next batch is read during a step, and nothing of it is left behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { TokenSource } from '../../src/evaluate/batches.js';
import { DataError } from '../../src/errors.js';
import { makeTrainer, MemoryStore, runAll, source } from './helpers.js';

/** Evaluations, which read as well, at the beginning and the end only. */
const FIELDS = { maxSteps: 5, gradAccumSteps: 2, evalInterval: 1000, checkpointInterval: 1000 };
const ROWS = 3;

/** A source that takes its time and counts; reads from number `failing` on fail. */
class SlowSource implements TokenSource {
  readonly name = 'slow';
  readonly fast = source(500);
  readonly length = this.fast.length;
  begun = 0;
  pending = 0;

  constructor(private readonly failing = Number.POSITIVE_INFINITY) {}

  async read(offset: number, count: number): Promise<Uint16Array> {
    const number = this.begun++;
    this.pending++;
    await setTimeout(3);
    this.pending--;
    if (number >= this.failing) throw new DataError(this.name, 'must be readable');
    return this.fast.read(offset, count);
  }
}

function trainer(tokens: TokenSource, store = new MemoryStore()) {
  return { ...makeTrainer(store, FIELDS, {}, undefined, tokens), store };
}

async function readsPerStep(tokens: SlowSource): Promise<number[]> {
  const { trainer: run } = trainer(tokens);
  const found: number[] = [];
  await run.start();
  for await (const event of run.run()) {
    if (event.kind === 'eval') tokens.begun = 0;
    if (event.kind === 'step') found.push(tokens.begun / ROWS);
  }
  return found;
}

test('the batch after the step is being read when a step ends, and none after the last', async () => {
  const tokens = new SlowSource();
  assert.deepEqual(await readsPerStep(tokens), [3, 5, 7, 9, 10]);
  assert.equal(tokens.pending, 0);
});

test('a slow source changes no result', async () => {
  const [slow, fast] = [trainer(new SlowSource()), trainer(source(500))];
  await runAll(slow.trainer);
  await runAll(fast.trainer);
  const name = 'last-0000005/model.safetensors';
  assert.deepEqual(slow.store.files.get(slow.store.path(name)), fast.store.files.get(fast.store.path(name)));
});

test('a batch that cannot be read ends the run at the step that needs it', async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => unhandled.push(error);
  process.on('unhandledRejection', onUnhandled);
  const before = new SlowSource();
  await runAll(trainer(before).trainer, (event) => event.kind === 'eval');
  // Step 3 reads its batches 5 and 6.
  const tokens = new SlowSource(before.begun + 4 * ROWS);
  const steps: number[] = [];
  const { trainer: run } = trainer(tokens);
  await run.start();
  await assert.rejects(async () => {
    for await (const event of run.run()) if (event.kind === 'step') steps.push(event.step);
  }, /DataError: slow: must be readable/);
  await setTimeout(20);
  process.off('unhandledRejection', onUnhandled);
  assert.deepEqual([steps, tokens.pending, unhandled], [[1, 2], 0, []]);
});

test('nothing is being read when a run was aborted, or left by its caller', async () => {
  for (const abort of [true, false]) {
    const tokens = new SlowSource();
    const { trainer: run } = trainer(tokens);
    const controller = new AbortController();
    await run.start();
    for await (const event of run.run(controller.signal)) {
      if (event.kind !== 'step' || event.step < 2) continue;
      assert.equal(tokens.pending, ROWS);
      if (!abort) break;
      controller.abort();
    }
    assert.deepEqual([run.step, tokens.pending], [2, 0]);
  }
});
