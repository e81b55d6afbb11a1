/** Creates a backend in a browser. */
import type { Backend, Precision } from '../backend/backend.js';
import { BackendError, ConfigError } from '../errors.js';

export interface BackendOptions {
  /** f32 by default: bf16 is computed from floats here. */
  readonly precision?: Precision;
  /** `int8`: products of inference read weights that were rounded to 8 bits. */
  readonly weights?: 'float' | 'int8';
  /**
   * Threads, which all backends of a page or worker share. All processors in a worker of a page that is cross-origin
   * isolated, by default; elsewhere there is one.
   */
  readonly threads?: number;
  /** Hears of threads that did not start, and why the kernels are plain TypeScript. */
  readonly onWarning?: (message: string) => void;
}

/**
 * The fastest backend that the browser has: the C++ kernels in WebAssembly; where those cannot be had, plain
 * TypeScript in f32, with a warning.
 *
 * @example
 * const runtime = new Runtime(await createBackend()); // in a worker, so that there are threads and the page stays
 * alive
 */
export async function createBackend({
  precision = 'f32',
  weights = 'float',
  threads,
  onWarning = (message) => console.warn(message),
}: BackendOptions = {}): Promise<Backend> {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ConfigError('threads', 'must be a whole number of at least 1', threads);
  }
  try {
    const { wasmModule } = await import('./wasm.js');
    const { WasmBackend } = await import('../backend/wasm/wasm.js');
    const module = await wasmModule({ onWarning, ...(threads === undefined ? {} : { threads }) });
    return new WasmBackend(module, precision, weights === 'int8');
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    onWarning(`using the slow reference backend in f32: ${error.message}`);
    const { ReferenceBackend } = await import('../backend/reference/reference.js');
    return new ReferenceBackend('f32', weights === 'int8');
  }
}
