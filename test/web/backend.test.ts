/** Which engine a page takes: the GPU for models that are wide enough, where there is one. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { type BackendOptions, createBackend, GPU_CHANNELS } from '../../src/web/backend.js';
import { FakeGpu } from '../backend/fake-gpu.js';

const own = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
afterEach(() => {
  if (own) Object.defineProperty(globalThis, 'navigator', own);
  else Reflect.deleteProperty(globalThis, 'navigator');
});

/** What `navigator` of a page has. */
function browserWith(gpu?: FakeGpu): void {
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
}

const warnings: string[] = [];
const chosen = async (options: BackendOptions) => {
  warnings.length = 0;
  return createBackend({ onWarning: (line) => warnings.push(line), ...options });
};
/** Of a processor: under Node the wasm file cannot be fetched, so that the reference computes. */
const onProcessor = ({ name }: { readonly name: string }) => name === 'wasm' || name === 'reference';

test('auto takes the GPU from a number of channels on', async () => {
  browserWith(new FakeGpu());
  assert.equal((await chosen({ channels: GPU_CHANNELS })).name, 'webgpu');
  assert.deepEqual(warnings, []);
  for (const options of [{ channels: GPU_CHANNELS - 1 }, {}]) assert.ok(onProcessor(await chosen(options)));
  const wide = { channels: 4 * GPU_CHANNELS };
  for (const options of [{ precision: 'bf16' }, { weights: 'int8' }, { backend: 'wasm' }] as const) {
    assert.ok(onProcessor(await chosen({ ...wide, ...options })));
  }
  assert.equal((await chosen({ ...wide, backend: 'reference' })).name, 'reference');
});

test('auto takes no processor in disguise for a GPU, and webgpu takes what there is', async () => {
  const gpu = new FakeGpu();
  gpu.description = 'SwiftShader driver 5.0.0';
  browserWith(gpu);
  assert.ok(onProcessor(await chosen({ channels: GPU_CHANNELS })));
  assert.equal((await chosen({ backend: 'webgpu' })).description, 'webgpu (SwiftShader driver 5.0.0, f32)');
});

test('where a GPU cannot be had, auto computes on the processor and webgpu says why', async () => {
  const gpu = new FakeGpu();
  gpu.refusal = new Error('out of handles');
  browserWith(gpu);
  assert.ok(onProcessor(await chosen({ channels: GPU_CHANNELS })));
  assert.match(warnings[0], /^computing on the processor: webgpu: must be given a device .*'out of handles'/);
  await assert.rejects(chosen({ backend: 'webgpu' }), /^BackendError: webgpu: must be given a device/);
  browserWith();
  assert.ok(onProcessor(await chosen({ channels: GPU_CHANNELS })));
  await assert.rejects(
    chosen({ backend: 'webgpu' }),
    /^BackendError: webgpu: needs WebGPU, which is missing/,
  );
  await assert.rejects(chosen({ backend: 'gpu' as never }), /^ConfigError: backend: must be auto or webgpu/);
});

test('f16 is a reason to take the GPU, and refused without one', async () => {
  const gpu = new FakeGpu();
  browserWith(gpu);
  await assert.rejects(chosen({ precision: 'f16' }), /^ConfigError: precision: must be f32 on Fake 9000/);
  gpu.features.add('shader-f16');
  assert.equal((await chosen({ precision: 'f16' })).precision, 'f16');
  browserWith();
  await assert.rejects(
    chosen({ precision: 'f16' }),
    /^ConfigError: precision: must be f32 or bf16 on a processor/,
  );
  await assert.rejects(chosen({ backend: 'webgpu', precision: 'bf16' }), /must be f32 or f16 on the webgpu/);
  await assert.rejects(
    chosen({ backend: 'webgpu', weights: 'int8' }),
    /^ConfigError: weights: must be float/,
  );
});

test('all models of a page share a device, until it is lost', async () => {
  const gpu = new FakeGpu();
  browserWith(gpu);
  const first = await chosen({ channels: GPU_CHANNELS });
  assert.equal(await chosen({ backend: 'webgpu' }), first);
  gpu.loseDevice('unknown', 'The GPU was reset.');
  await assert.rejects(first.read(first.allocate('f32', 1)), /^DeviceError: webgpu: must keep its GPU/);
  const next = await chosen({ backend: 'webgpu' });
  assert.notEqual(next, first);
  assert.equal((await next.read(next.allocate('f32', 1))).length, 1);
});
