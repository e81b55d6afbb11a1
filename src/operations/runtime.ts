/** The backend that work runs on, and what there is to say of it. */
import { nativeInfo } from '../backend/native/addon.js';
import type { Backend } from '../backend/backend.js';
import { createBackend, type Weights } from '../node/backend.js';
import { Runtime } from '../tensor/tensor.js';
import type { TrainConfig } from '../train/config.js';

/** A runtime on the fastest backend that works here; a fallback, and bf16 that costs time, are told once, to `onNotice`. */
export async function openRuntime(
  precision: TrainConfig['precision'],
  weights: Weights,
  onNotice: (line: string) => void,
): Promise<Runtime> {
  const backend = await createBackend({ precision, weights, onWarning: onNotice });
  noticePrecision(backend, onNotice);
  return new Runtime(backend);
}

export function noticePrecision(backend: Backend, onNotice: (line: string) => void): void {
  if (backend.precision !== 'bf16') return;
  const { bf16, isa } = backend.name === 'native' ? nativeInfo() : { bf16: false, isa: 'WebAssembly' };
  if (!bf16) onNotice(`bf16 is computed from floats on ${isa}: the same rounding, but slower than f32`);
}
