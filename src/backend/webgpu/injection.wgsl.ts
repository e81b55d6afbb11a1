/** Parcae's stable injection (arXiv 2604.12946) on a GPU. */
import type { GpuKernels } from './webgpu.js';

export const injection = {} satisfies Partial<GpuKernels>;
