/**
 * WebGPU for tests: the optional package `webgpu` on the machine's GPU, or else on SwiftShader, the processor's Vulkan
 * that comes with Chromium. What is needed in the environment is set before the package is loaded.
 */
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { nodeGpu } from '../src/node/webgpu.js';

/** Where Debian's chromium-common has it. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/**
 * Makes SwiftShader the adapter where LOOPNN_TEST_GPU does not ask for the machine's own, and the environment names no
 * other driver.
 */
export function preferSwiftShader(): void {
  if (process.env.LOOPNN_TEST_GPU !== '1' && existsSync(SWIFTSHADER)) {
    process.env.VK_DRIVER_FILES ??= SWIFTSHADER;
  }
  process.env.XDG_RUNTIME_DIR ??= tmpdir();
}

/** Why nothing can be tested on WebGPU here; false where it can. */
export async function whyNoWebGpu(): Promise<string | false> {
  preferSwiftShader();
  try {
    const adapter = await (await nodeGpu()).requestAdapter();
    return adapter ? false : `no WebGPU adapter: install chromium-common and libvulkan1`;
  } catch (error) {
    return (error as Error).message;
  }
}
