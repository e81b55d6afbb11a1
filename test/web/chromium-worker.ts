/**
 * In a browser's worker: what the engine computes there, with one thread and with two. Posts it, or what went wrong.
 */
import { WasmBackend } from '../../src/backend/wasm/wasm.js';
import { createWasmModule } from '../../src/web/wasm.js';
import { bitsOf } from './same-bits.js';

const self = globalThis as unknown as { postMessage(message: unknown): void };
try {
  const warnings: string[] = [];
  const found: unknown[] = [];
  for (const threads of [1, 2]) {
    const module = await createWasmModule({ threads, onWarning: (message) => warnings.push(message) });
    found.push({ isa: module.isa, threads: module.threads, ...(await bitsOf(new WasmBackend(module))) });
  }
  self.postMessage({ found, warnings });
} catch (error) {
  self.postMessage({ error: String(error) });
}
