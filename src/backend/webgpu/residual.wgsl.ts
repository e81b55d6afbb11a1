/** Gated residuals on a GPU, the loop update of arXiv 2409.14199. */
import type { GpuKernels } from './webgpu.js';

export const residual = {} satisfies Partial<GpuKernels>;
