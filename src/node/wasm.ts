/** The WebAssembly module under Node: its files, and threads of node:worker_threads. */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { MOST_THREADS, type WasmHost, type WasmIsa, WasmModule, wasmIsas } from '../backend/wasm/module.js';
import type { ThreadStart } from '../backend/wasm/thread.js';
import { BackendError, ConfigError } from '../errors.js';
import type { ReadyMessage } from './wasm-thread.js';

const FOLDER = new URL('../../../wasm/', import.meta.url);

export interface WasmOptions {
  /** By default LOOPNN_ISA, or else the best of the runtime. */
  readonly isa?: WasmIsa;
  /** By default LOOPNN_NUM_THREADS, or else the CPUs that this process may use. */
  readonly threads?: number;
  /** Where the files are. */
  readonly folder?: URL;
  readonly onWarning?: (message: string) => void;
}

/**
 * A new module, with threads and memory. Throws BackendError if it cannot be created (see WasmModule.create),
 * ConfigError for invalid environment variables.
 */
export function createWasmModule({
  isa = isaOf(process.env.LOOPNN_ISA),
  threads = threadsOf(process.env.LOOPNN_NUM_THREADS),
  folder = FOLDER,
  onWarning = () => {},
}: WasmOptions = {}): Promise<WasmModule> {
  const host: WasmHost = {
    read: (set) => readModule(new URL(`${set}.wasm`, folder)),
    isa,
    threads,
    start,
    onWarning,
  };
  return WasmModule.create(host);
}

let shared: Promise<WasmModule> | undefined;

/** The module that the backends of this process share. */
export function wasmModule(onWarning?: (message: string) => void): Promise<WasmModule> {
  shared ??= createWasmModule(onWarning ? { onWarning } : {}).catch((error) => {
    shared = undefined;
    throw error;
  });
  return shared;
}

async function readModule(file: URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException;
    const name = file.pathname.split('/').at(-1);
    throw new BackendError(
      `${name}`,
      `must lie in the package's folder wasm/, but is not to be read (${code})`,
    );
  }
}

/** Resolves when the thread is about to work; rejects with the reason if it can not. */
function start(data: ThreadStart): Promise<void> {
  // A worker may reject the main thread's flags.
  const worker = new Worker(new URL('./wasm-thread.js', import.meta.url), { workerData: data, execArgv: [] });
  return new Promise((resolve, reject) => {
    worker.once('message', (_: ReadyMessage) => {
      worker.removeAllListeners();
      worker.on('error', () => {}); // it can only end with the process
      worker.unref();
      resolve();
    });
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`it ended with code ${code}`)));
  });
}

function isaOf(wish: string | undefined): WasmIsa | undefined {
  if (!wish) return undefined;
  const isas = wasmIsas();
  const found = isas.find((isa) => isa === wish);
  if (found) return found;
  throw new ConfigError('LOOPNN_ISA', `must be one that WebAssembly has here (${isas.join(', ')})`, wish);
}

function threadsOf(wish: string | undefined): number {
  if (!wish) return Math.min(availableParallelism(), MOST_THREADS);
  const threads = Number(wish);
  if (Number.isInteger(threads) && threads >= 1 && threads <= 1024) return threads;
  throw new ConfigError('LOOPNN_NUM_THREADS', 'must be a whole number from 1 to 1024', wish);
}
