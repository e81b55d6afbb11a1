/**
 * The engine that tests run on: the one that they name, or what LOOPNN_BACKEND puts in its place. With `delayed` its
 * kernels run when something is read; with `wasm` those of the addon run in WebAssembly, with `webgpu` all run on a
 * GPU. The reference stays: others are compared with it.
 */
import type { Backend } from '../src/backend/backend.js';
import { CompiledBackend } from '../src/backend/compiled/backend.js';
import { DelayedBackend } from '../src/backend/delayed.js';
import * as addon from '../src/backend/native/addon.js';
import { WasmBackend } from '../src/backend/wasm/wasm.js';
import { wasmModule } from '../src/node/wasm.js';
import { openNodeWebGpu } from '../src/node/webgpu.js';
import { preferSwiftShader } from './webgpu.js';

export const delayed = process.env.LOOPNN_BACKEND === 'delayed';
const wasm = process.env.LOOPNN_BACKEND === 'wasm' ? await wasmModule() : null;
/** LOOPNN_TEST_TEAMS lets workgroups share memory on an adapter that would not. */
const teams = process.env.LOOPNN_TEST_TEAMS === '1' ? { teams: true } : {};
if (process.env.LOOPNN_BACKEND === 'webgpu') preferSwiftShader();
export const webgpu = process.env.LOOPNN_BACKEND === 'webgpu' ? await openNodeWebGpu(teams) : null;
/** What stands there for bf16: f16, emulated where the adapter has none. */
const half = webgpu && (await openNodeWebGpu({ ...teams, precision: 'f16', emulated: true }));
/** The name of the engine with kernels in C++. */
export const compiled = wasm ? 'wasm' : 'native';

export function onEngine(usual: Backend): Backend {
  if (webgpu && half && usual instanceof CompiledBackend) return usual.precision === 'bf16' ? half : webgpu;
  if (wasm && usual instanceof CompiledBackend) return new WasmBackend(wasm, usual.precision, usual.int8);
  return delayed ? new DelayedBackend(usual) : usual;
}

/**
 * The instruction sets that the kernels in C++ have here, best first: of WebAssembly, the one that LOOPNN_ISA names.
 */
export const isas = (): readonly string[] =>
  webgpu ? ['webgpu'] : wasm ? [wasm.isa] : addon.nativeInfo().isas;
export const threadsInUse = (): number => (webgpu ? 1 : wasm ? wasm.threads : addon.nativeInfo().threads);

export function setIsa(name: string): void {
  if (!wasm && !webgpu) addon.setIsa(name);
}

export async function setThreads(threads: number): Promise<void> {
  if (wasm) await wasm.setThreads(threads);
  else if (!webgpu) addon.setThreads(threads);
}
