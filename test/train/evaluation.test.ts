/** What evaluations find besides the loss: at other loop counts, of gates, and what the environment notes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { estimateLoss } from '../../src/evaluate/evaluation.js';
import type { EvalEvent } from '../../src/train/events.js';
import { Trainer } from '../../src/train/trainer.js';
import { onEngine } from '../engines.js';
import { makeTrainer, MemoryStore, runAll, source, testClock } from './helpers.js';
import { memoryPeers } from './memory-peers.js';

const FIELDS = { maxSteps: 6, evalInterval: 3, checkpointInterval: 2 };

function evals(store: MemoryStore): EvalEvent[] {
  const lines = store.text('metrics.jsonl').trim().split('\n');
  return lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'eval');
}

test('losses at loop counts are those of the same batches, and the training keeps its bits', async () => {
  const [plain, store] = [new MemoryStore(), new MemoryStore()];
  await runAll(makeTrainer(plain, FIELDS).trainer);
  const extras = { evalLoops: [1, 2, 4], notes: async () => ({ sample: 'text', memoryBytes: 7 }) };
  const { trainer, model, config } = makeTrainer(store, FIELDS, {}, undefined, undefined, extras);
  await runAll(trainer);
  const last = 'last-0000006/model.safetensors';
  assert.deepEqual(store.files.get(store.path(last)), plain.files.get(plain.path(last)));
  const found = evals(store);
  assert.equal(found.length, 3);
  const { lossByLoops, valLoss, gates, sample, memoryBytes } = found[2];
  assert.deepEqual([sample, memoryBytes], ['text', 7]);
  assert.deepEqual(Object.keys(gates!), ['transformer.gates']);
  assert.equal(gates!['transformer.gates'].length, 2);
  const batches = { B: config.batchSize, count: config.evalBatches, seed: config.seed };
  for (const { loops, valLoss: own } of lossByLoops!) {
    const pass = { loops };
    assert.equal(
      own,
      await estimateLoss(model, source(200), batches, testClock, undefined, pass),
      `${loops}`,
    );
  }
  assert.equal(lossByLoops![1].valLoss, valLoss);
  assert.deepEqual(
    evals(plain).map((event) => event.valLoss),
    found.map((event) => event.valLoss),
  );
  assert.equal(evals(plain)[0].lossByLoops, undefined);
});

test('a resumed run measures at the loop counts of its log', async () => {
  const store = new MemoryStore();
  const begun = makeTrainer(store, FIELDS, {}, undefined, undefined, { evalLoops: [1, 3, 1] });
  await runAll(begun.trainer, ({ kind, step }) => kind === 'step' && step === 4);
  await runAll(makeTrainer(store, FIELDS).trainer);
  const counts = evals(store).map(({ lossByLoops }) => lossByLoops?.map(({ loops }) => loops));
  assert.deepEqual(counts, [
    [1, 3],
    [1, 3],
    [1, 3],
  ]);
});

test('many processes find the same', async () => {
  const alone = new MemoryStore();
  const extras = { evalLoops: [1, 3] };
  await runAll(makeTrainer(alone, FIELDS, {}, undefined, undefined, extras).trainer);
  const store = new MemoryStore();
  await Promise.all(
    memoryPeers(3).map((peers) => {
      const together = { peers, ...extras };
      const own = peers.rank === 0 ? store : new MemoryStore();
      return runAll(
        makeTrainer(own, FIELDS, {}, onEngine(new NativeBackend('f32')), undefined, together).trainer,
      );
    }),
  );
  assert.deepEqual(evals(store), evals(alone));
});

test('mean steps are told where tokens halt, and a loop count that a model lacks is refused', async () => {
  const store = new MemoryStore();
  const halts = { depth: 'universal', nLayer: 1, halting: 'act' };
  await runAll(makeTrainer(store, { ...FIELDS, maxSteps: 1, warmupSteps: 0 }, halts).trainer);
  assert.ok(evals(store)[0].meanSteps! >= 1);
  const { model, config } = makeTrainer(
    store,
    {},
    { depth: 'gpt2', nLoop: 1 },
    onEngine(new ReferenceBackend()),
  );
  const sources = { train: source(100), val: source(100), store, clock: testClock };
  assert.throws(() => new Trainer({ model, config, ...sources, evalLoops: [2] }), {
    name: 'ConfigError',
    message: /^evalLoops: loops: must be 1 for GPT-2/,
  });
});
