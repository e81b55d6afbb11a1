/** What a GPU may refuse or lose, and how that is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWebGpu } from '../../src/backend/webgpu/open.js';
import { BackendError, ConfigError } from '../../src/errors.js';
import { FakeGpu } from './fake-gpu.js';

/** That work throws one of our errors with this text. */
const rejects = (work: Promise<unknown>, type: typeof BackendError | typeof ConfigError, text: RegExp) =>
  assert.rejects(work, (error: Error) => {
    assert.ok(error instanceof type, `${error}`);
    assert.match(error.message, text);
    return true;
  });

test('no WebGPU and no adapter are told with what they take', async () => {
  await rejects(
    openWebGpu(undefined),
    BackendError,
    /^webgpu: needs WebGPU, .*; browsers have it on pages by https/,
  );
  const none = { requestAdapter: async () => null };
  await rejects(
    openWebGpu(none),
    BackendError,
    /^webgpu: needs a WebGPU adapter, got 'none'; it takes a GPU/,
  );
  const broken = { requestAdapter: () => Promise.reject(new Error('no Vulkan\nat all')) };
  await rejects(
    openWebGpu(broken),
    BackendError,
    /^webgpu: needs a WebGPU adapter, got 'no Vulkan'; it takes/,
  );
});

test('a device that is refused is told with the adapter and the reason', async () => {
  const gpu = new FakeGpu();
  gpu.refusal = new Error('Required limit (2) is greater than the supported limit (1).\n - While validating');
  await rejects(
    openWebGpu(gpu),
    BackendError,
    /^webgpu: must be given a device of Fake 9000, got 'Required limit \(2\) is greater .*\.'; another program/,
  );
});

test('f16 is refused where the adapter lacks it, and taken where it has it', async () => {
  const gpu = new FakeGpu();
  await rejects(
    openWebGpu(gpu, { precision: 'f16' }),
    ConfigError,
    /^precision: must be f32 on Fake 9000, got 'f16'; the adapter lacks shader-f16$/,
  );
  gpu.features.add('shader-f16');
  const backend = await openWebGpu(gpu, { precision: 'f16' });
  assert.equal(backend.precision, 'f16');
  assert.equal(backend.description, 'webgpu (Fake 9000, f16)');
});

test('a device that is lost in the middle of a read is told, by that read and every one after it', async () => {
  const gpu = new FakeGpu();
  const backend = await openWebGpu(gpu);
  const storage = backend.allocate('f32', 4);
  assert.deepEqual(await backend.read(storage), new Float32Array(4));
  gpu.onRead = () => {
    // The loss is told after the read has failed.
    setTimeout(() => gpu.loseDevice('unknown', 'The GPU was reset.\nby its driver'));
    return new Error('Device lost');
  };
  const lost =
    /^webgpu: must keep its GPU until the work is done, got 'The GPU was reset\.'; a training .* last checkpoint/;
  await rejects(backend.read(storage), BackendError, lost);
  gpu.onRead = () => undefined;
  await rejects(backend.read(storage), BackendError, lost);
  backend.free(storage);
});

for (const scoped of [true, false]) {
  const when = scoped ? 'for a buffer' : 'that no buffer is known for';
  test(`memory that is short ${when} is named with its bytes, not by what follows from it`, async () => {
    const gpu = new FakeGpu();
    const backend = await openWebGpu(gpu);
    gpu.memory = 2 ** 20;
    gpu.scoped = scoped;
    const storage = backend.slice(backend.allocate('f32', 2 ** 20), 0, 4);
    const text = scoped
      ? /^webgpu: must find 4\.00 MiB for a buffer beside the 512 KiB in use, got 'Buffer allocation failed\.'; smaller/
      : /^webgpu: must find memory beside the 4\.50 MiB in use, got 'Buffer allocation failed\.'; smaller batches/;
    await rejects(backend.read(storage), BackendError, text);
  });
}

test('a read that the device refuses is told where nothing else has gone wrong', async () => {
  const gpu = new FakeGpu();
  const backend = await openWebGpu(gpu);
  const storage = backend.allocate('f32', 4);
  gpu.onRead = () => new Error('Mapping failed');
  await rejects(
    backend.read(storage),
    BackendError,
    /^webgpu: must read what was computed, got 'Mapping failed'$/,
  );
});
