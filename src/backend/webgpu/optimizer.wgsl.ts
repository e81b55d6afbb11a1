/** AdamW, Muon, the average of weights, and sums on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const optimizer = {} satisfies Partial<GpuKernels>;
