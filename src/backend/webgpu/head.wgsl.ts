/** The head on a GPU: logits, softmax and cross-entropy. */
import type { GpuKernels } from './webgpu.js';

export const head = {} satisfies Partial<GpuKernels>;
