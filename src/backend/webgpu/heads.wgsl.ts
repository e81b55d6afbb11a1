/** Norm and rotation of query and key heads on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const heads = {} satisfies Partial<GpuKernels>;
