/** WebGPU under Node: the optional package `webgpu`, which is Dawn. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../backend/webgpu/adapter.js';
import type { Gpu } from '../backend/webgpu/gpu.js';
import { openWebGpu, type WebGpuOptions } from '../backend/webgpu/open.js';
import { sharedBackend } from '../backend/webgpu/shared.js';
import type { WebGpuBackend } from '../backend/webgpu/webgpu.js';
import { BackendError, ConfigError } from '../errors.js';
import { codeOf } from './file-errors.js';

/** A variable, so that neither bundlers nor the compiler look for a package that need not be there. */
const PACKAGE = 'webgpu';

interface Dawn {
  create(flags: readonly string[]): Gpu;
}

/** The Gpu object of all backends of this process. */
let gpu: Promise<Gpu> | undefined;

/** The backend of a precision that this process shares. Throws as openNodeWebGpu does. */
export async function sharedNodeWebGpu(precision: 'f32' | 'f16'): Promise<WebGpuBackend> {
  gpu ??= nodeGpu().catch((error) => {
    gpu = undefined;
    throw error;
  });
  const owner = await gpu;
  return sharedBackend(owner, precision, () => openWebGpu(owner, { precision, owner }));
}

/**
 * A new backend on this machine's GPU; `LOOPNN_WEBGPU_FLAGS` has Dawn's options, separated by blanks. Throws
 * BackendError if the package or an adapter is missing.
 */
export async function openNodeWebGpu(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  // Dawn ends when this object is collected, even if devices exist.
  const owner = await nodeGpu();
  return openWebGpu(owner, { ...options, owner });
}

/** The equivalent of a browser's `navigator.gpu`. It must live as long as its devices. */
export async function nodeGpu(): Promise<Gpu> {
  const dawn = await loadDawn(process.cwd());
  const flags = process.env.LOOPNN_WEBGPU_FLAGS ?? '';
  try {
    return dawn.create(flags.split(' ').filter(Boolean));
  } catch (error) {
    const rule = `must be options of Dawn, separated by blanks (${messageOf(error)})`;
    throw new ConfigError('LOOPNN_WEBGPU_FLAGS', rule, flags);
  }
}

/**
 * The package beside loopnn, or else in the project of `folder`: a loopnn that is installed globally, or fetched by
 * npx, has none beside it.
 */
export async function loadDawn(folder: string): Promise<Dawn> {
  try {
    return await import(PACKAGE).catch((error) => {
      if (!isMissing(error)) throw error;
      const path = createRequire(join(folder, 'package.json')).resolve(PACKAGE);
      return import(pathToFileURL(path).href);
    });
  } catch (error) {
    if (isMissing(error)) {
      const hint = 'npm install webgpu (Dawn, 137 MB), beside loopnn or in the project you are in';
      throw new BackendError('webgpu', "needs the package 'webgpu', which is not installed", undefined, hint);
    }
    const hint = 'it has Linux with glibc 2.34, macOS and Windows, on x64 and arm64';
    throw new BackendError('webgpu', "must load the package 'webgpu'", messageOf(error), hint);
  }
}

/** Whether the package itself is missing, and not a part of it. */
function isMissing(error: unknown): boolean {
  const code = codeOf(error);
  const notFound = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND';
  return notFound && messageOf(error).includes(`'${PACKAGE}'`);
}
