/** Kernels on a GPU that treat whole rows alike: choose, scale, gather and scatter them, and copy columns. */
import type { GpuKernels } from './webgpu.js';

export const rows = {} satisfies Partial<GpuKernels>;
