/** Token and position embeddings on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const embedding = {} satisfies Partial<GpuKernels>;
