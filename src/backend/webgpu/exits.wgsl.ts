/** Measures of rows that may exit, on a GPU: movement of a state, entropy and change of a prediction. */
import type { GpuKernels } from './webgpu.js';

export const exits = {} satisfies Partial<GpuKernels>;
