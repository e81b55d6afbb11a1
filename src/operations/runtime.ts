/** The backend of an operation, with notices on it. */
import { nativeInfo } from '../backend/native/addon.js';
import type { Backend } from '../backend/backend.js';
import { type BackendName, createBackend, type Weights } from '../node/backend.js';
import { Runtime } from '../tensor/tensor.js';
import type { TrainConfig } from '../train/config.js';

export interface RuntimeOptions {
  readonly precision: TrainConfig['precision'];
  /** The engine; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: BackendName | undefined;
  readonly weights?: Weights | undefined;
}

/**
 * A runtime for training, on the fastest backend that works here; `auto` is bf16 if its products are faster than
 * float32's. A fallback, and bf16 that costs time, are reported once, to `onNotice`.
 */
export async function openRuntime(
  { precision, backend: name, weights = 'float' }: RuntimeOptions,
  onNotice: (line: string) => void,
): Promise<Runtime> {
  const options = { weights, onWarning: onNotice, ...(name === undefined ? {} : { name }) };
  const backend = await createBackend({ precision, ...options });
  if (precision === 'auto' && slowInBf16(backend)) {
    onNotice('training in f32: bf16 products are no faster on this processor');
    return new Runtime(await createBackend({ precision: 'f32', ...options }));
  }
  noticePrecision(backend, onNotice);
  return new Runtime(backend);
}

/**
 * Whether a backend is in bf16 though its float32 products are as fast, which is possible even with instructions for
 * bf16.
 */
export function slowInBf16({ name, precision }: Pick<Backend, 'name' | 'precision'>): boolean {
  return name === 'native' && precision === 'bf16' && !nativeInfo().fastBf16;
}

export function noticePrecision(backend: Backend, onNotice: (line: string) => void): void {
  if (backend.precision !== 'bf16') return;
  const { bf16, isa } = backend.name === 'native' ? nativeInfo() : { bf16: false, isa: 'WebAssembly' };
  if (!bf16) onNotice(`bf16 is computed from floats on ${isa}: the same rounding, but slower than f32`);
}
