/** Creates a backend in a browser: which engine, by what there is and what the model is. */
import type { Backend, Precision } from '../backend/backend.js';
import type { Gpu, GpuAdapter } from '../backend/webgpu/gpu.js';
import { BackendError, ConfigError } from '../errors.js';

const BACKENDS = ['auto', 'webgpu', 'wasm', 'reference'] as const;

/**
 * Channels from which on a model is computed by a GPU where there is one: narrower ones give a GPU less to do than it
 * takes to start its kernels. An estimate, until it is measured on many GPUs.
 */
export const GPU_CHANNELS = 256;

export interface BackendOptions {
  /**
   * `webgpu`: the GPU. `wasm`: the processor, by the C++ kernels. `reference`: the processor, in plain TypeScript. `auto`,
   * the default: the GPU where a browser has one and the model is wide enough for it, or asks for f16; else the
   * processor.
   */
  readonly backend?: (typeof BACKENDS)[number];
  /** Channels (nEmbd) of the model, by which `auto` chooses: a GPU from GPU_CHANNELS on. None is taken without it. */
  readonly channels?: number;
  /** f32 by default. GPUs may have f16; the processor has bf16, computed from floats here. */
  readonly precision?: Precision;
  /** `int8`: products of inference read weights that were rounded to 8 bits. GPUs lack it. */
  readonly weights?: 'float' | 'int8';
  /**
   * Threads, which all backends of a page or worker share. All processors in a worker of a page that is cross-origin
   * isolated, by default; elsewhere there is one.
   */
  readonly threads?: number;
  /** Hears of threads that did not start, and why another engine computes than was to be expected. */
  readonly onWarning?: (message: string) => void;
}

/**
 * The fastest backend that the browser has for the model: a GPU, or the C++ kernels in WebAssembly; where those cannot
 * be had, plain TypeScript in f32, with a warning.
 *
 * Throws ConfigError for a precision that the engine lacks, and BackendError where `webgpu` is asked for and cannot be
 * had.
 *
 * @example
 * const runtime = new Runtime(await createBackend()); // in a worker, so that there are threads and the page stays
 * alive
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  const { backend = 'auto', precision = 'f32', weights = 'float', threads, channels } = options;
  const { onWarning = (message) => console.warn(message) } = options;
  if (!BACKENDS.includes(backend)) {
    throw new ConfigError('backend', `must be ${BACKENDS.join(' or ')}`, backend);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ConfigError('threads', 'must be a whole number of at least 1', threads);
  }
  if (backend === 'webgpu') return createWebGpu(precision, weights);
  if (backend === 'auto' && weights === 'float' && precision !== 'bf16') {
    const wide = channels !== undefined && channels >= GPU_CHANNELS;
    if (wide || precision === 'f16') {
      const gpu = await createGpuIfReal(precision, onWarning);
      if (gpu) return gpu;
    }
  }
  if (precision === 'f16') {
    throw new ConfigError('precision', 'must be f32 or bf16 on a processor', precision, 'f16 is for GPUs');
  }
  if (backend === 'reference') return createReference(weights);
  try {
    const { wasmModule } = await import('./wasm.js');
    const { WasmBackend } = await import('../backend/wasm/wasm.js');
    const module = await wasmModule({ onWarning, ...(threads === undefined ? {} : { threads }) });
    return new WasmBackend(module, precision, weights === 'int8');
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    onWarning(`using the slow reference backend in f32: ${error.message}`);
    return createReference(weights);
  }
}

/** `navigator.gpu`, which pages and workers have where the browser does. */
function browserGpu(): Gpu | undefined {
  return (globalThis as { readonly navigator?: { readonly gpu?: Gpu } }).navigator?.gpu;
}

async function createWebGpu(precision: Precision, weights: 'float' | 'int8'): Promise<Backend> {
  if (weights === 'int8') throw new ConfigError('weights', 'must be float on the webgpu backend', weights);
  if (precision === 'bf16') {
    throw new ConfigError('precision', 'must be f32 or f16 on the webgpu backend', precision);
  }
  const gpu = browserGpu();
  const { findAdapter } = await import('../backend/webgpu/adapter.js');
  return shared(gpu!, await findAdapter(gpu), precision);
}

/** A backend on a GPU; null where there is none but the processor in disguise, or where it cannot be had. */
async function createGpuIfReal(
  precision: 'f32' | 'f16',
  onWarning: (message: string) => void,
): Promise<Backend | null> {
  const gpu = browserGpu();
  if (!gpu) return null;
  const { findAdapter, isProcessor } = await import('../backend/webgpu/adapter.js');
  try {
    const adapter = await findAdapter(gpu).catch(() => null);
    if (!adapter || isProcessor(adapter)) return null;
    return await shared(gpu, adapter, precision);
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    onWarning(`computing on the processor: ${error.message}`);
    return null;
  }
}

/** The backend that all models of a page or worker share. */
async function shared(gpu: Gpu, adapter: GpuAdapter, precision: 'f32' | 'f16'): Promise<Backend> {
  const { openAdapter } = await import('../backend/webgpu/open.js');
  const { sharedBackend } = await import('../backend/webgpu/shared.js');
  return sharedBackend(gpu, precision, () => openAdapter(gpu, adapter, { precision }));
}

async function createReference(weights: 'float' | 'int8'): Promise<Backend> {
  const { ReferenceBackend } = await import('../backend/reference/reference.js');
  return new ReferenceBackend('f32', weights === 'int8');
}
