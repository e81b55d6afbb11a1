/** Causal self-attention on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const attention = {} satisfies Partial<GpuKernels>;
