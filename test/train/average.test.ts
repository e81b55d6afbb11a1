/** The average of weights: evaluated and published, while training goes on from the weights themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRun, Run } from '../../src/train/run.js';
import { parseSafetensors } from '../formats/safetensors-bytes.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';
import { memoryPeers } from './memory-peers.js';

const DECAY = 0.8;
const FIELDS = { maxSteps: 6, checkpointInterval: 1, evalInterval: 3 };
const LAST = 'checkpoints/last-0000006';

const tensors = (store: MemoryStore, path: string) => parseSafetensors(store.files.get(path)!, path);
const floats = (values: { data: unknown } | undefined) => values!.data as Float32Array;

test('the model is the average of the weights after each update, which go their own way', async () => {
  const [plain, averaged] = [new MemoryStore(), new MemoryStore()];
  const weights = new Map<string, Float64Array>();
  const own = makeTrainer(plain, FIELDS);
  own.model.parameters.initialise(1337);
  for (const p of own.model.parameters.all) weights.set(p.name, Float64Array.from(await p.read()));
  await own.trainer.start();
  const losses: number[] = [];
  for await (const event of own.trainer.run()) {
    if (event.kind === 'eval') losses.push(event.valLoss);
    if (event.kind !== 'step') continue;
    for (const p of own.model.parameters.all) {
      const now = await p.read();
      weights.set(
        p.name,
        weights.get(p.name)!.map((x, i) => DECAY * x + (1 - DECAY) * now[i]),
      );
    }
  }
  const { trainer, model, runtime, config } = makeTrainer(averaged, { ...FIELDS, emaDecay: DECAY });
  const evals = (await runAll(trainer)).flatMap((event) => (event.kind === 'eval' ? [event] : []));
  assert.deepEqual(
    evals.map(({ plainValLoss }) => plainValLoss),
    losses,
    'the weights behind the average are those of a training without one',
  );
  assert.ok(evals.slice(1).every(({ valLoss, plainValLoss }) => valLoss !== plainValLoss));
  const published = tensors(averaged, `${LAST}/model.safetensors`);
  const behind = tensors(averaged, `${LAST}/optimizer.safetensors`);
  for (const [name, tensor] of tensors(plain, `${LAST}/model.safetensors`)) {
    assert.deepEqual(floats(behind.get(`plain.${name}`)), floats(tensor), name);
    const expected = weights.get(name)!;
    floats(published.get(name)).forEach((x, i) => {
      assert.ok(Math.abs(x - expected[i]) < 1e-6, `${name}: ${x} ${expected[i]}`);
    });
  }

  // Who trained it and who opens the run have the average.
  const name = 'transformer.h.0.attn.c_attn.weight';
  const inMemory = model.parameters.all.find((p) => p.name === name)!;
  assert.deepEqual(await inMemory.read(), floats(published.get(name)));
  await createRun(averaged, { model: model.config, train: config }, null);
  const { crc32c } = await (await Run.open(averaged, 'run')).load(runtime);
  const best = [...averaged.files.keys()].find((path) => /best-.*model\.safetensors$/.test(path))!;
  assert.equal(crc32c, averaged.crc32c(averaged.files.get(best)!).toString(16).padStart(8, '0'));
});

test('an average begins with the weights of a run that had none, and can be left', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { ...FIELDS, maxSteps: 3 }).trainer);
  await runAll(makeTrainer(store, { ...FIELDS, maxSteps: 4, emaDecay: DECAY }).trainer);
  const without = new MemoryStore();
  await runAll(makeTrainer(without, { ...FIELDS, maxSteps: 3 }).trainer);
  const third = tensors(without, 'checkpoints/last-0000003/model.safetensors');
  const plain = tensors(store, 'checkpoints/last-0000004/optimizer.safetensors');
  for (const [name, tensor] of tensors(store, 'checkpoints/last-0000004/model.safetensors')) {
    const [before, after] = [floats(third.get(name)), floats(plain.get(`plain.${name}`))];
    floats(tensor).forEach((x, i) => {
      assert.ok(Math.abs(x - (DECAY * before[i] + (1 - DECAY) * after[i])) < 1e-6, name);
    });
  }
  const left = makeTrainer(store, { ...FIELDS, maxSteps: 4 });
  await left.trainer.start();
  for (const p of left.model.parameters.all) {
    assert.deepEqual(await p.read(), floats(plain.get(`plain.${p.name}`)), p.name);
  }
});

test('processes keep the average of one, also where each holds a part of the moments', async () => {
  const fields = { ...FIELDS, gradAccumSteps: 4, emaDecay: DECAY };
  const alone = new MemoryStore();
  await runAll(makeTrainer(alone, fields).trainer);
  for (const shardOptimizer of [false, true]) {
    const store = new MemoryStore();
    for (const maxSteps of [4, 6]) {
      await Promise.all(
        memoryPeers(2).map((peers) => {
          const own = peers.rank === 0 ? store : new MemoryStore();
          const together = { peers, shardOptimizer, verifyEvery: 1 };
          const stop = ({ kind, step }: { kind: string; step: number }) =>
            kind === 'step' && step === maxSteps;
          return runAll(makeTrainer(own, fields, {}, undefined, undefined, together).trainer, stop);
        }),
      );
    }
    for (const file of ['model', 'optimizer']) {
      const path = `${LAST}/${file}.safetensors`;
      assert.deepEqual(store.files.get(path), alone.files.get(path), `${file}, ${shardOptimizer}`);
    }
  }
});
