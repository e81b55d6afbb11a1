/**
 * Creates a backend under Node, by name. Knows which ones exist and when to fall back; an engine is loaded when it is
 * used.
 */
import type { Backend, Precision } from '../backend/backend.js';
import { BackendError, ConfigError } from '../errors.js';

const PRECISIONS = ['auto', 'f32', 'bf16', 'f16'] as const;
export const WEIGHTS = ['float', 'int8'] as const;
export type Weights = (typeof WEIGHTS)[number];

export interface BackendOptions {
  /**
   * `auto`, `native`, `wasm` or `reference` (`delayed`, for tests: the reference's kernels, run when something is
   * read); the environment variable LOOPNN_BACKEND, or else `auto`, by default.
   */
  readonly name?: string;
  /** `auto` is bf16 where the machine has instructions for it, f32 elsewhere. */
  readonly precision?: Precision | 'auto';
  /**
   * `int8`: products of inference read weights that were rounded to 8 bits; `float`, the default: as `precision` says.
   */
  readonly weights?: Weights;
  /** Hears why `auto` fell back, and what to do. */
  readonly onWarning?: (message: string) => void;
}

/**
 * A backend. `auto` is the native one; where the addon cannot load the same kernels in WebAssembly, with a warning, and
 * where they cannot either the reference one, which has f32 only.
 *
 * Throws ConfigError on an unknown name or a precision that the backend lacks, and BackendError when `native` or `wasm`
 * is asked for and cannot load.
 */
export async function createBackend({
  name = process.env.LOOPNN_BACKEND || 'auto',
  precision = 'auto',
  weights = 'float',
  onWarning = (message) => console.warn(message),
}: BackendOptions = {}): Promise<Backend> {
  requireOneOf('precision', precision, PRECISIONS);
  requireOneOf('weights', weights, WEIGHTS);
  switch (name) {
    case 'reference':
      return createReference(precision, weights);
    case 'delayed': {
      const { DelayedBackend } = await import('../backend/delayed.js');
      return new DelayedBackend(await createReference(precision, weights));
    }
    case 'native':
      return createNative(precision, weights);
    case 'wasm':
      return createWasm(precision, weights, onWarning);
    case 'webgpu':
      return createWebGpu(precision, weights);
    case 'auto':
      return createBest(precision, weights, onWarning);
    default:
      throw new ConfigError('backend', 'must be auto, native, wasm, webgpu or reference', name);
  }
}

/** For callers without types. */
function requireOneOf(where: string, value: string, choices: readonly string[]): void {
  if (!choices.includes(value)) throw new ConfigError(where, `must be ${choices.join(' or ')}`, value);
}

async function createNative(precision: Precision | 'auto', weights: Weights): Promise<Backend> {
  const { NativeBackend } = await import('../backend/native/native.js');
  return new NativeBackend(precision === 'auto' ? undefined : precision, weights === 'int8');
}

async function createWasm(
  precision: Precision | 'auto',
  weights: Weights,
  onWarning: (message: string) => void,
): Promise<Backend> {
  const { WasmBackend } = await import('../backend/wasm/wasm.js');
  const { wasmModule } = await import('./wasm.js');
  const module = await wasmModule(onWarning);
  return new WasmBackend(module, precision === 'auto' ? undefined : precision, weights === 'int8');
}

async function createWebGpu(precision: Precision | 'auto', weights: Weights): Promise<Backend> {
  if (weights === 'int8') throw new ConfigError('weights', 'must be float on the webgpu backend', weights);
  if (precision === 'bf16')
    throw new ConfigError('precision', 'must be f32 or f16 on the webgpu backend', precision);
  const { openNodeWebGpu } = await import('./webgpu.js');
  return openNodeWebGpu({ precision: precision === 'auto' ? 'f32' : precision });
}

/** The first of native, wasm and reference that works; says what is lost, and what to do about it. */
async function createBest(
  precision: Precision | 'auto',
  weights: Weights,
  onWarning: (message: string) => void,
): Promise<Backend> {
  const refused: string[] = [];
  const unlessRefused = async (create: () => Promise<Backend>): Promise<Backend | null> => {
    try {
      return await create();
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      refused.push(error.message);
      return null;
    }
  };
  const native = await unlessRefused(() => createNative(precision, weights));
  if (native) return native;
  const wasm = await unlessRefused(() => createWasm(precision, weights, onWarning));
  const why = refused.join('; ');
  if (wasm) {
    onWarning(`using WebAssembly, with half the speed of the addon or less and 4 GiB of memory: ${why}`);
    return wasm;
  }
  const change = precision === 'bf16' ? ', in f32' : '';
  onWarning(`using the slow reference backend${change}: ${why}`);
  return createReference('f32', weights);
}

async function createReference(precision: Precision | 'auto', weights: Weights): Promise<Backend> {
  if (precision === 'bf16') {
    throw new ConfigError('precision', 'must be f32 on the reference backend', precision);
  }
  const { ReferenceBackend } = await import('../backend/reference/reference.js');
  return new ReferenceBackend('f32', weights === 'int8');
}
