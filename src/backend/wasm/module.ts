/**
 * The C++ kernels compiled to WebAssembly, instantiated: their functions, the memory that they share with JavaScript,
 * and helper threads. It must not read files or start threads: the environment (`node/`, `web/`) provides both.
 */
import { BackendError } from '../../errors.js';
import type { CompiledKernel } from '../compiled/kernels.js';
import { boundary } from './exports.js';
import type { ThreadStart } from './thread.js';
import { type CompiledModule, type Memory, webAssembly } from './webassembly.js';

/** Instruction sets that the module is compiled for, best first. Relaxed SIMD has a multiply-add. */
export const WASM_ISAS = ['relaxed-simd', 'simd128'] as const;
export type WasmIsa = (typeof WASM_ISAS)[number];

/** What an environment provides. */
export interface WasmHost {
  /** The bytes of the module for an instruction set. */
  read(isa: WasmIsa): Promise<Uint8Array<ArrayBuffer>>;
  /** The best set of the runtime by default. */
  readonly isa?: WasmIsa | undefined;
  /** Threads, including the caller's. */
  readonly threads: number;
  /**
   * Starts a thread that calls `runThread`; resolves when the thread is about to begin. Absent if memory cannot be
   * shared.
   */
  readonly start?: (start: ThreadStart) => Promise<void>;
  /** Receives the reason if fewer threads start than wanted. */
  readonly onWarning?: (message: string) => void;
}

type Functions = Record<CompiledKernel, (...args: unknown[]) => void> & {
  /** Must be called first. */
  _initialize(): void;
  boundary(): number;
  allocate(bytes: number): number;
  free(address: number): void;
  packedLength(K: number, N: number, bf16: boolean): number;
  packedInt8Length(K: number, N: number): number;
  cachePageLength(KV: number, HS: number, bf16: boolean): number;
  peakProducts(out: number, iterations: number, bf16: boolean): number;
  setThreads(threads: number): void;
  readonly __stack_pointer: { value: number };
};

const PAGE = 65536;
/** Pages of the memory at first; scripts/build-wasm.mjs links the module for the same number. */
const FIRST_PAGES = 16;
const MOST_PAGES = 65535;
const STACK = 256 << 10;
export const MOST_THREADS = 256;

/** The smallest module with one instruction: a splat of zeros; a multiply-add of relaxed SIMD. */
const SPLAT = [0x41, 0, 0xfd, 0x0f];
const probe = (...code: number[]): Uint8Array<ArrayBuffer> => {
  const type = [1, 5, 1, 0x60, 0, 1, 0x7b];
  const body = [0, ...code, 0x0b];
  return Uint8Array.of(
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...type,
    3,
    2,
    1,
    0,
    10,
    body.length + 2,
    1,
    body.length,
    ...body,
  );
};
const PROBES: Readonly<Record<WasmIsa, Uint8Array<ArrayBuffer>>> = {
  'relaxed-simd': probe(...SPLAT, ...SPLAT, ...SPLAT, 0xfd, 0x85, 2),
  simd128: probe(...SPLAT),
};

/** The sets that this runtime has, best first. */
export function wasmIsas(): WasmIsa[] {
  return WASM_ISAS.filter((isa) => webAssembly?.validate(PROBES[isa]));
}

/** The module and its JavaScript side. All backends on it share its memory and threads. */
export class WasmModule {
  private readonly stack: number;
  private started = 1;
  private inUse = 1;

  private constructor(
    readonly isa: WasmIsa,
    readonly functions: Functions,
    private readonly compiled: CompiledModule,
    private readonly memory: Memory,
    private readonly host: WasmHost,
  ) {
    this.stack = functions.__stack_pointer.value;
  }

  /**
   * Instantiates the module for the best set that the runtime has.
   *
   * Throws BackendError if WebAssembly or SIMD is missing, or if the file is damaged or of another version.
   */
  static async create(host: WasmHost): Promise<WasmModule> {
    const isas = wasmIsas();
    if (isas.length === 0) throw new BackendError('wasm', 'must run where WebAssembly has SIMD');
    const isa = host.isa ?? isas[0];
    if (!isas.includes(isa)) {
      throw new BackendError(
        'wasm',
        `instruction set must be one that this runtime has (${isas.join(', ')})`,
        isa,
      );
    }
    const shared = host.start !== undefined;
    const bytes = await host.read(isa);
    const { compiled, functions, memory } = await instantiate(
      shared ? bytes : withOwnMemory(bytes),
      isa,
      shared,
    );
    const module = new WasmModule(isa, functions, compiled, memory, host);
    await module.setThreads(host.threads);
    return module;
  }

  get threads(): number {
    return this.inUse;
  }

  /** The memory as it is now: growing replaces the buffer. */
  get buffer(): ArrayBufferLike {
    return this.memory.buffer;
  }

  /**
   * Sets the number of threads from now on; one if memory cannot be shared. A thread that does not start is reported
   * to `onWarning` and skipped.
   */
  async setThreads(threads: number): Promise<void> {
    const { start, onWarning } = this.host;
    const wanted = start ? Math.min(threads, MOST_THREADS) : 1;
    while (start && this.started < wanted) {
      const stack = this.allocate(STACK);
      try {
        const { compiled: module, memory } = this;
        await start({ module, memory, stack: stack + STACK, worker: this.started });
        this.started++;
      } catch (error) {
        this.functions.free(stack);
        const reason = error instanceof Error ? error.message : String(error);
        onWarning?.(
          `wasm: thread ${this.started + 1} of ${wanted} did not start (${reason}); continuing with ${this.started}`,
        );
        break;
      }
    }
    this.inUse = Math.min(wanted, this.started);
    this.functions.setThreads(this.inUse);
  }

  /** The address of zeroed memory. Throws BackendError if WebAssembly's 4 GiB or the machine's memory is used up. */
  allocate(bytes: number): number {
    const address = bytes <= MOST_PAGES * PAGE ? this.call(this.functions.allocate, bytes) >>> 0 : 0;
    if (address === 0) throw outOfMemory(bytes);
    return address;
  }

  /** Calls a function of the module; an exception leaves the module unchanged. */
  call<Args extends unknown[], Result>(run: (...args: Args) => Result, ...args: Args): Result {
    try {
      return run(...args);
    } catch (error) {
      this.functions.__stack_pointer.value = this.stack;
      throw error;
    }
  }
}

function outOfMemory(bytes: number): BackendError {
  const most = (MOST_PAGES * PAGE) / 2 ** 30;
  return new BackendError(
    'wasm',
    `must find ${bytes} bytes free in WebAssembly's memory, which holds ${most.toFixed(0)} GiB at most`,
    undefined,
    'use a smaller batch or model, or the native backend',
  );
}

async function instantiate(bytes: Uint8Array<ArrayBuffer>, isa: WasmIsa, shared: boolean) {
  const damaged = (reason: unknown) =>
    new BackendError(`${isa}.wasm`, `must be the file that came with this version, but is not (${reason})`);
  let compiled: CompiledModule;
  try {
    compiled = await webAssembly!.compile(bytes);
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : error);
  }
  let memory: Memory;
  try {
    memory = new webAssembly!.Memory({ initial: FIRST_PAGES, maximum: MOST_PAGES, shared });
  } catch (error) {
    throw new BackendError(
      'wasm',
      `must be given address space for its memory (${error instanceof Error ? error.message : error})`,
    );
  }
  const imports = {
    env: { memory },
    host: {
      outOfMemory(bytes: number): never {
        throw outOfMemory(bytes);
      },
    },
  };
  let functions: Functions;
  try {
    const { exports } = await webAssembly!.instantiate(compiled, imports);
    functions = exports as unknown as Functions;
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : error);
  }
  const found = typeof functions.boundary === 'function' ? functions.boundary() >>> 0 : 'none';
  if (found !== boundary()) throw damaged(`its kernels are ${found}, not ${boundary()}`);
  functions._initialize();
  return { compiled, functions, memory };
}

/** The import of env.memory, with limits; the last byte is the flag for shared memory. */
const SHARED_MEMORY = [3, ...new TextEncoder().encode('env'), 6, ...new TextEncoder().encode('memory'), 2, 3];

/** The same module for a memory that is not shared: only a flag of its import differs. */
function withOwnMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const own = bytes.slice();
  for (let i = 0; i + SHARED_MEMORY.length <= own.length; i++) {
    if (!SHARED_MEMORY.every((byte, k) => own[i + k] === byte)) continue;
    own[i + SHARED_MEMORY.length - 1] = 1;
    break;
  }
  return own;
}
