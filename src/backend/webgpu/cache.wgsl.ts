/** Attention over the key/value cache on a GPU. */
import { PAGE_POSITIONS } from '../backend.js';
import type { GpuKernels } from './webgpu.js';

/**
 * Elements of a page: for each key head, the keys of PAGE_POSITIONS positions (PAGE_POSITIONS, HS), then their values.
 */
export function cachePageLength(KV: number, HS: number): number {
  return 2 * KV * PAGE_POSITIONS * HS;
}

export const cache = {} satisfies Partial<GpuKernels>;
