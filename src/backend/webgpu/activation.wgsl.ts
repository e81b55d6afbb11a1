/** Activations on a GPU, alone and in the halves of a gated MLP. */
import type { GpuKernels } from './webgpu.js';

export const activation = {} satisfies Partial<GpuKernels>;
