/** The WebAssembly module in a browser: its fetched files, and threads in module workers. */
import { MOST_THREADS, type WasmHost, type WasmIsa, WasmModule } from '../backend/wasm/module.js';
import type { ThreadStart } from '../backend/wasm/thread.js';
import { BackendError } from '../errors.js';
import type { ReadyMessage } from './wasm-thread.js';

interface PageWorker {
  onmessage: ((message: { readonly data: ReadyMessage }) => void) | null;
  onerror: ((event: { readonly message?: string; preventDefault(): void }) => void) | null;
  postMessage(data: ThreadStart): void;
  terminate(): void;
}
declare const Worker: new (url: URL, options: { readonly type: 'module' }) => PageWorker;

/** Literal URLs, so that bundlers find the files. */
const FILES: Readonly<Record<WasmIsa, URL>> = {
  'relaxed-simd': new URL('../../../wasm/relaxed-simd.wasm', import.meta.url),
  simd128: new URL('../../../wasm/simd128.wasm', import.meta.url),
};

export interface WasmOptions {
  /** By default the best that the browser has. */
  readonly isa?: WasmIsa;
  /**
   * By default as many as processors in a worker of a page that is cross-origin isolated; elsewhere there is one.
   */
  readonly threads?: number;
  readonly onWarning?: (message: string) => void;
}

/**
 * A new module, with memory and threads. Throws BackendError if it cannot be created; see WasmModule.create.
 */
export function createWasmModule({
  isa,
  threads,
  onWarning = () => {},
}: WasmOptions = {}): Promise<WasmModule> {
  const here = globalThis as {
    readonly crossOriginIsolated?: boolean;
    readonly document?: unknown;
    readonly navigator?: { readonly hardwareConcurrency?: number };
  };
  // A page's main thread must not wait for other threads.
  const sharing = here.crossOriginIsolated === true && here.document === undefined;
  const host: WasmHost = {
    read: fetchModule,
    isa,
    threads: threads ?? Math.min(here.navigator?.hardwareConcurrency ?? 1, MOST_THREADS),
    onWarning,
    ...(sharing ? { start } : {}),
  };
  return WasmModule.create(host);
}

let shared: Promise<WasmModule> | undefined;

/** The module that the backends of this page or worker share; `threads` changes it for all of them. */
export async function wasmModule({ threads, ...options }: Omit<WasmOptions, 'isa'>): Promise<WasmModule> {
  const first = shared === undefined;
  shared ??= createWasmModule({ ...options, ...(threads === undefined ? {} : { threads }) }).catch(
    (error) => {
      shared = undefined;
      throw error;
    },
  );
  const module = await shared;
  if (!first && threads !== undefined) await module.setThreads(threads);
  return module;
}

async function fetchModule(isa: WasmIsa): Promise<Uint8Array<ArrayBuffer>> {
  const rule = "must be served with the program's other files, but could not be fetched";
  let response: Response;
  try {
    response = await fetch(FILES[isa]);
  } catch (error) {
    throw new BackendError(`${isa}.wasm`, `${rule} (${error instanceof Error ? error.message : error})`);
  }
  if (!response.ok) throw new BackendError(`${isa}.wasm`, `${rule} (status ${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Resolves when the thread is ready to work; rejects with the reason if it cannot start. */
function start(data: ThreadStart): Promise<void> {
  const worker = new Worker(new URL('./wasm-thread.js', import.meta.url), { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => {
      event.preventDefault(); // reported here, and not as an error of the script that started the worker
      worker.terminate();
      reject(new Error(event.message ?? 'its script did not load'));
    };
    worker.postMessage(data);
  });
}
