/** WebGPU under Node: the optional package `webgpu`, which is Dawn. */
import { openWebGpu, type WebGpuOptions } from '../backend/webgpu/open.js';
import type { Gpu } from '../backend/webgpu/gpu.js';
import type { WebGpuBackend } from '../backend/webgpu/webgpu.js';
import { BackendError } from '../errors.js';

/** A variable, so that neither bundlers nor the compiler look for a package that need not be there. */
const PACKAGE = 'webgpu';

/**
 * A backend on this machine's GPU; `LOOPNN_WEBGPU_FLAGS` has Dawn's options, separated by blanks. Throws BackendError
 * where the package or an adapter is missing.
 */
export async function openNodeWebGpu(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const gpu = await nodeGpu();
  // Dawn ends when this object is collected, whatever devices there are.
  return openWebGpu(gpu, { ...options, owner: gpu });
}

/** What a browser has as `navigator.gpu`. It must live as long as its devices. */
export async function nodeGpu(): Promise<Gpu> {
  let dawn: { create(flags: readonly string[]): Gpu };
  try {
    dawn = await import(PACKAGE);
  } catch (error) {
    const hint = 'npm install webgpu (Dawn, 137 MB)';
    throw new BackendError(
      'webgpu',
      "needs the package 'webgpu'",
      (error as Error).message.split('\n')[0],
      hint,
    );
  }
  return dawn.create((process.env.LOOPNN_WEBGPU_FLAGS ?? '').split(' ').filter(Boolean));
}
