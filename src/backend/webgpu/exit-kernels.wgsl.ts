/** What decides about rows, on a GPU: which halt, at which exit, and what that costs. */
import type { GpuKernels } from './webgpu.js';

export const exitKernels = {} satisfies Partial<GpuKernels>;
