/**
 * Checks the WebGPU engine's kernels at the full sizes of a preset against the native engine, in f32 and, where the
 * adapter has it, in f16. Prints one JSON document.
 *
 *     node dist/studies/webgpu-sizes.js [PRESET] [BATCH] [MODEL_FIELDS_AS_JSON]
 */
import { NativeBackend } from '../src/backend/native/native.js';
import { checkKernels } from '../src/bench/kernels.js';
import { readPreset } from '../src/node/presets.js';
import { openNodeWebGpu } from '../src/node/webgpu.js';
import { parseModelConfig } from '../src/models/config.js';

const [preset = 'gpt2-124m', batch = '2', fields = '{}'] = process.argv.slice(2);
const { model } = readPreset(preset) as { model: object };
const config = parseModelConfig({ ...model, ...JSON.parse(fields) });
const checked: Record<string, unknown> = {};
let description = '';
const first = await openNodeWebGpu();
const others = first.limits.precisions.includes('f16') ? [await openNodeWebGpu({ precision: 'f16' })] : [];
for (const backend of [first, ...others]) {
  const started = performance.now();
  try {
    const kernels = await checkKernels(config, Number(batch), backend, new NativeBackend('f32'));
    checked[backend.precision] = { kernels, seconds: (performance.now() - started) / 1000 };
  } catch (error) {
    checked[backend.precision] = { error: String(error) };
  }
  description ||= backend.description;
}
console.log(JSON.stringify({ backend: description, preset, batch: Number(batch), checked }));
if (Object.values(checked).some((found) => 'error' in (found as object))) process.exitCode = 1;
