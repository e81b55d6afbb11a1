/** Hyper-connections' streams (arXiv 2409.19606) on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const streams = {} satisfies Partial<GpuKernels>;
