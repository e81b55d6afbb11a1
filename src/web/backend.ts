/** Creates a backend in a browser: chooses the engine by the browser and the model. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { Backend, Precision } from '../backend/backend.js';
import type { Gpu, GpuAdapter } from '../backend/webgpu/gpu.js';
import { BackendError, ConfigError } from '../errors.js';

const BACKENDS = ['auto', 'webgpu', 'wasm', 'reference'] as const;

/**
 * The least number of channels with which a GPU, if there is one, computes a model: for narrower models, starting the
 * kernels takes longer than running them. An estimate, until it is measured on many GPUs.
 */
export const GPU_CHANNELS = 256;

export interface BackendOptions {
  /**
   * `webgpu`: the GPU. `wasm`: the processor, by the C++ kernels. `reference`: the processor, in plain TypeScript.
   * `auto`, the default: the GPU if the browser has one and the model is wide enough for it, or needs f16; otherwise
   * the processor.
   */
  readonly backend?: (typeof BACKENDS)[number];
  /** Channels (nEmbd) of the model, by which `auto` chooses: a GPU from GPU_CHANNELS on; if undefined, no GPU. */
  readonly channels?: number;
  /** f32 by default. GPUs may have f16; the processor has bf16, which WebAssembly emulates with floats. */
  readonly precision?: Precision;
  /** `int8`: products of inference read weights rounded to 8 bits. GPUs lack it. */
  readonly weights?: 'float' | 'int8';
  /**
   * Threads, which all backends of a page or worker share. By default as many as processors in a worker of a page that
   * is cross-origin isolated; elsewhere there is one.
   */
  readonly threads?: number;
  /** Receives warnings about threads that did not start, and about a fallback to another engine. */
  readonly onWarning?: (message: string) => void;
}

const BACKEND_OPTIONS: OptionNames<BackendOptions> = {
  backend: true,
  channels: true,
  precision: true,
  weights: true,
  threads: true,
  onWarning: true,
};

/**
 * The fastest backend that the browser has for the model: a GPU, or the C++ kernels in WebAssembly; without either,
 * plain TypeScript in f32, with a warning.
 *
 * Throws ConfigError for a precision that the engine lacks, and BackendError if `webgpu` is requested and not
 * available.
 *
 * @example
 * // In a worker, so that there are threads and the page stays responsive.
 * const runtime = new Runtime(await createBackend());
 */
export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  requireOptionNames('createBackend', options, BACKEND_OPTIONS);
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

/** `navigator.gpu`, on pages and in workers, if the browser has it. */
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

/** A backend on a GPU; null if the only adapter is a software one, or if the backend cannot be created. */
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
