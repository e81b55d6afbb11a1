/** A thread that helps a WasmModule: the same module on the same memory, in its own worker. */
import { type CompiledModule, type Memory, webAssembly } from './webassembly.js';

/** The arguments of a thread. */
export interface ThreadStart {
  readonly module: CompiledModule;
  readonly memory: Memory;
  /** The upper end of its stack. */
  readonly stack: number;
  /** Its number; the caller is 0. */
  readonly worker: number;
}

/** Calls `ready`, and works until the worker is terminated. */
export function runThread({ module, memory, stack, worker }: ThreadStart, ready: () => void): void {
  const outOfMemory = () => {
    throw new Error('a helper thread must not allocate memory');
  };
  const { exports } = new webAssembly!.Instance(module, { env: { memory }, host: { outOfMemory } });
  (exports.__stack_pointer as { value: number }).value = stack;
  ready();
  (exports.work as (worker: number) => void)(worker);
}
