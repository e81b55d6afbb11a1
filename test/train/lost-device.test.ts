/** A GPU that is lost in the middle of a training: the error is told, and the last checkpoint is intact. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { openWebGpu } from '../../src/backend/webgpu/open.js';
import { DeviceError } from '../../src/errors.js';
import { resumableStep } from '../../src/train/checkpoint.js';
import type { TrainEvent } from '../../src/train/events.js';
import { FakeGpu } from '../backend/fake-gpu.js';
import { MemoryStore, makeTrainer, runAll } from './helpers.js';

test('a training whose GPU is lost ends with a DeviceError, and goes on from its last checkpoint', async () => {
  const gpu = new FakeGpu();
  const store = new MemoryStore();
  const backend = await openWebGpu(gpu);
  const { trainer, model } = makeTrainer(store, { evalInterval: 100 }, {}, backend);
  const events: TrainEvent[] = [];
  await trainer.start();
  await assert.rejects(
    async () => {
      for await (const event of trainer.run()) {
        events.push(event);
        if (event.kind === 'step' && event.step === 5) gpu.loseDevice('unknown', 'The GPU was reset.');
      }
    },
    (error: Error) => {
      assert.ok(error instanceof DeviceError);
      assert.match(
        error.message,
        /must keep its GPU until the work is done, got 'The GPU was reset\.'; a training/,
      );
      return true;
    },
  );
  trainer.dispose();
  model.dispose();
  assert.equal(events.filter(({ kind }) => kind === 'step').length, 5);
  assert.equal(await resumableStep(store), 3);

  const resumed = makeTrainer(store, { evalInterval: 100 }, {}, new NativeBackend('f32'));
  const rest = await runAll(resumed.trainer);
  const steps = rest.filter(({ kind }) => kind === 'step').map(({ step }) => step);
  assert.deepEqual(steps, [4, 5, 6, 7, 8, 9, 10, 11, 12]);
  resumed.trainer.dispose();
  resumed.model.dispose();
});
