/**
 * Creates a backend under Node, by name. It decides which engines exist and when to fall back; an engine is loaded when
 * it is used.
 */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { Backend, Precision } from '../backend/backend.js';
import { BackendError, ConfigError } from '../errors.js';

/** Engines that a user may ask for. */
export const BACKENDS = ['auto', 'native', 'wasm', 'webgpu', 'reference'] as const;
export type BackendName = (typeof BACKENDS)[number];
const PRECISIONS = ['auto', 'f32', 'bf16', 'f16'] as const;
export const WEIGHTS = ['float', 'int8'] as const;
export type Weights = (typeof WEIGHTS)[number];

export interface BackendOptions {
  /**
   * `auto`, `native`, `wasm`, `webgpu` or `reference` (`delayed`, for tests: the reference's kernels, run when
   * something is read); the environment variable LOOPNN_BACKEND, or else `auto`, by default.
   */
  readonly name?: string;
  /**
   * `auto` is bf16 if the machine has instructions for it, otherwise f32. Some GPUs have f16; none has bf16.
   */
  readonly precision?: Precision | 'auto';
  /**
   * `int8`: products of inference read weights that were rounded to 8 bits; `float`, the default: as `precision` says.
   */
  readonly weights?: Weights;
  /** Receives why `auto` fell back, and what to do. */
  readonly onWarning?: (message: string) => void;
}

const BACKEND_OPTIONS: OptionNames<BackendOptions> = {
  name: true,
  precision: true,
  weights: true,
  onWarning: true,
};

/**
 * A backend. `auto` is the native one; if the addon cannot load, the same kernels in WebAssembly, with a warning; if
 * they cannot load either, the reference one, which has f32 only. It is never a GPU, which must be requested:
 * installing a package must not change what a machine computes.
 *
 * Throws ConfigError on an unknown name or a precision that the backend lacks, and BackendError if `native`, `wasm` or
 * `webgpu` is requested and not available.
 *
 * @example
 * const runtime = new Runtime(await createBackend({ name: 'wasm', precision: 'f32' }));
 * console.log(runtime.backend.name, runtime.backend.precision); // wasm f32
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  requireOptionNames('createBackend', options, BACKEND_OPTIONS);
  const { name = usualBackend(), precision = 'auto', weights = 'float' } = options;
  const { onWarning = (message) => console.warn(message) } = options;
  requireOneOf('precision', precision, PRECISIONS);
  requireOneOf('weights', weights, WEIGHTS);
  requirePrecision(name, precision);
  switch (name) {
    case 'reference':
      return createReference(weights);
    case 'delayed': {
      const { DelayedBackend } = await import('../backend/delayed.js');
      return new DelayedBackend(await createReference(weights));
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

/** The name of the default backend. */
export function usualBackend(): string {
  return process.env.LOOPNN_BACKEND || 'auto';
}

/** Whether a backend of that name may have a precision; an adapter may still lack f16. */
export function hasPrecision(name: string, precision: Precision): boolean {
  switch (name) {
    case 'webgpu':
      return precision !== 'bf16';
    case 'reference':
    case 'delayed':
      return precision === 'f32';
    default:
      return precision !== 'f16';
  }
}

function requirePrecision(name: string, precision: Precision | 'auto'): void {
  if (precision === 'auto' || hasPrecision(name, precision)) return;
  const has = PRECISIONS.filter((other) => other !== 'auto' && hasPrecision(name, other));
  const where = name === 'auto' ? 'a processor' : `the ${name} backend`;
  const hint = precision === 'f16' ? 'f16 is for GPUs, by the webgpu backend' : undefined;
  throw new ConfigError('precision', `must be ${has.join(' or ')} on ${where}`, precision, hint);
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
  const { sharedNodeWebGpu } = await import('./webgpu.js');
  return sharedNodeWebGpu(precision === 'f16' ? 'f16' : 'f32');
}

/** The first of native, wasm and reference that works; warns of what is lost, and of the remedy. */
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
  return createReference(weights);
}

async function createReference(weights: Weights): Promise<Backend> {
  const { ReferenceBackend } = await import('../backend/reference/reference.js');
  return new ReferenceBackend('f32', weights === 'int8');
}
