/** The backend that work runs on, and what there is to say of it. */
import { nativeInfo } from '../backend/native/addon.js';
import type { Backend } from '../backend/backend.js';
import { LimitMeter } from '../bench/limits.js';
import { createBackend, type Weights } from '../node/backend.js';
import { nodeClock } from '../node/store.js';
import type { Clock } from '../platform.js';
import { Runtime } from '../tensor/tensor.js';
import type { TrainConfig } from '../train/config.js';

/** Measurements of each rate, in turns; the best counts. Those that speak against bf16 must be many. */
const TURNS = 3;
const TURNS_AGAINST = 12;
/** Below this share of float32's rate bf16 products are slower, and not only disturbed. */
const SLOW = 0.75;

/**
 * A runtime for training, on the fastest backend that works here; `auto` is bf16 where its products are faster than
 * float32's. A fallback, and bf16 that costs time, are told once, to `onNotice`.
 */
export async function openRuntime(
  precision: TrainConfig['precision'],
  weights: Weights,
  onNotice: (line: string) => void,
): Promise<Runtime> {
  const options = { weights, onWarning: onNotice };
  const backend = await createBackend({ precision, ...options });
  if (precision === 'auto' && slowInBf16(backend, nodeClock)) {
    onNotice('f32: bf16 products are slower than float32 products on this processor');
    return new Runtime(await createBackend({ precision: 'f32', ...options }));
  }
  noticePrecision(backend, onNotice);
  return new Runtime(backend);
}

/**
 * Whether a backend in bf16 would multiply faster in float32: having instructions for bf16 does not say how fast they
 * are, some processors' being at half of float32's rate and others' at twice. Takes some 100 ms, or 300 where they are.
 */
export function slowInBf16(backend: Pick<Backend, 'precision' | 'limits'>, clock: Clock): boolean {
  const meter = backend.precision === 'bf16' ? LimitMeter.open(backend as Backend, clock) : null;
  if (!meter) return false;
  const best = { f32: 0, bf16: 0 };
  for (let turn = 0; turn < TURNS || (best.bf16 < SLOW * best.f32 && turn < TURNS_AGAINST); turn++) {
    for (const precision of ['f32', 'bf16'] as const) {
      best[precision] = Math.max(best[precision], meter.sample(precision));
    }
  }
  return best.bf16 < SLOW * best.f32;
}

export function noticePrecision(backend: Backend, onNotice: (line: string) => void): void {
  if (backend.precision !== 'bf16') return;
  const { bf16, isa } = backend.name === 'native' ? nativeInfo() : { bf16: false, isa: 'WebAssembly' };
  if (!bf16) onNotice(`bf16 is computed from floats on ${isa}: the same rounding, but slower than f32`);
}
