/** Layer norm and RMSNorm on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const norm = {} satisfies Partial<GpuKernels>;
